"""Rows of the host's tables: columns as SQL, whatever their types; a row comes in, a scan or a finding goes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from sfwebhooks.events import LAST_SECOND
from sfwebhooks.scan.findings import ROOT, SOURCES_MAX, Finding, Source

#: the host's statuses of a scan that is over
FINISHED, ABORTED, FAILED = OVER = ("FINISHED", "ABORTED", "ERROR-FAILED")
#: SQL for a column that the host's tables allow to be NULL or bytes, as a text
TEXT = "coalesce(CAST({} AS TEXT), '')"
#: a result's data, type and module
DATA, TYPE, FROM_MODULE = (TEXT.format(column) for column in ("data", "type", "module"))
#: its risk, which may be of any type too; a time
RISK = "coalesce(CAST(risk AS INTEGER), 0)"
NUMBER = "coalesce(CAST({} AS DOUBLE PRECISION), 0)"
GENERATED = NUMBER.format("generated")
#: a scan's start, end, name, target and status
STARTED, ENDED, CREATED = (NUMBER.format(column) for column in ("started", "ended", "created"))
NAME, TARGET, STATUS = (TEXT.format(column) for column in ("name", "seed_target", "status"))
#: of a finding; the last is the hash of its source
COLUMNS = f"hash, {TYPE}, {DATA}, {FROM_MODULE}, {GENERATED}, confidence, visibility, risk, source_event_hash"
#: the same in the order of `Finding`, up to its sources
WITHOUT_SOURCES = f"{TYPE}, {DATA}, {FROM_MODULE}, hash, {GENERATED}, confidence, visibility, risk"
#: times of findings from here on are milliseconds, as forks since 5.8 store them; as seconds they are the year 5138
MILLISECONDS = 1e11


@dataclass(frozen=True)
class ScanRow:
    """A scan as the host's database has it."""

    #: both as typed
    name: str
    target: str
    #: epoch seconds, 0 if it has not started or ended
    started: float
    ended: float
    #: RUNNING, FINISHED, ABORTED, ERROR-FAILED ...
    status: str

    @property
    def is_over(self) -> bool:
        """Whether the host has ended it; one that a user is stopping has not."""
        return self.status in OVER


def finding_in(row: tuple[Any, ...], fetch: Callable[[str], Any]) -> Finding:
    """Return the finding in a row of COLUMNS, with its sources; `fetch` returns the row of a hash, or None."""
    event_hash, event_type, data, module, generated, confidence, visibility, risk, parent = row
    sources: list[Source] = []
    source = fetch(parent)
    while source and source[1] != ROOT and len(sources) < SOURCES_MAX:
        sources.append(Source(source[1], source[2], source[3], source[0]))
        source = fetch(source[8])
    return Finding(event_type, data, module, event_hash, time_of(generated), confidence, visibility, risk,
                   tuple(sources), recovered=True)  # fmt: skip


def seconds_of(milliseconds: float) -> float:
    """Return a time of a scan in epoch seconds; 0: there is none."""
    return max(0.0, min(milliseconds / 1000.0, LAST_SECOND))


def time_of(generated: float) -> float:
    """Return the time of a finding in epoch seconds."""
    return generated / 1000.0 if generated >= MILLISECONDS else generated
