"""Printing statistics: a Round of figures comes in; a table that fits the terminal, a line, or JSON goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from sfwebhooks.events import timestamp
from sfwebhooks.inspection.counting import EndpointRow, Round
from sfwebhooks.reasons import WITHHELD_WORDS
from sfwebhooks.terminal.output import GAP, plain, table
from sfwebhooks.text import amount, brief_duration, moment

#: lines of a table that are not those of endpoints: before them, and after them
FRAME_LINES = 7
#: least characters for the names of endpoints
NAME = 8
LEGEND = "failed: attempts. waiting: now. p50, p95: time from acceptance to delivery."
LEGEND_OF_ATTEMPTS = " attempt: time of a single attempt."


#: heading -> cell, given the time of the round
CELLS: dict[str, Callable[[EndpointRow, float], Text]] = {
    "total": lambda row, now: plain(str(row.total)),
    "delivered": lambda row, now: _number(row.figures.delivered, "green"),
    "per s": lambda row, now: plain("" if row.rate is None else f"{row.rate:.{1 if row.rate < 100 else 0}f}"),
    "failed": lambda row, now: _number(row.figures.failed, "yellow"),
    "dead": lambda row, now: _number(row.figures.dead, "red"),
    "waiting": lambda row, now: _number(row.backlog.waiting, "yellow"),
    "oldest": lambda row, now: plain(brief_duration(row.age(now))),
    "p50": lambda row, now: plain(brief_duration(row.figures.latency.p50)),
    "p95": lambda row, now: plain(brief_duration(row.figures.latency.p95)),
    "attempt p50": lambda row, now: plain(brief_duration(row.figures.attempt.p50)),
    "attempt p95": lambda row, now: plain(brief_duration(row.figures.attempt.p95)),
}
#: columns that a narrow terminal does not show, the first ones first
EXTRA = (
    ("attempt p50", "attempt p95"),
    ("total",),
    ("oldest",),
    ("p50",),
    ("p95",),
    ("failed",),
    ("per s",),
    ("dead",),
)


def drawing(found: Round, out: Console, watching: bool = False) -> Group:
    """Return the table of a round, with the columns and, while watching, the lines that fit the terminal."""
    fit = max(out.height - FRAME_LINES, 1) if watching else len(found.rows)
    shown = found.rows[:fit]
    columns = _columns(shown, found.at, out.width, watching)
    legend = LEGEND + LEGEND_OF_ATTEMPTS * ("attempt p50" in columns)
    lines: list[RenderableType] = [plain(f"{moment(found.since)} to {moment(found.at)}"), Text("")]
    lines += [_table(shown, found.at, columns, watching) if shown else Text("No endpoints."), Text(""), plain(legend)]
    if len(found.rows) > fit:
        lines.append(plain(f"{amount(len(found.rows) - fit, 'more endpoint')}: enlarge the window, or --endpoint NAME"))
    withheld = [*_withheld(found.rows)]
    lines += withheld[: fit - len(shown)] if watching else withheld
    return Group(*lines)


def _columns(rows: Sequence[EndpointRow], now: float, width: int, watching: bool) -> list[str]:
    """Return the headings that fit: a number without its last digits would be another one."""
    sizes = {name: max([len(name), *(len(cell(row, now)) for row in rows)]) + GAP for name, cell in CELLS.items()}
    if not watching:
        del sizes["per s"]
    longest = max([NAME, *(len(row.name) for row in rows)])
    for extra in EXTRA:
        least = NAME if extra[0] not in ("attempt p50", "total") else longest
        if sum(sizes.values()) + least > width:
            for name in extra:
                sizes.pop(name, None)
    return [*sizes]


def _table(rows: Sequence[EndpointRow], now: float, columns: Sequence[str], watching: bool) -> RenderableType:
    made = table("endpoint", *columns, whole=columns)
    for column in made.columns[1:]:
        column.justify = "right"
    if watching:
        made.columns[0].no_wrap, made.columns[0].overflow = True, "ellipsis"
    for row in rows:
        made.add_row(plain(row.name, "bold"), *(CELLS[name](row, now) for name in columns))
    return made


def _number(number: int, style: str) -> Text:
    return plain(str(number), style if number else "")


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
