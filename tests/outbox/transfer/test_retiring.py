"""Outbox files that are being moved, or were: nobody can use them by mistake, and they say where their rows are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.errors import MovedError, OutboxError
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.moved import Mark
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.transfer.retiring import ScansRunningError, retire
from sfwebhooks.outbox.transfer.source import SourceFile
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event, claim_one
from tests.conftest import sql
from tests.filled import begin, damage_page, put, send

ONE_STORE = "it is about a file that is moved to a server"

MARK = Mark("id", "env:OUTBOX_DATABASE", "db.example.com/hooks", None)
BEING_MOVED = "is being moved to db.example.com/hooks, and is not used meanwhile: run sfwebhooks move-outbox env:OUT"
USES: dict[str, Callable[[Outbox], object]] = {
    "accept": lambda outbox: outbox.accept([(an_event(9), [Wanted("team", "all")])], NOW),
    "claim": lambda outbox: claim_one(outbox, Limits("team")),
    "begin": lambda outbox: begin(outbox, a_scan("5C4A0009")),
    "pause": lambda outbox: outbox.endpoints.pause("team", NOW),
    "mute": lambda outbox: outbox.sightings.mute("acme.example", (b"0" * 16, "X"), "", None, NOW),
    "list": lambda outbox: outbox.listing.endpoints(),
    "delete": lambda outbox: outbox.retention.prune(NOW, 0, 0, 1),
}


@pytest.fixture
def retired(outbox: Outbox) -> Outbox:
    put(outbox, 1, 2)
    send(outbox)
    with closing(Outbox(outbox.path)) as other:
        retire(other.database, MARK)
    return outbox


@pytest.mark.parametrize("use", USES.values(), ids=[*USES])
@pytest.mark.parametrize("is_open", [True, False], ids=["open before", "opened later"])
def test_nobody_can_use_a_file_that_is_being_moved(
    retired: Outbox, use: Callable[[Outbox], object], is_open: bool
) -> None:
    """Whether it was open before or not."""
    if not is_open:
        retired.close()
    with pytest.raises(MovedError, match=BEING_MOVED):
        use(retired)


def test_a_listing_says_it_too(retired: Outbox) -> None:
    with closing(Outbox(retired.path, listing=True)) as records, pytest.raises(MovedError, match=BEING_MOVED):
        records.listing.endpoints()


def test_a_moved_file_names_the_setting(retired: Outbox) -> None:
    with closing(SourceFile(retired.path)) as source:
        source.finish()
    with pytest.raises(MovedError, match=r"was moved to db.example.com/hooks: set outbox = env:OUTBOX_DATABASE in \[w"):
        put(retired, 3)


def test_a_mark_that_cannot_be_read_is_no_traceback(retired: Outbox) -> None:
    sql(retired, "DROP TABLE moved")
    with pytest.raises(MovedError, match="does not say to which one: restore a backup"):
        put(retired, 3)


def test_a_file_that_is_used_again_has_all_of_its_rows_and_a_new_series(retired: Outbox) -> None:
    with closing(SourceFile(retired.path)) as source:
        source.reinstate()
    put(retired, 3)
    rows = sql(retired, "SELECT sequence, state FROM delivery ORDER BY number")
    assert rows == [(1, "delivered"), (2, "waiting"), (1, "waiting")]
    series = [row[0] for row in sql(retired, "SELECT series FROM delivery ORDER BY number")]
    assert series[0] == series[1] != series[2]
    batch = claim_one(retired, Limits("team"))
    assert batch
    assert batch.deliveries[0].event.id == an_event(2).id


def test_a_file_is_not_moved_while_a_scan_runs(outbox: Outbox) -> None:
    begin(outbox, a_scan())
    lock = outbox.locks.scan(a_scan().id)
    assert lock.take()
    with closing(Outbox(outbox.path)) as other, pytest.raises(ScansRunningError, match="scan 5C4A0001 is running"):
        retire(other.database, MARK)
    put(outbox, 1)
    lock.release()
    with closing(Outbox(outbox.path)) as other:
        retire(other.database, MARK)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE their (own)")
    with pytest.raises(OutboxError, match="has schema 0; expected 1"):
        SourceFile(path)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(OutboxError, match="cannot be read"):
        SourceFile(path)


def test_the_counts_and_rows_of_a_frozen_file_are_those_of_before(retired: Outbox) -> None:
    with closing(SourceFile(retired.path)) as source:
        assert (source.count("delivery"), source.states()) == (2, {"delivered": 1, "waiting": 1})
        (group, last) = source.groups(0)
    assert ([len(group.events), len(group.deliveries), len(group.attempts)], last.events) == ([2, 2, 1], [])


def test_damage_is_skipped_and_named(outbox: Outbox) -> None:
    """A page of events is overwritten: those before it and behind it are read."""
    put(outbox, *range(1, 1001))
    damage_page(outbox, "event")
    with closing(SourceFile(outbox.path)) as source:
        groups = [*source.groups(0)]
        read = {row[0] for group in groups for row in group.events}
        damage = dict(source.damage)
    assert 900 < len(read) < 1000
    assert {1, 1000} < read
    assert any("cannot be read" in words for words in damage)
    lost = damage["delivery: without its event, which is lost; not moved"]
    assert lost == 1000 - len(read)
