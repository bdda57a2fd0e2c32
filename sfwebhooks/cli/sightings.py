"""`sfwebhooks sightings`: what the scans of a target have found, and whether it is new, still there or gone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text, timestamp
from sfwebhooks.fingerprints import canonical
from sfwebhooks.inspection.fields import SHORT
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.sighting_list import Presence, Sighted, Sighting, SightingFilter
from sfwebhooks.outbox.sightings import Mute
from sfwebhooks.redaction import for_people
from sfwebhooks.scan.sighted import data_of
from sfwebhooks.screening import CORRELATION
from sfwebhooks.severity import Severities, Severity
from sfwebhooks.terminal.arguments import add_config, settings
from sfwebhooks.terminal.delivery_table import PIPE, WIDE, short_time
from sfwebhooks.terminal.output import GAP, as_json, plain, show_end, table
from sfwebhooks.terminal.selection_arguments import add_listing, on_outbox
from sfwebhooks.text import in_line

#: characters of data: in JSON, in a line, and in one of a narrow terminal
DATA = 200
LINE = 60
#: targets that an error lists
LAST = 5
MUTED, DEAD = "muted", "dead"
#: heading -> width of a column of a narrow terminal, where the data have a line of their own; None: what is left
COLUMNS = {"fingerprint": 11, "severity": 8, "type": None, "last seen": 11, "state": 11}
WIDE_COLUMNS = ("fingerprint", "severity", "type", "data", "first seen", "last seen", "state")
COLOURS = {Presence.NEW: "green", Presence.PRESENT: "", Presence.GONE: "yellow", Presence.RETURNED: "green"}
NOTHING = (
    "No sightings: scans are recorded once an endpoint has only_new = true or subscribes to surface_changed, from their"
    " end on."
)


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "sightings",
        help="what scans of a target have found: new, present, gone or returned",
        description="List what the scans of a target have found, that of the last scan first, of one scan the most"
        " severe first: new (first found by the last finished scan, or since), present, gone, or returned (there again"
        " after it was gone). The severity is that of the type, by [webhooks-severity] if it has it. Dead: it"
        " died on its way to an endpoint. Data are shown as far as SpiderFoot's database or the outbox still has them."
        " Without TARGET, list the targets. Times are UTC.",
        epilog="examples:\n  sfwebhooks sightings acme.example --new\n"
        "  sfwebhooks sightings acme.example --type 'VULNERABILITY_*'",
    )
    command.add_argument("target", nargs="?", type=clean_text, metavar="TARGET", help="target of the scans")
    which = command.add_mutually_exclusive_group()
    for name, words in (
        (Presence.NEW.value, "first found by the last finished scan, or since"),
        (Presence.GONE.value, "no longer found"),
        (Presence.RETURNED.value, "found again after they were gone"),
        (MUTED, "muted, for some endpoint or all"),
        (DEAD, "that died on their way to an endpoint"),
    ):
        which.add_argument(f"--{name}", action="store_const", const=name, dest="only", help=f"only those {words}")
    command.add_argument(
        "--type",
        dest="kind",
        type=clean_text,
        default="",
        metavar="PATTERN",
        help="only findings of this type of SpiderFoot",
    )
    add_config(command)
    add_listing(command)
    command.set_defaults(run=on_outbox(_sightings, listing=True))


def _sightings(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    targets = records.sighting_list.targets()
    there = f"; the last targets are: {', '.join(one.target for one in targets[:LAST])}" if targets else ""
    if given.target is None:
        if asked := [f"--{given.only}"] * bool(given.only) + ["--type"] * bool(given.kind):
            raise SelectionError(f"{' and '.join(asked)} selects findings of a target: give a TARGET{there}")
        _print_targets(targets, given, out)
        return 0
    if canonical(given.target) not in [one.target for one in targets]:
        raise SelectionError(f'no scan of "{given.target}" is recorded{there}' if there else NOTHING)
    severities = settings(given).severities
    mutes = records.sightings.mutes(time.time(), given.target)
    undelivered = records.sighting_list.undelivered(given.target)
    among = {MUTED: frozenset(one.fingerprint for one in mutes), DEAD: undelivered}.get(given.only)
    presence = Presence(given.only) if given.only and among is None else None
    found = records.sighting_list.of(
        given.target, SightingFilter(presence, given.kind, among), given.limit + 1, partial(_rank, severities)
    )
    shown = found[: given.limit]
    data = data_of(shown, records, given.target)
    lines = [
        Shown(
            one,
            _severity(severities, one.kind),
            _masked(one.kind, data[one.fingerprint]) if one.fingerprint in data else None,
            [mute for mute in mutes if mute.fingerprint == one.fingerprint],
            one.fingerprint in undelivered,
        )
        for one in shown
    ]
    if given.json:
        for line in lines:
            out.print(plain(as_json({"target": canonical(given.target), **line.fields})), soft_wrap=True)
        return 0
    if lines:
        _print(lines, out)
    show_end(given, out, len(found), "No sightings.")
    return 0


@dataclass(frozen=True)
class Shown:
    """A sighting as it is shown."""

    sighting: Sighting
    #: of its type; None: it is a correlation, whose severity is not recorded
    severity: Severity | None
    #: masked; None: no longer there
    data: str | None
    mutes: Sequence[Mute]
    undelivered: bool

    @property
    def words(self) -> str:
        """Its state in words."""
        others = [MUTED] * bool(self.mutes) + [DEAD] * self.undelivered
        return ", ".join([self.sighting.presence.value, *others])

    @property
    def fields(self) -> dict[str, Any]:
        """Its fields for --json."""
        one = self.sighting
        return {
            "fingerprint": one.fingerprint.hex(),
            "type": one.kind,
            "severity": self.severity and self.severity.label,
            "data": self.data,
            "state": one.presence.value,
            "muted": [fields_of_mute(mute) for mute in self.mutes],
            "dead": self.undelivered,
            "first_at": timestamp(one.first_at),
            "last_at": timestamp(one.last_at),
            "first_scan": one.first_scan,
            "last_scan": one.last_scan,
        }


def _severity(severities: Severities, kind: str) -> Severity | None:
    return None if kind == CORRELATION else severities.of(kind, 0)


def _rank(severities: Severities, kind: str) -> int:
    """Return the place of a type in the order of severities."""
    severity = _severity(severities, kind)
    return -1 if severity is None else int(severity)


def _print(lines: Sequence[Shown], out: Console) -> None:
    """Print a table, on a narrow terminal with the data below each line."""
    if not out.is_terminal:
        out.width = PIPE
    if out.width < WIDE:
        _print_narrow(lines, out)
        return
    rows = table(*WIDE_COLUMNS, whole=("fingerprint", "severity", "first seen", "last seen"))
    for line in lines:
        key, severity, kind, state = _cells(line, out)
        data = plain(in_line(line.data or "", LINE), "dim")
        times = short_time(line.sighting.first_at, out), short_time(line.sighting.last_at, out)
        rows.add_row(key, severity, kind, data, *times, state)
    out.print(rows)


def _print_narrow(lines: Sequence[Shown], out: Console) -> None:
    left = out.width - sum(GAP + (width or 0) for width in COLUMNS.values()) + GAP
    for number, line in enumerate(lines):
        rows = table(*COLUMNS)
        rows.show_header = not number
        for column in rows.columns:
            column.width = COLUMNS[str(column.header)] or max(left, 1)
        key, severity, kind, state = _cells(line, out)
        rows.add_row(key, severity, kind, short_time(line.sighting.last_at, out), state)
        out.print(rows)
        if line.data:
            out.print(plain(f"  {in_line(line.data, out.width - 2)}", "dim"), soft_wrap=True)


def _cells(line: Shown, out: Console) -> tuple[Text, Text, Text, Text]:
    """Return fingerprint, severity, type and state."""
    digits = line.sighting.fingerprint.hex()
    key = plain(digits[:SHORT] if out.is_terminal else digits, "bold")
    severity = plain(line.severity.label if line.severity is not None else "")
    return key, severity, plain(line.sighting.kind), plain(line.words, COLOURS[line.sighting.presence])


def _print_targets(targets: Sequence[Sighted], given: argparse.Namespace, out: Console) -> None:
    shown = targets[: given.limit]
    if given.json:
        for one in shown:
            fields = {"target": one.target, "scans": one.scans, "finished": one.complete}
            out.print(plain(as_json({**fields, "last_at": timestamp(one.last_at)})), soft_wrap=True)
        return
    rows = table("target", "scans", "finished", "last one", whole=("last one",))
    for one in shown:
        rows.add_row(plain(one.target), str(one.scans), str(one.complete), short_time(one.last_at, out))
    if shown:
        out.print(rows)
    show_end(given, out, len(targets), NOTHING)


def _masked(kind: str, data: str) -> str:
    """Return data as `show` does: others read a terminal too."""
    return in_line(for_people(kind, data), DATA)


def fields_of_mute(mute: Mute) -> dict[str, Any]:
    """Return a mute's fields for --json."""
    return {
        "endpoint": mute.endpoint or None,
        "until": None if mute.until is None else timestamp(mute.until),
        "muted_at": timestamp(mute.at),
    }
