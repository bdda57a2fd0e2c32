from __future__ import annotations

import base64
import hashlib
import hmac
import io
import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import pytest
from requests.structures import CaseInsensitiveDict

from sfwebhooks.cli import main
from sfwebhooks.events import Batch
from sfwebhooks.formats.content import Content
from sfwebhooks.receive.capture import Captured
from sfwebhooks.receive.diagnosis import diagnose
from sfwebhooks.receive.verification import SIGNATURES_MAX, signature_problems
from sfwebhooks.signatures import guide_signature, standard_signature
from sfwebhooks.signing import sign
from sfwebhooks.signing_keys import new_whsk, receiver_form
from tests.builders import NOW, a_delivery, an_endpoint
from tests.cli.test_cli import Listening
from tests.leaks import leaks
from tests.test_signing import SEED_ALONE, WHPK, WHSEC, WHSK
from tests.tiers import quick_first

TEXT = "the-secret+of the team"
OTHER = "somebody-else's secret"
#: what is never printed, whatever happens
HIDDEN = (TEXT, OTHER, WHSEC, WHSK, SEED_ALONE, "hidden-token", "hidden-path")
DELIVERY = a_delivery()
BODY = json.dumps(
    {"event_type": "high_risk_event", "data": {"data": "grüß, a/b"}, "metadata": {"delivery_id": DELIVERY.id}},
    separators=(",", ":"),
    ensure_ascii=False,
).encode()
#: and as others would write it
SPACED = json.dumps(json.loads(BODY)).encode()
INDENTED = json.dumps(json.loads(BODY), indent=2, ensure_ascii=False).encode()


def signed(*secrets: str, body: bytes = BODY, at: float = NOW, format: str = "generic") -> dict[str, str]:
    """Return the headers of a delivery, with what else is secret in them."""
    sent = sign(Content(body), Batch((DELIVERY,)), an_endpoint(secrets=secrets, format=format), at)
    return {**sent.headers, "Authorization": "Bearer hidden-token", "Content-Length": str(len(body))}


def saved(headers: Mapping[str, str], body: bytes = BODY, at: float = NOW) -> str:
    """Return the line that `receive --save` writes."""
    line = {"at": at, "path": "/hidden-path", "headers": headers, "body": body.decode(), "problems": []}
    return json.dumps(line) + "\n"


@pytest.fixture
def verify(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `sfwebhooks verify` on a file's content; it must never give a secret away.

    `verify(content, *secrets, arguments=[...])` returns the exit code and what was printed.
    """
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))

    def run(content: str | bytes | None, *secrets: str, arguments: Any = (), now: float = NOW) -> tuple[int, str]:
        given = ["verify", "--now", str(int(now))]
        if content is not None:
            path = tmp_path / "captured"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            given.append(str(path))
        for number, secret in enumerate(secrets):
            monkeypatch.setenv(f"SECRET_{number}", secret)
            given += ["--secret", f"env:SECRET_{number}"]
        code = main([*given, *map(str, arguments)])
        printed = capsys.readouterr()
        assert leaks(printed.out + printed.err, *HIDDEN) == []
        return code, printed.out + printed.err

    return run


# --- what is right


@pytest.mark.parametrize(
    ("signing", "known"),
    [
        ([TEXT], [TEXT]),
        ([WHSEC], [WHSEC]),
        ([WHSK], [WHPK]),
        ([WHSK], [WHSK]),
        ([WHSK, TEXT], [WHPK]),
        ([TEXT, WHSEC], [OTHER, TEXT]),
    ],
)
def test_a_right_request_is_verified(verify: Callable[..., Any], signing: list[str], known: list[str]) -> None:
    code, text = verify(saved(signed(*signing)), *known)
    assert (code, f"line 1: {len(BODY)} bytes, verified" in text) == (0, True)


def test_it_is_said_which_signature_fits_which_secret(verify: Callable[..., Any]) -> None:
    _, text = verify(saved(signed(WHSK, WHSEC, TEXT)), OTHER, TEXT, WHSEC, WHPK)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[1:4] == [
        "X-SpiderFoot-Signature: matches secret 3",
        "webhook-signature 1: matches secret 4",
        "webhook-signature 2: matches secret 3",
    ]


def test_a_signature_of_a_secret_that_the_receiver_need_not_know_is_not_a_fault(verify: Callable[..., Any]) -> None:
    code, text = verify(saved(signed(TEXT, OTHER)), TEXT)
    assert (code, "webhook-signature 2: matches no secret; another signature does, which is enough" in text) == (
        0,
        True,
    )


def audited(**changed: str) -> dict[str, str]:
    """Return the headers of a delivery by the security-audit guide."""
    return {**signed(TEXT, format="security-audit"), **changed}


def test_a_request_by_the_security_audit_guide_is_verified(verify: Callable[..., Any]) -> None:
    code, text = verify(saved(audited()), OTHER, TEXT)
    assert (code, "X-Security-Signature: matches secret 2" in text, "X-SpiderFoot" in text) == (0, True, False)


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (audited(), BODY + b"\n", "X-Security-Signature: does not match; it would match secret 1 without the white"),
        (
            audited(**{"webhook-id": "x"}),
            BODY,
            "though X-Security-Signature matches secret 1: webhook-id, webhook-",
        ),
        (audited(**{"X-Security-Signature": ""}), BODY, "X-Security-Signature: is empty"),
    ],
)
def test_what_is_wrong_with_a_request_by_the_security_audit_guide_is_said(
    verify: Callable[..., Any], headers: dict[str, str], body: bytes, said: str
) -> None:
    code, text = verify(saved(headers, body), TEXT)
    assert (code, said in text, "X-SpiderFoot" in text) == (1, True, False)


def test_of_a_request_by_the_security_audit_guide_it_is_seen_that_ids_differ(verify: Callable[..., Any]) -> None:
    _, text = verify(saved(audited(**{"X-Security-Delivery": "x"})), OTHER)
    assert "X-Security-Delivery and webhook-id differ" in text


def raw(headers: Mapping[str, str], body: bytes = BODY, end: str = "\r\n") -> bytes:
    lines = ["POST /hidden-path HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return end.join(lines).encode() + body


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_raw_request_is_verified(verify: Callable[..., Any], end: str) -> None:
    assert verify(raw(signed(TEXT), end=end), TEXT)[0] == 0


def test_headers_and_a_body_of_the_command_line_are_verified(verify: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    headers = [argument for pair in signed(TEXT).items() for argument in ("--header", ": ".join(pair))]
    assert verify(None, TEXT, arguments=[*headers, "--body", tmp_path / "body"])[0] == 0


def test_a_request_can_come_from_standard_input(verify: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw(signed(TEXT)))))
    assert verify(None, TEXT, arguments=["-"])[0] == 0


def test_the_secrets_of_an_endpoint_are_taken(verify: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "webhooks.ini"
    path.write_text(f"[webhooks.team]\nurl = https://hooks.example.test/hidden-path\nsecret = {WHSK}\n  {TEXT}\n")
    code, text = verify(saved(signed(WHSK, TEXT)), arguments=["--endpoint", "team"])
    assert (code, "X-SpiderFoot-Signature: matches secret 2" in text) == (0, True)


def test_what_receive_has_saved_is_verified(verify: Callable[..., Any], tmp_path: Path) -> None:
    receiver = Listening("--port", "0", "--secret", WHPK, "--save", str(tmp_path / "got"))
    try:
        statuses = [receiver.send(body, secrets=[WHSK]).status for body in (BODY, b"\xff")]
    finally:
        receiver.end()
    assert (statuses, verify((tmp_path / "got").read_bytes(), WHPK)[0]) == ([200, 200], 0)
    assert (tmp_path / "got").stat().st_mode & 0o777 == 0o600


# --- several requests


def test_each_line_is_looked_at_and_one_wrong_one_is_a_failure(verify: Callable[..., Any]) -> None:
    code, text = verify(saved(signed(TEXT)) + saved(signed(OTHER)) + saved(signed(TEXT)), TEXT)
    assert code == 1
    assert "line 1: 118 bytes, verified; X-SpiderFoot-Signature: matches secret 1" in text.replace(
        str(len(BODY)), "118"
    )
    assert "line 2" in text and "2 of 3 verified." in text


def test_all_lines_right_is_a_success(verify: Callable[..., Any]) -> None:
    assert verify(saved(signed(TEXT)) * 3, TEXT)[0] == 0


@pytest.mark.parametrize(("line", "code"), [(1, 0), (2, 1), (3, 0), (-1, 0)])
def test_one_line_can_be_chosen(verify: Callable[..., Any], line: int, code: int) -> None:
    content = saved(signed(TEXT)) + saved(signed(OTHER)) + saved(signed(TEXT))
    assert verify(content, TEXT, arguments=["--line", line])[0] == code


# --- what was changed on the way, with the right secret


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BODY + b"\n", "without the white space around the body"),
        (b"\n " + BODY + b" \r\n", "without the white space around the body"),
        (INDENTED, "were written compact: it was serialised again"),
        (SPACED, "were written compact: it was serialised again"),
        (BODY.decode().encode().decode("latin-1").encode(), "encoded to UTF-8 twice"),
    ],
    ids=["newline", "space", "indented", "spaced", "twice"],
)
@pytest.mark.parametrize(("signing", "known"), [(TEXT, TEXT), (WHSEC, WHSEC), (WHSK, WHPK)], ids=["text", "v1", "v1a"])
def test_a_change_of_the_body_is_found(
    verify: Callable[..., Any], signing: str, known: str, body: bytes, said: str
) -> None:
    code, text = verify(raw({**signed(signing), "Content-Length": str(len(body))}, body), OTHER, known)
    lines = [line for line in text.splitlines() if "it would match secret 2 " in line and said in line]
    assert (code, len(lines)) == (1, 1 if known == WHPK else 2)


def test_a_change_of_something_else_is_narrowed_down_by_the_other_signature(verify: Callable[..., Any]) -> None:
    headers = {**signed(TEXT), "webhook-id": "x", "X-SpiderFoot-Delivery": "x"}
    headers["X-SpiderFoot-Signature"] = guide_signature(TEXT, b"{}")
    _, text = verify(saved(headers, b"{}"), TEXT)
    assert "though X-SpiderFoot-Signature matches secret 1: webhook-id, webhook-timestamp or this signature" in text


def test_an_id_that_nobody_sends_is_said(verify: Callable[..., Any]) -> None:
    code, text = verify(saved({**signed(TEXT), "webhook-id": "a.1.b"}), TEXT)
    assert (code, "webhook-id: is not 1 to 200 letters, digits, hyphens or underscores" in text) == (1, True)


def test_another_first_secret_is_narrowed_down_by_the_standard_signature(verify: Callable[..., Any]) -> None:
    code, text = verify(saved(signed(OTHER, TEXT)), TEXT)
    assert (code, "the body is correct: the sender's first shared secret is not among these" in text) == (1, True)


# --- the secret, understood in another way


def by(key: bytes, body: bytes = BODY) -> dict[str, str]:
    """Return headers that another sender made with this key."""
    headers = signed(TEXT)
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return {
        **headers,
        "X-SpiderFoot-Signature": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
        "webhook-signature": "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode(),
    }


@pytest.mark.parametrize(
    ("key", "known", "said"),
    [
        (WHSEC.encode(), WHSEC, "if the whole text, whsec_ included, were the key, not decoded"),
        (base64.b64decode(WHSEC[6:]), WHSEC, "if the text after whsec_ were decoded from base64"),
        (TEXT.encode() + b"\n", TEXT, "with a newline at the end of the secret"),
        (TEXT.encode(), f"'{TEXT}'", "without the quotes around the secret"),
    ],
)
def test_another_understanding_of_the_secret_is_found(
    verify: Callable[..., Any], key: bytes, known: str, said: str
) -> None:
    code, text = verify(saved(by(key)), OTHER, known)
    assert (code, f"it would match secret 2 {said}" in text) == (1, True)


@pytest.mark.parametrize(("end", "warned"), [("", False), ("\n", True), (" ", True)])
@pytest.mark.parametrize("source", ["env:TEAM", "file:TEAM"])
def test_a_newline_that_was_removed_from_a_secret_is_reported(
    verify: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, end: str, warned: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEAM", TEXT + end)
    (tmp_path / "TEAM").write_text(TEXT + end)
    code, text = verify(saved(signed(TEXT)), arguments=("--secret", source))
    words = "--secret 1: the newline or space around it was removed; a receiver that keeps it cannot verify anything"
    assert (code, words in text) == (0, warned)


def test_a_receiver_with_the_whsec_form_of_a_text_learns_what_differs(verify: Callable[..., Any]) -> None:
    code, text = verify(saved(signed(TEXT)), receiver_form(TEXT))
    assert (code, "webhook-signature: matches secret 1" in text) == (1, True)
    assert (
        "X-SpiderFoot-Signature: does not match; it would match secret 1 if the text after whsec_ were decoded" in text
    )


def test_a_signature_in_capitals_is_said_to_be_that(verify: Callable[..., Any]) -> None:
    headers = signed(TEXT)
    headers["X-SpiderFoot-Signature"] = headers["X-SpiderFoot-Signature"][7:].upper()
    code, text = verify(saved(headers), TEXT)
    assert (code, "matches secret 1, but is not written sha256=<hex>" in text) == (1, True)


# --- without the right secret


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({"Content-Length": "7"}, BODY, f"Content-Length says 7 bytes, but the body has {len(BODY)}"),
        ({}, BODY + b"\n", "starts or ends with white space"),
        ({}, INDENTED, "not as sfwebhooks writes it"),
        ({}, b"", "the body is empty"),
        ({}, BODY.replace("ü".encode(), "\ufffd".encode()), "U+FFFD"),
        ({"X-SpiderFoot-Delivery": "x"}, BODY, "X-SpiderFoot-Delivery and webhook-id differ"),
        ({"X-SpiderFoot-Timestamp": "1"}, BODY, "X-SpiderFoot-Timestamp and webhook-timestamp differ"),
        ({}, BODY, "another secret, or a change not covered here"),
    ],
)
@pytest.mark.parametrize("known", [[OTHER], [WHPK, OTHER], [TEXT + "x"] * 3], ids=["one", "kinds", "three"])
def test_what_can_be_seen_without_the_right_secret_is_said(
    verify: Callable[..., Any], headers: dict[str, str], body: bytes, said: str, known: list[str]
) -> None:
    code, text = verify(saved({**signed(TEXT), **headers}, body), *known)
    assert (code, said in text) == (1, True)


@pytest.mark.parametrize(
    ("signing", "known", "said"),
    [
        (WHSK, TEXT, "is v1a, which an ed25519 key (whpk_) verifies: the secrets contain none"),
        (TEXT, WHPK, "is v1, which a shared secret verifies: the secrets contain none"),
        (WHSK, SEED_ALONE, "does not match the secret, in any of the variants tried"),
    ],
)
def test_a_key_of_another_kind_is_said_to_be_that(
    verify: Callable[..., Any], signing: str, known: str, said: str
) -> None:
    code, text = verify(saved(signed(signing)), known)
    assert (code, said in text) == (1, True)


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("v2,AAAA", "has a version that sfwebhooks does not create"),
        ("v1,AAAA", "base64 of 32 bytes: it was cut or changed"),
        ("v1,!", "base64 of 32 bytes"),
        ("v1a,AAAA", "base64 of 64 bytes"),
        ("hidden-token", "has a version"),
        ("é", "has a version"),
        ("v1," * 1000, "base64 of 32 bytes"),
    ],
)
def test_a_malformed_signature_is_reported_and_not_repeated(
    verify: Callable[..., Any], signature: str, said: str
) -> None:
    code, text = verify(saved({**signed(TEXT), "webhook-signature": signature}), TEXT)
    assert (code, said in text) == (1, True)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {name.replace("X-Security-", "HTTP_X_SECURITY_"): value for name, value in audited().items()},
            "X-Security-Signature: is missing; HTTP_X_SECURITY_Signature is there: something on the way renamed it;"
            " webhook-signature alone is enough",
        ),
        (
            {name: value for name, value in audited().items() if name == "X-Security-Signature"},
            "webhook-signature: is missing; X-Security-Signature alone is enough",
        ),
    ],
)
def test_one_signature_is_enough_and_the_other_one_is_said_to_be_missing(
    verify: Callable[..., Any], headers: dict[str, str], said: str
) -> None:
    code, text = verify(saved(headers, BODY), TEXT)
    assert (code, said in text) == (0, True)


def test_a_flood_of_signatures_is_not_looked_through() -> None:
    headers = {**signed(TEXT), "webhook-signature": " ".join(["v1,AAAA"] * 10_000)}
    found = diagnose(Captured("it", headers, BODY), [TEXT], NOW)
    assert (found.verified, len(found.findings) < SIGNATURES_MAX + 10) == (False, True)
    assert sum("only the first 8 signatures are explained" in one.words for one in found.findings) == SIGNATURES_MAX - 8


NEEDED = ["X-SpiderFoot-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_header_is_named(verify: Callable[..., Any], name: str) -> None:
    headers = signed(TEXT)
    del headers[name]
    code, text = verify(saved(headers), TEXT)
    assert (code, f"{name}: is missing" in text) == (0 if name == NEEDED[0] else 1, True)


@pytest.mark.parametrize("name", NEEDED)
def test_an_empty_header_is_named(verify: Callable[..., Any], name: str) -> None:
    code, text = verify(saved({**signed(TEXT), name: " "}), TEXT)
    assert (code, f"{name}: is empty" in text) == (1, True)


def test_the_guides_header_is_not_missed_with_an_ed25519_key(verify: Callable[..., Any]) -> None:
    assert "X-SpiderFoot" not in verify(saved(signed(WHSK)), WHPK)[1]


@pytest.mark.parametrize("spelling", ["HTTP_WEBHOOK_SIGNATURE", "webhook_signature"])
def test_a_header_that_was_renamed_is_found(verify: Callable[..., Any], spelling: str) -> None:
    headers = signed(TEXT)
    headers[spelling] = headers.pop("webhook-signature")
    assert f"webhook-signature: is missing; {spelling} is there" in verify(saved(headers), TEXT)[1]


def test_a_request_without_any_signature_is_said_to_be_that(verify: Callable[..., Any]) -> None:
    code, text = verify(saved({"Content-Type": "application/json"}), TEXT)
    assert (code, "nothing is signed: the endpoint has no secret" in text) == (1, True)


# --- the clocks


def test_a_captured_time_that_is_off_is_said_with_the_clock(verify: Callable[..., Any]) -> None:
    code, text = verify(saved(signed(TEXT), at=NOW + 7200), TEXT, now=NOW + 86400)
    assert (code, "webhook-signature: matches secret 1" in text) == (1, True)
    assert "webhook-timestamp: 2026-11-21 10:00:00 UTC, 2 h before the receiver's clock (5 min are allowed)" in text


def test_a_saved_request_is_as_good_a_year_later(verify: Callable[..., Any]) -> None:
    assert verify(saved(signed(TEXT)), TEXT, now=NOW + 365 * 86400)[0] == 0


@pytest.mark.parametrize(("late", "code"), [(0, 0), (300, 0), (301, 1), (-301, 1)])
def test_a_raw_request_is_judged_by_the_time_that_is_given(verify: Callable[..., Any], late: int, code: int) -> None:
    assert verify(raw(signed(TEXT)), TEXT, now=NOW + late)[0] == code


def test_milliseconds_are_recognised(verify: Callable[..., Any]) -> None:
    stamp = f"{NOW * 1000:.0f}"
    headers = {**signed(TEXT), "webhook-timestamp": stamp}
    headers["webhook-signature"] = standard_signature(TEXT, headers["webhook-id"], stamp, BODY)
    code, text = verify(saved(headers), TEXT)
    assert (code, "is in milliseconds (2026-11-21 10:00:00 UTC); it must be in whole seconds" in text) == (1, True)


@pytest.mark.parametrize(
    "now", ["2026-11-21T10:00:00Z", "2026-11-21 10:00", "2026-11-21T11:00:00+01:00", "1795255200.5"]
)
def test_the_time_can_be_given_in_two_forms(verify: Callable[..., Any], now: str) -> None:
    assert verify(raw(signed(TEXT)), TEXT, arguments=["--now", now])[0] == 0


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        (["--now", "yesterday"], "expected epoch seconds, or a time such as 2026-11-21T10:00 (UTC)"),
        (["--now", "9" * 400], "expected epoch seconds"),
        (["--line", "abc"], "expected a line number, or -1 for the last line"),
        (["--line", "0"], "expected a line number"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], accepted: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", *arguments])
    assert (ended.value.code, accepted in capsys.readouterr().err) == (2, True)


def test_where_the_time_that_is_given_decides_nothing_that_is_said(verify: Callable[..., Any]) -> None:
    said = "--now has no effect on requests from receive --save, which recorded their time of receipt."
    assert said in verify(saved(signed(TEXT)), TEXT)[1]
    assert said not in verify(raw(signed(TEXT)), TEXT)[1]


# --- wrong usage


@pytest.mark.parametrize(
    ("content", "secrets", "arguments", "said"),
    [
        (None, [TEXT], [], "give a FILE, or --header and --body"),
        (None, [TEXT], ["--header", "a: b"], "give a FILE, or --header and --body"),
        ("a: b", [TEXT], ["--body", "x"], "give a FILE, or --header and --body"),
        (None, [TEXT], ["--header", "hidden-token", "--body", __file__], '--header: header 1 is not "Name: value"'),
        (None, [TEXT], ["/nowhere"], "/nowhere: cannot be read: No such file"),
        (None, [TEXT], ["x" * 5000], "cannot be read"),
        (None, [TEXT], ["/"], "cannot be read: Is a directory"),
        ("", [TEXT], [], "it is empty"),
        (BODY, [TEXT], [], "a body without headers"),
        (saved(signed(TEXT)), [TEXT], ["--line", "2"], "there is no request in line 2"),
        (raw({"a": "b"}), [], [], "--secret or --endpoint is needed"),
        (raw({"a": "b"}), [], ["--secret", "env:NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (raw({"a": "b"}), [], ["--secret", "file:/nowhere"], "/nowhere cannot be read"),
        (raw({"a": "b"}), [], ["--secret", WHSEC[:-3]], "expected base64 of 24 to 64 bytes after whsec_"),
        (raw({"a": "b"}), [], ["--secret", WHSK[:-4]], "expected base64 of 64 bytes after whsk_"),
        (
            raw({"a": "b"}),
            [],
            ["--secret", "whpk_" + WHSK[5:]],
            "expected base64 of the 32 bytes of an ed25519 public key after whpk_",
        ),
        (raw({"a": "b"}), [], ["--secret", "\udcff" + TEXT], "valid UTF-8 text"),
        (raw({"a": "b"}), [], ["--endpoint", "team"], "no configuration"),
    ],
)
def test_wrong_usage_is_said(
    verify: Callable[..., Any], content: Any, secrets: list[str], arguments: list[str], said: str
) -> None:
    code, text = verify(content, *secrets, arguments=arguments)
    assert (code, said in text) == (1, True)


def test_an_endpoint_without_a_secret_cannot_verify(verify: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = https://hooks.example.test/hidden-path\n")
    code, text = verify(raw({"a": "b"}), arguments=["--endpoint", "team"])
    assert (code, 'endpoint "team" has no secret' in text) == (1, True)


# --- the verdict is the receiver's, always


ODD = ["", " ", "x", "é", "v1,", "v1a,AA==", "9" * 400, "0", f"{NOW * 1000:.0f}", "2026-11-21T10:00:00Z"]


@pytest.mark.parametrize(
    "signing", quick_first([[WHSK, WHSEC], [TEXT], [WHSK], []], 1), ids=["both", "text", "whsk", "none"]
)
def test_verdict_and_findings_agree_with_the_receiver(signing: list[str]) -> None:
    known = [[TEXT], [WHPK], [WHSEC, WHPK], [new_whsk()]]
    bodies = [BODY + b"\n", b"", b"\xff", b"[" * 2000 + b"]" * 2000, b"9" * 5000, b"NaN", b'"\\ud800"']
    requests = [
        *((signed(*signing), body) for body in bodies),
        *(({**signed(*signing), name: value}, BODY) for name in NEEDED for value in ODD),
        *(({k: v for k, v in signed(*signing).items() if k != name}, BODY) for name in ("", *NEEDED)),
    ]
    for (headers, body), secrets in itertools.product(requests, known):
        found = diagnose(Captured("it", CaseInsensitiveDict(headers), body), secrets, NOW)
        right = signature_problems(headers, body, secrets, NOW) == []
        assert (found.verified, all(one.good is not False for one in found.findings)) == (right, right)
        assert leaks(" ".join(one.words for one in found.findings), *HIDDEN) == []
