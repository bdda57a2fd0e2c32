"""Printing statistics: a Round of figures comes in; a table that fits the terminal, a line, or JSON goes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from sfwebhooks.events import timestamp
from sfwebhooks.outbox.admission import WITHHELD_WORDS
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.statistics import Figures
from sfwebhooks.terminal.output import plain, table
from sfwebhooks.text import amount, brief_duration, moment

#: terminal width from which a line shows every column
WIDE = 110
#: lines of a table that are not those of endpoints: before them, and after them
FRAME_LINES = 7
LEGEND = "failed: attempts. waiting: now. p50, p95: time from acceptance to delivery."
LEGEND_OF_ATTEMPTS = " attempt: time of a single attempt."


@dataclass(frozen=True)
class EndpointRow:
    """An endpoint in one round."""

    name: str
    figures: Figures
    backlog: Backlog
    #: deliveries per second since the round before; None: there was none
    rate: float | None = None

    @property
    def total(self) -> int:
        """The number of deliveries that ended, and of those that wait."""
        return self.figures.delivered + self.figures.dead + self.backlog.waiting


@dataclass(frozen=True)
class Round:
    """The figures of all endpoints at a time."""

    #: epoch seconds, as is the next one
    at: float
    since: float
    rows: Sequence[EndpointRow]


def drawing(found: Round, out: Console, watching: bool = False) -> Group:
    """Return the table of a round, with the columns and, while watching, the lines that fit the terminal."""
    fit = max(out.height - FRAME_LINES, 1) if watching else len(found.rows)
    shown, wide = found.rows[:fit], out.width >= WIDE
    lines: list[RenderableType] = [plain(f"{moment(found.since)} to {moment(found.at)}"), Text("")]
    lines.append(_table(shown, found.at, wide, watching) if shown else Text("No endpoints."))
    lines += [Text(""), plain(LEGEND + LEGEND_OF_ATTEMPTS * wide)]
    if len(found.rows) > fit:
        lines.append(plain(f"{amount(len(found.rows) - fit, 'more endpoint')}: enlarge the window, or --endpoint NAME"))
    room = fit - len(shown)
    withheld = [*_withheld(found.rows)]
    lines += withheld[:room] if watching else withheld
    return Group(*lines)


def _table(rows: Sequence[EndpointRow], now: float, wide: bool, watching: bool) -> RenderableType:
    columns = [
        *(["total"] if wide or not watching else []),
        "delivered",
        *(["per s"] if watching else []),
        *("failed", "dead", "waiting", "oldest", "p50", "p95"),
        *(["attempt p50", "p95"] if wide else []),
    ]
    made = table("endpoint", *columns, whole=columns)
    for column in made.columns[1:]:
        column.justify = "right"
    if watching:
        made.columns[0].no_wrap, made.columns[0].overflow = True, "ellipsis"
    for row in rows:
        made.add_row(*_cells(row, now, wide, watching))
    return made


def _cells(row: EndpointRow, now: float, wide: bool, watching: bool) -> Iterator[Text]:
    figures, oldest_at = row.figures, row.backlog.oldest_at
    yield plain(row.name, "bold")
    if wide or not watching:
        yield plain(str(row.total))
    yield plain(str(figures.delivered), "green" if figures.delivered else "")
    if watching:
        yield plain("" if row.rate is None else f"{row.rate:.3g}" if row.rate < 100 else f"{row.rate:.0f}")
    yield plain(str(figures.failed), "yellow" if figures.failed else "")
    yield plain(str(figures.dead), "red" if figures.dead else "")
    yield plain(str(row.backlog.waiting), "yellow" if row.backlog.waiting else "")
    yield plain(brief_duration(None if oldest_at is None else max(now - oldest_at, 0.0)))
    for quantiles in (figures.latency, figures.attempt)[: 1 + wide]:
        yield plain(brief_duration(quantiles.p50))
        yield plain(brief_duration(quantiles.p95))


def _withheld(rows: Sequence[EndpointRow]) -> Iterator[Text]:
    for row in rows:
        for reason, number in row.figures.withheld.items():
            yield plain(f"{row.name}: {amount(number, 'event')} {WITHHELD_WORDS.get(reason, reason)}", "yellow")


def round_line(found: Round) -> str:
    """Return the sums of a round in one line."""
    delivered, failed, dead = (sum(getattr(row.figures, name) for row in found.rows)
                               for name in ("delivered", "failed", "dead"))  # fmt: skip
    waiting, rates = sum(row.backlog.waiting for row in found.rows), [row.rate for row in found.rows]
    rate = sum(filter(None, rates))
    pace = "" if None in rates or not rates else f", {rate:.1f} per s"
    return (
        f"{timestamp(found.at)} {delivered} delivered, {amount(failed, 'attempt')} failed, {dead} dead,"
        f" {waiting} waiting{pace}"
    )


def fields_of_row(row: EndpointRow, found: Round) -> dict[str, Any]:
    """Return an endpoint's fields for --json; times are RFC 3339."""
    figures, oldest_at = row.figures, row.backlog.oldest_at
    return {
        "at": timestamp(found.at),
        "since": timestamp(found.since),
        "endpoint": row.name,
        "total": row.total,
        "delivered": figures.delivered,
        "failed": figures.failed,
        "dead": figures.dead,
        "waiting": row.backlog.waiting,
        "oldest_at": None if oldest_at is None else timestamp(oldest_at),
        "latency_seconds": asdict(figures.latency),
        "attempt_seconds": asdict(figures.attempt),
        "withheld": dict(figures.withheld),
        "per_second": None if row.rate is None else round(row.rate, 3),
    }
