"""`sfwebhooks backfill`: send a past scan to an endpoint, except the events that it already has."""

from __future__ import annotations

import argparse
import logging
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.console import Console

from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import rate, seconds
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.status import situation, why_left
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import HostDatabaseError, SelectionError
from sfwebhooks.events import clean_text
from sfwebhooks.inspection.fields import counted_deliveries
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.reasons import Withheld
from sfwebhooks.retry import State
from sfwebhooks.scan import backfill
from sfwebhooks.scan.recovery import REPLAY_CHUNK, report_dead_scans
from sfwebhooks.sending import load_senders
from sfwebhooks.terminal.arguments import add_config, add_json, demand_sending, endpoint_named, folder, said, settings
from sfwebhooks.terminal.output import console, plain, show_result
from sfwebhooks.terminal.progress_bar import Bar
from sfwebhooks.terminal.stop_signal import StopSignal

HELP = """
Send a past scan from SpiderFoot's database to an endpoint: its start, its findings and correlations, and its end,
except events that the endpoint does not subscribe to or already has. The ids are the same as in a live scan, so nothing
is sent twice. The scan may have run without webhooks.

The events are stored in the outbox, at the pace of --rate, and delivered as by sfwebhooks drain, which at once tries
the waiting deliveries of all endpoints. Deliveries still waiting after --timeout are sent by the next scan, drain or
run. To continue a backfill that was stopped or killed, run the same command again without --again.
"""
EXAMPLE = "example:\n  sfwebhooks backfill 5909AA61 --endpoint new_siem --rate 5/s"
#: the advice after Ctrl-C: before --again has made earlier deliveries due again, and after that
AGAIN = "run the same command again; everything in the outbox is kept"
GO_ON = (
    "to continue, run the same command without --again; everything in the outbox is kept and sent by the next scan,"
    " drain or run"
)


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("backfill", help="send a past scan to an endpoint", description=HELP, epilog=EXAMPLE)
    command.add_argument("scan", type=clean_text, metavar="SCAN_ID", help="SpiderFoot's id of the scan")
    command.add_argument("--endpoint", required=True, metavar="NAME", help="the endpoint to send it to")
    command.add_argument(
        "--again", action="store_true", help="also send delivered and dead deliveries again, under the same ids"
    )
    command.add_argument(
        "--rate", type=said(rate), default=0.0, metavar="N/s", help="at most this rate: 10/s, 30/m, 100/h"
    )
    command.add_argument("--dead", action="store_true", help="the scan's process has ended, whatever SpiderFoot says")
    command.add_argument(
        "--timeout",
        type=said(seconds),
        default=60.0,
        metavar="TIME",
        help="stop at most this long after the last event was stored in the outbox (60s)",
    )
    add_config(command)
    add_json(command)
    command.set_defaults(run=_backfill, log_level=logging.INFO, stopped=AGAIN)


@dataclass(frozen=True)
class Work:
    """A backfill in progress."""

    endpoint: Endpoint
    settings: Settings
    past: backfill.Past
    dispatcher: Dispatcher
    records: Outbox
    stop: StopSignal

    @property
    def chosen(self) -> Selection:
        """All deliveries of the scan to the endpoint."""
        return Selection(self.endpoint.name, self.past.scan.id)

    def count(self, *states: State) -> int:
        """Return how many deliveries of the scan to the endpoint are in one of these states."""
        found = self.records.listing.counts(self.chosen).get(self.endpoint.name, {})
        return sum(found.get(state.value, 0) for state in states)


def _backfill(given: argparse.Namespace) -> int:
    found = settings(given)
    demand_sending(found)
    return send_past_scan(given, found, endpoint_named(given, given.endpoint))


def send_past_scan(given: argparse.Namespace, found: Settings, endpoint: Endpoint) -> int:
    """Send a past scan to an endpoint, as the options of the command say; return the exit code.

    Args:
        found: the settings; the endpoint is one of them.
    """
    out, place, stop = console(given.quiet or given.json), found.place(folder(given)), StopSignal()
    load_senders()
    dispatcher = Dispatcher(found.endpoints, place, storage=found.storage)
    lock = dispatcher.outbox.locks.scan(given.scan)
    try:
        if not is_missing(place):
            report_dead_scans(dispatcher.outbox, found)
        past = backfill.past_scan(dispatcher.outbox, given.scan, given.dead, found.enrichment)
        if not lock.take():
            raise SelectionError(
                f"scan {given.scan} is still running, or another process is reporting its end or backfilling it: try"
                " again later"
            )
        with closing(Outbox(place)) as records:
            return _run(Work(endpoint, found, past, dispatcher, records, stop), given, out)
    except HostDatabaseError as error:
        raise SelectionError(f"SpiderFoot's database cannot be read: {error}") from error
    finally:
        dispatcher.stop(seconds=1.0)
        lock.release(remove=True)


def _run(work: Work, given: argparse.Namespace, out: Console) -> int:
    """Store and deliver the scan's events and print a summary; return the exit code."""
    scan, outbox, begun = work.past.scan, work.dispatcher.outbox, time.monotonic()
    gone = outbox.scans.deleted(scan.id, work.endpoint.name)
    if gone and not given.again:
        raise SelectionError(
            f"the outbox no longer has {counted_deliveries(gone)} of scan {scan.id} to {work.endpoint.name}, so it is"
            " unknown which events the endpoint has: --again sends all of them, under the same ids"
        )
    missing = backfill.begin_backfill(outbox, work.endpoint, work.past, bool(gone), given.rate)
    again = missing.again
    if given.again and not gone:
        again = work.records.retention.replay(_settled(work), time.time(), given.rate)
    given.stopped = GO_ON
    total = missing.number + work.count(State.WAITING)
    name = work.endpoint.name
    done = f"{name} already has every event of scan {scan.id} that it subscribes to; --again sends them again."
    out.print(
        plain(f"Scan {scan.id} of {scan.target} to {name}: {counted_deliveries(total)} to send." if total else done)
    )
    before = work.count(State.DELIVERED)
    work.dispatcher.open_now()
    with Bar(out, total, "settled") as bar:
        left = _accept(work, missing, given.rate, begun + again * given.rate, bar)
        _deliver(work, max(time.monotonic(), begun + again * given.rate) + given.timeout, bar)
    work.stop.check()
    return _summary(work, left, work.count(State.DELIVERED) - before, given)


def _settled(work: Work) -> Selection:
    return Selection(work.endpoint.name, work.past.scan.id, states=(State.DELIVERED, State.DEAD))


def _accept(work: Work, missing: backfill.Missing, interval: float, due: float, bar: Bar) -> int:
    """Store the missing events in the outbox at the given pace; return how many were left when it was stopped, or 1 if
    the closing event has to wait. Events that the outbox refused do not count.

    Args:
        interval: seconds between two events; 0: as fast as possible.
        due: monotonic seconds when the first one may be stored.
    """
    left = missing.number
    while left and _wait_until(due, work, left, bar):
        chunk = list(islice(missing.events, 1 if interval else REPLAY_CHUNK))
        if not chunk:  # the scan was deleted meanwhile
            return 0
        if not backfill.put(work.dispatcher.outbox, missing, chunk):
            return 1
        work.dispatcher.outbox.database.checkpoint()
        work.dispatcher.wake()
        left, due = left - len(chunk), time.monotonic() + interval
    return left


def _wait_until(due: float, work: Work, left: int, bar: Bar) -> bool:
    """Wait while the outbox is delivered; return whether to go on.

    Args:
        left: number of events that are not in the outbox yet.
    """
    while not work.stop.is_set():
        if bar.is_due:  # counting is slow
            bar.show(left + work.count(State.WAITING))
        seconds_left = due - time.monotonic()
        if seconds_left <= 0:
            return True
        work.dispatcher.tick()
        work.stop.wait(min(seconds_left, 0.5))
    return False


def _deliver(work: Work, deadline: float, bar: Bar) -> None:
    """Send until nothing is waiting, nothing more can be sent before `deadline` (monotonic seconds), or it passes."""

    def is_over() -> bool:
        if bar.is_due:  # counting is slow
            bar.show(work.count(State.WAITING))
        return work.stop.is_set() or bar.left == 0

    work.dispatcher.wake()
    work.dispatcher.linger(deadline, everything=True, is_over=is_over)
    bar.show(work.count(State.WAITING))


def _summary(work: Work, left: int, delivered: int, given: argparse.Namespace) -> int:
    """Print the summary; return the exit code."""
    outbox, name, scan_id, out = work.dispatcher.outbox, work.endpoint.name, work.past.scan.id, console()
    waiting, dead = work.count(State.WAITING), work.count(State.DEAD)
    withheld = outbox.scans.withheld(scan_id).get(name, {})
    refused = withheld.get(Withheld.OUTBOX_FULL, 0)
    problems, now = [], time.time()
    if Withheld.UNWRITABLE in withheld:
        problems.append(f"{withheld[Withheld.UNWRITABLE]} {Withheld.UNWRITABLE.meaning}.")
    if waiting:
        problems.append(f"{name}: {waiting} waiting: {why_left(situation(outbox, name, work.settings, now), now)}")
    if dead:
        problems.append(f"Dead letters: sfwebhooks dead list --scan {scan_id} --endpoint {name}")
    if left or refused:
        reason = "The outbox is full" if refused else "Stopped"
        problems.append(f"{reason}: {left + refused} events are not in the outbox yet; run the same command again.")
    counts = {"delivered": delivered, "waiting": waiting, "dead": dead, "not_stored": left + refused}
    fields = {"scan": scan_id, "endpoint": name, **counts, "problems": problems}
    show_result(given, out, fields, f"{delivered} delivered, {waiting} waiting, {dead} dead.")
    for problem in [] if given.json else problems:
        out.print(plain(problem))
    return 1 if waiting or left or refused else 0
