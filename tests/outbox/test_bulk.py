"""Many rows are changed in short transactions, between which others can write."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.bulk import FIRST, TRIES, change_in_chunks
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import CHUNK

STORES = ("sqlite", "postgres")


class Disk:
    """Changes rows, each of which takes some seconds, and has a clock that shows only these."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.chunks: list[int] = []
        self.pauses: list[float] = []

    def change(self, sql: Sql, chunk: Sequence[int]) -> int:
        self.chunks.append(len(chunk))
        self.now += len(chunk) * self.seconds
        return len(chunk)


@pytest.mark.parametrize(
    ("seconds", "chunks", "pauses"),
    [
        (0.0, [FIRST, CHUNK, 400], [0.0, 0.0, 0.0]),
        (1 / 512, [FIRST, 51, 51], [0.0, FIRST / 512, 51 / 512]),
        (16.0, [FIRST, 1, 1], [0.0, FIRST * 16.0, 16.0]),
    ],
    ids=["quick", "slow", "very slow"],
)
def test_a_transaction_is_short_and_followed_by_a_pause_of_its_length(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, seconds: float, chunks: list[int], pauses: list[float]
) -> None:
    disk = Disk(seconds)
    clock = SimpleNamespace(monotonic=lambda: disk.now, sleep=disk.pauses.append)
    monkeypatch.setattr("sfwebhooks.outbox.bulk.time", clock)
    rows = list(range(1000 if not seconds else sum(chunks)))
    assert change_in_chunks(outbox.database, lambda sql: rows, disk.change) == len(rows)
    assert (disk.chunks, disk.pauses) == (chunks, pauses)


@pytest.mark.parametrize("failures", [0, 1, TRIES - 1])
def test_a_transaction_is_tried_again_while_the_outbox_is_busy(outbox: Outbox, failures: int) -> None:
    tries = 0

    def change(sql: Sql, chunk: Sequence[int]) -> int:
        nonlocal tries
        tries += 1
        if tries <= failures:
            raise OutboxBusyError("locked")
        return len(chunk)

    assert change_in_chunks(outbox.database, lambda sql: [1, 2], change) == 2
    assert tries == failures + 1


def test_a_transaction_is_not_tried_without_end(outbox: Outbox) -> None:
    tries: list[int] = []

    def change(sql: Sql, chunk: Sequence[int]) -> int:
        tries.append(len(chunk))
        raise OutboxBusyError("locked")

    with pytest.raises(OutboxBusyError):
        change_in_chunks(outbox.database, lambda sql: [1], change)
    assert len(tries) == TRIES
