"""The proof of 600 messages that a real receiver has: each flaw is named, and the check in the documents agrees."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.delivery.proving import prove
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.receive.capture import Captured, from_lines
from sfwebhooks.receive.proof import Examination, Fault, Flaw
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.signing_keys import new_whsk, receiver_form
from sfwebhooks.statements import sealed
from tests.builders import NOW, a_scan, an_endpoint, an_event
from tests.cli.test_cli import Listening
from tests.conftest import Clock
from tests.processes import python

ONE_STORE = "statements on a server: tests/delivery/test_proving.py"

DOCS = Path(__file__).parents[2] / "docs" / "proof.md"
KEY, OTHER = new_whsk(), new_whsk()
PUBLIC = receiver_form(KEY)
#: findings of three scans of one target, each with a closing event: 600 messages. The second statement has two parts
SIZES = (99, 298, 200)
Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """The lines that `sfwebhooks receive --save` wrote."""
    folder = tmp_path_factory.mktemp("proof")
    listening = Listening("--port", "0", "--save", str(folder / "saved"), start=python)
    outbox, clock = Outbox(folder / "webhooks.db"), Clock()
    endpoint = an_endpoint("archive", url=listening.url, concurrency=1, proof=Secret(KEY), max_body=45_000)
    for place, size in enumerate(SIZES):
        scan = a_scan(f"5C4A000{place}")
        items = [(found(scan, number), [Wanted("archive", "high_risk_event")]) for number in range(size)]
        outbox.accept(items, NOW)
        event = WebhookEvent(lifecycle_id(scan.id, "ended"), "scan_completed", Severity.INFO, NOW, {**scan.about}, scan)
        outbox.scans.end_scan(event, [Wanted("archive", "scan_completed")], NOW)
        send(endpoint, outbox, clock)
        assert prove(outbox, [endpoint], NOW)
        send(endpoint, outbox, clock)
    outbox.close()
    listening.end()
    return [json.loads(line) for line in (folder / "saved").read_text(encoding="utf-8").splitlines()]


def found(scan: Scan, number: int) -> WebhookEvent:
    return an_event(number, scan=scan, data={**scan.about, "event_type": "URL_FORM", "data": f"https://x/{number}"})


def send(endpoint: Any, outbox: Outbox, clock: Clock) -> None:
    queue = SendQueue([endpoint], outbox, clock)
    while queue.step():
        pass
    queue.stop(0)


def is_statement(line: dict[str, Any]) -> bool:
    return '"event_type":"scan_proof"' in line["body"]


def id_of(line: dict[str, Any]) -> str:
    return next(str(value) for name, value in line["headers"].items() if name.lower() == "webhook-id")


def ours(lines: Lines, *keys: str) -> list[Fault]:
    examination = Examination(keys or (PUBLIC,))
    for one in from_lines((json.dumps(line).encode() for line in lines), "saved"):
        examination.add(one)
    return [*examination.problems()]


@pytest.fixture
def theirs(tmp_path: Path) -> Callable[..., set[tuple[str, str]]]:
    """Run the check in the documents."""
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    assert code and len(code[1].splitlines()) <= 40
    (tmp_path / "check.py").write_text(code[1], encoding="utf-8")

    def run(lines: Lines, key: str = PUBLIC) -> set[tuple[str, str]]:
        (tmp_path / "saved").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        command = [sys.executable, "-I", str(tmp_path / "check.py"), str(tmp_path / "saved"), key]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {(line.partition(": ")[0], line.partition(": ")[2]) for line in done.stdout.splitlines()}

    return run


def changed(line: dict[str, Any], **values: str) -> dict[str, Any]:
    """Return a line with other values at the top of its message."""
    return {**line, "body": json.dumps({**json.loads(line["body"]), **values}, separators=(",", ":"))}


def drop(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    return [*lines[:40], *lines[41:]], {("missing", id_of(lines[40]))}


def alter(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    one = changed(lines[150], timestamp="2030-01-01T00:00:00Z")
    return [*lines[:150], one, *lines[151:]], {("altered", id_of(one))}


def exchange(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    one, other = {**lines[7], "body": lines[9]["body"]}, {**lines[9], "body": lines[7]["body"]}
    return [*lines[:7], one, lines[8], other, *lines[10:]], {("altered", id_of(one)), ("altered", id_of(other))}


def reverse(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    return lines[::-1], set()


def repeat(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    return [*lines, *lines[90:110]], set()


def add(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    one = {**lines[3], "headers": {"webhook-id": "11111111-2222-8333-8444-555555555555"}}
    return [*lines[:200], one, *lines[200:]], {("added", id_of(one))}


def add_of_an_unknown_scan(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    scan = a_scan("OTHER")
    one = changed(lines[3], data=scan.about)  # type: ignore[arg-type]
    one["headers"] = {"webhook-id": "11111111-2222-8333-8444-555555555555"}
    return [one, *lines], {("not proven", id_of(one))}


def cut(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    """Take the whole second scan out: its statement has two parts."""
    left = [line for line in lines if '"scan_id":"5C4A0001"' not in line["body"]]
    return left, {("out of chain", id_of(first_of("5C4A0002", lines)))}


def cut_a_part(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    """Take the last part of a statement out, what only it has, and the statement after it."""
    first, last = [line for line in lines if is_statement(line) and '"scan_id":"5C4A0001"' in line["body"]]
    payload = json.loads(base64.b64decode(json.loads(last["body"])["data"]["payload"]))
    names = {one["name"] for one in payload["subject"]}
    left = [line for line in lines if line is not last and id_of(line) not in names]
    left = [line for line in left if '"scan_id":"5C4A0002"' not in line["body"]]
    return left, {("out of chain", id_of(first))}


def other_key(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    """Sign the last statement with another key, as who has altered a message would have to."""
    at = max(place for place, line in enumerate(lines) if is_statement(line))
    message = json.loads(lines[at]["body"])
    payload = base64.b64decode(message["data"]["payload"])
    forged = {**message["data"], **sealed(payload, OTHER)}
    one = changed(lines[at], data=forged)  # type: ignore[arg-type]
    its = {entry["name"] for entry in json.loads(payload)["subject"]}
    return [*lines[:at], one, *lines[at + 1 :]], {("wrong key", id_of(one)), *(("not proven", name) for name in its)}


def changed_statement(lines: Lines) -> tuple[Lines, set[tuple[str, str]]]:
    """Take a message out of the only statement about the first scan, and the message as well."""
    at = next(place for place, line in enumerate(lines) if is_statement(line))
    message = json.loads(lines[at]["body"])
    payload = json.loads(base64.b64decode(message["data"]["payload"]))
    name = payload["subject"].pop(0)["name"]
    message["data"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    one = {**lines[at], "body": json.dumps(message)}
    left = [line for line in [*lines[:at], one, *lines[at + 1 :]] if id_of(line) != name]
    rest = {("not proven", entry["name"]) for entry in payload["subject"]}
    second = first_of("5C4A0001", lines)
    return left, {("wrong key", id_of(one)), ("out of chain", id_of(second)), *rest}


def first_of(scan_id: str, lines: Lines) -> dict[str, Any]:
    return next(line for line in lines if is_statement(line) and f'"scan_id":"{scan_id}"' in line["body"])


ATTACKS = (drop, alter, exchange, reverse, repeat, add, add_of_an_unknown_scan, cut, cut_a_part, other_key,
           changed_statement)  # fmt: skip


def test_600_messages_are_proven(captured: Lines, theirs: Callable[..., set[tuple[str, str]]]) -> None:
    assert sum(not is_statement(line) for line in captured) == 600
    assert ours(captured) == []
    assert theirs(captured) == set()


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_flaw_is_named_and_both_implementations_agree(
    captured: Lines, theirs: Callable[..., set[tuple[str, str]]], attack: Callable[[Lines], Any]
) -> None:
    lines, expected = attack([*captured])
    named = {(one.flaw.value, one.id) for one in ours(lines) if one.flaw is not Flaw.ORDER}
    assert named == expected
    assert theirs(lines) == expected


def test_a_wrong_key_proves_nothing(captured: Lines, theirs: Callable[..., set[tuple[str, str]]]) -> None:
    named = {(one.flaw.value, one.id) for one in ours(captured, receiver_form(OTHER))}
    assert {flaw for flaw, _ in named} == {"wrong key", "not proven"}
    assert theirs(captured, receiver_form(OTHER)) == named


def test_an_exchanged_body_is_named(captured: Lines) -> None:
    lines, _ = exchange([*captured])
    first, second = (one for one in ours(lines) if one.flaw is Flaw.ALTERED)
    assert first.words == f"it has the body of {second.id}" and second.words == f"it has the body of {first.id}"


def test_lines_in_another_order_are_a_remark(captured: Lines) -> None:
    (one,) = ours([captured[1], captured[0], *captured[2:]])
    assert (one.flaw, one.id) == (Flaw.ORDER, id_of(captured[0]))


def test_a_forged_message_cannot_pass_for_a_statement(captured: Lines) -> None:
    carrier = first_of("5C4A0000", captured)
    envelope = json.loads(carrier["body"])["data"]
    forged = changed(captured[3], data={**json.loads(captured[3]["body"])["data"], **envelope})  # type: ignore[arg-type]
    forged["headers"] = {"webhook-id": "11111111-2222-8333-8444-555555555555"}
    assert (Flaw.ADDED, id_of(forged)) in [(one.flaw, one.id) for one in ours([*captured, forged])]


def test_an_earlier_statement_need_not_be_there(captured: Lines) -> None:
    lines = [line for line in captured if '"scan_id":"5C4A0000"' not in line["body"]]
    payload = base64.b64decode(json.loads(first_of("5C4A0000", captured)["body"])["data"]["payload"])
    assert [one.flaw for one in ours(lines)] == [Flaw.CHAIN]
    examination = Examination([PUBLIC], [hashlib.sha256(payload).hexdigest()])
    for one in from_lines((json.dumps(line).encode() for line in lines), "saved"):
        examination.add(one)
    assert [*examination.problems()] == []


def hostile() -> Iterator[bytes]:
    envelope = {"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}
    yield from (b"", b"\0", b"[" * 100_000, b'{"a":' * 100_000, b"[[[]]]", b'"x"', b"NaN", b"\xff\xfe", b"{}" * 1000)
    yield json.dumps({"event_type": "scan_proof", "data": "\ud800"}).encode()
    yield json.dumps({"event_type": "scan_proof", "data": {**envelope, "payload": 7}}).encode()
    yield json.dumps(envelope).encode()
    yield from (sealed_text(payload) for payload in (b"", b"7", b"[]", b"[" * 100_000, b'{"_type":7}', b"\xff"))
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:sfwebhooks:scan-proof:v1"}
    predicates = (7, {"chain": 7, "scan": [], "pending": 7}, {"chain": {"number": "x"}, "parts": "x", "part": 1})
    for subject in (7, [7], [{"name": [], "digest": "x"}], [{"annotations": {"messages": "x"}}]):
        for predicate in predicates:
            yield sealed_text(json.dumps({**statement, "subject": subject, "predicate": predicate}).encode())


def sealed_text(payload: bytes) -> bytes:
    return json.dumps(sealed(payload, KEY)).encode()


def test_hostile_bodies_are_problems_and_no_errors(captured: Lines) -> None:
    examination = Examination([PUBLIC])
    for number, body in enumerate(hostile()):
        examination.add(Captured(f"line {number}", {}, body))
    assert {one.flaw for one in examination.problems()} <= {Flaw.KEY, Flaw.CHAIN, Flaw.UNPROVEN, Flaw.MISSING}
