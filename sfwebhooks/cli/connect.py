"""`sfwebhooks connect`: an endpoint is taken live in four steps: test, simulation, backfill, and live."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sfwebhooks.cli.backfill import send_past_scan
from sfwebhooks.cli.route import print_forecast
from sfwebhooks.cli.test import show_test
from sfwebhooks.config.editing import Edit
from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import nearest, seconds, whole_number
from sfwebhooks.delivery.process import senders
from sfwebhooks.delivery.status import situations, waiting_line
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, HostDatabaseError, SelectionError
from sfwebhooks.events import clean_text, lifecycle_id
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing
from sfwebhooks.scan.backfill import Past, past_scan
from sfwebhooks.scan.forecast import forecast
from sfwebhooks.scan.host_address import current_database, is_gone
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_rows import OVER
from sfwebhooks.scan.recovery import running_scans
from sfwebhooks.terminal.arguments import (
    add_config,
    demand_sending,
    folder,
    said,
    settings,
    settings_file,
    without_mistake,
)
from sfwebhooks.terminal.asking import can_ask, confirmed
from sfwebhooks.terminal.editing import write_edit
from sfwebhooks.terminal.output import console, plain
from sfwebhooks.text import moment

#: seconds in which a running scan takes up changed settings: it looks each second, and reads them when they are settled
TAKE_UP_SECONDS = 20.0
LOOK_SECONDS = 0.2
STEPS = ("test message", "simulation on past scans", "backfill of past scans", "live")
DESCRIPTION = """
Take an endpoint live in four steps, each with its result, and a question before the next one: a test message; what a
backfill of the last scans would send; that backfill, marked as such, of the scans that you choose; live. Before, the
endpoint is best in the settings with enabled = false. It is enabled, running scans take it up, and it is sent at the
end of each of them what it missed: nothing is missing between backfill and live, and nothing comes twice. A step that
fails ends the command; run it again to go on. Exit code: 3 if a running scan has not taken it up.
"""
EXAMPLES = "examples:\n  sfwebhooks connect siem\n  sfwebhooks connect siem --no-backfill --yes"
AGAIN = "run the same command again: nothing is sent twice"


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "connect", help="take an endpoint live, step by step", description=DESCRIPTION, epilog=EXAMPLES
    )
    command.add_argument("name", type=clean_text, metavar="NAME", help="the endpoint")
    command.add_argument(
        "--scans",
        type=said(whole_number(1, 100)),
        default=3,
        metavar="N",
        help="how many of the last scans are looked at (3)",
    )
    command.add_argument("--yes", action="store_true", help="do not ask: do all steps, and backfill all of these scans")
    command.add_argument("--no-test", action="store_true", help="without a test message")
    command.add_argument("--no-simulation", action="store_true", help="without a simulation")
    command.add_argument("--no-backfill", action="store_true", help="without a backfill")
    command.add_argument(
        "--timeout",
        type=said(seconds),
        default=60.0,
        metavar="TIME",
        help="wait at most this long for the deliveries of each backfill; the others are sent later (60s)",
    )
    add_config(command)
    command.set_defaults(run=_connect, log_level=logging.INFO, stopped=AGAIN)


@dataclass(frozen=True)
class Connecting:
    """An endpoint that is taken live."""

    given: argparse.Namespace
    endpoint: Endpoint
    #: with the endpoint enabled
    settings: Settings
    #: whether it is not enabled in the file
    is_off: bool
    #: data folder
    folder: Path
    out: Console
    #: epoch seconds
    begun_at: float
    #: the scans that were running then, with the digests of their settings
    running: Mapping[str, str]

    @property
    def outbox_place(self) -> Place:
        """The outbox."""
        return self.settings.place(self.folder)

    def step(self, number: int, skipped: bool = False) -> None:
        """Print the title of a step."""
        title = f"Step {number} of {len(STEPS)}: {STEPS[number - 1]}{', skipped' if skipped else ''}"
        self.out.print()
        self.out.print(plain(title, "dim" if skipped else "bold"))

    def goes_on(self, question: str, default: bool = True) -> bool:
        """Return whether the user wants something."""
        return self.given.yes or confirmed(question, default)


def _connect(given: argparse.Namespace) -> int:
    found = settings(given)
    demand_sending(found)
    endpoint = without_mistake(_endpoint(found, given.name))
    if not (given.yes or can_ask()):
        raise ConfigError("there is no terminal to ask: --yes does all steps, --no-backfill and others skip some")
    place, is_off = folder(given), endpoint in found.off
    endpoint = replace(endpoint, enabled=True)
    if is_off:
        others = tuple(one for one in found.off if one.name != endpoint.name)
        found = replace(
            found, endpoints=(*found.endpoints, endpoint), off=others, unused=found.unused - {endpoint.name}
        )
    now, out = time.time(), console(given.quiet)
    work = Connecting(given, endpoint, found, is_off, place, out, now, _running(found.place(place)))
    state = "disabled in the settings" if is_off else "enabled in the settings already"
    out.print(plain(f"{endpoint.name} ({endpoint.place}) is {state}."))
    if not _test(work):
        out.print(plain(f"{endpoint.name} was not taken live. When this is corrected, run the same command again."))
        return 1
    chosen = _simulate(work)
    if not _backfill(work, chosen):
        return 1
    return _go_live(work)


def _endpoint(found: Settings, name: str) -> Endpoint:
    """Return an endpoint of the settings, whether it is enabled or not.

    Raises:
        ConfigError: there is none.
    """
    known = {one.name: one for one in found.known}
    if name not in known and name in found.unused:
        raise ConfigError(f'endpoint "{name}" cannot be used because its settings have a mistake: sfwebhooks check')
    if name not in known:
        raise ConfigError(
            f'there is no endpoint "{name}"; there are: {", ".join(known) or "none"}.{nearest(name, known)} To add it:'
            f" sfwebhooks create {name}"
        )
    return known[name]


def _running(place: Place) -> Mapping[str, str]:
    """Return the running scans of an outbox: id -> digest of the settings."""
    if is_missing(place):
        return {}
    with closing(Outbox(place)) as outbox:
        return running_scans(outbox)


# --- the steps


def _test(work: Connecting) -> bool:
    """Send a test message; return whether the receiver has it."""
    work.step(1, work.given.no_test)
    return work.given.no_test or show_test(work.endpoint, work.out)


def _simulate(work: Connecting) -> list[Past]:
    """Print what a backfill of the last scans would send; return those of which it would send something."""
    skipped = work.given.no_simulation and work.given.no_backfill
    if not skipped and not work.goes_on(f"Look at what {work.endpoint.name} would be sent of past scans?"):
        skipped = True
    work.step(2, skipped or work.given.no_simulation)
    if skipped:
        return []
    chosen = []
    try:
        with closing(Outbox(work.outbox_place, listing=True)) as outbox:
            for past in _last_scans(work, outbox):
                known = forecast(outbox, work.endpoint, past)
                chosen += [past] if known.number and not known.deleted else []
                if not work.given.no_simulation:
                    over = f"{past.row.status} at {moment(past.row.ended)}" if past.row.ended else past.row.status
                    work.out.print(plain(f"Scan {past.scan.id} of {past.scan.target}, {over}:"))
                    print_forecast(work.endpoint, known, past, work.out, command=False)
    except HostDatabaseError as error:
        raise SelectionError(f"SpiderFoot's database cannot be read: {error}") from error
    return chosen


def _last_scans(work: Connecting, outbox: Outbox) -> Iterator[Past]:
    """Yield the last scans that are over, the newest first."""
    address = current_database(work.folder)
    instances = HostDatabase(address, is_deleted=is_gone(address)).instances()
    over = sorted((row for row in instances if row[5] in OVER), key=lambda row: row[3], reverse=True)
    if not over:
        work.out.print(plain(f"SpiderFoot has no scan in {work.folder} that is over."))
    for row in over[: work.given.scans]:
        try:
            yield past_scan(outbox, row[0], False, work.settings.enrichment)
        except SelectionError as error:  # another process is reporting its end
            work.out.print(plain(f"{error}.", "yellow"))


def _backfill(work: Connecting, scans: list[Past]) -> bool:
    """Send past scans, the oldest first; return whether all that were chosen are in the outbox."""
    work.step(3, work.given.no_backfill)
    if work.given.no_backfill:
        return True
    if not scans:
        work.out.print(plain(f"There is nothing to send to {work.endpoint.name}."))
    for past in reversed(scans):
        if not work.goes_on(f"Send scan {past.scan.id} of {past.scan.target}, marked as backfilled?", default=False):
            continue
        if not _send(work, past.scan.id):
            return False
    return True


def _send(work: Connecting, scan_id: str) -> bool:
    """Send a past scan; return whether all of it is in the outbox. What its pace or an outage keeps there, any process
    sends once the endpoint is live."""
    its = {"scan": scan_id, "again": False, "rate": 0.0, "dead": False, "json": False}
    code = send_past_scan(argparse.Namespace(**{**vars(work.given), **its}), work.settings, work.endpoint)
    with closing(Outbox(work.outbox_place, listing=True)) as outbox:
        end = outbox.scans.event(lifecycle_id(scan_id, "ended"))
        is_stored = code == 0 or (end is not None and work.endpoint.name in outbox.scans.endpoints_of(end))
    if not is_stored:
        work.out.print(plain(f"{work.endpoint.name} was not taken live. To go on, run the same command again."))
    return is_stored


def _go_live(work: Connecting) -> int:
    """Enable the endpoint, and wait until the running scans have taken it up; return the exit code."""
    name, out = work.endpoint.name, work.out
    work.step(4)
    before = _running(work.outbox_place)
    if not work.is_off:
        out.print(plain(f"{name} is enabled already: it is sent what each scan finds from its begin on."))
    elif work.goes_on(f"Take {name} live?"):
        write_edit(work.given, Edit(name, {"enabled": "true"}), out, "Enabled")
    else:
        out.print(plain(f"Nothing was changed: {name} is still disabled. sfwebhooks enable {name} takes it live."))
        return 1
    if not is_missing(work.outbox_place):
        with closing(Outbox(work.outbox_place)) as outbox:
            outbox.endpoints.resume(name, time.time())
    late = _wait_for_scans(work, before)
    if not _fill(work, {*before, *work.running} - {*_running(work.outbox_place)}):
        return 1
    _print_senders(work)
    return ATTENTION if late else 0


def _wait_for_scans(work: Connecting, before: Mapping[str, str]) -> list[str]:
    """Wait until the running scans have taken the endpoint up; return those that have not.

    Args:
        before: the digests of their settings before the endpoint was enabled.
    """
    digest, deadline = settings(work.given).digest, time.monotonic() + TAKE_UP_SECONDS
    waiting = {*before}
    taken: list[str] = []
    while waiting:
        running = _running(work.outbox_place)
        # a scan's process may have other secrets in its environment, and so another digest
        now = [one for one in waiting & {*running}
               if running[one] == digest or (work.is_off and running[one] != before[one])]  # fmt: skip
        taken += now
        waiting = (waiting & {*running}) - {*now}
        if not waiting or time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    for scan_id in sorted(taken):
        words = f"Scan {scan_id} is running, and uses it: at its end, {work.endpoint.name} is sent what it missed."
        work.out.print(plain(words, "green"))
    for scan_id in sorted(waiting):
        words = (
            f"Scan {scan_id} is running with other settings, and its log may say why. After its end: sfwebhooks"
            f" backfill {scan_id} --endpoint {work.endpoint.name}"
        )
        work.out.print(plain(words, "yellow"))
    return sorted(waiting)


def _fill(work: Connecting, over: set[str]) -> bool:
    """Send the scans that ended since the command began, and of which the endpoint has no end; return whether that was
    possible.

    Args:
        over: ids of scans that were running, and are over.
    """
    if is_missing(work.outbox_place):
        return True
    with closing(Outbox(work.outbox_place)) as outbox:
        over = over | {scan.id for scan, _, ended in outbox.scans.begun(work.begun_at) if ended is not None}
        ends = {scan_id: outbox.scans.event(lifecycle_id(scan_id, "ended")) for scan_id in over}
        name = work.endpoint.name
        lacking = sorted(one for one, end in ends.items() if end is None or name not in outbox.scans.endpoints_of(end))
    for scan_id in lacking:
        if work.given.no_backfill:
            command = f"sfwebhooks backfill {scan_id} --endpoint {name}"
            work.out.print(plain(f"Scan {scan_id} has ended meanwhile, without {name}. To send it: {command}"))
            continue
        work.out.print(plain(f"Scan {scan_id} has ended meanwhile:"))
        if not _send(work, scan_id):
            return False
    return True


def _print_senders(work: Connecting) -> None:
    """Print what is sending, and what is waiting for the endpoint."""
    name, out, place = work.endpoint.name, work.out, work.outbox_place
    file = settings_file(work.given)
    since = "" if work.is_off else f"; the settings were last changed at {moment(file.stat().st_mtime)}"
    out.print(plain(f"{name} is live{since}.", "green"))
    found = {}
    if not is_missing(place):
        with closing(Outbox(place, listing=True)) as outbox:
            found = senders(outbox, ())
        for one in situations(place, settings(work.given), name.__eq__):
            out.print(plain(waiting_line(one)))
    if found:
        shown = ", ".join(f"{role.words} (process {pid})" for pid, role in found.items())
        out.print(plain(f"Sending: {shown}."))
    else:
        out.print("Each scan sends while it runs, and for a while afterwards; sfwebhooks run sends at any time.")
