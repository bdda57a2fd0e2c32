"""`sfwebhooks deliveries` and `show`: what a person, and a program, sees of the outbox."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest
from rich.console import Console

from sfwebhooks.attempts import Reply
from sfwebhooks.delivery.ownership import HUNG_SECONDS
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.delivery.status import IDLE, UNPROBED
from sfwebhooks.events import NO_ID, REPLACED, event_key_of
from sfwebhooks.health import Condition, Health
from sfwebhooks.inspection.choosing import past_time
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.own_secrets import Mask
from sfwebhooks.pipeline import excerpt
from sfwebhooks.reasons import DeadReason
from sfwebhooks.retry import State
from sfwebhooks.terminal.delivery_table import DEAD, DELIVERIES, print_table
from tests.builders import NOW, PATIENCE, a_scan, an_endpoint, an_event
from tests.conftest import Result, Team, spoil, sql
from tests.filled import HOSTILE, an_id, begin, put, put_event, send
from tests.leaks import leaks
from tests.processes import Process
from tests.stores import BOTH

STORES = BOTH

ROOT = Path(__file__).parents[2]
DOCTOR = "sfwebhooks doctor says whether the next one will"
KEYS = [
    *(
        "delivery",
        "event",
        "endpoint",
        "name",
        "type",
        "severity",
        "scan",
        "target",
        "series",
        "sequence",
        "state",
        "reason",
    ),
    *("attempts", "tries", "replays", "batch", "accepted_at", "due_at", "settled_at", "last_attempt"),
]


def held(open_at: float) -> Health:
    return Health(Condition.HELD, "http_401", open_at=open_at)


def listed(result: Result) -> list[str]:
    """Return the ids in a table, in their order."""
    return re.findall(r"^[0-9a-f]{8}-[0-9a-f-]{27}", result.out, re.M)


# --- deliveries


@pytest.mark.sqlite("no outbox is created")
@pytest.mark.parametrize("command", [["deliveries"], ["deliveries", "--follow"], ["show", "abcd"], ["dead", "list"]])
def test_without_an_outbox_that_is_said(cli: Callable[..., Result], tmp_path: Path, command: Sequence[str]) -> None:
    result = cli(*command)
    words = f"There is no outbox {tmp_path / 'webhooks.db'}: no scan has had webhooks yet; {DOCTOR}.\n"
    assert (result.code, result.out, result.err) == (0, words, "")


@pytest.mark.sqlite("no outbox is created")
def test_without_an_outbox_a_program_gets_no_line(cli: Callable[..., Result]) -> None:
    result = cli("deliveries", "--json")
    assert (result.code, result.out) == (0, "")
    assert "no scan has had webhooks yet" in result.err


@pytest.mark.sqlite("no outbox is created")
def test_an_outbox_is_not_made_by_looking(cli: Callable[..., Result], tmp_path: Path) -> None:
    cli("deliveries")
    assert list(tmp_path.iterdir()) == []


def test_no_delivery_is_said_too(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    assert cli("deliveries", "--endpoint", "nobody").out == "No deliveries.\n"
    assert cli("deliveries", "--endpoint", "nobody", "--json").out == ""


def test_the_newest_comes_first_with_its_result(cli: Callable[..., Result], outbox: Outbox) -> None:
    scan = a_scan()
    begin(outbox, scan)
    put(outbox, 1, 2)
    send(outbox, State.WAITING, "http_503", "come back later")
    result = cli("deliveries")
    assert (result.code, listed(result)) == (0, [an_id(2), an_id(1)])
    assert (
        f"{an_id(1)} 2026-11-21 10:00:00 team high_risk_event high 5C4A0001 acme.example waiting 1"
        " 2026-11-21 10:01:00 http_503 come back later"
    ) in result.words
    assert "Times are UTC.\n" in result.out


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--endpoint", "siem"], [4]),
        (["--scan", "5C4A0001"], [4, 3, 2, 1]),
        (["--scan", "unknown"], []),
        (["--type", "high*"], [4, 2, 1]),
        (["--type", "scan.completed"], [3]),
        (["--state", "waiting"], [4, 3]),
        (["--state", "delivered"], [2]),
        (["--state", "dead"], [1]),
        (["--since", "2026-11-21T10:00:02"], [4, 3, 2]),
        (["--since", "2026-11-21T12:00:02+02:00"], [4, 3, 2]),
        (["--until", "2026-11-21 10:00:02Z"], [1]),
        (["--until", str(int(NOW) + 3)], [2, 1]),
        (["--since", "365d"], [4, 3, 2, 1]),
        (["--type", "high*", "--until", "2026-11-21T10:00:04", "--state", "dead"], [1]),
    ],
)
def test_each_filter_excludes_the_rest(
    cli: Callable[..., Result], outbox: Outbox, arguments: Sequence[str], numbers: Sequence[int]
) -> None:
    put(outbox, 1, at=NOW + 1)
    put(outbox, 2, at=NOW + 2)
    put_event(outbox, an_event(3, type="scan_completed"), at=NOW + 3)
    put(outbox, 4, endpoint="siem", at=NOW + 4)
    send(outbox, State.DEAD)
    send(outbox, State.DELIVERED)
    wanted = [an_id(number, "siem" if number == 4 else "team") for number in numbers]
    assert listed(cli("deliveries", *arguments)) == wanted


def test_a_duration_is_so_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time()
    assert before - 7200 <= past_time("2h") <= time.time() - 7200


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"],
        ["--until", "2026-13-01"],
        ["--until", "9" * 400],
        ["--limit", "0"],
        ["--limit", "many"],
        ["--state", "lost"],
    ],
)
def test_what_cannot_be_read_is_wrong_usage(
    cli: Callable[..., Result], capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli("deliveries", *arguments)
    said = capsys.readouterr().err
    assert (ended.value.code, "expected " in said or "choose from" in said) == (2, True)


def test_a_limit_says_that_there_is_more(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1, 2, 3)
    result = cli("deliveries", "--limit", "2")
    assert (len(listed(result)), "Only 2 are shown: --limit N shows more." in result.out) == (2, True)
    assert " are shown: --limit N" not in cli("deliveries", "--limit", "3").out


@pytest.mark.parametrize("command", [("deliveries",), ("dead", "list"), ("replay",), ("dead", "drop")])
def test_an_endpoint_that_the_outbox_never_had_is_named(
    cli: Callable[..., Result], outbox: Outbox, command: Sequence[str]
) -> None:
    put(outbox, 1)
    said = 'The outbox has no deliveries for an endpoint "tema", only for: team.'
    assert cli(*command, "--endpoint", "tema").err.strip().endswith(said)
    assert "never had" not in cli(*command, "--endpoint", "team").err


@pytest.mark.parametrize("command", [("deliveries",), ("dead", "list"), ("replay",), ("dead", "drop")])
def test_a_scan_that_the_outbox_does_not_know_is_named(
    cli: Callable[..., Result], outbox: Outbox, command: Sequence[str]
) -> None:
    said = 'The outbox has no scan "999"; its last scans are: {}.'
    put_event(outbox, an_event(2, scan=None))
    assert cli(*command, "--scan", "999").err.strip().endswith(said.format("none"))
    begin(outbox, a_scan())
    put(outbox, 1)
    assert cli(*command, "--scan", "999").err.strip().endswith(said.format("5C4A0001"))
    assert "has no scan" not in cli(*command, "--scan", "5C4A0001").err


@pytest.mark.parametrize("command", [("deliveries",), ("dead", "list"), ("replay",), ("dead", "drop")])
def test_an_event_type_that_there_is_not_is_named(
    cli: Callable[..., Result], outbox: Outbox, command: Sequence[str]
) -> None:
    put(outbox, 1)
    said = 'There is no event type "scan_compleet"; sfwebhooks events lists them. Did you mean "scan_completed"?'
    assert cli(*command, "--type", "scan_compleet").err.strip().endswith(said)
    assert 'There is no event type "nope_*"' in cli(*command, "--type", "nope_*").err
    for known in ("high*", "scan.completed", "finding.critical"):
        assert "There is no event type" not in cli(*command, "--type", known).err


@pytest.mark.parametrize("command", [("deliveries",), ("dead", "list"), ("replay",), ("dead", "drop")])
def test_a_time_that_ends_before_it_begins_is_reported(
    cli: Callable[..., Result], outbox: Outbox, command: Sequence[str]
) -> None:
    put(outbox, 1)
    result = cli(*command, "--since", "2h", "--until", "7d")
    assert (result.code, result.out) == (1, "")
    assert "--since must be before --until" in result.err


def test_why_deliveries_wait_is_said(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1, 2)
    assert f"team: 2 waiting: {IDLE}" in cli("deliveries").words
    outbox.endpoints.pause("team", float("inf"))
    assert "team: 2 waiting: paused until sfwebhooks resume" in cli("deliveries").words
    send(outbox)
    send(outbox)
    assert "waiting:" not in cli("deliveries").out


def test_only_why_what_is_listed_waits_is_said(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    put(outbox, 1, endpoint="siem")
    words = cli("deliveries", "--endpoint", "siem").words
    assert ("siem: 1 waiting: " in words, "team: 1 waiting" in words) == (True, False)


def test_when_a_held_endpoint_is_probed_next_is_said(
    cli: Callable[..., Result], outbox: Outbox, owner: Callable[..., Process]
) -> None:
    put(outbox, 1)
    outbox.queue.settle([], {"team": held(time.time() + 600)})
    assert f"UTC; {UNPROBED}" in cli("deliveries").words
    owner()
    said = r"team: 1 waiting: held, http_401, unhealthy since \S+ \S+ UTC; next probe at 20\S+ \S+ UTC, or to"
    assert re.search(said, cli("deliveries").words)


@pytest.mark.parametrize("command", [("deliveries",), ("show", an_id(1)), ("check",), ("drain", "--timeout", "0.2s")])
def test_a_process_that_hangs_is_named_with_what_helps(
    cli: Callable[..., Result],
    outbox: Outbox,
    owner: Callable[..., Process],
    tmp_path: Path,
    command: Sequence[str],
    own_signals: None,
) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
    put(outbox, 1, at=time.time())
    pid = owner(HUNG_SECONDS + 60).pid
    words = cli(*command).words
    assert re.search(rf"process {pid} owns the lock of this URL and has been inactive since 20\S+ \S+ UTC", words)
    assert f"kill -9 {pid}" in words


def test_a_process_that_is_sending_is_named(
    cli: Callable[..., Result], outbox: Outbox, owner: Callable[..., Process]
) -> None:
    put(outbox, 1)
    assert f"team: 1 waiting: process {owner(1.0).pid} is sending" in cli("deliveries").words


@pytest.mark.sqlite("the file is locked")
def test_a_locked_outbox_is_not_the_end(
    cli: Callable[..., Result], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, 1)
    send(outbox, State.DEAD)
    for module in ("set_aside", "opening"):
        monkeypatch.setattr(f"sfwebhooks.outbox.{module}.BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(outbox.path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        done = cli("dead", "drop", "--all")
    assert done.code == 1
    assert done.err.strip().endswith("run the command again in a moment")


def test_a_name_that_is_not_text_matches_nothing(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    assert cli("deliveries", "--endpoint", "\udcff", "--scan", "\udcff", "--type", "\udcff").code == 0


def test_a_program_gets_an_object_a_line_with_stable_keys(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, State.DEAD, "http_400", "no")
    waiting, dead = cli("deliveries", "--json").objects
    assert list(waiting) == list(dead) == KEYS
    assert (waiting["due_at"], waiting["settled_at"], waiting["last_attempt"]) == (
        "2026-11-21T10:00:00.000Z",
        None,
        None,
    )
    assert (dead["due_at"], dead["settled_at"]) == (None, "2026-11-21T10:00:00.125Z")
    assert dead["last_attempt"] == {
        "at": "2026-11-21T10:00:00.000Z",
        "seconds": 0.125,
        "status": 400,
        "reason": "http_400",
        "trigger": "schedule",
        "excerpt": "no",
    }


# --- as it looks


@pytest.fixture
def hostile(outbox: Outbox) -> Outbox:
    """An outbox whose every text wants to be more than text."""
    scan = a_scan(HOSTILE, target=HOSTILE)
    begin(outbox, scan)
    data = {"event_type": HOSTILE, "data": HOSTILE + "\ud800", "module": HOSTILE}
    put_event(outbox, an_event(1, scan=scan, type=HOSTILE, data=data), HOSTILE, HOSTILE)
    send(outbox, State.DEAD, HOSTILE, HOSTILE, endpoint=HOSTILE)
    sql(outbox, "UPDATE scan SET ended = 'scan_completed'")
    return outbox


@pytest.mark.parametrize(
    "command",
    [
        *(["deliveries", *form] for form in ([], ["--json"])),
        *(["show", "ID", *form] for form in ([], ["--json"])),
        *(["dead", "list", *form] for form in ([], ["--json"])),
        ["replay", "--all", "--dry-run"],
        ["dead", "drop", "--all", "--dry-run"],
    ],
    ids=" ".join,
)
def test_no_text_is_more_than_text(cli: Callable[..., Result], hostile: Outbox, command: Sequence[str]) -> None:
    (record,) = Outbox(hostile.place).listing.deliveries(Selection(), 10)
    result = cli(*(record.id if word == "ID" else word for word in command))
    assert result.code == 0
    assert all(char.isprintable() or char == "\n" for char in result.out)
    assert "[red]" in result.out


def test_a_program_gets_each_text_as_it_is(cli: Callable[..., Result], hostile: Outbox) -> None:
    (found,) = cli("deliveries", "--json").objects
    text = HOSTILE.replace("\0", REPLACED) if isinstance(hostile.place, Dsn) else HOSTILE  # a server has no NUL
    assert [found[key] for key in ("endpoint", "name", "target", "reason")] == [text] * 4
    assert found["last_attempt"]["excerpt"] == text


def screen(found: Sequence[Record], headings: Any, width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False, force_terminal=True, color_system=None)
    print_table(found, headings, out)
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("headings", [DELIVERIES, DEAD], ids=["deliveries", "dead"])
def test_a_terminal_of_any_width_has_ids_times_and_states_in_one_piece(
    outbox: Outbox, headings: Any, width: int
) -> None:
    team = "a_team_with_a_rather_long_name_in_a_rather_large_company"
    put(outbox, 1, endpoint=team)
    send(outbox, State.DEAD, "retries_exhausted: http_503", "busy " * 100, endpoint=team)
    lines = screen(Outbox(outbox.place).listing.deliveries(Selection(), 10), headings, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert an_id(1, team)[:8] in text and "11-21 10:00" in text
    assert headings is DEAD or " dead " in text


def test_in_a_pipe_a_delivery_is_one_line(cli: Callable[..., Result], outbox: Outbox) -> None:
    long = "x" * 300
    put(outbox, 1, endpoint=long)
    send(outbox, State.DEAD, "http_400", "y" * 1000, endpoint=long)
    for command in (["deliveries"], ["dead", "list"]):
        assert len(cli(*command).out.splitlines()) == 3


def test_no_listing_gives_a_secret_away(cli: Callable[..., Result], outbox: Outbox) -> None:
    secret, path = "whsec_c2VjcmV0IG9mIHRoZSB0ZWFtISE=", "url-path-token"
    team = an_endpoint(secrets=[secret])
    echo = f"{team.url.reveal()} {secret} is not known here".encode()
    put(outbox, 1)
    send(outbox, State.DEAD, "http_400", excerpt(Reply(400, body=echo), Mask.of(team)))
    for command in (["deliveries"], ["show", an_id(1)], ["dead", "list"]):
        for form in ([], ["--json"]):
            result = cli(*command, *form)
            assert "is not known here" in result.words
            assert leaks(result.out + result.err, secret, path) == []


# --- show


def test_a_delivery_is_shown_with_every_attempt(cli: Callable[..., Result], outbox: Outbox) -> None:
    begin(outbox, a_scan())
    put_event(outbox, an_event(1), name="finding.high")
    send(outbox, State.WAITING, "http_503", "busy")
    send(outbox, State.DEAD, "http_400", "never", at=NOW + 60)
    result = cli("show", an_id(1)[:8])
    assert result.code == 0
    for words in (
        f"delivery {an_id(1)}",
        "endpoint team",
        "state dead since 2026-11-21 10:01:00 UTC",
        "why http_400",
        "accepted 2026-11-21 10:00:00 UTC",
        "attempts 2 event",
        "event finding.high (high_risk_event), high",
        "finding VULNERABILITY_CVE_HIGH",
        "CVE-2026-0001",
        "scan 5C4A0001 of acme.example",
        "number 1 of this scan and endpoint",
        "2026-11-21 10:00:00 0.12 s 503 http_503 schedule busy",
        "2026-11-21 10:01:00 0.12 s 400 http_400 schedule never",
    ):
        assert words in result.words


def test_a_delivery_that_waits_is_shown_with_its_time(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING, "timeout", "no answer")
    words = cli("show", an_id(1)).words
    assert "state waiting, due 2026-11-21 10:01:00 UTC why timeout" in words


def test_why_a_delivery_waits_is_shown(
    cli: Callable[..., Result], outbox: Outbox, owner: Callable[..., Process]
) -> None:
    put(outbox, 1)
    assert f" waits {IDLE} accepted" in cli("show", an_id(1)).words
    owner()
    outbox.queue.settle([], {"team": held(time.time() + 600)})
    said = r"waits held, http_401, unhealthy since \S+ \S+ UTC; next probe at 20\S+ \S+ UTC, or to"
    assert re.search(said, cli("show", an_id(1)).words)
    outbox.queue.settle([], {"team": Health(failures=1, open_at=time.time() + 600)})
    assert "waits its last attempts failed; the next one is at 20" in cli("show", an_id(1)).words
    outbox.endpoints.pause("team", float("inf"))
    assert "waits paused until sfwebhooks resume; sfwebhooks resume team" in cli("show", an_id(1)).words


def test_a_settled_delivery_waits_for_nothing(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    outbox.endpoints.pause("team", float("inf"))
    assert " waits " not in cli("show", an_id(1)).words


def test_a_delivery_without_an_attempt_is_shown(cli: Callable[..., Result], outbox: Outbox) -> None:
    put_event(outbox, an_event(1, scan=None, data={"message": "a test"}))
    id = Outbox(outbox.place).listing.deliveries(Selection(), 1)[0].id
    assert cli("show", id).words.endswith("No attempts.")


def test_a_replay_is_shown_as_one(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    Outbox(outbox.place).retention.replay(Selection(), NOW + 60)
    assert "accepted 2026-11-21 10:01:00 UTC, for replay 1" in cli("show", an_id(1)).words


def test_a_refusal_is_counted_as_a_try(
    outbox: Outbox, receive: Callable[..., Team], cli: Callable[..., Result]
) -> None:
    team = receive()
    team.answer = 422
    endpoint = an_endpoint(url=team.url)
    put_event(outbox, an_event(1))
    queue = SendQueue([endpoint], outbox, time.time)
    queue.step()
    assert queue.stop(time.monotonic() + PATIENCE)
    (found,) = cli("deliveries", "--json").objects
    assert (found["attempts"], found["tries"], found["reason"]) == (0, 1, "refused: http_422")


def test_which_attempts_used_up_no_retry_is_said(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    Outbox(outbox.place).retention.replay(Selection(), NOW + 60)
    send(outbox, at=NOW + 60)
    words = "attempts 2, of which 1 used up retries; the others were before a replay, in a batch that was split, about"
    assert words in cli("show", an_id(1)).words


@pytest.mark.parametrize("reason", [reason.value for reason in DeadReason])
def test_a_reason_that_no_receiver_gave_is_explained(cli: Callable[..., Result], outbox: Outbox, reason: str) -> None:
    put(outbox, 1)
    send(outbox, State.DEAD, reason)
    assert re.search(rf"why {reason}: \w+ \w+", cli("show", an_id(1)).words)


@pytest.mark.parametrize("state", [State.WAITING, State.DEAD])
def test_what_helps_is_shown(cli: Callable[..., Result], outbox: Outbox, state: State) -> None:
    put(outbox, 1)
    send(outbox, state, "tls_unverified", "Hostname mismatch, certificate is not valid for 'a'")
    assert "what to do the receiver's certificate is for another name" in cli("show", an_id(1)).words


def test_nothing_helps_what_was_delivered(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    assert "what to do" not in cli("show", an_id(1)).words


def test_a_password_that_was_found_is_shown_masked(cli: Callable[..., Result], outbox: Outbox) -> None:
    found = {"event_type": "PASSWORD_COMPROMISED", "data": "joe@acme.example:correct-horse [Leak of 2026]"}
    put_event(outbox, an_event(1, data=found))
    result = cli("show", an_id(1))
    assert "j••••@acme.example:c••••e [Leak of 2026]" in result.out


def test_raw_content_is_not_shown(cli: Callable[..., Result], outbox: Outbox) -> None:
    put_event(outbox, an_event(1, data={"event_type": "RAW_RIR_DATA", "data": "all of a page"}))
    words = cli("show", an_id(1)).words
    assert ("RAW_RIR_DATA" in words, "page" in words, "chat" in words) == (True, False, False)


def test_a_program_gets_all_of_the_event(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING, "http_503", "busy")
    (shown,) = cli("show", an_id(1), "--json").objects
    assert list(shown) == [*KEYS, "at", "data", "log"]
    assert shown["data"] == an_event(1).data
    assert [attempt["excerpt"] for attempt in shown["log"]] == ["busy"]


def test_the_id_of_an_event_means_its_only_delivery(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1, 2)
    assert f"delivery {an_id(1)}" in cli("show", an_event(1).id).words
    assert f"delivery {an_id(2)}" in cli("show", an_event(2).id[:8]).words


def test_the_deliveries_of_an_event_are_shown_with_their_endpoints(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    put(outbox, 1, endpoint="siem")
    result = cli("show", an_event(1).id)
    assert (result.code, result.out) == (1, "")
    assert "more than one delivery belongs to an event with an id that starts with" in result.err
    assert all(f"{an_id(1, name)} to {name}" in result.err for name in ("team", "siem"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("beef0000", 'no delivery, nor the event of one, has an id that starts with "beef0000"'),
        ("abc", '"abc" is too short for an id'),
        ("\udcff\x1b[2J!", "no delivery, nor the event of one, has an id"),
        ("abcd", "more than one delivery has an id that starts with"),
    ],
)
def test_an_id_without_a_delivery_is_reported(
    cli: Callable[..., Result], outbox: Outbox, text: str, words: str
) -> None:
    put(outbox, 1, 2)
    for number in (1, 2):
        key = event_key_of(f"abcd000{number}{NO_ID[8:]}", "team")
        assert key
        sql(outbox, f"UPDATE event SET id = x'{key.hex()}' WHERE number = {number}")
    result = cli("show", text)
    assert (result.code, result.out, words in result.err) == (1, "", True)
    assert result.err.rstrip("\n").isprintable()


# --- deliveries --follow


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `sfwebhooks deliveries --follow` as a process: `follow("--json", ...)`."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        given = {**os.environ, "SPIDERFOOT_DATA": str(tmp_path)}
        started.append(Process(["deliveries", "--follow", *arguments], stdout=PIPE, env=given))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=PATIENCE)


def next_line(process: Process) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_each_new_attempt_is_a_line_until_ctrl_c(outbox: Outbox, follow: Callable[..., Process]) -> None:
    put(outbox, 1, 2)
    process = follow()
    above = [next_line(process) for _ in range(4)]
    send(outbox, State.WAITING, "http_503", HOSTILE)
    line = next_line(process)
    send(outbox, State.DELIVERED, "http_200", "")
    last = next_line(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert [text[:36] for text in above[1:3]] == [an_id(1), an_id(2)], "the newest stands at the end"
    assert line.startswith(f"2026-11-21T10:00:00.000Z {an_id(1)} team high_risk_event: http_503 (waiting) 0.12 s")
    assert "[red]" in line and line.rstrip("\n").isprintable()
    assert last == f"2026-11-21T10:00:00.000Z {an_id(2)} team high_risk_event: http_200 0.12 s\n"


def test_a_program_gets_new_attempts_of_what_it_asks_for(outbox: Outbox, follow: Callable[..., Process]) -> None:
    put(outbox, 1)
    put(outbox, 1, endpoint="siem")
    process = follow("--json", "--endpoint", "siem")
    assert json.loads(next_line(process))["endpoint"] == "siem"
    send(outbox)
    send(outbox, State.DEAD, "http_400", "no", endpoint="siem")
    found = json.loads(next_line(process))
    assert list(found) == [*KEYS, "attempt"]
    assert (found["endpoint"], found["state"], found["attempt"]["excerpt"]) == ("siem", "dead", "no")


def test_a_delivery_whose_data_are_rubbish_is_shown_all_the_same(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    spoil(outbox)
    assert "the stored data is not JSON" in cli("show", an_id(1)).words
    assert json.loads(cli("show", an_id(1), "--json").out)["data"] is None


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE event SET severity = 99 WHERE number = 2", "99 is not a valid Severity"),
        ("UPDATE delivery SET state = 'x' WHERE number = 2", "'x' is not a valid State"),
        ("UPDATE delivery SET series = 99 WHERE number = 2", "series is None"),
        ("UPDATE delivery SET accepted_at = 'x' WHERE number = 2", "accepted_at is 'x'"),
        ("UPDATE delivery SET name = x'00ff' WHERE number = 2", "name is b"),
    ],
)
def test_a_damaged_row_is_named_and_the_others_are_listed(
    damage: str, said: str, cli: Callable[..., Result], outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        put(outbox, number)
    sql(outbox, damage)
    lines = cli("deliveries", "--json").out.splitlines()
    assert [json.loads(line)["delivery"] for line in lines] == [an_id(3), an_id(1)]
    assert f"the row of delivery {an_id(2)} in the outbox is damaged: {said}" in caplog.text
    shown = cli("show", an_id(2))
    assert (shown.code, f"{an_id(2)} in the outbox is damaged: {said}" in shown.err) == (1, True)
