"""The state of the watch over scans, so that it lasts over restarts and is the same for all processes.

`scan/watch` decides what has changed. A change is committed together with the event about it, and only if no other
process was first: each is sent once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sfwebhooks.events import WebhookEvent
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import insert
from sfwebhooks.screening import Wanted


@dataclass(frozen=True)
class WatchState:
    """What the watch knows of one thing."""

    #: type of the events about it; empty: the watch itself
    kind: str
    #: an expectation, a scan, or the id of a target with the modules that scan it
    subject: str
    #: what was before this time (epoch seconds) has been judged
    checked_at: float
    #: since when it is not well; None: it is
    begun_at: float | None = None
    #: what else has to be known: numbers, texts, and lists of these
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> tuple[Any, ...]:
        """Its row in the table."""
        return self.kind, self.subject, self.checked_at, self.begun_at, json.dumps(self.data, sort_keys=True)


@dataclass(frozen=True)
class WatchChange:
    """A change of one state."""

    #: None: it is not known yet
    before: WatchState | None
    #: None: it is forgotten
    after: WatchState | None
    event: WebhookEvent | None = None
    wanted: Sequence[Wanted] = ()


class WatchStates:
    """The states of the watch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[tuple[str, str], WatchState]:
        """Return all states by kind and subject. A row with values that we never write is not known."""
        with self._database.reading() as sql:
            rows = sql.execute("SELECT * FROM watch").fetchall()
        return {(state.kind, state.subject): state for state in map(_state_of, rows) if state}

    def commit(self, changes: Iterable[WatchChange], now: float) -> list[WebhookEvent]:
        """Commit changes with their events in one transaction; return the events.

        A change of which another process has changed the state meanwhile is skipped, and so is its event.
        """
        done = []
        with self._database.writing() as sql:
            for change in changes:
                if _replace(sql, change) and change.event:
                    insert(sql, change.event, change.wanted, now)
                    done.append(change.event)
        return done


def _state_of(row: Sequence[Any] | None) -> WatchState | None:
    """Return the state of a row; None for one with values that we never write."""
    if not row:
        return None
    numbers = all(isinstance(value, float) for value in (row[2], row[3] or 0.0))
    if not (numbers and all(isinstance(value, str) for value in (*row[:2], row[4]))):
        return None
    try:
        data = json.loads(row[4])
    except (ValueError, RecursionError):
        return None
    kind, subject, checked_at, begun_at = row[:4]
    return WatchState(kind, subject, checked_at, begun_at, data) if isinstance(data, dict) else None


def _replace(sql: Sql, change: WatchChange) -> bool:
    """Write a state if it is still the one from before; return whether it was."""
    one = change.before or change.after
    if one is None:
        return False
    row = sql.execute("SELECT * FROM watch WHERE kind = ? AND subject = ?", one.row[:2]).fetchone()
    if _state_of(row) != change.before:
        return False
    if change.after:
        sql.execute("INSERT OR REPLACE INTO watch VALUES (?, ?, ?, ?, ?)", change.after.row)
    else:
        sql.execute("DELETE FROM watch WHERE kind = ? AND subject = ?", one.row[:2])
    return True
