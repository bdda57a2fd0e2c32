"""The functions of the package that read foreign text, each as a function of one text, for `growing`."""

from __future__ import annotations

import json
import random
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from requests.structures import CaseInsensitiveDict

from sfwebhooks import decoding, jsontext, own_secrets, redaction, searching, sensitive, signing_keys, strict_json
from sfwebhooks import text as words
from sfwebhooks.attempts import Reply
from sfwebhooks.config import lists, values
from sfwebhooks.config.location import find_file
from sfwebhooks.config.options import name_problem
from sfwebhooks.config.settings import load
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.emitted_event import Emission, event_of
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, clean_text, printable
from sfwebhooks.formats import render, slack
from sfwebhooks.naming import naming_of
from sfwebhooks.network.addresses import literal
from sfwebhooks.network.http_reader import ReplyReader
from sfwebhooks.network.proxy import is_proxys, proxy_url, proxys_refusal
from sfwebhooks.pipeline import excerpt
from sfwebhooks.receive import capture
from sfwebhooks.receive.capture import Captured
from sfwebhooks.receive.clock_skew import clock_words
from sfwebhooks.receive.completeness import CompletenessCheck
from sfwebhooks.receive.diagnosis import diagnose
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.verification import signature_problems
from sfwebhooks.retry import judge, retry_after
from sfwebhooks.scan.escapes import unescaped
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.host_log import ModuleError, _failed
from sfwebhooks.scan.host_log import event_of_error as error_event
from sfwebhooks.severity import severity_of, special_of
from tests.builders import NOW, a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event

SECRET = "my-long-signing-secret-2024"
GUARDED = an_endpoint(
    secrets=[SECRET], api_key=Secret("ä" * 40), headers={"X-Own": Secret("Basic dXNlcjpwYXNzd29yZA==")}
)
AUDIT = an_endpoint(format="security-audit")
FOLDER = Path(tempfile.mkdtemp(prefix="growing-"))


def data(text: str) -> bytes:
    """Return a text as bytes, as far as UTF-8 has it."""
    return text.encode("utf-8", "replace")


def exhaust(items: Iterable[object]) -> None:
    deque(items, maxlen=0)


def rendered(style: str, text: str, endpoint: Endpoint, **event: Any) -> None:
    render(Batch((a_delivery(an_event(**event)),)), replace(endpoint, format=style))


def finding(style: str, endpoint: Endpoint) -> Callable[[str], object]:
    """Return what makes a message of a finding with a text in all places where a module can put one."""

    def run(text: str) -> object:
        one = a_finding(data=text, module=text, data_source=text, type="VULNERABILITY_CVE_HIGH")
        delivery = a_delivery(event_of_finding(one, a_scan(), text))
        return render(Batch((delivery,)), replace(endpoint, format=style))

    return run


def alert(text: str) -> object:
    content = {"message": text, "title": text, "list": [text], text[:3000]: "x", "evidence": [{"data": text[:99]}]}
    delivery = a_delivery(an_event(type="system_alert", data=content))
    return render(Batch((delivery,)), an_endpoint(format="slack"))


def delivery_of(text: str) -> Delivery:
    return a_delivery(an_event(data={"data": text}))


def evidence(text: str) -> object:
    quoted = [{"event_type": "RAW_RIR_DATA", "data": text[at : at + 1024]} for at in range(32)]
    event = an_event(data={"title": text, "evidence": quoted})
    return redaction.explained(a_delivery(event), redaction.rules_with((), None, is_chat=True))


def expressions(text: str) -> object:
    ours = redaction.rules_with(("/(a+)+$/: mask", "/[^@]+@/: drop"), None, is_chat=False)
    return redaction.explained(a_delivery(an_event(data={"data": text})), ours)


def rules(text: str) -> None:
    with suppress(ValueError):
        lists.redact_rules(text)


def written(name: str, content: str) -> Path:
    (FOLDER / name).write_bytes(data(content))
    return FOLDER / name


def verify(body: bytes, **headers: str) -> object:
    given = {"webhook-id": "id", "webhook-timestamp": "1795255200", "webhook-signature": "v1,AAAA", **headers}
    return diagnose(Captured("x", CaseInsensitiveDict(given), body), [SECRET], NOW)


def signed(text: str) -> object:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature", "X-SpiderFoot-Signature")
    return signature_problems(CaseInsensitiveDict(dict.fromkeys(names, text)), data(text), [SECRET], NOW)


def read(*parts: bytes) -> None:
    """Read a reply that comes in parts."""
    reader = ReplyReader()
    for part in parts:
        if not reader.done:
            reader.feed(part)
    reader.end()


def pieces(whole: bytes) -> list[bytes]:
    """Return bytes as a network hands them over."""
    return [whole[at : at + 1400] for at in range(0, len(whole), 1400)]


def proxied(text: str) -> None:
    """Judge a reply that came through a proxy, with a text wherever a proxy can put one."""
    names = ("Proxy-Status", "X-Squid-Error", "Proxy-Authenticate", "Server", "Via")
    for status in (407, 502):
        reply = Reply(status, headers=CaseInsensitiveDict(dict.fromkeys(names, text)), body=data(text)[:65536])
        is_proxys(reply)
        proxys_refusal(reply, text)


OF_TEXT: dict[str, Callable[[str], object]] = {
    "clean_text": clean_text,
    "printable": printable,
    "readable": words.readable,
    "in_line": lambda text: words.in_line(text, 80),
    "people": words.people,
    "beginnings of a part of it": lambda text: exhaust(searching.beginnings(text[: len(text) // 2] + "x", text)),
    "ends of a part of it": lambda text: exhaust(searching.ends("x" + text[len(text) // 2 :], text)),
    "views": lambda text: exhaust(decoding.views(text)),
    "masked, all of it": lambda text: own_secrets.Mask.of(GUARDED).over(text, len(text)),
    "masked, an excerpt": lambda text: own_secrets.Mask.of(GUARDED).over(text, 1024),
    "masked, it is the secret": lambda text: own_secrets.Mask.of(an_endpoint(api_key=Secret(text))).over(
        text[:-1], 1024
    ),
    "masked_error": lambda text: own_secrets.masked_error(text, [GUARDED], [text[:9999]]),
    "excerpt of a reply": lambda text: excerpt(Reply(400, body=data(text)), own_secrets.Mask.of(GUARDED)),
    "shown": own_secrets.shown,
    "shown_name": own_secrets.shown_name,
    "a password": lambda text: sensitive.masked_value("PASSWORD_COMPROMISED", text),
    "an address": lambda text: sensitive.masked_value("EMAILADDR_COMPROMISED", text),
    "a name": lambda text: sensitive.masked_value("HUMAN_NAME", text),
    "parts of a password": lambda text: exhaust(sensitive.parts_of("PASSWORD_COMPROMISED", text)),
    "secrets in a text": sensitive.without_secrets,
    "redaction of a type": lambda text: redaction.for_everybody(text, "data"),
    "redaction of quotations": evidence,
    "redaction by expressions": expressions,
    "rules of redact": rules,
    "slack, a finding": finding("slack", GUARDED),
    "slack, an alert": alert,
    "slack, a reply": lambda text: slack.read(Reply(400, body=data(text)), a_batch()),
    "generic": finding("generic", an_endpoint()),
    "siem": finding("siem", an_endpoint()),
    "security-audit": finding("security-audit", AUDIT),
    "module_error": lambda text: error_event(ModuleError("sfp_x", "E", text, NOW), a_scan(), [GUARDED], [text[:99]]),
    "hostlog, a line": _failed,
    "severity_of": severity_of,
    "special_of": special_of,
    "kept": lambda text: jsontext.kept({"data": text, "number": 1.5}),
    "Stored": lambda text: len(jsontext.Stored(text)),
    "parsed": lambda text: strict_json.parsed(data(text)),
    "plain": lambda text: strict_json.pure_json({text: [text]}),
    "emit": lambda text: event_of(Emission("cti_report_generated", {"report_id": text, "title": text}, text), NOW),
    "emit, the type": lambda text: event_of(Emission(text, {}), NOW),
    "captured, a file": lambda text: capture.from_file(data(text)),
    "captured, a header": lambda text: capture.from_file(b"POST / HTTP/1.1\r\na: " + data(text) + b"\r\n\r\n"),
    "captured, --header": lambda text: capture.from_parts([f"a: {text}", f"{text}: a"], b""),
    "verify, the body": lambda text: verify(data(text)),
    "verify, a body of JSON": lambda text: verify(json.dumps({"a": text}, ensure_ascii=True).encode()),
    "verify, the id": lambda text: verify(b"{}", **{"webhook-id": text}),
    "verify, the time": lambda text: verify(b"{}", **{"webhook-timestamp": text}),
    "verify, the signature": lambda text: verify(b"{}", **{"webhook-signature": text}),
    "verify, the guide's": lambda text: verify(b"{}", **{"X-SpiderFoot-Signature": text, "Content-Length": text}),
    "clock_words": lambda text: clock_words(text, None, NOW),
    "signature problems": signed,
    "naming_of": lambda text: naming_of([text]),
    "a received body": lambda text: Received(NOW, text, {}, data(text), (), "").messages,
    "judge": lambda text: judge(Reply(429, body=data(text)), NOW),
    "retry_after": lambda text: retry_after({"Retry-After": text, "Date": text}, NOW),
    "cure": lambda text: cure(text, text),
    "escapes": unescaped,
    "a page of HTML": lambda text: Reply(502, body=b"<html>" + data(text)).words,
    "a reply, its head": lambda text: read(b"HTTP/1.1 200 OK\r\n" + data(text) + b"\r\n\r\n"),
    "a reply, a header": lambda text: read(b"HTTP/1.1 200 OK\r\nX: " + data(text) + b"\r\n\r\n"),
    "a reply, chunks": lambda text: read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data(text)),
    "a reply, in pieces": lambda text: read(*pieces(b"HTTP/1.1 200 OK\r\nX: " + data(text) + b"\r\n\r\n")),
    "a proxy's reply": proxied,
    # a file of settings has a megabyte at most
    "settings, a value": lambda text: load(written("a.ini", f"[webhooks.a]\nurl = {text[:999_000]}\n")),
    "settings, a secret": lambda text: load(written("a.ini", f"[webhooks.a]\nsecret = {text[:999_000]}\n")),
    "settings, events": lambda text: load(written("a.ini", f"[webhooks.a]\nevents = {text[:999_000]}\n")),
    "settings, lines": lambda text: load(written("a.ini", f"[webhooks.a]\n{text[:999_000]}")),
    "settings, all": lambda text: load(written("a.ini", text[: 1024 * 1024])),
    "settings, JSON": lambda text: load(written("a.json", text[: 1024 * 1024])),
    "settings, of the host": lambda text: find_file("", written("spiderfoot.conf", text[: 1024 * 1024]).parent),
    **{
        f"values: {parse.__name__}": parse
        for parse in (
            values.boolean,
            values.seconds,
            values.seconds_or_never,
            values.rate,
            lists.schedule,
            lists.words,
            lists.event_words,
            values.url,
            values.base_url,
            values.secrets,
            values.receiver_secrets,
            values.header_value,
            values.path,
            values.comment_in,
            proxy_url,
        )
    },
    "values: url with a text": lambda text: values.url(f"https://{text}"),
    "values: url with a path": lambda text: values.url(f"https://a.test/{text}"),
    "values: number": values.whole_number(0, 9),
    "values: one_of": values.one_of(["generic", "slack"]),
    "values: quotes_in": lambda text: values.quotes_in([text, f'"{text}']),
    "values: nearest": lambda text: values.nearest(text, ["generic", "slack", text[:30]]),
    "name_problem": lambda text: name_problem(f"header.{text}"),
    "key problem": lambda text: signing_keys.problem(f"whsec_{text}"),
    "literal": literal,
}


def chunked(size: int) -> bytes:
    """Return a request of many small chunks."""
    return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (size // 6) + b"0\r\n\r\n"


def message(number: int, scan: str = "s", end: bool = False) -> dict[str, Any]:
    about = {"scan_name": "x", "endpoint": "team", "delivery_id": f"id-{number}", "series": "s", "sequence": number}
    kind = "scan_completed" if end else "high_risk_event"
    return {"event_type": kind, "data": {"scan_id": scan}, "metadata": about}


def shuffled(size: int) -> list[Any]:
    """Return messages of a scan in any order, each one of which leaves a gap at first."""
    numbers = list(range(1, size // 64 + 2))
    random.Random(1).shuffle(numbers)
    return [message(number) for number in numbers]


def descending(size: int) -> list[Any]:
    """Return messages of which each is before all others, with a gap."""
    return [message(2 * number) for number in range(size // 64 + 1, 0, -1)]


def entered(messages: Iterable[Any]) -> None:
    check = CompletenessCheck()
    for one in messages:
        check.enter(one)
    exhaust(str(account) for account in check.open)


def reply_chunks(size: int) -> list[bytes]:
    """Return a reply of many small chunks, which comes in pieces."""
    return pieces(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (size // 6) + b"0\r\n\r\n")


#: name -> what makes items, of about so many bytes, and what reads them
OF_ITEMS: dict[str, tuple[Callable[[int], Any], Callable[[Any], object]]] = {
    "a reply: chunks in pieces": (reply_chunks, lambda parts: read(*parts)),
    "a reply: many headers": (
        lambda size: b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (size // 6) + b"\r\n",
        lambda reply: read(reply),
    ),
    "captured: chunks": (chunked, capture.from_file),
    "captured: lines": (lambda size: b'{"headers":{"a":"b"},"body":""}\n' * (size // 32), capture.from_file),
    "captured: headers": (lambda size: b"a: b\r\n" * (size // 6) + b"\r\n", capture.from_file),
    "parsed: many keys, the last one twice": (
        lambda size: ("{" + "".join(f'"k{at}":1,' for at in range(size // 10)) + '"z":1,"z":1}').encode(),
        strict_json.parsed,
    ),
    "kept: many numbers": (lambda size: {"data": [0.5] * (size // 4)}, jsontext.kept),
    "readable: many texts": (lambda size: {str(at): "a\u200b" for at in range(size // 10)}, words.readable),
    "settings: keys given twice": (
        lambda size: written("a.ini", "[webhooks.a]\n" + "a = b\n" * (min(size, 1_000_000) // 6)),
        load,
    ),
    "settings: many endpoints": (
        lambda size: written("a.ini", "".join(f"[webhooks.e{at}]\nurl=x\n" for at in range(min(size, 10**6) // 24))),
        load,
    ),
    "settings: many secrets": (
        lambda size: written("a.ini", "[webhooks.a]\nsecret =\n" + "  abc\n" * (min(size, 1_000_000) // 6)),
        load,
    ),
    "completeness: any order": (shuffled, entered),
    "completeness: from the end": (descending, entered),
    "completeness: many scans": (lambda size: [message(1, str(at)) for at in range(size // 64)], entered),
    "completeness: many ended scans": (lambda size: [message(1, str(at), True) for at in range(size // 64)], entered),
}  # fmt: skip
