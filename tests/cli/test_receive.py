"""What `sfwebhooks receive` stores, refuses and answers, as a process that our sender and raw sockets send to."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.cli import main, parser
from sfwebhooks.formats.content import Content
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.receive.request_log import RequestLog
from sfwebhooks.signatures import guide_signature
from sfwebhooks.signing import sign
from tests.builders import PATIENCE, a_batch, an_endpoint
from tests.cli.test_cli import HOSTILE, Listening, a_body, a_message, command, exchange
from tests.conftest import Result
from tests.test_docs import OPERATIONS
from tests.tiers import slow
from tests.users import NOBODY, command_as, needs_root, open_folder

ONE_STORE = "it is about a receiver"

SECRET = "the secret of both"
GUIDE = Path(__file__).parent.parent / "receivers" / "webhook_logs.sql"


def listening_for_json(*arguments: str) -> Listening:
    """Return a receiver that prints JSON, and its address on standard error."""
    made = object.__new__(Listening)
    made.process = process = command("receive", "--port", "0", "--json", *arguments)
    assert process.stderr
    made.first = process.stderr.readline()
    made.url = made.first.partition("Listening on ")[2].partition(",")[0]
    return made


@pytest.fixture
def listen() -> Iterator[Callable[..., Listening]]:
    """Start receivers: `listen("--respond", "500")`."""
    started: list[Listening] = []

    def start(*arguments: object) -> Listening:
        started.append(Listening("--port", "0", *map(str, arguments)))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def rows(path: Path, columns: str = "event_type, source_ip, processed, error_message") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM webhook_logs ORDER BY id").fetchall()


def numbered(number: int) -> bytes:
    return json.dumps({"event_type": f"event_{number}"}).encode()


def send_aged(receiver: Listening, age: float, *, guide_only: bool = False) -> int | None:
    """Send a delivery that was signed some seconds ago; return the reply's status."""
    endpoint = an_endpoint(url=receiver.url, secrets=[SECRET])
    if guide_only:
        return receiver.post(b"{}", {"X-SpiderFoot-Signature": guide_signature(SECRET, b"{}")})
    return exchange(endpoint, sign(Content(b"{}"), a_batch(), endpoint, time.time() - age)).status


# --- --log


def test_each_request_is_a_row_of_the_guides_table(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--log", path, "--secret", SECRET, "--respond", "200,503,200")
    bodies = (a_body("scan_started"), a_body("high_risk_event"), b"[{},{}]")
    statuses = [receiver.send(body, secrets=[SECRET], headers={}).status for body in bodies[:2]]
    statuses += [receiver.send(bodies[2], secrets=["another one"]).status]
    receiver.end()
    assert statuses == [200, 503, 401]
    first, second, third = rows(path)
    assert (first, second) == (
        ("scan_started", "127.0.0.1", 1, None),
        ("high_risk_event", "127.0.0.1", 0, "answered 503 as asked"),
    )
    assert third[:3] == ("batch", "127.0.0.1", 0)
    assert third[3].startswith("X-SpiderFoot-Signature does not fit: ") and "; webhook-signature does not" in third[3]
    assert [payload.encode() for (payload,) in rows(path, "payload")] == list(bodies)
    ages = rows(path, "abs(julianday('now') - julianday(timestamp)) < 1")
    assert ages == [(1,)] * 3, "UTC, in a form that SQLite reads"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_table_is_the_guides(listen: Callable[..., Listening], tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.db", tmp_path / "theirs.db"
    listen("--log", ours).end()
    with closing(sqlite3.connect(theirs)) as connection:
        connection.execute(GUIDE.read_text(encoding="utf-8"))
    columns = 'cid, name, type, "notnull", upper(dflt_value), pk'

    def table(path: Path) -> list[Any]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(f"SELECT {columns} FROM pragma_table_info('webhook_logs')").fetchall()

    assert table(ours) == table(theirs) and len(table(ours)) == 7
    receiver = listen("--log", theirs)
    assert receiver.send(numbered(1)).status == 200
    receiver.end()
    assert rows(theirs, "id, event_type") == [(1, "event_1")]


@pytest.mark.parametrize(
    ("body", "name", "payload"),
    [
        (b"", "unknown", ""),
        (b"no JSON", "unknown", "no JSON"),
        (b"\xff{}", "unknown", b"\xff{}"),
        (b'{"event_type":"\\ud800 \\u0000\\u001b[31m"}', None, '{"event_type":"\\ud800 \\u0000\\u001b[31m"}'),
        (b'{"a":"\0"}', "unknown", '{"a":"\0"}'),
        (b'{"event_type":7}', "unknown", '{"event_type":7}'),
        (b'{"event_type":"' + b"x" * 5_000_000 + b'"}', "x" * 199 + "\u2026", None),
        (b"[" + b",".join([b"{}"] * 600_000) + b"]", "unknown", None),
    ],
    ids=["empty", "no JSON", "no UTF-8", "lone surrogate", "NUL", "number", "5 MB", "crowded"],
)
def test_any_body_is_logged_as_it_came(
    listen: Callable[..., Listening], tmp_path: Path, body: bytes, name: str | None, payload: str | bytes | None
) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--log", path)
    assert receiver.post(body, {"Content-Type": "application/json"}) == 200
    receiver.end()
    ((found, stored, processed),) = rows(path, "event_type, payload, processed")
    assert processed == 1
    assert found == name if name else found.isprintable()
    assert stored == (body.decode() if payload is None else payload)


@pytest.mark.parametrize("option", ["--log", "--save"])
def test_of_a_large_body_that_is_not_verified_the_start_is_kept(
    listen: Callable[..., Listening], tmp_path: Path, option: str
) -> None:
    path = tmp_path / "got"
    receiver = listen("--secret", SECRET, option, path)
    body = b'{"event_type":"' + b"\x7f" * 20_000_000 + b'"}'
    assert receiver.post(body, {}) == 401
    assert receiver.send(body, secrets=[SECRET]).status == 200
    _, out, err = receiver.end()
    kept = [len(one["body"]) for one in objects(path.read_text())] if option == "--save" else None
    assert (kept or [size for (size,) in rows(path, "length(payload)")]) == [1_000_000, len(body)]
    assert ("of its 20,000,017 bytes, 1,000,000 are kept" in out, len(out) < 2000, err) == (True, True, "")


def test_a_request_is_not_accepted_while_the_log_is_locked(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--log", path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        reply = receiver.send(numbered(1))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        other.execute("ROLLBACK")
    assert receiver.send(numbered(1)).status == 200
    _, out, err = receiver.end()
    assert (rows(path), err) == ([("event_1", "127.0.0.1", 1, None)], "")
    assert "not stored: database is locked; answered 503, to be sent again" in out
    assert "repeat" not in out, "the first one was not accepted"


@slow
def test_a_request_is_not_accepted_while_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "got.db"
    program = f"ulimit -f 100; exec {sys.executable} -m sfwebhooks receive --port 0 --log {path}"  # of 1024 bytes
    receiver = Listening(start=lambda arguments, **files: subprocess.Popen(["bash", "-c", program], text=True, **files))
    assert receiver.send(numbered(1)).status == 200
    assert receiver.send(b'"' + b"x" * 200_000 + b'"').status == 503
    assert receiver.send(numbered(2)).status == 200
    _, out, _ = receiver.end()
    assert "not stored: " in out
    assert rows(path, "event_type") == [("event_1",), ("event_2",)]


def test_what_was_answered_is_logged_though_the_receiver_is_killed(
    listen: Callable[..., Listening], tmp_path: Path
) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--log", path)
    assert [receiver.send(numbered(number)).status for number in range(5)] == [200] * 5
    receiver.process.kill()
    receiver.process.wait()
    assert rows(path, "event_type") == [(f"event_{number}",) for number in range(5)]


def test_a_log_that_was_removed_is_made_again(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--log", path)
    assert receiver.send(numbered(1)).status == 200
    path.rename(tmp_path / "old.db")
    assert receiver.send(numbered(2)).status == 200
    path.unlink()
    path.mkdir()
    assert receiver.send(numbered(3)).status == 503
    path.rmdir()
    assert receiver.send(numbered(3)).status == 200
    _, out, _ = receiver.end()
    assert (rows(tmp_path / "old.db", "event_type"), rows(path, "event_type")) == ([("event_1",)], [("event_3",)])
    assert "not stored: Is a directory" in out


@slow
def test_two_receivers_share_a_log(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "got.db"
    receivers = [listen("--log", path) for _ in range(2)]
    statuses: list[int | None] = []

    def send(receiver: Listening) -> None:
        statuses.extend(receiver.send(numbered(number)).status for number in range(20))

    threads = [threading.Thread(target=send, args=(one,)) for one in receivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses.count(200) == len(rows(path)) == 40


@pytest.mark.parametrize("kind", ["outbox", "text", "other table", "view", "folder", "nowhere"])
def test_something_else_is_not_taken_for_a_log(cli: Callable[..., Result], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "webhooks.db"
    if kind == "outbox":
        outbox = Outbox(path)
        outbox.database.check()
        outbox.close()
    elif kind == "text":
        path.write_text("some notes, which are not a database\n" * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "nowhere":
        path = tmp_path / "nowhere" / "got.db"
    else:
        made = {
            "other table": "CREATE TABLE webhook_logs (id, payload, processed)",
            "view": "CREATE VIEW webhook_logs AS SELECT 1",
        }
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(made[kind])
    before = path.read_bytes() if path.is_file() else b""
    result = cli("receive", "--port", "0", "--log", str(path))
    words = {
        "outbox": "it is another database; expected a new file, or one that",
        "text": "file is not a database; expected a new file",
        "other table": "its table webhook_logs has no column error_message, event_type, source_ip, timestamp",
        "view": "it is another database",
        "folder": "Is a directory",
        "nowhere": "No such file or directory",
    }
    assert (result.code, f"--log {path} cannot be written: {words[kind]}" in result.err) == (1, True), result.err
    assert (path.read_bytes() if path.is_file() else b"") == before


@slow
@needs_root
@pytest.mark.parametrize("writable", [False, True], ids=["folder", "file"])
def test_a_log_that_cannot_be_written_is_noticed_at_the_start(writable: bool) -> None:
    with open_folder(0o777 if writable else 0o755) as folder:
        path = folder / "got.db"
        if writable:
            RequestLog(path).close()
            path.chmod(0o444)
        code, said = command_as(NOBODY, folder, "receive", "--port", "0", "--log", str(path))
    reason = "attempt to write a readonly database" if writable else "Permission denied"
    assert (code, said) == (1, f"sfwebhooks: --log {path} cannot be written: {reason}")


# --- --allow


def test_others_than_the_allowed_are_refused_shown_and_counted(
    listen: Callable[..., Listening], tmp_path: Path
) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--allow", "192.0.2.0/24", "--allow", "::1", "--log", path)
    replies = [receiver.send(body) for body in (b"{}", b"x" * 300_000)]
    assert [(reply.status, reply.body) for reply in replies] == [(403, b"this address is not allowed")] * 2
    _, out, err = receiver.end()
    assert len(re.findall(r"^\d\d:\d\d:\d\d  refused 127\.0\.0\.1: --allow does not name its address$", out, re.M)) == 2
    assert "2 connections from addresses that are not allowed.\nStopped.\n" in out
    assert (rows(path), err) == ([], "")


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0"])
def test_the_allowed_are_received(listen: Callable[..., Listening], allowed: str) -> None:
    assert listen("--allow", "2001:db8::1", "--allow", allowed).send().status == 200


@slow
@pytest.mark.parametrize(("allowed", "status"), [("127.0.0.1", 200), ("::1", 403)])
def test_an_ipv4_address_is_one_on_a_socket_for_both_kinds_too(
    listen: Callable[..., Listening], allowed: str, status: int
) -> None:
    receiver = listen("--host", "::", "--allow", allowed)
    receiver.url = receiver.url.replace("[::]", "127.0.0.1")
    assert receiver.send().status == status


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nWebHook-Request-Origin: a.example\r\n\r\n",
        b"PUT / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_one_who_is_not_allowed_gets_nothing_but_403(listen: Callable[..., Listening], head: bytes) -> None:
    receiver = listen("--allow", "192.0.2.7")
    host, port = receiver.url.rpartition("/")[2].split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(head * 2)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 403 ") and answer.count(b"HTTP/1.1") == 1, "and the connection is closed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--allow", "a.example"], "such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"),
        (["--allow", "10.1.2.3/8"], "did you mean 10.0.0.0/8?"),
        (["--allow", ""], "expected an address or a network"),
        (["--tolerance", "5 apples"], "expected a duration above zero such as 15s, 5m"),
        (["--slow", "-1s"], "expected a duration above zero"),
        *((["--respond", wrong], "such as 500*3,200 (three times 500, then always 200) or 429:30") for wrong in (
            "", "99", "600", "100", "200,", ",200", "200*", "200*0", "200*-1", "200:x", "200:", "ok", "200 500", "²00",
            "200*9999999", "500*3:5", ",".join(["200"] * 1002),
        )),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_wrong_value_is_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["receive", "=".join(arguments)])
    assert (ended.value.code, said in " ".join(capsys.readouterr().err.split())) == (2, True)


# --- --respond, --slow


def test_the_answers_come_in_turn_and_the_last_one_stays(listen: Callable[..., Listening]) -> None:
    receiver = listen("--respond", "500*2, 429:30, 200")
    replies = [receiver.send() for _ in range(5)]
    assert [reply.status for reply in replies] == [500, 500, 429, 200, 200]
    assert [reply.headers.get("Retry-After") for reply in replies] == [None, None, "30", None, None]


@slow
def test_a_response_may_be_given_a_million_times_less_one(listen: Callable[..., Listening]) -> None:
    assert listen("--respond", "503*999999,200").send().status == 503


def test_a_slow_receiver_stores_and_shows_a_request_before_it_answers(
    listen: Callable[..., Listening], tmp_path: Path
) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--slow", "1h", "--log", path)
    sending = threading.Thread(target=receiver.send, args=(numbered(1),), kwargs={"timeout": PATIENCE})
    sending.start()
    assert receiver.line().endswith("event_1")
    assert (rows(path, "event_type"), sending.is_alive()) == ([("event_1",)], True)
    code, out, err = receiver.end()
    sending.join(PATIENCE)
    assert (code, out.endswith("Stopped.\n"), err, sending.is_alive()) == (0, True, "", False)


# --- --tolerance


@pytest.mark.parametrize(
    ("arguments", "age", "status"),
    [
        ((), 280, 200),
        ((), 320, 401),
        ((), -320, 401),
        (("--tolerance", "1h"), 3500, 200),
        (("--tolerance", "1h"), 3700, 401),
        (("--tolerance", "10"), 20, 401),
    ],
)
def test_a_time_beyond_the_tolerance_is_refused(
    listen: Callable[..., Listening], arguments: tuple[str, ...], age: float, status: int
) -> None:
    receiver = listen("--secret", SECRET, *arguments)
    assert send_aged(receiver, age) == status
    _, out, _ = receiver.end()
    assert ("webhook-timestamp is" in out) == (status == 401)


@pytest.mark.parametrize(("arguments", "status"), [((), 200), (("--tolerance", "5m"), 401)])
def test_a_signature_that_does_not_cover_the_time_is_refused_if_a_tolerance_is_given(
    listen: Callable[..., Listening], arguments: tuple[str, ...], status: int
) -> None:
    receiver = listen("--secret", SECRET, *arguments)
    assert send_aged(receiver, 0, guide_only=True) == status
    said = "X-SpiderFoot-Signature alone, which does not" if status == 200 else "alone does not cover the time"
    assert said in receiver.end()[1]


# --- repeats


def test_a_repeat_is_shown_and_accepted_again(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "got.db"
    receiver = listen("--respond", "500,200", "--log", path)
    assert [receiver.send(numbered(1)).status for _ in range(3)] == [500, 200, 200]
    _, out, _ = receiver.end()
    assert len(re.findall(r"bytes, repeat of \d\d:\d\d:\d\d$", out, re.M)) == 1, "one that was refused is not a repeat"
    found = [(processed, (error or "")[:21]) for processed, error in rows(path, "processed, error_message")]
    assert found == [(0, "answered 500 as asked"), (1, ""), (0, "repeat: accepted at 2")]


@slow
def test_a_delivery_without_an_id_is_never_a_repeat(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    assert [receiver.post(b"{}", {}) for _ in range(2)] == [200, 200]
    assert "repeat" not in receiver.end()[1]


# --- --json


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_each_request_is_one_line_of_json_and_nothing_else_is_printed(listen: Callable[..., Listening]) -> None:
    receiver = listening_for_json("--secret", SECRET)
    for body, secret in ((a_message(1, "scan_completed"), SECRET), (a_body("scan_started"), "another one")):
        receiver.send(body, secrets=[secret])
    receiver.send(a_message(1, "scan_completed"), secrets=[SECRET])
    code, out, err = receiver.end()
    first, second, third = objects(out)
    assert (code, err) == (0, "Stopped.\n")
    assert first == {
        "at": pytest.approx(time.time(), abs=600),
        "source_ip": "127.0.0.1",
        "status": 200,
        "verified": True,
        "problems": [],
        "id": a_batch().id,
        "repeat": False,
        "event_type": "scan_completed",
        "messages": 1,
        "client": "",
        "scans": [
            {
                "scan": "5C4A0001",
                "complete": True,
                "summary": "scan 5C4A0001 for team: complete, 1 of 1 message, none missing",
            }
        ],
        "body": a_message(1, "scan_completed").decode(),
    }
    assert (second["status"], second["verified"], len(second["problems"]), second["scans"]) == (401, False, 2, [])
    assert (third["repeat"], third["verified"]) == (True, True)


def test_any_body_is_a_line_of_json(listen: Callable[..., Listening]) -> None:
    receiver = listening_for_json()
    bodies = [*HOSTILE, b'{"a":NaN,"b":1e999}', b"\xff", b'"\x1b[31m"', b"[" * 10_000]
    assert [receiver.send(body).status for body in bodies] == [200] * len(bodies)
    _, out, _ = receiver.end()
    found = objects(out)
    assert [one.get("body_base64") for one in found] == [None] * (len(HOSTILE) + 1) + ["/w=="] + [None] * 2
    texts = [body for body in bodies if body != b"\xff"]
    assert [one["body"].encode() for one in found if "body_base64" not in one] == texts
    assert {one["verified"] for one in found} == {None}
    assert out.isascii() and "\x1b" not in out


@slow
def test_a_refused_address_and_a_request_that_was_not_stored_are_lines_of_json(tmp_path: Path) -> None:
    receiver = listening_for_json("--allow", "192.0.2.7")
    assert receiver.send().status == 403
    (found,) = objects(receiver.end()[1])
    problems = ["--allow does not name its address"]
    assert found == {"at": found["at"], "source_ip": "127.0.0.1", "status": 403, "problems": problems}
    receiver = listening_for_json("--save", "/dev/full")
    assert receiver.send().status == 503
    (found,) = objects(receiver.end()[1])
    assert (found["status"], found["problems"]) == (503, ["not stored: No space left on device"])


def test_a_receiver_ends_once_nobody_reads_its_lines() -> None:
    receiver = listening_for_json()
    assert receiver.process.stdout and receiver.process.stderr
    receiver.process.stdout.close()
    receiver.send()
    assert receiver.process.wait(PATIENCE) == 0
    assert receiver.process.stderr.read() == "Stopped.\n"


# --- the documents


def test_each_option_is_documented() -> None:
    (section,) = re.findall(r"^### A receiver to try\n(.*?)^### ", OPERATIONS, re.S | re.M)
    found: Any = next(action.choices for action in parser()._actions if action.choices)
    given = {name for action in found["receive"]._actions for name in action.option_strings if name[:2] == "--"}
    given -= {"--help", "--config", "--folder", "--quiet", "--verbose"}
    assert given == set(re.findall(r"`(--[a-z-]+)", re.sub("jq .*", "", section)))
