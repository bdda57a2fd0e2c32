"""`sfwebhooks connect`: in a terminal and without one, while a scan is running, and killed at each step."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest

from sfwebhooks.cli import main
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.receive.received import Received
from sfwebhooks.scan.lifecycle import started
from tests.builders import NOW, a_finding, a_scan
from tests.conftest import Gate, Result, Team, sql
from tests.hosted import add_scan
from tests.processes import Process
from tests.scanning import Scanning, hashes, lines, types
from tests.stores import BOTH, place_in
from tests.terminals import in_terminal
from tests.threads import until

STORES = BOTH

pytestmark = pytest.mark.usefixtures("own_signals", "store")
PAST = "5C4A0099"
#: findings of the past scan
FOUND = 6
#: the questions, in order
LOOK, SEND, LIVE = ("would be sent of past scans? [Y/n]", "marked as backfilled? [y/N]", "live? [Y/n]")


@pytest.fixture
def scanning(tmp_path: Path) -> Iterator[Scanning]:
    """A scan that is about to run, and a past one."""
    made = Scanning(tmp_path)
    past = a_scan(PAST, database=str(tmp_path / "spiderfoot.db"))
    add_scan(tmp_path / "spiderfoot.db", past, [a_finding(f"past-{number}", sources=()) for number in range(FOUND)])
    yield made
    if made.run:
        made.run.end()


@pytest.fixture
def other(receive: Callable[..., Team]) -> Team:
    return receive()


def connect(folder: Path, *answers: tuple[str, str], options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run the command in a terminal; return its exit code, and what it printed in one line."""
    code, shown = in_terminal(["connect", "other", "--folder", str(folder), *options], answers)
    return code, " ".join(shown.split())


def is_enabled(folder: Path) -> bool:
    return "enabled = true" in (folder / "webhooks.ini").read_text()


def live(team: Team) -> list[Received]:
    """Return the messages without those of past scans, and without tests."""
    its = [one for one in team.got if one.message["event_type"] != "system_alert"]
    return [one for one in its if not one.message["metadata"].get("backfilled")]


def test_it_goes_live_while_a_scan_is_running_without_a_gap_or_a_repeat(
    scanning: Scanning, team: Team, other: Team, tmp_path: Path
) -> None:
    off = lines(other, enabled="false")
    scanning.configure(team=lines(team), other=off)
    scanning.begin()
    scanning.find(5)
    code, shown = connect(tmp_path, (LOOK, "y\r"), (SEND, "y\r"), (LIVE, "y\r"))
    assert code == 0, shown
    steps = [shown.index(f"Step {number} of 4") for number in (1, 2, 3, 4)]
    assert steps == sorted(steps)
    assert f"other: {FOUND + 2} deliveries in {FOUND + 2} messages" in shown
    assert f"{FOUND + 2} delivered, 0 waiting, 0 dead." in shown
    assert f"Scan {scanning.scan.id} is running, and uses it" in shown
    assert "other is live." in shown
    scanning.find(5)
    scanning.finish()
    past = [one for one in other.got if one.message["metadata"].get("backfilled")]
    assert sorted(one.message["data"]["hash"] for one in past if "hash" in one.message["data"]) == [
        f"past-{number}" for number in range(FOUND)
    ]
    ours, theirs = ({one.message["metadata"]["event_id"] for one in live(each)} for each in (team, other))
    assert ours == theirs and len(ours) == 12
    assert len({*other.ids}) == len(other.ids) == 1 + FOUND + 2 + 12


def test_a_scan_that_ends_meanwhile_is_sent_as_well(
    scanning: Scanning, team: Team, other: Team, tmp_path: Path
) -> None:
    """It has begun with the old settings, and is over before the new ones are there."""
    scanning.configure(team=lines(team), other=lines(other, enabled="false"))
    scanning.begin()
    scanning.find(3)

    def answer(received: Received) -> int:
        if received.message["metadata"].get("backfilled") and scanning.run:
            scanning.finish()
            scanning.run = None
        return 200

    other.answer = answer
    code, shown = connect(tmp_path, options=("--yes",))
    assert code == 0, shown
    assert f"Scan {scanning.scan.id} has ended meanwhile" in shown
    assert {*hashes(other)} == {*hashes(team), *(f"past-{number}" for number in range(FOUND))}
    assert len({*other.ids}) == len(other.ids)


def test_what_is_refused_is_not_done(scanning: Scanning, team: Team, other: Team, tmp_path: Path) -> None:
    scanning.configure(other=lines(other, enabled="false"))
    code, shown = connect(tmp_path, (LOOK, "y\r"), (SEND, "n\r"), (LIVE, "n\r"))
    assert (code, is_enabled(tmp_path), types(other)) == (1, False, ["system_alert"])
    assert "other is still disabled" in shown
    code, shown = connect(tmp_path, (LOOK, "n\r"), (LIVE, "y\r"), options=("--no-test",))
    assert (code, is_enabled(tmp_path), len(other.got)) == (0, True, 1)
    assert "Step 1 of 4: test message, skipped" in shown


def test_steps_are_skipped_and_it_can_be_run_again(
    scanning: Scanning, other: Team, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    scanning.configure(other=lines(other, enabled="false"))
    result = cli("connect", "other", "--yes", "--no-test", "--no-backfill")
    assert (result.code, len(other.got), is_enabled(tmp_path)) == (0, 0, True)
    result = cli("connect", "other", "--yes", "--no-test")
    assert (result.code, len(other.got)) == (0, FOUND + 2)
    assert "enabled already" in result.words and "last changed at" in result.words
    result = cli("connect", "other", "--yes", "--no-test")
    assert (result.code, len(other.got)) == (0, FOUND + 2)
    assert "There is nothing to send to other." in result.words


def test_an_endpoint_that_refuses_the_test_is_not_taken_live(
    scanning: Scanning, other: Team, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    other.answer = 401
    scanning.configure(other=lines(other, enabled="false"))
    result = cli("connect", "other", "--yes")
    assert (result.code, is_enabled(tmp_path)) == (1, False)
    assert "what to do" in result.words and "other was not taken live" in result.words
    assert "Step 2" not in result.words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["other"], "there is no terminal to ask: --yes"),
        (["othr", "--yes"], 'there is no endpoint "othr"; there are: other. Did you mean "other"?'),
        (["broken", "--yes"], 'endpoint "broken" cannot be used because its settings have a mistake'),
    ],
)
def test_it_says_what_is_wrong(
    arguments: list[str], words: str, scanning: Scanning, other: Team, cli: Callable[..., Result]
) -> None:
    scanning.configure(other=lines(other, enabled="false"), broken=lines(other, "nothing_known", enabled="false"))
    result = cli("connect", *arguments)
    assert result.code == 1 and words in result.err
    assert other.got == []


def test_nothing_is_done_while_webhooks_are_off(scanning: Scanning, other: Team, cli: Callable[..., Result]) -> None:
    scanning.configure("enabled = false", other=lines(other, enabled="false"))
    result = cli("connect", "other", "--yes")
    assert result.code == 1 and "webhooks are off (enabled = false)" in result.err


def test_without_an_outbox_or_a_scan_it_goes_live(tmp_path: Path, other: Team, cli: Callable[..., Result]) -> None:
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.other]\n{lines(other, enabled='false')}\n")
    result = cli("connect", "other", "--yes")
    assert (result.code, is_enabled(tmp_path)) == (0, True)
    assert "no scan" in result.words
    assert types(other) == ["system_alert"]


def test_a_running_scan_with_other_settings_needs_attention(
    scanning: Scanning,
    other: Team,
    team: Team,
    tmp_path: Path,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as one whose process never looks at the file."""
    monkeypatch.setattr("sfwebhooks.cli.connect.TAKE_UP_SECONDS", 0.5)
    scanning.configure(other=lines(other, enabled="false"))
    lock = Outbox(place_in(tmp_path)).locks.scan(scanning.scan.id)
    with closing(Outbox(place_in(tmp_path))) as outbox:
        outbox.scans.begin_scan(scanning.scan, started(scanning.scan), [], NOW)
        assert lock.take()
        lock.note("its-mark digest-of-other-settings 1")
        result = cli("connect", "other", "--yes", "--no-test", "--no-backfill")
        lock.release()
    assert (result.code, is_enabled(tmp_path)) == (3, True)
    assert f"sfwebhooks backfill {scanning.scan.id} --endpoint other" in result.words


@pytest.mark.parametrize("when", ["test", "backfill", "live"])
def test_a_killed_one_goes_on_when_it_is_run_again(
    when: str, scanning: Scanning, team: Team, other: Team, gate: Gate, tmp_path: Path
) -> None:
    scanning.configure(team=lines(team), other=lines(other, enabled="false"))
    scanning.begin()
    scanning.find(3)
    count = {"test": 1, "backfill": 4}.get(when, 0)

    def answer(received: Received) -> int:
        return gate(received) if len(other.got) == count else 200

    other.answer = answer
    process = Process(["connect", "other", "--yes", "--folder", tmp_path], stdout=PIPE, stderr=PIPE)
    if count:
        other.wait_for(count)
    else:
        until(lambda: is_enabled(tmp_path))
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    gate.open()
    other.answer = 200
    assert is_enabled(tmp_path) is (when == "live")
    assert main(["connect", "other", "--yes", "--folder", str(tmp_path)]) == 0
    scanning.find(2)
    scanning.finish()
    assert {*hashes(other)} == {*hashes(team), *(f"past-{number}" for number in range(FOUND))}
    with closing(Outbox(place_in(tmp_path))) as outbox:
        (counts,) = sql(outbox, "SELECT count(*), count(DISTINCT event) FROM delivery WHERE endpoint = 'other'")
        assert counts[0] == counts[1] == FOUND + 2 + 5 + 2
    messages = {one.headers["webhook-id"]: one.message["metadata"]["event_id"] for one in other.got}
    assert len({*messages.values()}) == len(messages), "no event under two ids"
