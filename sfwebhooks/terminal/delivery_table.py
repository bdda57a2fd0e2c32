"""Printing deliveries: Records come in; a table, a line per attempt, or JSON goes out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.text import Text

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import timestamp
from sfwebhooks.inspection.fields import SHORT, Counts, counted_deliveries, fields_of, total
from sfwebhooks.outbox.records import Record
from sfwebhooks.retry import State
from sfwebhooks.terminal.output import as_json, plain, show_end, show_result, stacked, table
from sfwebhooks.text import in_line

#: terminal width from which a line shows every column
WIDE = 150
#: width of a pipe: one line per delivery, however long the names are
PIPE = 2000
#: characters of a reply in a line
REPLY = 60
COLOURS = {State.WAITING: "yellow", State.DELIVERED: "green", State.DEAD: "red"}
#: heading -> cell of a delivery
CELLS: dict[str, Callable[[Record, Console], Text]] = {
    "id": lambda record, out: plain(record.id[:SHORT] if out.is_terminal else record.id, "bold"),
    "accepted": lambda record, out: plain(short_time(record.accepted_at, out)),
    "died": lambda record, out: plain(short_time(record.settled_at, out)),
    "due or settled": lambda record, out: plain(short_time(record.settled_at or record.due_at, out)),
    "endpoint": lambda record, out: plain(record.endpoint),
    "event": lambda record, out: plain(record.name),
    "endpoint / event": lambda record, out: stacked(plain(record.endpoint), plain(record.name)),
    "severity": lambda record, out: plain(record.severity.label),
    "scan": lambda record, out: plain(record.scan_id),
    "target": lambda record, out: plain(record.target),
    "state": lambda record, out: plain(record.state.value, COLOURS[record.state]),
    "tries": lambda record, out: plain(str(record.tries)),
    "reason": lambda record, out: plain(record.reason),
    "last reply": lambda record, out: plain(reply(record.last)),
    "reason / last reply": lambda record, out: stacked(plain(record.reason), plain(reply(record.last))),
    "state / reason": lambda record, out: stacked(CELLS["state"](record, out), plain(record.reason)),
}
UNBROKEN = ("id", "accepted", "died", "due or settled", "state")
#: characters for names on a narrow terminal: those of the longest event
NAME = 28
#: the headings on a narrow terminal, and on a wide one or in a pipe
DELIVERIES = (
    ("id", "accepted", "endpoint / event", "state / reason", "tries"),
    ("id", "accepted", "endpoint", "event", "severity", "scan", "target", "state", "tries", "due or settled", "reason",
     "last reply"),
)  # fmt: skip
DEAD = (
    ("id", "died", "endpoint / event", "tries", "reason / last reply"),
    ("id", "died", "endpoint", "event", "severity", "scan", "target", "tries", "reason", "last reply"),
)


def print_table(records: Iterable[Record], headings: tuple[tuple[str, ...], tuple[str, ...]], out: Console) -> None:
    """Print a table of deliveries, with the columns that fit."""
    if not out.is_terminal:
        out.width = PIPE
    columns = headings[out.width >= WIDE]
    rows = table(*columns, whole=UNBROKEN)
    for column in rows.columns:
        column.width = NAME if column.header == "endpoint / event" else None
    for record in records:
        rows.add_row(*(CELLS[column](record, out) for column in columns))
    out.print(rows)


def line(record: Record, attempt: Attempt, out: Console) -> str:
    """Return an attempt in one line."""
    head = f"{timestamp(attempt.at)} {CELLS['id'](record, out)} {record.endpoint} {record.name}"
    state = "" if record.state is State.DELIVERED else f" ({record.state.value})"
    said = f' "{reply(attempt)}"' if attempt.excerpt else ""
    return f"{head}: {attempt.reason}{state} {attempt.seconds:.2f} s{said}"


def states(counts: Counts) -> str:
    """Return how many deliveries are in each state, such as 3 waiting, 12 delivered, 0 dead."""
    totals = ((state, sum(one.get(state.value, 0) for one in counts.values())) for state in State)
    return ", ".join(f"{number} {state.value}" for state, number in totals)


def short_time(at: float | None, out: Console) -> str:
    """Return epoch seconds as a UTC time, short enough for the terminal."""
    if at is None:
        return ""
    text = timestamp(at)[:19].replace("T", " ")
    return text if out.width >= WIDE else text[5:16]


def reply(attempt: Attempt | None) -> str:
    """Return the beginning of the receiver's reply, or why there was none."""
    return in_line(attempt.excerpt, REPLY) if attempt else ""


def print_left(number: int, out: Console) -> None:
    """Print how many of the chosen deliveries are not deleted, and why."""
    if number:
        words = f"{counted_deliveries(number)} left: the end of their scan is not reported yet and would restore them."
        out.print(words)


def print_numbers(counts: Counts, states: Sequence[State], out: Console) -> None:
    """Print the number of deliveries per endpoint and state."""
    rows = table("endpoint", *(state.value for state in states))
    for endpoint, found in sorted(counts.items()):
        rows.add_row(plain(endpoint, "bold"), *(str(found.get(state.value, 0)) for state in states))
    if counts:
        out.print(rows)


def print_counts(counts: Counts, states: Sequence[State], given: argparse.Namespace, out: Console) -> None:
    """Print the result of a dry run: the number of deliveries per endpoint and state."""
    if given.json:
        numbers = {name: {state.value: found.get(state.value, 0) for state in states} for name, found in counts.items()}
        show_result(given, out, {"dry_run": True, "deliveries": total(counts), "endpoints": numbers})
        return
    print_numbers(counts, states, out)
    out.print(f"{counted_deliveries(total(counts))}; nothing was changed (--dry-run).")


def print_records(
    found: Sequence[Record], headings: tuple[tuple[str, ...], tuple[str, ...]], given: argparse.Namespace, out: Console
) -> None:
    """Print up to --limit deliveries as the command line asks; one more than that means that there are others."""
    shown = found[: given.limit]
    if given.json:
        for record in shown:
            out.print(plain(as_json(fields_of(record))), soft_wrap=True)
        return
    if shown:
        print_table(shown, headings, out)
    show_end(given, out, len(found), "No deliveries.")
