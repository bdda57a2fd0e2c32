"""Printing deliveries: Records come in; a table, a line per attempt, or JSON goes out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import timestamp
from sfwebhooks.outbox.listing import Record
from sfwebhooks.retry import State
from sfwebhooks.terminal.output import as_json, plain, show_result, stacked, table
from sfwebhooks.text import amount, in_line

#: terminal width from which a line shows every column
WIDE = 150
#: width of a pipe: one line per delivery, however long the names are
PIPE = 2000
#: characters of an id that a terminal shows; commands accept them in place of the whole id
SHORT = 8
#: characters of a reply in a line
REPLY = 60
#: endpoint -> state -> number of deliveries
Counts = Mapping[str, Mapping[str, int]]
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


def fields_of(record: Record) -> dict[str, Any]:
    """Return a delivery's fields for --json; times are RFC 3339."""
    waits = record.state is State.WAITING
    return {
        "delivery": record.id,
        "event": record.event_id,
        "endpoint": record.endpoint,
        "name": record.name,
        "type": record.type,
        "severity": record.severity.label,
        "scan": record.scan_id,
        "target": record.target,
        "series": record.series,
        "sequence": record.sequence,
        "state": record.state.value,
        "reason": record.reason,
        "attempts": record.attempts,
        "tries": record.tries,
        "replays": record.replays,
        "batch": record.batch,
        "accepted_at": timestamp(record.accepted_at),
        "due_at": timestamp(record.due_at) if waits else None,
        "settled_at": None if record.settled_at is None else timestamp(record.settled_at),
        "last_attempt": record.last and fields_of_attempt(record.last),
    }


def fields_of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt's fields for --json."""
    return {
        "at": timestamp(attempt.at),
        "seconds": round(attempt.seconds, 3),
        "status": attempt.status,
        "reason": attempt.reason,
        "trigger": attempt.trigger,
        "excerpt": attempt.excerpt,
    }


def counted_deliveries(number: int) -> str:
    """Return a number of deliveries in words."""
    return amount(number, "delivery", "deliveries")


def total(counts: Counts) -> int:
    """Return the sum of all counts."""
    return sum(sum(states.values()) for states in counts.values())


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
    if not given.quiet:
        more = f" Only {given.limit} are shown: --limit N shows more." if len(found) > given.limit else ""
        out.print(plain(f"Times are UTC.{more}" if shown else "No deliveries."))
