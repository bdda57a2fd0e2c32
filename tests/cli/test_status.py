"""`sfwebhooks status`: the live state of each endpoint, what is sending, and the exit code for a monitor."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.delivery.ownership import HUNG_SECONDS
from sfwebhooks.health import Condition, Health
from sfwebhooks.inspection.live_state import TROUBLE, Standing
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.schema import VERSION
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from sfwebhooks.terminal.output import no_outbox
from tests.builders import a_scan, an_event
from tests.conftest import Gate, Result, Team, sql
from tests.filled import HOSTILE, begin, put, send
from tests.processes import Process
from tests.stores import BOTH, place_in
from tests.test_docs import OPERATIONS
from tests.test_service import Run
from tests.threads import until
from tests.users import NOBODY, command_as, needs_root, open_folder

STORES = BOTH

TEAM = "[webhooks.team]\nurl = https://team.example.test/hush-path\nsecret = hush-secret-of-the-team\n"
NOTHING_SENDS = "No process is sending: sfwebhooks drain sends once, sfwebhooks run keeps sending."


def is_unhealthy(outbox: Outbox, path: Path, condition: Condition, reason: str, **values: Any) -> None:
    """Write down the health of the team."""
    (endpoint,) = load(path).endpoints
    health = Health(condition, reason, since=time.time() - 7200, fingerprint=endpoint.fingerprint, **values)
    outbox.queue.settle([], {"team": health})


def of_team(result: Result) -> dict[str, Any]:
    (found,) = [one for one in result.objects if one["endpoint"] == "team"]
    return found


# --- without trouble


@pytest.mark.sqlite("no outbox is created")
def test_an_endpoint_is_ready_before_anything_was_sent(
    cli: Callable[..., Result], configure: Any, tmp_path: Path
) -> None:
    configure(TEAM)
    result = cli("status")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"^team +ready +0", result.out, re.M)
    assert result.out.splitlines()[-2:] == [
        NOTHING_SENDS,
        no_outbox(tmp_path / FILE),
    ]
    assert not (tmp_path / FILE).exists()
    result = cli("status", "--json")
    assert (result.code, of_team(result)["state"], of_team(result)["waiting"]) == (0, "ready", 0)
    assert "There is no outbox" in result.err


def test_the_last_results_and_the_backlog_are_shown(cli: Callable[..., Result], configure: Any, outbox: Outbox) -> None:
    configure(TEAM)
    now = time.time()
    put(outbox, 1, 2, 3, at=now - 7260)
    send(outbox, at=now - 7200)
    send(outbox, State.WAITING, "http_503", "upstream is down", at=now - 130)
    result = cli("status")
    assert re.search(r"^team +ready +2 +2 h +2 h ago +http_503 2 min ago$", result.out, re.M)
    assert result.code == 0
    found = of_team(cli("status", "--json"))
    assert (found["waiting"], found["refused"], found["dead"], found["needs_attention"]) == (2, 0, 0, False)
    assert (found["waits_for"], found["sender"]) == ("no_sender", None)
    assert found["last_error"]["reason"] == "http_503"
    assert found["last_error"]["excerpt"] == "upstream is down"
    assert found["last_success_at"] < found["last_error"]["at"]
    assert found["to"] == "https://team.example.test"


@pytest.mark.parametrize("json", [True, False])
def test_no_secret_is_shown(cli: Callable[..., Result], configure: Any, outbox: Outbox, json: bool) -> None:
    configure(TEAM)
    put(outbox, 1)
    result = cli("status", *(["--json"] if json else []))
    assert "hush" not in result.out + result.err


def test_the_pace_and_the_time_that_is_left_are_shown(
    cli: Callable[..., Result], configure: Any, outbox: Outbox
) -> None:
    configure(f"{TEAM}rate = 1/s\n")
    put(outbox, *range(600), at=time.time())
    assert "team: paced to 1/s, about 10 min for the waiting deliveries\n" in cli("status").out
    found = of_team(cli("status", "--json"))
    assert (found["rate"], found["rate_seconds_left"]) == ("1/s", 600)


def test_dead_letters_and_refused_messages_are_named(
    cli: Callable[..., Result], configure: Any, outbox: Outbox
) -> None:
    configure(TEAM)
    put(outbox, 1, 2, at=time.time())
    send(outbox, State.DEAD, "refused: http_403", at=time.time())
    sql(outbox, "UPDATE delivery SET refusals = 1, attempts = 1 WHERE state = 'waiting'")
    result = cli("status")
    assert "1 dead: sfwebhooks dead list --endpoint team" in result.out
    assert "1 of them was refused and is set aside until the next try" in result.out
    assert (result.code, of_team(cli("status", "--json"))["dead"]) == (0, 1)


# --- each state


def off(outbox: Outbox, path: Path) -> None:
    path.write_text(f"{TEAM}enabled = false\n")


def all_off(outbox: Outbox, path: Path) -> None:
    path.write_text(f"[webhooks]\nenabled = false\n{TEAM}")


def paused(outbox: Outbox, path: Path) -> None:
    outbox.endpoints.pause("team", time.time() + 7200)


def mistaken(outbox: Outbox, path: Path) -> None:
    path.write_text(f"{TEAM}timeout = 5 apples\n")


def unknown_events(outbox: Outbox, path: Path) -> None:
    path.write_text(f"{TEAM}events = nonsense\n")


def failing(outbox: Outbox, path: Path) -> None:
    is_unhealthy(outbox, path, Condition.FAILING, "timeout", open_at=time.time() + 130)


def held(outbox: Outbox, path: Path) -> None:
    is_unhealthy(outbox, path, Condition.HELD, "http_401")


def disabled(outbox: Outbox, path: Path) -> None:
    put(outbox, 1, at=time.time())
    is_unhealthy(outbox, path, Condition.DISABLED, "http_410")


def late(outbox: Outbox, path: Path) -> None:
    put(outbox, 1, at=time.time() - 18 * 3600)


def removed(outbox: Outbox, path: Path) -> None:
    put(outbox, 1, at=time.time())
    path.write_text(TEAM.replace("team]", "other]"))


#: what brings the team into a state, and the beginning of the line that explains it
STATES: tuple[tuple[Standing, Callable[[Outbox, Path], None], str], ...] = (
    (Standing.OFF, off, "team: it is off (enabled = false in its section); sfwebhooks enable team"),
    (Standing.OFF, all_off, "team: webhooks are off (enabled = false)"),
    (Standing.PAUSED, paused, "team: paused until 20"),
    (Standing.MISTAKE, mistaken, "team: config_mistake, timeout: expected a duration"),
    (Standing.MISTAKE, unknown_events, "team: its events are not known because of a mistake in its settings"),
    (Standing.FAILING, failing, "team: timeout for 2 h"),
    (Standing.HELD, held, "team: http_401 for 2 h"),
    (Standing.DISABLED, disabled, "team: it answered 410 Gone; nothing is sent until its settings change, or"),
    (Standing.LATE, late, "team: "),
    (Standing.REMOVED, removed, "team: the settings have no such endpoint: sfwebhooks move --endpoint team --to NAME"),
)


@pytest.mark.parametrize(("standing", "bring", "words"), STATES)
def test_each_state_is_shown_with_what_helps_and_its_exit_code(
    cli: Callable[..., Result],
    configure: Any,
    outbox: Outbox,
    standing: Standing,
    bring: Callable[[Outbox, Path], None],
    words: str,
) -> None:
    path = configure(TEAM)
    outbox.database.check()
    bring(outbox, path)
    result = cli("status")
    assert re.search(rf"^team +{standing.value} ", result.out, re.M), result.out
    assert f"\n{words}" in result.out or standing is Standing.LATE
    is_trouble = standing in TROUBLE
    assert result.code == (3 if is_trouble else 0)
    result = cli("status", "--json")
    found = of_team(result)
    assert (result.code, found["state"], found["needs_attention"]) == (
        3 if is_trouble else 0,
        standing.value,
        is_trouble,
    )
    assert found["reason"]
    assert bool(found["what_to_do"]) is (standing is not Standing.OFF)
    assert not re.search("sfwebhooks [a-z]+ NAME", found["what_to_do"])


@pytest.mark.parametrize("bring", [failing, held, disabled, late, removed])
def test_check_and_status_agree_on_what_needs_attention(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, bring: Callable[[Outbox, Path], None]
) -> None:
    path = configure(TEAM)
    assert (cli("check").code, cli("status").code) == (0, 0)
    outbox.database.check()
    bring(outbox, path)
    assert (cli("check").code, cli("status").code) == (3, 3)


def test_an_endpoint_whose_settings_have_changed_is_ready(
    cli: Callable[..., Result], configure: Any, outbox: Outbox
) -> None:
    held(outbox, configure(TEAM))
    configure(f"{TEAM}timeout = 9s\n")
    result = cli("status")
    assert (result.code, "team: not tried since its settings changed" in result.out) == (0, True)


def test_a_pause_without_end_has_no_time(cli: Callable[..., Result], configure: Any, outbox: Outbox) -> None:
    configure(TEAM)
    outbox.endpoints.pause("team", float("inf"))
    found = of_team(cli("status", "--json"))
    assert (found["state"], found["paused_until"], found["reason"]) == (
        "paused",
        None,
        "paused until sfwebhooks resume",
    )


@pytest.mark.parametrize("standing", Standing)
def test_the_documents_have_each_state(standing: Standing) -> None:
    code = 1 if standing is Standing.UNKNOWN else 3 if standing in TROUBLE else 0
    cure = standing.cure.format(name="NAME", pid="PID")
    assert f"| `{standing.value}` | {standing.meaning} | {cure} | {code} |" in OPERATIONS


# --- who sends


def test_a_service_that_is_sending_is_named(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, team: Team, gate: Gate, tmp_path: Path
) -> None:
    configure(f"[webhooks.team]\nurl = {team.url}\nevents = all\n")
    team.answer = gate
    put(outbox, 1, 2, 3, at=time.time())
    run = Run(tmp_path)
    try:
        team.wait_for(1)
        result = cli("status")
        assert f"Sending: sfwebhooks run (process {run.process.pid})." in result.out
        assert f"process {run.process.pid} is sending" in result.out
        found = of_team(cli("status", "--json"))
        assert (found["sender"]["pid"], found["sender"]["kind"]) == (run.process.pid, "run")
        assert (found["sender"]["hangs"], found["waits_for"]) == (False, "sending")
        gate.open()
        until(lambda: not of_team(cli("status", "--json"))["waiting"])
        assert of_team(cli("status", "--json"))["last_success_at"]
    finally:
        run.process.kill()
        run.process.wait()
    until(lambda: NOTHING_SENDS in cli("status").out)


def test_an_idle_delivery_process_sends_too(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, team: Team, tmp_path: Path
) -> None:
    configure(f"[webhooks.team]\nurl = {team.url}\n")
    outbox.database.check()
    run = Run(tmp_path, more=["--while-needed"])
    try:
        run.wait_for("sending")
        assert f"Sending: the delivery process (process {run.process.pid})." in cli("status").out
    finally:
        run.process.kill()
        run.process.wait()


def test_a_running_scan_sends_if_nothing_else_does(cli: Callable[..., Result], configure: Any, outbox: Outbox) -> None:
    configure(TEAM)
    begin(outbox, a_scan())
    lock = outbox.locks.scan(a_scan().id)
    assert lock.take()
    lock.note(f"mark digest {os.getppid()}")
    try:
        # a lock that this process holds is not free for another one
        status = Process(["status", "--folder", str(outbox.path.parent)], stdout=PIPE)
        assert f"Sending: a scan (process {os.getppid()})." in status.communicate(timeout=60)[0]
    finally:
        lock.release()
    assert NOTHING_SENDS in cli("status").out


def test_a_command_that_sends_is_named(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, owner: Callable[..., Process]
) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    pid = owner().pid
    assert f"Sending: a command such as sfwebhooks drain (process {pid})." in cli("status").out
    assert of_team(cli("status", "--json"))["sender"]["kind"] == "command"


def test_the_next_probe_of_a_process_that_sends_is_shown(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, owner: Callable[..., Process]
) -> None:
    failing(outbox, configure(TEAM))
    put(outbox, 1, at=time.time())
    owner()
    assert "team: timeout for 2 h; next probe in 2 min, at once: sfwebhooks resume team\n" in cli("status").out
    assert of_team(cli("status", "--json"))["next_probe_at"]


def test_a_process_that_hangs_needs_attention(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, owner: Callable[..., Process]
) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    pid = owner(HUNG_SECONDS + 60).pid
    result = cli("status")
    assert (result.code, f"kill -9 {pid}" in result.words) == (3, True)
    assert result.out.endswith(f"{NOTHING_SENDS}\n")
    found = of_team(cli("status", "--json"))
    assert (found["state"], f"kill -9 {pid}" in found["what_to_do"]) == ("sender_hangs", True)


def test_the_lock_of_a_dead_process_is_not_a_sender(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, owner: Callable[..., Process]
) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    process = owner()
    process.kill()
    process.wait()
    result = cli("status")
    assert (result.code, NOTHING_SENDS in result.out) == (0, True)
    assert of_team(cli("status", "--json"))["sender"] is None


# --- outboxes and settings in trouble


def test_without_settings_it_ends_badly(cli: Callable[..., Result], tmp_path: Path) -> None:
    result = cli("status")
    assert (result.code, result.out, f"no {tmp_path / 'webhooks.ini'}" in result.err) == (1, "", True)


@pytest.mark.parametrize("text", ["", "[webhooks]\n", "\0rubbish"])
def test_settings_without_an_endpoint_end_badly(cli: Callable[..., Result], configure: Any, text: str) -> None:
    configure(text)
    result = cli("status")
    assert (result.code, result.out) == (1, "")
    assert "sfwebhooks check shows everything that is wrong" in result.err


def test_settings_that_may_have_another_endpoint_need_attention(cli: Callable[..., Result], configure: Any) -> None:
    configure(f"{TEAM}[webhooks.]\nurl = https://x.example.test/\n")
    result = cli("status")
    assert (result.code, "The settings may have another endpoint: sfwebhooks check" in result.out) == (3, True)


@pytest.mark.sqlite("the file is damaged")
def test_a_corrupt_outbox_ends_badly_and_is_not_changed(
    cli: Callable[..., Result], configure: Any, tmp_path: Path
) -> None:
    configure(TEAM)
    (tmp_path / FILE).touch(0o600)
    (tmp_path / FILE).write_bytes(b"rubbish" * 1000)
    result = cli("status")
    assert (result.code, result.out, "is corrupt" in result.err) == (1, "", True)
    assert (tmp_path / FILE).read_bytes() == b"rubbish" * 1000


@pytest.mark.sqlite("the file's version")
def test_an_outbox_of_a_newer_version_ends_badly(cli: Callable[..., Result], configure: Any, outbox: Outbox) -> None:
    configure(TEAM)
    outbox.database.check()
    outbox.close()
    with closing(sqlite3.connect(outbox.path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    result = cli("status")
    assert (result.code, "was created by a newer sfwebhooks" in result.err) == (1, True)


@pytest.mark.sqlite("the file is locked")
def test_an_outbox_that_another_process_writes_to_can_be_read(
    cli: Callable[..., Result], configure: Any, outbox: Outbox
) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        result = cli("status")
        writer.execute("ROLLBACK")
    assert (result.code, of_team(cli("status", "--json"))["waiting"]) == (0, 1)


@pytest.mark.sqlite("the file is locked")
def test_an_outbox_locked_for_reading_ends_badly(cli: Callable[..., Result], configure: Any, outbox: Outbox) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    outbox.close()
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        result = cli("status")
        other.execute("ROLLBACK")
    assert (result.code, "locked" in result.err, "run the command again" in result.err) == (1, True, True)


@pytest.mark.sqlite("the file's permissions")
@needs_root
def test_an_outbox_that_cannot_be_written_can_be_read() -> None:
    with open_folder() as folder:
        (folder / "webhooks.ini").write_text(TEAM)
        with closing(Outbox(place_in(folder))) as outbox:
            put(outbox, 1, at=time.time())
            assert outbox.locks.scan("any").take()
        outbox.path.chmod(0o644)
        code, words = command_as(NOBODY, folder, "status")
    assert (code, "team ready 1" in words) == (0, True), words
    assert words.endswith("This user cannot see which process sends: run this as the user of SpiderFoot.")


def test_settings_that_cannot_be_read_are_an_error_even_if_deliveries_wait(
    cli: Callable[..., Result], configure: Any, outbox: Outbox, tmp_path: Path
) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    result = cli("status", "--config", str(tmp_path / "none.ini"))
    assert (result.code, "none.ini: cannot be read: No such file or directory" in result.err) == (1, True)


def test_hostile_texts_do_not_reach_the_terminal(cli: Callable[..., Result], configure: Any, outbox: Outbox) -> None:
    configure(TEAM)
    put(outbox, 1, at=time.time())
    send(outbox, State.WAITING, "http_503", HOSTILE * 100, at=time.time())
    put(outbox, 2, endpoint=HOSTILE, at=time.time())
    result = cli("status")
    assert result.code == 3
    assert not set(result.out) & {"\x1b", "\x07", "\x00", "\r", "\x7f", "\x9b", "\u202e"}
    assert cli("status", "--json").out.isascii()


def test_a_row_of_an_unknown_event_is_not_in_the_way(
    cli: Callable[..., Result], configure: Any, outbox: Outbox
) -> None:
    configure(TEAM)
    outbox.accept(
        [(an_event(5_000_000, data={"data": "x" * 5_000_000}), [Wanted("team", "high_risk_event")])], time.time()
    )
    sql(outbox, "UPDATE delivery SET reason = x'ff00'")
    assert cli("status").code == 0
