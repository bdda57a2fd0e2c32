"""Deleted means gone: what was dropped or pruned is looked for as bytes in the outbox's files."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import pytest

from sfwebhooks.delivery.maintenance import PRUNE_CHUNKS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import SUFFIXES
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from tests.builders import NOW, an_event
from tests.conftest import Result
from tests.filled import put_event, send

DAY = 86400.0
NUMBER = 600


def fill(outbox: Outbox, number: int = NUMBER) -> None:
    """Put dead letters into an outbox, each with a finding and a reply that are found by their number."""
    sizes = random.Random(17)
    for n in range(number):
        text = f"FINDING-{n}-" + "x" * sizes.choice([20, 200, 900, 6000])
        put_event(outbox, an_event(n, scan=None, data={"data": text}))
        send(outbox, State.DEAD, "http_400", f"EXCERPT-{n}-" + "y" * sizes.choice([10, 100, 900]), at=NOW + n)


def found(outbox: Outbox) -> set[int]:
    """Return the numbers of the findings and replies that stand in one of the files."""
    files = [Path(f"{outbox.path}{suffix}") for suffix in SUFFIXES]
    text = b"".join(file.read_bytes() for file in files if file.exists())
    return {int(number) for number in re.findall(rb"(?:FINDING|EXCERPT)-(\d+)-", text)}


def test_waiting_and_dead_deliveries_are_in_the_files(outbox: Outbox) -> None:
    fill(outbox, 10)
    assert found(outbox) == set(range(10))


def test_what_an_operator_drops_is_gone_from_the_files(outbox: Outbox, cli: Callable[..., Result]) -> None:
    fill(outbox)
    assert cli("dead", "drop", "--all").code == 0
    assert found(outbox) == set()


def test_of_what_is_left_nothing_is_gone(outbox: Outbox, cli: Callable[..., Result]) -> None:
    fill(outbox)
    numbers = list(range(NUMBER))
    random.Random(18).shuffle(numbers)
    dropped = numbers[:400]
    with closing(Outbox(outbox.path)) as records:
        ids = {record.event_id: record.id for record in records.listing.deliveries(Selection(), NUMBER)}
    chosen = [ids[an_event(n, scan=None).id] for n in dropped]
    for start in range(0, len(chosen), 100):
        assert cli("dead", "drop", *chosen[start : start + 100]).code == 0
    assert found(outbox) == set(numbers[400:])


def test_what_is_pruned_is_gone_from_the_files(outbox: Outbox) -> None:
    fill(outbox)
    with closing(Outbox(outbox.path)) as records:
        assert records.retention.prune(NOW + 100 * DAY, 7 * DAY, 90 * DAY, PRUNE_CHUNKS) == NUMBER
    assert found(outbox) == set()


@pytest.fixture
def reader(outbox: Outbox) -> sqlite3.Connection:
    """Another process that reads the outbox as it was before."""
    fill(outbox)
    connection = sqlite3.connect(outbox.path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM event").fetchone()
    return connection


def test_what_was_pruned_while_somebody_read_is_gone_after_the_next_time(
    outbox: Outbox, reader: sqlite3.Connection
) -> None:
    with closing(Outbox(outbox.path)) as records:
        assert records.retention.prune(NOW + 100 * DAY, 7 * DAY, 90 * DAY) == NUMBER
        assert found(outbox)
        reader.close()
        assert records.retention.prune(NOW + 100 * DAY, 7 * DAY, 90 * DAY) == 0
    assert found(outbox) == set()


@pytest.fixture
def few_read(outbox: Outbox) -> sqlite3.Connection:
    """Another process that reads an outbox with a few dead letters."""
    fill(outbox, 10)
    connection = sqlite3.connect(outbox.path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM event").fetchone()
    return connection


def test_what_is_dropped_while_somebody_reads_is_gone_as_soon_as_that_ends(
    outbox: Outbox, few_read: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pause = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: few_read.close())
    monkeypatch.setattr("sfwebhooks.outbox.retention.time", pause)
    with closing(Outbox(outbox.path)) as records:
        assert records.retention.drop(Selection()) == 10
    assert (found(outbox), caplog.messages) == (set(), [])


def test_what_is_dropped_while_somebody_reads_for_long_is_logged(
    outbox: Outbox, few_read: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.retention.ERASE_SECONDS", 0.0)
    with closing(Outbox(outbox.path)) as records:
        assert records.retention.drop(Selection()) == 10
    assert "deleted content may still be in" in caplog.text
    few_read.close()


@pytest.mark.slow
def test_what_was_dropped_while_somebody_read_is_said_and_gone_after_the_next_prune(
    outbox: Outbox, reader: sqlite3.Connection, cli: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("dead", "drop", "--all").code == 0
    assert "deleted content may still be in" in caplog.text
    reader.close()
    with closing(Outbox(outbox.path)) as records:
        records.retention.prune(NOW, 7 * DAY, 90 * DAY)
    assert found(outbox) == set()
