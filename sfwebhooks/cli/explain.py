"""`sfwebhooks explain ID`: why each endpoint was sent an event, or was not."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from rich.console import Console

from sfwebhooks.errors import HostDatabaseError, SelectionError
from sfwebhooks.events import (
    WebhookEvent,
    clean_text,
    correlation_id,
    delivery_id,
    finding_id,
    lifecycle_id,
    printable,
    timestamp,
)
from sfwebhooks.inspection.explanation import Because, Explained, Explanation
from sfwebhooks.outbox.listing import ALIKE, PREFIX_LEAST
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.redaction import for_people
from sfwebhooks.scan.backfill import Past, any_scan
from sfwebhooks.scan.correlations import completed, distinct, event_of_correlation
from sfwebhooks.scan.from_host import found as found_in
from sfwebhooks.scan.from_host import result_of
from sfwebhooks.scan.lifecycle import ended, started
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, folder, settings
from sfwebhooks.terminal.output import as_json, console, plain, print_hanging
from sfwebhooks.text import in_line, moment, text_of

#: the host's hash of a finding
HASH = re.compile(r"[0-9a-f]{64}")
#: characters of data
DATA = 100
#: no setting of today withholds it
SENT = Because("sent", "it would be sent.")
#: width of the words before a line's text
HEAD = 9
#: color of a reason; any other one: yellow
COLOURS = {"delivered": "green", "dead": "red", "damaged": "red"}
DESCRIPTION = """
Say for each endpoint whether it was sent an event, or why not, what would be by today's settings if that differs, and
what helps. The event is named by its id, by that of a delivery, or by the start of one; a finding that nobody was sent
by the hash that SpiderFoot gives it (64 digits, in its database and its exports), or by any id, with --scan. Nothing is
sent or written.
"""
EXAMPLES = "examples:\n  sfwebhooks explain 3f2a91\n  sfwebhooks explain 3f2a91 --scan 5909AA61 --endpoint siem_system"


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "explain", help="why each endpoint has an event, or not", description=DESCRIPTION, epilog=EXAMPLES
    )
    command.add_argument(
        "id", type=clean_text, metavar="ID", help="id of an event or a delivery, its start, or SpiderFoot's hash"
    )
    command.add_argument(
        "--scan", type=clean_text, metavar="ID", help="the scan: SpiderFoot's database is searched too"
    )
    command.add_argument("--endpoint", type=clean_text, metavar="NAME", help="only this endpoint")
    add_json(command, "print one JSON object per line")
    add_config(command)
    command.set_defaults(run=_explain)


def _explain(given: argparse.Namespace) -> int:
    found, out, now = settings(given), console(), time.time()
    try:
        with closing(Outbox(found.place(folder(given)), listing=True)) as outbox:
            event = _event(given, outbox)
            explanation = Explanation(event, outbox, found, now)
            names = explanation.endpoints
            if given.endpoint:
                names = [given.endpoint] if given.endpoint in names else [endpoint_named(given, given.endpoint).name]
            if not given.json:
                _print_event(event, out)
            for name in names:
                _print(explanation.of(name), event, given, out)
    except HostDatabaseError as error:
        raise SelectionError(f"SpiderFoot's database cannot be read: {error}") from error
    if not names and not given.json:
        out.print("No endpoints: sfwebhooks create NAME adds one.")
    return 0


# --- the event


def _event(given: argparse.Namespace, outbox: Outbox) -> WebhookEvent:
    """Return the event that the command line names.

    Raises:
        SelectionError: none or several have that id.
        OutboxError: the outbox cannot be read.
        HostDatabaseError: the host's database cannot be read.
    """
    text = given.id.strip().lower()
    if given.scan is None:
        if HASH.fullmatch(text):
            raise SelectionError("this is a hash of SpiderFoot: add --scan ID, the scan that found it")
        try:
            return outbox.listing.event(text).event
        except SelectionError as error:
            raise SelectionError(f"{error}. --scan ID also looks among what no endpoint was sent") from error
    if len(text) < PREFIX_LEAST:
        raise SelectionError(f'"{printable(text)}" is too short for an id: give {PREFIX_LEAST} characters or more')
    past = any_scan(outbox, given.scan, settings(given).enrichment)
    ids = list(dict.fromkeys(_ids(text, past, outbox, given)))
    if len(ids) > 1:
        several = ", ".join(ids[:ALIKE]) + (", ..." if len(ids) > ALIKE else "")
        raise SelectionError(f'more than one event has an id that starts with "{printable(text)}": {several}')
    made = outbox.scans.event(ids[0]) or _made(ids[0], past, outbox) if ids else None
    if made is None:
        raise SelectionError(f'nothing that scan {given.scan} found has the id or hash "{printable(given.id)}"')
    return made


def _ids(text: str, past: Past, outbox: Outbox, given: argparse.Namespace) -> Iterator[str]:
    """Yield the ids of the events of a scan that a text names."""
    scan = past.scan
    if HASH.fullmatch(text):
        yield from (finding_id(scan.id, one[0]) for one in past.database.index(scan.id) if one[0] == text)
        return
    names = [one.name for one in settings(given).known]
    steps = (lifecycle_id(scan.id, step) for step in ("started", "ended", "correlations", "surface"))
    correlations = past.database.correlations(scan.id) or ()
    matches = (correlation_id(scan.id, one.rule_id, one.title) for one in correlations)
    findings = (finding_id(scan.id, one[0]) for one in past.database.index(scan.id))
    for event_id in (*steps, *matches, *findings, *outbox.scans.known_events(scan.id)):
        if event_id.startswith(text) or any(delivery_id(event_id, name).startswith(text) for name in names):
            yield event_id


def _made(event_id: str, past: Past, outbox: Outbox) -> WebhookEvent | None:
    """Return an event of a scan, made as a scan or a backfill makes it; None: it is no longer there."""
    scan, database = past.scan, past.database
    hashes = [one[0] for one in database.index(scan.id) if finding_id(scan.id, one[0]) == event_id]
    for event in found_in(database, scan, hashes):
        return event
    rows = distinct(database.correlations(scan.id) or ())
    for row in rows:
        if correlation_id(scan.id, row.rule_id, row.title) == event_id:
            return event_of_correlation(row, next(database.evidence(scan.id, [row])), scan, past.row.ended)
    if event_id == lifecycle_id(scan.id, "started"):
        return started(scan)
    if event_id == lifecycle_id(scan.id, "correlations"):
        return completed(scan, rows, past.row.ended)
    if event_id == lifecycle_id(scan.id, "ended"):
        return ended(scan, result_of(scan, database, outbox.scans.accepted(scan.id)))
    return None


# --- what is shown


def _print_event(event: WebhookEvent, out: Console) -> None:
    """Print what the event is."""
    try:
        kind, data = text_of(event.data, "event_type"), text_of(event.data, "data") or text_of(event.data, "title")
    except ValueError:
        kind, data = "", "its stored data is not JSON: the outbox is damaged"
    of = f" of scan {event.scan.id} of {event.scan.target}" if event.scan else ""
    out.print(plain(f"Event {event.id}: {event.type}, {event.severity.label}, {moment(event.at)}{of}."))
    if data:
        shown = in_line(for_people(kind, data), DATA)
        out.print(plain(f"{kind}: {shown}" if kind else shown, "dim"))
    out.print()


def _print(one: Explained, event: WebhookEvent, given: argparse.Namespace, out: Console) -> None:
    if given.json:
        fields = {
            "endpoint": one.endpoint,
            "event": event.id,
            "type": event.type,
            "at": timestamp(event.at),
            "delivery": one.delivery or None,
            "then": _fields(one.then),
            "today": _fields(one.today or SENT),
            "again": one.again or None,
        }
        out.print(plain(as_json(fields)), soft_wrap=True)
        return
    out.print(plain(one.endpoint, "bold"))
    colour = COLOURS.get(one.then.reason, "yellow")
    print_hanging(f"  {'':{HEAD}}", plain(f"{one.then.words}.", colour), out)
    if one.today and one.today != one.then:
        _print_line("today", f"{one.today.words}.", out)
    elif not (one.today or one.delivery):
        _print_line("today", SENT.words, out)
    cures = [one.today.cure if one.today else "", one.then.cure, one.again]  # what withholds it would withhold it again
    _print_line("do", ", then ".join(dict.fromkeys(filter(None, cures))), out)


def _print_line(label: str, text: str, out: Console) -> None:
    if text:
        print_hanging(f"  {label:{HEAD}}", plain(text), out)


def _fields(because: Because) -> dict[str, Any]:
    its = {"reason": because.reason, "words": because.words, "cure": because.cure or None}
    return {**its, "waits_for": because.waits_for} if because.waits_for else its
