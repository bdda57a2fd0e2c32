"""The command `sfwebhooks tickets`, after scans whose tracker is a fake of GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.outbox.outbox import Outbox
from tests.conftest import Clock, sql
from tests.receivers.trackers import GitHub
from tests.receivers.vendor import serve
from tests.scan.test_tickets import Life
from tests.stores import BOTH

STORES = BOTH

Run = Callable[..., Any]


@pytest.fixture
def life(tmp_path: Path, outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]) -> Iterator[Life]:
    tracker = GitHub()
    with serve(tracker) as tracker.root:
        yield Life(tmp_path, outbox, clock, tracker, new_queue, close_after=1)


def test_it_lists_finding_ticket_state_and_when_it_was_last_seen(life: Life, cli: Run) -> None:
    life.scan("one", "two", "three")
    life.tracker.dismiss("3")
    life.scan("one", "three")
    shown = cli("tickets")
    assert shown.code == 0
    for words in ("#1", "High: VULNERABILITY_CVE_HIGH on acme.example: one", "open", "closed", "closed, not wanted"):
        assert words in shown.words
    assert "https://github.com/acme/security/issues/1" in shown.words
    found = {one["ticket"]: one for one in cli("tickets", "--endpoint", "tickets", "--json").objects}
    states = {name: (one["state"], one["last_seen"], one["scan_id"]) for name, one in found.items()}
    assert states == {
        "#1": ("open", "2026-11-23T10:00:00.000Z", "S2"),
        "#2": ("closed", "2026-11-22T10:00:00.000Z", "S1"),
        "#3": ("dismissed", "2026-11-23T10:00:00.000Z", "S2"),
    }
    assert "Only 1 are shown" in cli("tickets", "--limit", "1").words


def test_a_ticket_for_several_findings_says_how_many(
    tmp_path: Path, outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue], cli: Run
) -> None:
    tracker = GitHub()
    with serve(tracker) as tracker.root:
        life = Life(tmp_path, outbox, clock, tracker, new_queue, ticket_per="type")
        life.scan("one", "two", "three")
    assert "VULNERABILITY CVE HIGH at acme.example (3 findings)" in cli("tickets").words
    assert [one["findings"] for one in cli("tickets", "--json").objects] == [3]


def test_a_ticket_that_was_deleted_is_listed_as_such(life: Life, cli: Run) -> None:
    life.scan("one")
    life.tracker.held.clear()
    life.scan()
    assert "2026-11-22 10:00:00 deleted" in cli("tickets").words
    assert [one["state"] for one in cli("tickets", "--json").objects] == ["missing"]


def test_a_forgotten_ticket_is_found_again(life: Life, cli: Run) -> None:
    life.scan("one")
    forgotten = cli("tickets", "--endpoint", "tickets", "--forget")
    assert (forgotten.code, "1 ticket forgotten" in forgotten.words) == (0, True)
    assert "No tickets." in cli("tickets").words
    life.scan("one")
    assert (life.states, len(cli("tickets", "--json").objects)) == (["open"], 1)


def test_mistakes_are_explained(cli: Run) -> None:
    assert "--forget requires --endpoint NAME" in cli("tickets", "--forget").err


@pytest.mark.sqlite("no outbox is created")
def test_without_an_outbox_that_is_said(cli: Run) -> None:
    assert "There is no outbox" in cli("tickets").words
    assert "There is no outbox" in cli("tickets", "--endpoint", "tickets", "--forget").err


def test_a_damaged_row_hides_no_other(life: Life, cli: Run) -> None:
    life.scan("one", "two")
    sql(life.outbox, "UPDATE handle SET value = 'rubbish' WHERE about = (SELECT min(about) FROM handle)")
    assert len(cli("tickets", "--json").objects) == 1


def test_a_hostile_title_does_nothing_to_the_terminal(life: Life, cli: Run) -> None:
    life.scan("\x1b[31mred\u202e\x00")
    assert not {"\x1b", "\u202e", "\x00"} & {*cli("tickets").out}
