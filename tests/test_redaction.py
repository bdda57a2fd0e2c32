"""Redaction: what an endpoint may not get is in nothing that it gets, in none of its formats, and in no command."""

from __future__ import annotations

import hmac
import html
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, unquote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.decoding import legible
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.quotations import QUOTED_MAX
from sfwebhooks.redaction import DEPTH_MAX, Rules, explained, for_everybody, rules_in, rules_with
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.sensitive import MASK, WITHHELD
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity
from tests.builders import URL, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.cases import UI
from tests.formats.test_chats import to
from tests.rows import in_one
from tests.test_sensitive import WAYS

CHATS = [name for name, one in FORMATS.items() if one.is_chat]
CHAT = rules_with((), None, is_chat=True)
KEY = Secret("k" * 32)
LOGIN = "jane@acme.example:hunter22! [x]"
LINES = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
#: what a chat may show in no place -> a text that has it
NEEDLES = {
    LINES: f"-----BEGIN PRIVATE KEY-----\n{LINES}\n-----END PRIVATE KEY-----",
    "4111111111111111": "4111111111111111",
    "4111 1111": "4111 1111 1111 1111",
    "0000-0000": "4000-0000-0000-0000-006",
    "correct-horse": "joe@acme.example:correct-horse",
    "battery-staple": "https://joe:battery-staple@acme.example/",
}
ANY = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def of(rules: Rules, data: dict[str, Any], **scan: Any) -> dict[str, Any]:
    """Return an event's data as an endpoint gets them."""
    return dict(explained(a_delivery(an_event(data=data, scan=a_scan(**scan))), rules)[0].event.data)


def by(*redact: str, data: str = LOGIN, kind: str = "PASSWORD_COMPROMISED", key: Secret | None = KEY) -> str:
    """Return a finding's data as an endpoint with these rules gets them."""
    return str(of(rules_with(redact, key, is_chat=False), {"event_type": kind, "data": data})["data"])


def finding(kind: str, data: str, **values: Any) -> WebhookEvent:
    return event_of_finding(a_finding(type=kind, data=data, **values), a_scan(), "What it is")


def mistakes(**keys: Any) -> list[str]:
    return [str(one) for one in load_mapping({"team": {"url": URL, **keys}}).mistakes]


def test_machines_get_all_and_chats_do_not() -> None:
    data = {"event_type": "PASSWORD_COMPROMISED", "data": LOGIN}
    assert of(rules_with((), None, is_chat=False), data) == data
    assert of(rules_with(("off",), None, is_chat=True), data) == data
    assert of(CHAT, data)["data"] == of(rules_with(("default",), None, is_chat=False), data)["data"]
    assert of(CHAT, data)["data"] == "j••••@acme.example:h••••! [x]"


def test_the_owner_of_a_password_is_shown_if_addresses_are() -> None:
    assert by("default", "EMAILADDR*: show") == "jane@acme.example:h••••! [x]"


def test_own_rules_come_before_the_default_ones_and_the_first_one_wins() -> None:
    assert by("default", "PASSWORD*: drop", "PASSWORD_COMPROMISED: show") == WITHHELD
    assert by("PASSWORD_COMPROMISED: show", "default") == LOGIN
    assert by("CREDIT_CARD_NUMBER: show", "default", kind="CREDIT_CARD_NUMBER", data="4" + "1" * 15) == "4" + "1" * 15


def test_a_type_without_a_rule_is_sent_as_it_is() -> None:
    assert by("EMAILADDR: drop") == LOGIN
    assert by("default", kind="A_TYPE_OF_A_NEWER_HOST", data="jane") == "jane"


def test_a_hash_is_stable_for_an_endpoint_and_useless_without_its_key() -> None:
    shown = by("PASSWORD_COMPROMISED: hash")
    about = f'["PASSWORD_COMPROMISED","{LOGIN}"]'
    assert (
        shown == f"hash:{hmac.new(KEY.reveal().encode(), about.encode(), 'sha256').hexdigest()[:16]}" == by("*: hash")
    )
    assert shown != by("PASSWORD_COMPROMISED: hash", key=Secret("o" * 32))
    assert shown != by("HASH_COMPROMISED: hash", kind="HASH_COMPROMISED")
    assert by("*: hash", kind="INTERNET_NAME", data="WWW.Acme.example.") == by(
        "*: hash", kind="INTERNET_NAME", data="www.acme.example"
    ), "equal things have equal hashes"
    assert by("*: hash", data="x" * 1024 + "y") == by("*: hash", data="x" * 1024), "the host's database keeps no more"


def test_without_its_key_nothing_is_hashed_and_the_endpoint_is_held() -> None:
    assert by("*: hash", key=None) == WITHHELD
    assert mistakes(redact="EMAILADDR: hash") == [
        "settings: [webhooks.team]: redact has a rule with hash, which requires redact_key = file:PATH, a key that"
        " stays on this machine: sfwebhooks keygen --redact --file PATH generates one"
    ]
    assert mistakes(redact="EMAILADDR: hash", redact_key="k" * 32) == []


def test_an_expression_is_for_any_text() -> None:
    rules = rules_with(("/case-[0-9]+/: mask", "/[a-z]+@corp/: hash", "/top secret/: drop"), KEY, is_chat=False)
    text = "case-20260001, jane@corp, top secret, top  secret"
    found = of(rules, {"message": text, "list": [{"x": text}], "case-20260002": 20260003}, name=text)
    shown = f"{MASK}0001, hash:df9b4ad3eb5c0b42, {WITHHELD}, top  secret"
    assert found == {"message": shown, "list": [{"x": shown}], f"{MASK}0002": 20260003}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default", ["default"]),
        ("off", ["off"]),
        ("default, EMAILADDR*: show", ["default", "EMAILADDR*: show"]),
        ("\n  default\n  EMAILADDR : mask\n", ["default", "EMAILADDR: mask"]),
        ("/a{1,3}/: mask, /b\\/: c/: drop", ["/a{1,3}/: mask", "/b\\/: c/: drop"]),
        ("/a, b/: hash", ["/a, b/: hash"]),
    ],
)
def test_rules_are_read(text: str, words: list[str]) -> None:
    assert [one if isinstance(one, str) else one.words for one in rules_in(text)] == words


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("none", '"none" is not a rule: expected default, off, or rules such as'),
        ("default, EMAILADDR: blur", '"EMAILADDR: blur" is not a rule'),
        ("/a/: show", '"/a/: show" is not a rule'),
        ("default, off", "expected default, off, or rules"),
        (",", "expected default, off, or rules"),
        ("EMAILADR: mask", 'SpiderFoot has no such event type. Did you mean "EMAILADDR"?'),
        ("EMAILADR*: mask", 'Did you mean "EMAILADDR"?'),
        ("/(/: mask", "missing )"),
        ("/(a)\\1/: mask", "invalid escape sequence"),
    ],
)
def test_what_is_not_a_rule_is_a_mistake(text: str, problem: str) -> None:
    (found,) = mistakes(redact=text)
    assert problem in found


def test_a_type_of_a_module_of_ones_own_is_accepted() -> None:
    assert mistakes(redact="INTERNAL_PERSONNEL_NUMBER: mask") == []


def test_a_chat_without_the_default_rules_is_a_warning() -> None:
    def warnings(**keys: Any) -> str:
        found = load_mapping({"team": {"url": "https://chat.acme.example/x", "format": "slack", **keys}})
        return "\n".join(found.warnings)

    assert "team redacts without the default rules" in warnings(redact="off")
    assert "team redacts without the default rules" in warnings(redact="URL: drop")
    assert "default rules" not in warnings() + warnings(redact="default, URL: drop")


def test_a_short_key_is_a_warning() -> None:
    found = load_mapping({"team": {"url": URL, "redact": "URL: hash", "redact_key": "short"}})
    assert any("can be guessed" in one for one in found.warnings)


def test_what_is_quoted_is_shown_as_it_would_be_alone() -> None:
    evidence = [{"event_type": "PASSWORD_COMPROMISED", "data": LOGIN}]
    shown = of(CHAT, {"title": f"Leaked: {LOGIN} and hunter22!.", "evidence": evidence})
    assert shown["title"] == f"Leaked: j••••@acme.example:h••••! [x] and {MASK}."
    assert of(CHAT, {"title": f"Leaked: {LOGIN[:-6]}", "evidence": evidence})["title"] == f"Leaked: {MASK}", (
        "it was cut"
    )


@pytest.mark.parametrize(
    ("kind", "data", "needle"),
    [
        ("EMAILADDR", "jane@acme.example", "jane@acme"),
        ("HUMAN_NAME", "Jane D\u00f6e", "janed\u00f6e"),
        ("PASSWORD_COMPROMISED", "pa ss\u00df!", "pass\u00df!"),
        ("PASSWORD_COMPROMISED", "jane@acme.example:correct horse [x]", "correcthor"),
        ("IBAN_NUMBER", "DE89370400440532013000", "370400440532"),
        ("PHYSICAL_ADDRESS", "221b Baker Street, London", "bakerstreet"),
    ],
)
@in_one("way", [one for one in WAYS if one not in ("wide", "not seen", "control characters")])
@in_one("around", ["see {} there", "https://acme.example/?q={}&y=1"])
def test_what_is_quoted_in_another_form_is_not_shown(kind: str, data: str, needle: str, way: str, around: str) -> None:
    evidence = [{"event_type": kind, "data": data}]
    shown = of(CHAT, {"title": around.format(WAYS[way](data)), "evidence": evidence})["title"]
    read = legible(html.unescape(unquote(unquote_plus(shown))))
    assert needle not in "".join(read.split()).lower(), shown


def test_what_is_quoted_in_groups_capitals_or_base64_is_not_shown() -> None:
    evidence = [{"event_type": "IBAN_NUMBER", "data": "DE89370400440532013000"}]
    coded = b64encode(b"x=DE89370400440532013000;").decode()
    shown = of(CHAT, {"title": f"de89 3704 0044 0532 0130 00 ({coded})", "evidence": evidence})["title"]
    assert shown.startswith(f"DE{MASK}3000 (")
    assert coded[8:16] not in shown


def test_a_number_with_a_point_is_a_number() -> None:
    assert of(CHAT, {"number": 4111111111111111.0, "share": 0.5}) == {"number": f"{MASK}1111.0", "share": 0.5}


def test_a_title_that_may_quote_what_was_found_in_hidden_evidence_does_not() -> None:
    title = "Interesting data was found within document meta data: 'hunter22!'"
    for kind in ("RAW_FILE_META_DATA", "BASE64_DATA"):
        shown = of(CHAT, {"title": title, "evidence": [{"event_type": kind, "data": "x"}]})
        assert shown["title"] == f"Interesting data was found within document meta data: {WITHHELD}"
    assert of(CHAT, {"title": title, "evidence": [{"event_type": "URL", "data": "x"}]})["title"] == title
    assert of(CHAT, {"title": title, "evidence": [7]})["title"] == of(CHAT, {"title": title, "evidence": 7})["title"]


def test_a_replacement_is_not_replaced_again() -> None:
    pieces = ["not shown", "(not", "shown here)", "••••••••"]
    evidence = [{"event_type": "RAW_RIR_DATA", "data": one} for one in pieces]
    assert of(CHAT, {"title": "is not shown", "evidence": evidence})["title"] == f"is {WITHHELD}"


@pytest.mark.parametrize("secret", ["high", "2026", "sfp_example", "PASSWORD"])
def test_a_short_or_plain_secret_changes_no_word_of_ours(secret: str) -> None:
    leaked = finding("PASSWORD_COMPROMISED", secret)
    ours = ("event_type", "severity", "generated", "hash", "scan_id")
    found = explained(a_delivery(leaked), CHAT)[0].event.data
    assert [found[key] for key in ours] == [leaked.data[key] for key in ours]


def test_a_short_secret_is_masked_as_a_word_of_a_text() -> None:
    evidence = [{"event_type": "PASSWORD_COMPROMISED", "data": "1234"}]
    shown = of(CHAT, {"title": "1234 is one of 12345", "error": "1234", "number": 1234, "evidence": evidence})
    assert (shown["title"], shown["error"], shown["number"]) == (f"{MASK} is one of 12345", MASK, 1234)


def test_of_more_quotations_than_an_event_has_nothing_is_shown() -> None:
    logins = [f"j@acme.example:{number:08d}" for number in range(QUOTED_MAX + 1)]
    many = [{"event_type": "PASSWORD_COMPROMISED", "data": one} for one in logins]
    shown = of(CHAT, {"title": "any text", "severity": "high", "evidence": many})
    assert (shown["title"], shown["severity"]) == (WITHHELD, "high")


def test_a_person_who_is_the_target_is_shown() -> None:
    data = {"event_type": "EMAILADDR", "data": "Jane@acme.example", "target": "jane@acme.example"}
    shown = of(CHAT, data, target="jane@acme.example", target_type="EMAILADDR")
    assert shown == data


def test_an_own_rule_for_the_type_of_the_target_redacts_it_everywhere() -> None:
    rules = rules_with(("EMAILADDR: hash",), KEY, is_chat=False)
    data = {"target": "jane@acme.example", "target_type": "EMAILADDR", "title": "found jane@acme.example"}
    scan = a_scan(name="of jane@acme.example", target="jane@acme.example", target_type="EMAILADDR")
    text = repr(explained(a_delivery(an_event(data=data, scan=scan)), rules)[0])
    assert "jane" not in text
    assert text.count("hash:") == 4


def test_what_is_nested_too_deeply_is_not_shown() -> None:
    data: Any = "4111111111111111"
    for _ in range(DEPTH_MAX + 20):
        data = [data]
    assert WITHHELD in str(of(CHAT, {"list": data}))
    assert "4111" not in str(of(CHAT, {"list": data}))


def test_a_guess_cannot_be_confirmed_by_a_hash_of_the_data() -> None:
    event = finding("PASSWORD_COMPROMISED", "x" * 100_000)
    assert "data_sha256" in event.data
    assert "data_sha256" not in explained(a_delivery(event), CHAT)[0].event.data


def test_reports_have_no_secrets_for_anybody_but_people() -> None:
    assert for_everybody("PASSWORD_COMPROMISED", LOGIN) == "jane@acme.example:h••••! [x]"
    assert for_everybody("HUMAN_NAME", "Jane Doe") == "Jane Doe"
    assert for_everybody("URL", "https://joe:battery-staple@acme.example") == f"https://joe:{MASK}@acme.example"


def test_what_a_report_masks_has_no_hash() -> None:
    rules = rules_with(("*: hash",), KEY, is_chat=False)
    tops = [{"event_type": "PASSWORD_COMPROMISED", "data": one} for one in ("joe@x.example:h••••!", "abc…")]
    assert [one["data"] for one in of(rules, {"top_findings": tops})["top_findings"]] == [MASK, MASK]


def test_the_rules_that_changed_an_event_are_named() -> None:
    event = finding("PASSWORD_COMPROMISED", LOGIN, sources=(Source("RAW_RIR_DATA", "x", "m", "h"),))
    applied = explained(a_delivery(event), rules_with(("default", "RAW*: drop"), None, is_chat=True))[1]
    assert {*applied} == {"PASSWORD_COMPROMISED: mask (default)", "RAW*: drop"}
    assert explained(a_delivery(finding("URL", "https://acme.example")), CHAT)[1] == ()


def test_a_machine_with_rules_gets_them_in_each_of_a_batch_within_the_limit_of_a_request() -> None:
    endpoint = an_endpoint(redact=("PASSWORD_COMPROMISED: drop",), batch_size=10)
    batch = Batch(tuple(replace(a_delivery(finding("PASSWORD_COMPROMISED", LOGIN)), sequence=one) for one in (1, 2)))
    messages = json.loads(render(batch, endpoint).body)
    assert [one["data"]["data"] for one in messages] == [WITHHELD, WITHHELD]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each text in JSON."""
    if isinstance(value, str):
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*path, key))


def planted(value: Any, path: tuple[Any, ...], text: str) -> Any:
    """Return JSON with another text at a path."""
    if not path:
        return text
    items = dict(value) if isinstance(value, dict) else list(value)
    items[path[0]] = planted(value[path[0]], path[1:], text)
    return items


def bodies(name: str, delivery: Delivery) -> str:
    """Return what a chat gets of a delivery: alone, and in a digest; with its headers."""
    endpoint, late = to(name, ui_url=UI), replace(delivery, backfilled=True)
    contents = [render(Batch(one), endpoint) for one in ((delivery,), (late,), (late, late))]
    return "\n".join(f"{one.headers} {json.dumps(json.loads(one.body), ensure_ascii=False)}" for one in contents)


CASES = [(entry, path) for entry in EVENT_TYPES for path in places(entry.example)]


def plain(body: str) -> str:
    """Return a body without the signs by which chats escape text."""
    return body.replace("\\", "")


@pytest.mark.parametrize("name", CHATS)
@settings(ANY, max_examples=60)
@given(
    case=some.sampled_from(CASES),
    needle=some.sampled_from([*NEEDLES]),
    before=some.sampled_from(["", "x ", "é", '"', "<", "x " * 2000, "\n"]),
    after=some.sampled_from(["", " x", "é", '"', ">", " x" * 2000, "\n"]),
    scan=some.booleans(),
)
def test_no_secret_reaches_a_chat_whatever_field_it_is_in(
    name: str, case: Any, needle: str, before: str, after: str, scan: bool
) -> None:
    entry, path = case
    text = f"{before}{NEEDLES[needle]}{after}"
    data = planted(entry.example, path, text)
    at = a_scan(name=text, target=text) if scan else None
    shown = bodies(name, a_delivery(an_event(type=entry.name, severity=Severity.HIGH, data=data, scan=at)))
    assert needle not in plain(shown)


SECRETS_OF = {
    "PASSWORD_COMPROMISED": ("joe@acme.example:correct-horse [x]", "correct-horse"),
    "HASH_COMPROMISED": ("joe@acme.example:5f4dcc3b5aa765d61d8327deb882cf99 [x]", "dcc3b5aa765d61d8327d"),
    "CREDIT_CARD_NUMBER": ("4111111111111111", "411111111111"),
    "IBAN_NUMBER": ("DE89370400440532013000", "370400440532"),
    "PGP_KEY": ("mQENBFxcvbnmlkjhgfdsa", "vbnmlkjhgf"),
    "RAW_FILE_META_DATA": ("serial 0007-2291-4417", "2291-4417"),
    "LEAKSITE_CONTENT": ("the whole leak of everybody", "leak of everybody"),
    "HUMAN_NAME": ("Josephine Bloggs", "sephine Bl"),
    "EMAILADDR_COMPROMISED": ("josephine@acme.example [x]", "sephine@"),
    "PHONE_NUMBER": ("+493012345678", "3012345"),
    "DATE_HUMAN_DOB": ("29 February 1980", "February 1980"),
    "PHYSICAL_ADDRESS": ("221b Baker Street, London", "Baker Street"),
}


#: what another text of the event does not quote, since it is the finding itself, or the target
OWN_PLACES = (("data",), ("event_type",), ("target",), ("target_type",))


@pytest.mark.parametrize("name", CHATS)
@settings(ANY, max_examples=60)
@given(
    case=some.sampled_from([one for one in CASES if one[1] not in OWN_PLACES]),
    kind=some.sampled_from([*SECRETS_OF]),
    key=some.sampled_from(["sources", "evidence", "top_findings", "new", "gone"]),
    cut=some.booleans(),
)
def test_data_of_a_secret_type_reach_no_chat_nor_does_what_quotes_them(
    name: str, case: Any, kind: str, key: str, cut: bool
) -> None:
    entry, path = case
    data, needle = SECRETS_OF[kind]
    item = {"event_type": kind, "data": data, "module": "m"}
    content = planted(entry.example, path, f"see {data}" if cut else f"({data}) and {data}")
    content[key] = {"total": 1, "items": [item]} if key in ("new", "gone") else [item]
    shown = bodies(name, a_delivery(an_event(type=entry.name, severity=Severity.HIGH, data=content)))
    assert needle not in plain(shown)


@pytest.mark.parametrize("name", CHATS)
@in_one("kind", SECRETS_OF)
def test_a_finding_of_a_secret_type_reaches_no_chat(name: str, kind: str) -> None:
    data, needle = SECRETS_OF[kind]
    event = finding(kind, data, sources=(Source(kind, data, "m", "h"),), module=data, data_source=data)
    assert needle not in plain(bodies(name, a_delivery(replace(event, data={**event.data, "description": data}))))


def test_each_type_with_secrets_is_tried_or_withheld() -> None:
    for kind in SEVERITY_OF_TYPE:
        shown = of(CHAT, {"event_type": kind, "data": NEEDLES[LINES]})["data"]
        assert LINES not in shown, kind
