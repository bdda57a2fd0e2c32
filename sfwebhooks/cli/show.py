"""`sfwebhooks show ID`: one delivery in detail, with every attempt."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from sfwebhooks.attempts import Attempt
from sfwebhooks.delivery.status import situations, why_waiting
from sfwebhooks.delivery.troubleshooting import cure, meaning
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Delivery, WebhookEvent, clean_text, timestamp
from sfwebhooks.fingerprints import of_event
from sfwebhooks.formats import redaction_of
from sfwebhooks.outbox.listing import Record
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.redaction import Rules, explained
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import add_config, add_json, known_settings
from sfwebhooks.terminal.delivery_table import SHORT, fields_of, fields_of_attempt
from sfwebhooks.terminal.output import as_json, plain, table
from sfwebhooks.terminal.selection_arguments import on_outbox
from sfwebhooks.text import amount, in_line, moment, text_of

#: characters of a finding
DATA = 200
#: for an endpoint that the settings do not have, or that has no rules
FOR_PEOPLE = Rules(has_default=True)
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
    record = _record(given, records)
    attempts, delivery = records.listing.attempts(record.id), records.listing.delivery(record.id)
    found = known_settings(given)
    endpoint = next((one for one in found.known if one.name == record.endpoint), None) if found else None
    rules = redaction_of(endpoint) if endpoint else FOR_PEOPLE
    if given.json:
        event, _ = _redacted(delivery, rules)
        out.print(plain(as_json(_fields(record, attempts, event))), soft_wrap=True)
        return 0
    # others read a terminal too, and copy from it into tickets
    event, words = _redacted(delivery, FOR_PEOPLE if rules.are_empty else rules)
    if words and rules.are_empty:
        words += " only here; it is sent as it is"
    rows = table("", "")
    rows.show_header = False
    waits = ""
    if record.state is State.WAITING:
        states = situations(records.path, found, record.endpoint.__eq__)
        waits = "".join(why_waiting(one, time.time()) for one in states)
    others = records.listing.others_of(record)
    for name, value in _lines(record, event, len(attempts), (waits, words), others):
        rows.add_row(plain(name, "bold"), plain(value))
    its = _fingerprint(delivery)
    if its:
        rows.add_row(plain("fingerprint", "bold"), plain(f"{its}: sfwebhooks mute {its}"))
    out.print(rows)
    _print_attempts(attempts, out)
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


def _fingerprint(delivery: Delivery | None) -> str:
    """Return the beginning of the fingerprint of a finding or correlation of a scan, by which it can be muted."""
    if delivery is None or delivery.event.scan is None or not delivery.event.scan.target:
        return ""
    try:
        found = of_event(delivery.event)
    except ValueError:  # it is damaged, which is shown
        return ""
    return found.hex()[:SHORT] if found else ""


def _fields(record: Record, attempts: Sequence[Attempt], event: WebhookEvent | None) -> dict[str, Any]:
    return {
        **fields_of(record),
        "at": event and timestamp(event.at),
        "data": event and _data(event),
        "log": [fields_of_attempt(attempt) for attempt in attempts],
    }


def _lines(
    record: Record, event: WebhookEvent | None, attempts: int, said: tuple[str, str], others: int
) -> Iterator[tuple[str, str]]:
    """Yield the lines.

    Args:
        said: why it waits, and how its data were redacted.
        others: number of deliveries that went in its digest with it.
    """
    waits, words = said
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
    yield "attempts", _attempts(record.attempts, attempts)
    if record.batch:
        yield ("digest", f"{record.batch}, with {amount(others, 'other')}") if others else ("batch", record.batch)
    yield "event", f"{record.name}{'' if record.name == record.type else f' ({record.type})'}, {record.severity.label}"
    yield "event id", record.event_id
    if event:
        yield "happened", moment(event.at)
        yield from _finding(event)
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
    data = _data(event)
    if data is None:
        yield "data", "the stored data is not JSON: the outbox was changed by another program or is damaged"
        return
    host_type, module = text_of(data, "event_type"), text_of(data, "module")
    if host_type:
        yield "finding", f"{host_type}{f' by {module}' if module else ''}"
        yield "", in_line(text_of(data, "data"), DATA)


def _redacted(delivery: Delivery | None, rules: Rules) -> tuple[WebhookEvent | None, str]:
    """Return the event of a delivery as its endpoint gets it, and the rules that changed it in words."""
    if delivery is None:
        return None, ""
    try:
        shown, applied = explained(delivery, rules)
    except ValueError:  # it is damaged, which is shown
        return delivery.event, ""
    return shown.event, ", ".join(applied)


def _data(event: WebhookEvent) -> dict[str, Any] | None:
    """Return an event's data, None if it cannot be read."""
    try:
        return dict(event.data)
    except ValueError:
        return None


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
