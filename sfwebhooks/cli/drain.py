"""`sfwebhooks drain`: deliver the waiting deliveries of the outbox, then stop."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from rich.console import Console

from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import seconds
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.maintenance import expire
from sfwebhooks.delivery.proving import prove
from sfwebhooks.delivery.status import Situation, obstacle, situations, waiting_line, waiting_reason, why_left
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.retry import State
from sfwebhooks.scan.forwarder import Forwarder
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.scan.watch import look_at_scans
from sfwebhooks.sending import load_senders
from sfwebhooks.terminal.arguments import add_config, add_json, demand_sending, folder, said, settings
from sfwebhooks.terminal.output import beside, console, no_outbox, plain, show_result
from sfwebhooks.terminal.progress_bar import Bar
from sfwebhooks.terminal.stop_signal import StopSignal
from sfwebhooks.text import amount

log = logging.getLogger("spiderfoot.webhooks")
#: seconds after which a terminal is shown what the command waits for
HINT_SECONDS = 5.0


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "drain",
        help="deliver everything waiting in the outbox, then stop",
        description="Try every waiting delivery at once, whatever the state of its endpoint, and stop when nothing more"
        " can be sent. Events in the spool are forwarded before. Scans that were missed, run too long or found too"
        " little are reported first (scan_missed and"
        " others, see `sfwebhooks events`). Findings whose digest is not due yet are kept. Exit code 1 if others still"
        " wait whose endpoint is neither off nor paused. Without a terminal, as in a cron job, it prints nothing if"
        " there was nothing to do.",
        epilog="example:\n  sfwebhooks drain --timeout 5m",
    )
    add_config(command)
    command.add_argument(
        "--timeout", type=said(seconds), default=60.0, metavar="TIME", help="stop after this time at the latest (60s)"
    )
    add_json(command)
    command.set_defaults(
        run=_drain,
        log_level=logging.INFO,
        stopped="waiting deliveries are kept and sent by the next scan, drain or run",
    )


def _drain(given: argparse.Namespace) -> int:
    demand_sending()
    found, out = settings(given), console()
    place = found.place(folder(given))
    if is_missing(place) and not (found.expected or found.spool_left_in(folder(given))):
        if given.json:
            show_result(given, out, _fields({}, {}, 0, []))
        elif out.is_terminal and not given.quiet:
            out.print(plain(no_outbox(place)))
        return 0
    for mistake in found.mistakes:
        beside(out, given.json).print(plain(f"mistake: {mistake}", "red"))
    stop = StopSignal()
    left = _forward(found, given, place, stop)
    return max(_deliver(found, place, given, stop), int(left))


def _forward(found: Settings, given: argparse.Namespace, place: Place, stop: StopSignal) -> bool:
    """Forward the events of the spool, if scans here have one; return whether some are left, which is logged."""
    spool = found.spool_left_in(folder(given))
    if spool is None:
        return False
    forwarder = Forwarder(spool, place, found)
    try:
        forwarder.start()
        forwarder.linger(time.monotonic() + given.timeout, stop.is_set)
        waiting, why = forwarder.waiting, forwarder.trouble
    finally:
        forwarder.stop(seconds=1.0)
    stop.check()
    if waiting:
        text = "webhooks: %s not forwarded from the spool%s"
        log.warning(text, amount(waiting, "event"), f": {why}" if why else "")
    return bool(waiting)


def _deliver(found: Settings, place: Place, given: argparse.Namespace, stop: StopSignal) -> int:
    out, endpoints = console(), () if found.enabled is False else found.endpoints
    load_senders()
    dispatcher = Dispatcher(endpoints, place, storage=found.storage)
    hint_at = time.monotonic() + HINT_SECONDS

    def watch() -> bool:
        """Return whether the command was stopped; on a terminal, say once what it waits for."""
        nonlocal hint_at
        if bar.is_shown and bar.is_due:  # counting is slow
            with suppress(OutboxError):
                bar.show(dispatcher.outbox.scans.waiting())
        if time.monotonic() > hint_at and out.is_terminal and not (given.quiet or given.json):
            hint_at = float("inf")
            _hint(found, place, out)
        return stop.is_set()

    try:
        reported = report_dead_scans(dispatcher.outbox, found)
        if reported and not (given.quiet or given.json):
            out.print(f"Sent the closing event for {amount(reported, 'scan')} whose process had died.")
        trouble = look_at_scans(found, dispatcher.outbox)
        if trouble:
            log.warning("webhooks: %s", trouble)
        before = dispatcher.outbox.scans.tallies()
        dispatcher.open_now()
        dispatcher.wake()
        bars = console(quiet=True) if given.quiet or given.json else out  # lines are printed above its bar
        with Bar(bars, before[State.WAITING.value], "settled") as bar:
            _send(dispatcher, endpoints, time.monotonic() + given.timeout, watch)
        dark = dispatcher.tried_in_vain
    finally:
        dispatcher.stop(seconds=1.0)  # closes its files before others are opened
    stop.check()
    with closing(Outbox(place, storage=found.storage)) as outbox:
        expire(outbox, found, dark, time.time(), removed=True)
        after = outbox.scans.tallies()
    left = list(situations(place, found))
    tried = [one for one in left if _is_tried(one, found)]
    if given.json:
        show_result(given, out, _fields(before, after, reported, left))
        return 1 if tried else 0
    if (tried or not given.quiet) and (after != before or after[State.WAITING.value] or reported or out.is_terminal):
        out.print(_summary(before, after))
    for one in tried if given.quiet else left:
        out.print(plain(waiting_line(one, why_left)))
    return 1 if tried else 0


def _send(dispatcher: Dispatcher, endpoints: Sequence[Endpoint], deadline: float, is_over: Callable[[], bool]) -> None:
    """Send what can be sent until the deadline (monotonic seconds), and then the proof of what was sent."""
    dispatcher.linger(deadline, everything=True, is_over=is_over)
    if prove(dispatcher.outbox, endpoints, time.time()):
        dispatcher.wake()
        dispatcher.linger(deadline, everything=True, is_over=is_over)


def _hint(found: Settings, place: Place, out: Console) -> None:
    """Say what the command waits for."""
    with suppress(OutboxError):
        for one in situations(place, found):
            if _is_tried(one, found):
                out.print(plain(f"Still trying (Ctrl-C stops): {waiting_line(one, obstacle)}"))


def _summary(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return what has become of the deliveries."""
    delivered, waiting, dead = (after[one.value] for one in (State.DELIVERED, State.WAITING, State.DEAD))
    more = " (sfwebhooks dead list)" if dead > before[State.DEAD.value] else ""
    return f"{delivered - before[State.DELIVERED.value]} delivered, {waiting} waiting, {dead} dead{more}."


def _is_tried(one: Situation, found: Settings) -> bool:
    """Return whether nobody has switched the endpoint off or paused it, and its deliveries do not wait for a digest."""
    if waiting_reason(one, time.time()) is WaitingReason.DIGEST:
        return False
    return one.orders.paused_until <= time.time() and all(one.name != off.name for off in found.off)


def _fields(
    before: Mapping[str, int], after: Mapping[str, int], reported: int, left: Sequence[Situation]
) -> dict[str, Any]:
    """Return the result for --json.

    Args:
        before: state -> number of deliveries, before and after.
        reported: number of scans whose end was reported.
        left: the endpoints that have waiting deliveries.
    """
    now, delivered = time.time(), State.DELIVERED.value
    return {
        "delivered": after.get(delivered, 0) - before.get(delivered, 0),
        "waiting": after.get(State.WAITING.value, 0),
        "dead": after.get(State.DEAD.value, 0),
        "scans_reported": reported,
        "endpoints": [
            {"endpoint": one.name, "waiting": one.backlog.waiting, "why": why_left(one, now)} for one in left
        ],
    }
