"""Digests in the commands: drain, status, show, replay, preview and check."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.events import delivery_id, lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.severity import Severity
from tests.builders import a_scan, an_event
from tests.conftest import Result, sql
from tests.receivers.busy_channel import BusyChannel
from tests.receivers.vendor import serve
from tests.stores import BOTH, place_in
from tests.tiers import slow

STORES = BOTH

Cli = Callable[..., Result]


@pytest.fixture
def channel() -> Iterator[BusyChannel]:
    channel = BusyChannel(time.time)
    with serve(channel) as channel.root:
        yield channel


class Team:
    """An outbox with the findings of a scan that runs, for a channel with a digest."""

    def __init__(self, folder: Path, channel: BusyChannel, digest: str) -> None:
        self.path = folder / "webhooks.ini"
        self.path.touch(0o600)
        self.path.write_text(
            f"[webhooks.team]\nurl = {channel.url}\nformat = slack\nevents = all\ndigest = {digest}\nrate = 100/s\n"
        )
        self.outbox = Outbox(place_in(folder))
        (self.endpoint,) = load(self.path).endpoints
        start = an_event(99, type="scan_started", severity=Severity.INFO, data={})
        self.outbox.scans.begin_scan(a_scan(), start, [], time.time())
        self.lock = self.outbox.locks.scan(a_scan().id)
        assert self.lock.take()

    def find(self, *numbers: int) -> None:
        found = [an_event(number, severity=Severity.LOW) for number in numbers]
        accept(found, Screen((self.endpoint,)), self.outbox, time.time())

    def end(self) -> None:
        end = an_event(
            100, id=lifecycle_id(a_scan().id, "ended"), type="scan_completed", severity=Severity.INFO, data={}
        )
        self.outbox.scans.end_scan(end, [Wanted("team", "scan_completed")], time.time())
        self.lock.release()


@pytest.fixture
def team(tmp_path: Path, channel: BusyChannel) -> Iterator[Callable[[str], Team]]:
    made: list[Team] = []

    def make(digest: str) -> Team:
        made.append(Team(tmp_path, channel, digest))
        return made[-1]

    yield make
    for one in made:
        one.lock.release()
        one.outbox.close()


def heads(channel: BusyChannel) -> list[str]:
    return [message["blocks"][0]["text"]["text"] for message in channel.taken]


def test_drain_sends_the_digests_that_are_due_and_says_when_the_others_are(
    team: Callable[[str], Team], channel: BusyChannel, cli: Cli
) -> None:
    one = team("1h")
    one.find(1, 2, 3)
    done = cli("drain")
    assert (done.code, heads(channel)) == (0, [])
    assert "team: 3 waiting: waits for its digest at 20" in done.words
    sql(one.outbox, "UPDATE delivery SET accepted_at = accepted_at - 3600, due_at = due_at - 3600")
    assert cli("drain").code == 0
    assert heads(channel) == ["3 findings"]


def test_a_digest_of_a_scan_waits_for_its_end_and_every_command_says_so(
    team: Callable[[str], Team], channel: BusyChannel, cli: Cli
) -> None:
    one = team("scan")
    one.find(1, 2, 3)
    words = "waits for the end of the scan"
    shown = cli("show", delivery_id(an_event(1).id, "team"))
    assert words in shown.words
    assert words in cli("status").words
    (fields,) = [row for row in cli("status", "--json").objects if row.get("endpoint") == "team"]
    assert (fields["waits_for"], fields["needs_attention"]) == ("digest", False)


@slow
def test_each_of_a_digest_says_so_and_can_be_replayed_alone(
    team: Callable[[str], Team], channel: BusyChannel, cli: Cli
) -> None:
    one = team("1h")
    one.find(1, 2, 3)
    one.end()
    assert cli("drain").code == 0
    assert heads(channel) == ["3 findings", "Scan completed"]
    its = delivery_id(an_event(2).id, "team")
    assert "with 2 others" in cli("show", its).words
    assert cli("replay", its).code == 0
    assert cli("drain").code == 0
    assert len(channel.taken) == 3 and "CVE-2026-0002" in json.dumps(channel.taken[2])
    assert "CVE-2026-0001" not in json.dumps(channel.taken[2])


def test_preview_shows_a_digest(team: Callable[[str], Team], cli: Cli) -> None:
    team("auto")
    shown = cli("preview", "team", "--digest")
    bodies = [line for line in shown.out.splitlines() if line.startswith("{")]
    digests = [body for body in bodies if '"text":"' in body and "findings" in body.split(":", 2)[1]]
    assert len(digests) >= 1 and shown.code == 0


def test_preview_has_no_digest_of_a_format_for_programs(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "webhooks.ini").touch(0o600)
    (tmp_path / "webhooks.ini").write_text("[webhooks.siem]\nurl = https://siem.example/\n")
    refused = cli("preview", "siem", "--digest")
    assert refused.code != 0 and "only chats have digests" in refused.err


@pytest.mark.slow
def test_a_storm_reaches_a_busy_channel_within_two_minutes(
    team: Callable[[str], Team], channel: BusyChannel, tmp_path: Path, dispatch: Any
) -> None:
    """With real threads, a real clock and the real pace: 600 findings within 10 s, every tenth of high severity."""
    one = team("auto")
    one.path.write_text(one.path.read_text().replace("rate = 100/s\n", ""))
    (endpoint,) = load(one.path).endpoints
    sender, begin = dispatch(endpoint), time.monotonic()
    sender.wake()
    for number in range(600):
        severity = Severity.HIGH if number % 10 == 0 else Severity.LOW
        accept([an_event(number, severity=severity)], Screen((endpoint,)), one.outbox, time.time())
        sender.wake()
        time.sleep(max(begin + number / 60 - time.monotonic(), 0.0))
    sender.linger(begin + 120, everything=True)
    assert sql(one.outbox, "SELECT state, count(*) FROM delivery GROUP BY state") == [("delivered", 600)]
    assert channel.dropped == 0
    shown = json.dumps([message for _, message in channel.shown])
    assert [number for number in range(0, 600, 10) if f"CVE-2026-{number:04d}" not in shown] == []
