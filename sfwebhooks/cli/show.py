"""`sfwebhooks show ID`: one delivery in detail, with every attempt."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from sfwebhooks.attempts import Attempt
from sfwebhooks.delivery.troubleshooting import cure, meaning
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import WebhookEvent, clean_text, timestamp
from sfwebhooks.inspection.delivery import Detail, detail_of, readable_data, waits_of
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import add_config, add_json, known_settings
from sfwebhooks.terminal.output import as_json, plain, table
from sfwebhooks.terminal.selection_arguments import on_outbox
from sfwebhooks.text import amount, in_line, moment, text_of

#: characters of a finding
DATA = 200
#: which attempts do not use up a retry
SPARED = (
    "the others were before a replay, in a batch that was split, about a message that was pending, or failed while the"
    " endpoint was failing or held"
)


def add(commands: Any) -> None:
    """Add the command."""
    add_show(commands, "show one delivery in detail, with every attempt", None, "sfwebhooks show 3f2a91")


def add_show(commands: Any, words: str, state: State | None, example: str) -> None:
    """Add a command that shows a delivery in one state, or in any."""
    command = commands.add_parser("show", help=words, epilog=f"example:\n  {example}")
    command.add_argument(
        "id", type=clean_text, metavar="ID", help="id of the delivery or of its event, or the start of one"
    )
    add_json(command, "print a JSON object, including the event's data")
    add_config(command)
    command.set_defaults(run=on_outbox(_show, listing=True), only=state)


def _show(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    record, found = _record(given, records), known_settings(given)
    detail = detail_of(record, records, found)
    if given.json:
        out.print(plain(as_json(detail.fields(detail.shown(detail.rules)[0]))), soft_wrap=True)
        return 0
    rows = table("", "")
    rows.show_header = False
    waits, _ = waits_of(record, records, found)
    for name, value in _lines(detail, waits, records.listing.others_of(record)):
        rows.add_row(plain(name, "bold"), plain(value))
    its = detail.fingerprint
    if its:
        rows.add_row(plain("fingerprint", "bold"), plain(f"{its}: sfwebhooks mute {its}"))
    out.print(rows)
    _print_attempts(detail.attempts, out)
    return 0


def _record(given: argparse.Namespace, records: Outbox) -> Record:
    """Return the delivery that the command line names.

    Raises:
        SelectionError: none or several have that id; if none, with the commands that know more.
    """
    try:
        return records.listing.find(given.id, given.only)
    except SelectionError as error:
        if not str(error).startswith("no "):
            raise
        raise SelectionError(
            f"{error}. sfwebhooks explain says why an event was not sent; a fingerprint is listed by sfwebhooks"
            " sightings TARGET"
        ) from error


def _lines(detail: Detail, waits: str, others: int) -> Iterator[tuple[str, str]]:
    """Yield the lines.

    Args:
        waits: why it waits.
        others: number of deliveries that went in its digest with it.
    """
    record = detail.record
    delivery, _ = detail.shown(detail.rules_for_people)
    yield "delivery", record.id
    yield "endpoint", record.endpoint
    yield "state", _state(record)
    if record.reason:
        means = meaning(record.reason) if record.state is State.DEAD else ""
        yield "why", record.reason + (f": {means}" if means else "")
        helps = cure(record.reason, record.last.excerpt if record.last else "", record.endpoint)
        if helps:
            yield "what to do", helps
    if waits:
        yield "waits", waits
    yield "accepted", f"{moment(record.accepted_at)}{f', for replay {record.replays}' if record.replays else ''}"
    yield "attempts", _attempts(record.attempts, len(detail.attempts))
    if record.batch:
        yield ("digest", f"{record.batch}, with {amount(others, 'other')}") if others else ("batch", record.batch)
    yield "event", f"{record.name}{'' if record.name == record.type else f' ({record.type})'}, {record.severity.label}"
    yield "event id", record.event_id
    if delivery:
        yield "happened", moment(delivery.event.at)
        yield from _finding(delivery.event)
    words = detail.redaction_for_people()
    if words:
        yield "redacted", words
    if record.scan_id:
        yield "scan", f"{record.scan_id}{f' of {record.target}' if record.target else ''}"
        yield "number", f"{record.sequence} of this scan and endpoint, in series {record.series}"


def _attempts(counted: int, made: int) -> str:
    return str(made) if counted == made else f"{made}, of which {counted} used up retries; {SPARED}"


def _state(record: Record) -> str:
    if record.settled_at is not None:
        return f"{record.state.value} since {moment(record.settled_at)}"
    return f"{record.state.value}, due {moment(record.due_at)}"


def _finding(event: WebhookEvent) -> Iterator[tuple[str, str]]:
    """Yield the finding."""
    data = readable_data(event)
    if data is None:
        yield "data", "the stored data is not JSON: the outbox was changed by another program or is damaged"
        return
    host_type, module = text_of(data, "event_type"), text_of(data, "module")
    if host_type:
        yield "finding", f"{host_type}{f' by {module}' if module else ''}"
        yield "", in_line(text_of(data, "data"), DATA)


def _print_attempts(attempts: Sequence[Attempt], out: Console) -> None:
    out.print()
    if not attempts:
        out.print("No attempts.")
        return
    whole = ("attempt at (UTC)", "took", "status")
    rows = table(*whole, "reason", "trigger", "reply", whole=whole)
    for one in attempts:
        at, status = timestamp(one.at)[:19].replace("T", " "), "" if one.status is None else str(one.status)
        rows.add_row(at, f"{one.seconds:.2f} s", status, plain(one.reason), plain(one.trigger), plain(one.excerpt))
    out.print(rows)
