"""`sfwebhooks mute` and `unmute`: withhold a finding of a target from an endpoint, or from all."""

from __future__ import annotations

import argparse
import re
import time
from contextlib import closing, suppress
from typing import Any

from rich.console import Console

from sfwebhooks.cli.sightings import fields_of_mute
from sfwebhooks.config.values import seconds_with_unit
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text, printable
from sfwebhooks.fingerprints import SIZE, canonical, of_event
from sfwebhooks.inspection.fields import SHORT
from sfwebhooks.outbox.listing import ALIKE, PREFIX_LEAST
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.sightings import Mute
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, outbox_place, said
from sfwebhooks.terminal.delivery_table import short_time
from sfwebhooks.terminal.output import as_json, console, no_outbox, plain, show_result, stacked, table
from sfwebhooks.text import amount, moment

#: a fingerprint, or the beginning of one; an event's id may look like the latter
DIGITS = re.compile(rf"[0-9a-f]{{{PREFIX_LEAST},{2 * SIZE}}}")
#: characters of an id before its first hyphen
ID_HEAD = 8
LISTS = "sfwebhooks sightings TARGET and sfwebhooks deliveries list them"
#: target, fingerprint and type of a finding
Finding = tuple[str, bytes, str]


def add(commands: Any) -> None:
    """Add the commands."""
    mute = commands.add_parser(
        "mute",
        help="withhold a finding of a target from now on; without one, list what is muted",
        description="Withhold a finding, or a correlation, of a target from now on: scans count it as withheld (muted)"
        " and do not send it. It is named by its fingerprint (sfwebhooks sightings) or by an event that reported it"
        " (sfwebhooks deliveries). Accepted deliveries of it are still sent. Without a name, list what is muted.",
        epilog="examples:\n  sfwebhooks mute 3f2a91 --endpoint slack_alerts --for 30d\n  sfwebhooks mute",
    )
    mute.add_argument(
        "--for", type=said(seconds_with_unit), dest="span", metavar="TIME", help="such as 30d (until unmute)"
    )
    unmute = commands.add_parser(
        "unmute", help="send a muted finding again", epilog="example:\n  sfwebhooks unmute 3f2a91"
    )
    for command, run, words in (
        (mute, _mute, "only from this endpoint (all)"),
        (unmute, _unmute, "only the mute for this endpoint (all mutes of the finding)"),
    ):
        command.add_argument(
            "id",
            nargs="?" if command is mute else None,
            type=clean_text,
            metavar="ID",
            help="fingerprint, or id of an event or delivery, or the start of one",
        )
        command.add_argument("--endpoint", type=clean_text, metavar="NAME", help=words)
        command.add_argument("--target", type=clean_text, metavar="TARGET", help="of a fingerprint that several have")
        add_json(command)
        add_config(command)
        command.set_defaults(run=run)


def _mute(given: argparse.Namespace) -> int:
    place, out = outbox_place(given), console()
    if given.id is None:
        if given.endpoint or given.span or given.target:
            raise SelectionError("give an ID: a fingerprint, or the id of an event or a delivery")
        return _list(given, out)
    endpoint = "" if given.endpoint is None else endpoint_named(given, given.endpoint).name
    if is_missing(place):
        raise SelectionError(no_outbox(place))
    now = time.time()
    until = None if given.span is None else now + given.span
    with closing(Outbox(place)) as outbox:
        target, found, kind = _meant(given, outbox)
        outbox.sightings.mute(target, (found, kind), endpoint, until, now)
    made = Mute(target, found, endpoint, kind, until, now)
    how_long = "until sfwebhooks unmute" if until is None else f"until {moment(until)}"
    what = f"{kind or 'The finding'} at {made.target} ({found.hex()[:SHORT]})"
    words = f"{what} is muted for {endpoint or 'all endpoints'} {how_long}."
    show_result(given, out, {**_fields(made)}, words)
    return 0


def _unmute(given: argparse.Namespace) -> int:
    place = outbox_place(given)
    if is_missing(place):
        raise SelectionError(no_outbox(place))
    with closing(Outbox(place)) as outbox:
        target, found, kind = _meant(given, outbox)
        removed = outbox.sightings.unmute(target, found, given.endpoint)
    words = f"{kind or 'The finding'} at {target} ({found.hex()[:SHORT]})"
    state = f"{amount(removed, 'mute')} removed" if removed else "was not muted"
    fields = {"target": target, "fingerprint": found.hex(), "type": kind, "removed": removed}
    show_result(given, console(), fields, f"{words}: {state}.")
    return 0


def _list(given: argparse.Namespace, out: Console) -> int:
    place = outbox_place(given)
    mutes: list[Mute] = []
    if not is_missing(place):
        with closing(Outbox(place, listing=True)) as outbox:
            mutes = outbox.sightings.mutes(time.time())
    if given.json:
        for mute in mutes:
            out.print(plain(as_json(_fields(mute))), soft_wrap=True)
        return 0
    rows = table("fingerprint", "target / type", "endpoint", "since", "until", whole=("fingerprint", "since", "until"))
    for mute in mutes:
        digits = mute.fingerprint.hex()
        rows.add_row(
            plain(digits[:SHORT] if out.is_terminal else digits, "bold"),
            stacked(plain(mute.target), plain(mute.kind)) if out.is_terminal else plain(f"{mute.target} {mute.kind}"),
            plain(mute.endpoint or "all"),
            short_time(mute.at, out),
            short_time(mute.until, out),
        )
    if mutes:
        out.print(rows)
    if not given.quiet:
        out.print("Times are UTC." if mutes else "Nothing is muted.")
    return 0


def _fields(mute: Mute) -> dict[str, Any]:
    its = {"target": mute.target, "fingerprint": mute.fingerprint.hex(), "type": mute.kind}
    return {**its, **fields_of_mute(mute)}


def _meant(given: argparse.Namespace, outbox: Outbox) -> Finding:
    """Return the finding that the command line names.

    Raises:
        SelectionError: none or several have that fingerprint or id.
    """
    text, target = given.id.strip().lower(), given.target
    if not DIGITS.fullmatch(text):
        try:
            return _by_event(text, outbox)
        except SelectionError as error:
            digits = f"{PREFIX_LEAST} to {2 * SIZE} of 0-9 and a-f"
            raise SelectionError(f"{error}; nor is it a fingerprint, which is {digits}: {LISTS}") from error
    found = {*_by_fingerprint(text, target, outbox)}
    if len(text) <= ID_HEAD and not target:
        with suppress(SelectionError):
            found.add(_by_event(text, outbox))
    if len(found) > 1:
        names = sorted(f"{key.hex()} of {printable(name)}" for name, key, _ in found)
        several = ", ".join(names[:ALIKE]) + (", ..." if len(names) > ALIKE else "")
        raise SelectionError(
            f'several findings have a fingerprint, or an event with an id, that starts with "{text}": {several}; give'
            " more of it, or --target"
        )
    if not found and target and len(text) == 2 * SIZE:
        return canonical(target), bytes.fromhex(text), ""
    if not found:
        raise SelectionError(
            f'no finding has a fingerprint, nor an event of one an id, that starts with "{text}"; {LISTS}'
        )
    return found.pop()


def _by_fingerprint(digits: str, target: str | None, outbox: Outbox) -> list[Finding]:
    muted = (one for one in outbox.sightings.mutes(time.time(), target) if one.fingerprint.hex().startswith(digits))
    return [
        *outbox.sighting_list.beginning(digits, target),
        *((one.target, one.fingerprint, one.kind) for one in muted),
    ]


def _by_event(text: str, outbox: Outbox) -> Finding:
    event = outbox.listing.event(text).event
    try:
        found = of_event(event)
    except ValueError:  # garbage in its place
        found = None
    if found is None or event.scan is None or not event.scan.target:
        raise SelectionError(f"event {event.id} ({event.type}) is not a finding of a scan: only these can be muted")
    return canonical(event.scan.target), found, str(event.data.get("event_type", event.type))
