from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
import subprocess
import sys
from collections.abc import Sequence
from email.message import Message
from typing import Any

import pytest

from sfwebhooks.formats import FORMATS
from sfwebhooks.receive import VerificationError, Verified, verify
from sfwebhooks.receive.verification import SIGNATURES_MAX, TOLERANCE_SECONDS, signature_problems
from sfwebhooks.signatures import STANDARD, guide_signature, standard_signature
from sfwebhooks.signing import sign
from tests.builders import NOW, a_batch, a_delivery, an_endpoint
from tests.receivers import GUIDES
from tests.rows import in_one
from tests.test_signing import CONTENT, MESSAGE_ID, PAYLOAD, PLAIN, SEED_ALONE, STAMP, WHPK, WHSEC, WHSK, request

# --- the problems of a message


@pytest.mark.parametrize(("before", "found"), [(SIGNATURES_MAX - 1, 0), (SIGNATURES_MAX, 1)])
def test_a_flood_of_signatures_is_not_looked_through(before: int, found: int) -> None:
    sent = request(WHSK)
    given = " ".join(["v1a,AAAA"] * before + [sent.headers["webhook-signature"]])
    assert len(signature_problems({**sent.headers, "webhook-signature": given}, sent.body, [WHPK], NOW)) == found


def received(secret: str = "s") -> tuple[dict[str, str], bytes]:
    sent = request(secret)
    return dict(sent.headers), sent.body


@pytest.mark.parametrize("naming", GUIDES)
@pytest.mark.parametrize("secret", [*PLAIN, WHSEC])
def test_a_message_as_it_was_sent_has_no_problem(secret: str, naming: str) -> None:
    sent = sign(CONTENT, a_batch(), an_endpoint(secrets=[secret], format=naming), NOW)
    assert signature_problems(sent.headers, sent.body, [secret], NOW) == []


@pytest.mark.parametrize(("naming", "header"), [(name, FORMATS[name].naming.signature) for name in GUIDES])
@pytest.mark.parametrize(
    ("given", "said"), [("", "is missing"), ("sha256=" + "0" * 64, "does not fit"), ("v1,AAAA", "does not fit")]
)
def test_a_guides_signature_that_is_not_right_is_called_by_its_name(
    naming: str, header: str, given: str, said: str
) -> None:
    sent = sign(CONTENT, a_batch(), an_endpoint(secrets=["s"], format=naming), NOW)
    (problem,) = signature_problems({**sent.headers, header: given}, sent.body, ["s"], NOW)
    assert problem.startswith(f"{header} {said}")


def only(names: Sequence[str], naming: str = "generic", *secrets: str) -> tuple[dict[str, str], bytes]:
    """Return a message that has only some of its headers."""
    sent = sign(CONTENT, a_batch(), an_endpoint(secrets=secrets or ["s"], format=naming), NOW)
    return {name: value for name, value in sent.headers.items() if name in names}, sent.body


@pytest.mark.parametrize(("naming", "header"), [(name, FORMATS[name].naming.signature) for name in GUIDES])
def test_a_guides_signature_alone_is_enough_and_is_checked(naming: str, header: str) -> None:
    headers, body = only([header], naming)
    assert signature_problems(headers, body, ["another", "s"], NOW) == []
    (problem,) = signature_problems(headers, body, ["another"], NOW)
    assert problem.startswith(f"{header} does not fit")


def test_a_guides_signature_alone_is_nothing_to_one_who_knows_a_public_key_only() -> None:
    headers, body = only(["X-SpiderFoot-Signature"])
    assert signature_problems(headers, body, [WHPK], NOW) == [
        "webhook-id, webhook-timestamp or webhook-signature is missing"
    ]


def test_a_standard_signature_alone_is_enough_and_is_checked() -> None:
    headers, body = only(STANDARD)
    assert signature_problems(headers, body, ["s"], NOW) == []
    (problem,) = signature_problems(headers, body, ["another"], NOW)
    assert problem.startswith("webhook-signature does not fit")


@pytest.mark.parametrize("name", STANDARD)
def test_a_part_of_a_standard_signature_is_a_problem_with_a_guides_that_fits(name: str) -> None:
    headers, body = only([name, "X-SpiderFoot-Signature"])
    assert signature_problems(headers, body, ["s"], NOW) == [
        "webhook-id, webhook-timestamp or webhook-signature is missing"
    ]


def test_a_signature_under_the_other_name_with_a_wrong_one_does_not_help() -> None:
    sent = request("s")
    right = sent.headers["X-SpiderFoot-Signature"]
    headers = {**sent.headers, "X-SpiderFoot-Signature": "sha256=0", "X-Security-Signature": right}
    (problem,) = signature_problems(headers, sent.body, ["s"], NOW)
    assert problem.startswith("X-SpiderFoot-Signature does not fit")


def test_one_of_the_secrets_that_a_receiver_knows_is_enough() -> None:
    headers, body = received("new")
    assert signature_problems(headers, body, ["old", "new"], NOW) == []


def test_a_sender_that_rotates_is_understood_by_a_receiver_that_knows_the_current_secret() -> None:
    sent = request("new", "old")
    assert signature_problems(sent.headers, sent.body, ["new"], NOW) == []


@pytest.mark.parametrize(
    ("signing", "known"),
    [
        ([WHSK], [WHPK]),
        ([WHSK], [WHSK]),
        ([SEED_ALONE], [WHPK, SEED_ALONE]),
        ([WHSK, "text"], [WHPK]),
        ([WHSK, "text"], ["text"]),
        (["text", WHSK], [WHPK, "text"]),
        ([WHSK], [WHPK, "no longer used"]),
    ],
    ids=lambda keys: "+".join(key[:5] for key in keys),
)
def test_ed25519_keys_verify_alone_and_with_others(signing: list[str], known: list[str]) -> None:
    sent = request(*signing)
    assert signature_problems(sent.headers, sent.body, known, NOW) == []


@pytest.mark.parametrize("known", [[SEED_ALONE], ["text"], [WHSEC, SEED_ALONE]])
def test_another_key_is_a_problem_of_a_v1a_signature(known: list[str]) -> None:
    sent = request(WHSK)
    assert signature_problems(sent.headers, sent.body, known, NOW)[-1].startswith("webhook-signature does not fit")


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body", "webhook-signature"])
def test_a_v1a_signature_covers_everything(change: str) -> None:
    sent = request(WHSK)
    headers, body = dict(sent.headers), sent.body
    if change == "body":
        body += b" "
    else:
        headers[change] = headers[change].replace("5", "6").replace("a", "b")
    assert signature_problems(headers, body, [WHPK], NOW)


def test_a_guides_signature_that_does_not_fit_is_a_problem_with_a_v1a_that_does() -> None:
    sent = request(WHSK, "text")
    (problem,) = signature_problems(sent.headers, sent.body, [WHPK, "another"], NOW)
    assert problem.startswith("X-SpiderFoot-Signature does not fit")


@pytest.mark.parametrize("key", [WHPK, WHPK[5:], WHSK])
def test_a_public_key_is_never_taken_for_a_shared_secret(key: str) -> None:
    """Who knows the whpk_ key could else sign with it as an HMAC key ("algorithm confusion")."""
    message = f"{MESSAGE_ID}.{STAMP}.".encode() + PAYLOAD
    forged = [
        "v1," + base64.b64encode(hmac.new(one, message, hashlib.sha256).digest()).decode()
        for one in (key.encode(), base64.b64decode(WHPK[5:]))
    ]
    headers = {
        "X-SpiderFoot-Signature": guide_signature(key, PAYLOAD),
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": STAMP,
        "webhook-signature": " ".join([*forged, *(one.replace("v1,", "v1a,") for one in forged)]),
    }
    assert signature_problems(headers, PAYLOAD, [WHPK], float(STAMP)) == [
        "webhook-signature does not fit: another secret, or id, timestamp or body were changed on the way"
    ]


@pytest.mark.parametrize("secrets", [[], ["other"], ["s "], [WHSEC]])
def test_another_secret_is_a_problem_of_both_signatures(secrets: list[str]) -> None:
    headers, body = received()
    found = signature_problems(headers, body, secrets, NOW)
    assert [problem.split()[0] for problem in found] == ["X-SpiderFoot-Signature", "webhook-signature"]


@pytest.mark.parametrize("change", [b" ", b"\n", b"\0"])
def test_one_byte_more_is_a_problem_of_both_signatures(change: bytes) -> None:
    headers, body = received()
    assert len(signature_problems(headers, body + change, ["s"], NOW)) == 2


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_the_standard_signature_covers_id_and_time(header: str) -> None:
    headers, body = received()
    headers[header] = headers[header][:-1] + ("0" if headers[header][-1] != "0" else "1")
    (problem,) = signature_problems(headers, body, ["s"], NOW)
    assert problem.startswith("webhook-signature does not fit")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("webhook-id", "webhook-id, webhook-timestamp or webhook-signature is missing"),
        ("webhook-timestamp", "webhook-id, webhook-timestamp or webhook-signature is missing"),
        ("webhook-signature", "webhook-id, webhook-timestamp or webhook-signature is missing"),
    ],
)
def test_a_missing_header_is_named(header: str, problem: str) -> None:
    headers, body = received()
    del headers[header]
    (found,) = signature_problems(headers, body, ["s"], NOW)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("late", "word"),
    [
        (-TOLERANCE_SECONDS - 1, "301 s in the future"),
        (-TOLERANCE_SECONDS, ""),
        (TOLERANCE_SECONDS, ""),
        (TOLERANCE_SECONDS + 1, "301 s old"),
    ],
)
def test_a_time_that_is_five_minutes_off_is_a_problem(late: int, word: str) -> None:
    headers, body = received()
    found = signature_problems(headers, body, ["s"], NOW + late)
    assert [word in problem for problem in found] == ([True] if word else [])


@in_one("stamp", ["now", "-1", "1.5", "²", "٣", "0x10", "9" * 5000, "\x80"])
@in_one("signature", ["v1,", "v1,x v1a,y", "é", "\udc80", "v2 " * 10_000])
def test_nonsense_in_the_headers_is_a_problem_and_no_crash(stamp: str, signature: str) -> None:
    headers = {
        "X-SpiderFoot-Signature": signature,
        "webhook-id": "x",
        "webhook-timestamp": stamp,
        "webhook-signature": signature,
    }
    assert len(signature_problems(headers, b"", ["s"], NOW)) == 3


@pytest.mark.parametrize("message_id", ["a.b", ".", "é", "\udc80", "a b", "a\n", "a" * 201, "a" * 5_000_000])
def test_an_id_that_nobody_sends_is_a_problem(message_id: str) -> None:
    headers, body = received()
    (problem,) = signature_problems({**headers, "webhook-id": message_id}, body, ["s"], NOW)
    assert problem == "webhook-id is not 1 to 200 letters, digits, hyphens or underscores"


# --- verify, as other people's receivers call it


def sent_headers(*secrets: str, naming: str = "generic") -> tuple[dict[str, str], bytes]:
    sent = sign(CONTENT, a_batch(), an_endpoint(secrets=secrets, format=naming), NOW)
    return dict(sent.headers), sent.body


@pytest.mark.parametrize("naming", GUIDES)
@pytest.mark.parametrize(
    ("signing", "known"),
    [
        (["a text"], "a text"),
        ([WHSEC], WHSEC),
        ([WHSK], WHPK),
        ([WHSK], WHSK),
        (["new"], ["old", "new"]),
        (["new"], "old\n new \n"),
        (["a text"], "a text\n"),
        ([WHSK, "a text"], [WHPK, "a text"]),
    ],
)
def test_verify_returns_the_signed_id_and_time(naming: str, signing: Sequence[str], known: str | Sequence[str]) -> None:
    headers, body = sent_headers(*signing, naming=naming)
    assert verify(body, headers, known, now=NOW) == Verified(a_delivery().id, int(NOW))


@pytest.mark.parametrize("known", ["new", "old"])
def test_a_receiver_that_knows_one_of_two_secrets_verifies_while_they_are_rotated(known: str) -> None:
    headers, body = sent_headers("new", "old")
    assert verify(body, headers, known, now=NOW).id == a_delivery().id


def test_strict_refuses_a_guides_signature_by_another_secret() -> None:
    headers, body = sent_headers("new", "old")
    assert verify(body, headers, "new", now=NOW, strict=True).id == a_delivery().id
    with pytest.raises(VerificationError, match="X-SpiderFoot-Signature does not fit"):
        verify(body, headers, "old", now=NOW, strict=True)


@pytest.mark.parametrize("spelled", [str.lower, str.upper, str.title])
def test_verify_ignores_the_case_of_names(spelled: Any) -> None:
    headers, body = sent_headers("s")
    assert verify(body, {spelled(name): value for name, value in headers.items()}, "s", now=NOW).sent_at == NOW


def test_verify_takes_the_headers_of_pythons_own_server() -> None:
    headers, body = sent_headers("s")
    message = Message()
    for name, value in headers.items():
        message[name] = value
    assert verify(body, dict(message), "s", now=NOW).id == a_delivery().id


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, ()),
        ({"webhook-id": "x"}, ("webhook-signature does not fit",)),
        ({"webhook-signature": "v1,AAAA"}, ("webhook-signature does not fit",)),
        ({"webhook-timestamp": "1"}, ("webhook-signature does not fit", "webhook-timestamp is")),
        ({"webhook-signature": ""}, ("webhook-id, webhook-timestamp or webhook-signature is missing",)),
    ],
)
def test_verify_raises_each_reason(change: dict[str, str], reasons: tuple[str, ...]) -> None:
    headers, body = sent_headers("s")
    if not reasons:
        verify(body, headers, "s", now=NOW)
        return
    with pytest.raises(VerificationError) as caught:
        verify(body, {**headers, **change}, "s", now=NOW)
    assert len(caught.value.reasons) == len(reasons)
    assert all(found.startswith(expected) for found, expected in zip(caught.value.reasons, reasons))
    assert str(caught.value) == "; ".join(caught.value.reasons)
    assert pickle.loads(pickle.dumps(caught.value)).reasons == caught.value.reasons


@pytest.mark.parametrize(
    ("late", "tolerance", "taken"),
    [
        (300, 300.0, True),
        (301, 300.0, False),
        (-301, 300.0, False),
        (9, 10.0, True),
        (11, 10.0, False),
        (10**9, None, True),
        (10**9, float("inf"), True),
        (0, float("nan"), False),
    ],
)
def test_verify_refuses_a_time_beyond_the_tolerance(late: int, tolerance: float | None, taken: bool) -> None:
    headers, body = sent_headers("s")
    if taken:
        assert verify(body, headers, "s", tolerance=tolerance, now=NOW + late).sent_at == NOW
    else:
        with pytest.raises(VerificationError, match="webhook-timestamp is"):
            verify(body, headers, "s", tolerance=tolerance, now=NOW + late)


@in_one("tolerance", [300.0, None])
@in_one("value", ["", "x", "\xe9", "\udc80", "9" * 5000, "v1, v1a,AA== ,", "\0", " " * 10_000])
@in_one("name", [*STANDARD, "X-SpiderFoot-Signature"])
def test_nothing_but_a_verification_error_comes_of_nonsense(name: str, value: str, tolerance: float | None) -> None:
    headers, body = sent_headers("s")
    changed = {**headers, name: value}
    if name == "X-SpiderFoot-Signature":
        assert verify(body, changed, "s", now=NOW).id == a_delivery().id
    with pytest.raises(VerificationError):
        verify(body, changed, "s", tolerance=tolerance, now=NOW, strict=True)


@pytest.mark.parametrize(("signing", "known"), [("s", "s"), (WHSEC, WHSEC), (WHSK, WHPK)], ids=["text", "v1", "v1a"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_part_of_a_signed_body_is_not_taken_for_the_timestamp(signing: str, known: str, strict: bool) -> None:
    """The signed bytes are id.timestamp.body: with a stop in the id they could be divided elsewhere."""
    signature = standard_signature(signing, "3f2a91", "1700000000", f"CEF:0|msg=title.{NOW:.0f}.forged words".encode())
    headers = {
        "webhook-id": "3f2a91.1700000000.CEF:0|msg=title",
        "webhook-timestamp": f"{NOW:.0f}",
        "webhook-signature": signature,
    }
    with pytest.raises(VerificationError, match="webhook-id is not"):
        verify(b"forged words", headers, known, now=NOW, strict=strict)


def test_verify_takes_the_current_time_by_default() -> None:
    headers, body = sent_headers("s")
    with pytest.raises(VerificationError, match="webhook-timestamp is"):
        verify(body, headers, "s")


@pytest.mark.parametrize(("naming", "name"), [(name, FORMATS[name].naming.signature) for name in GUIDES])
def test_a_guides_signature_alone_verifies_only_where_any_time_does(naming: str, name: str) -> None:
    """Else a captured message would be as good as new for ever once its other headers are removed."""
    headers, body = only([name], naming)
    with pytest.raises(VerificationError, match="the other signature alone does not cover the time"):
        verify(body, headers, "s", now=NOW)
    assert verify(body, headers, "s", tolerance=None) == Verified(None, None)
    with pytest.raises(VerificationError, match=f"{name} does not fit"):
        verify(body + b" ", headers, "s", tolerance=None)


@pytest.mark.parametrize(
    "secrets", ["", " \n", [], [""], ["s", "whsec_!"], "whsec_", "whpk_AAAA", "whsk_AAAA", ["\udcff"]]
)
def test_verify_refuses_to_work_without_a_usable_secret(secrets: str | Sequence[str]) -> None:
    """HMAC with an empty key, as of an environment variable that is not set, is one that anybody can make."""
    headers, body = sent_headers("s")
    with pytest.raises(ValueError, match="expected") as caught:
        verify(body, headers, secrets, now=NOW)
    assert "AAAA" not in str(caught.value)


def test_verify_refuses_a_text_in_the_place_of_the_body() -> None:
    headers, body = sent_headers("s")
    with pytest.raises(TypeError, match="expected the body as bytes"):
        verify(body.decode(), headers, "s", now=NOW)  # type: ignore[arg-type]


def test_to_import_verify_imports_little() -> None:
    heavy = ["requests", "sqlite3", "cryptography", "ssl", "socket", "rich", "email", "dataclasses", "json"]
    program = (
        "import sys; before = set(sys.modules); from sfwebhooks.receive import verify;"
        f" print(sorted(set({heavy}) & (set(sys.modules) - before)),"
        " sorted(name for name in sys.modules if name.startswith('sfwebhooks')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = ["", ".naming", ".receive", ".receive.verification", ".signatures", ".signing_keys"]
    assert done.stdout.strip() == f"[] {[f'sfwebhooks{name}' for name in ours]}"


def test_a_text_secret_needs_no_cryptography() -> None:
    headers, body = sent_headers("s")
    program = (
        "import sys; sys.modules['cryptography'] = None; from sfwebhooks.receive import verify;"
        f" print(verify({body!r}, {headers!r}, 's', now={NOW}).id)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == a_delivery().id
