"""`sfwebhooks drain`: deliver the waiting deliveries of the outbox, then stop."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import seconds
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.maintenance import expire
from sfwebhooks.delivery.status import Situation, obstacle, situations, waiting_line, waiting_reason, why_left
from sfwebhooks.errors import OutboxError
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.retry import State
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.scan.watch import look_at_scans
from sfwebhooks.sending import load_senders
from sfwebhooks.terminal.arguments import add_config, add_json, demand_sending, folder, said, settings
from sfwebhooks.terminal.output import beside, console, no_outbox, plain, show_result
from sfwebhooks.terminal.progress_bar import Bar
from sfwebhooks.terminal.stop_signal import StopSignal
from sfwebhooks.text import amount

#: seconds after which a terminal is shown what the command waits for
HINT_SECONDS = 5.0


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "drain",
        help="deliver everything waiting in the outbox, then stop",
        description="Try every waiting delivery at once, whatever the state of its endpoint, and stop when nothing more"
        " can be sent. Scans that were missed, run too long or found too little are reported first (scan_missed and"
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
    found, out, path = settings(given), console(), folder(given) / FILE
    if is_deleted(path) and not found.expected:
        if given.json:
            show_result(given, out, _fields({}, {}, 0, []))
        elif out.is_terminal and not given.quiet:
            out.print(plain(no_outbox(path)))
        return 0
    for mistake in found.mistakes:
        beside(out, given.json).print(plain(f"mistake: {mistake}", "red"))
    return _deliver(found, path, given, out)


def _deliver(found: Settings, path: Path, given: argparse.Namespace, out: Console) -> int:
    endpoints = () if found.enabled is False else found.endpoints
    load_senders()
    dispatcher = Dispatcher(endpoints, path, storage=found.storage)
    stop, hint_at = StopSignal(), time.monotonic() + HINT_SECONDS

    def watch() -> bool:
        """Return whether the command was stopped; on a terminal, say once what it waits for."""
        nonlocal hint_at
        if bar.is_shown and bar.is_due:  # counting is slow
            with suppress(OutboxError):
                bar.show(dispatcher.outbox.scans.tallies()[State.WAITING.value])
        if time.monotonic() > hint_at and out.is_terminal and not (given.quiet or given.json):
            hint_at = float("inf")
            with suppress(OutboxError):
                for one in situations(path, found):
                    if _is_tried(one, found):
                        out.print(plain(f"Still trying (Ctrl-C stops): {waiting_line(one, obstacle)}"))
        return stop.is_set()

    try:
        reported = report_dead_scans(dispatcher.outbox, found)
        if reported and not (given.quiet or given.json):
            out.print(f"Sent the closing event for {amount(reported, 'scan')} whose process had died.")
        trouble = look_at_scans(found, dispatcher.outbox)
        if trouble:
            logging.getLogger("spiderfoot.webhooks").warning("webhooks: %s", trouble)
        before = dispatcher.outbox.scans.tallies()
        dispatcher.open_now()
        dispatcher.wake()
        bars = console(quiet=True) if given.quiet or given.json else out  # lines are printed above its bar
        with Bar(bars, before[State.WAITING.value], "settled") as bar:
            dispatcher.linger(time.monotonic() + given.timeout, everything=True, is_over=watch)
        dark = dispatcher.tried_in_vain
    finally:
        dispatcher.stop(seconds=1.0)  # closes its files before others are opened
    stop.check()
    with closing(Outbox(path, storage=found.storage)) as outbox:
        expire(outbox, found, dark, time.time(), removed=True)
        after = outbox.scans.tallies()
    waiting = after[State.WAITING.value]
    left = list(situations(path, found))
    tried = [one for one in left if _is_tried(one, found)]
    if given.json:
        show_result(given, out, _fields(before, after, reported, left))
        return 1 if tried else 0
    if (tried or not given.quiet) and (after != before or waiting or reported or out.is_terminal):
        delivered = after[State.DELIVERED.value] - before[State.DELIVERED.value]
        died = after[State.DEAD.value] > before[State.DEAD.value]
        more = " (sfwebhooks dead list)" if died else ""
        out.print(f"{delivered} delivered, {waiting} waiting, {after[State.DEAD.value]} dead{more}.")
    for one in tried if given.quiet else left:
        out.print(plain(waiting_line(one, why_left)))
    return 1 if tried else 0


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
