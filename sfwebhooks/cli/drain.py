"""`sfwebhooks drain`: deliver what waits in the outbox, then stop."""

from __future__ import annotations

import argparse
import logging
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from sfwebhooks.cli.common import add_config, console, demand_sending, folder, plain, said, settings, stop_signal
from sfwebhooks.config import Settings
from sfwebhooks.database import FILE
from sfwebhooks.dispatcher import Dispatcher
from sfwebhooks.hostdb import is_deleted
from sfwebhooks.outbox import Outbox
from sfwebhooks.records import Records, Selection
from sfwebhooks.recovery import tell_orphans
from sfwebhooks.retry import State
from sfwebhooks.upkeep import expire
from sfwebhooks.values import seconds
from sfwebhooks.waiting import why_waiting


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("drain", help="deliver what waits in the outbox, then stop")
    add_config(command)
    command.add_argument(
        "--timeout", type=said(seconds), default=60.0, metavar="TIME", help="stop after this time at the latest (60s)"
    )
    command.set_defaults(run=_drain)


def _drain(given: argparse.Namespace) -> int:
    demand_sending()
    found, out, path = settings(given), console(), folder(given) / FILE
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if is_deleted(path):
        out.print(plain(f"There is no outbox {path}: no scan has had webhooks yet."))
        return 0
    for mistake in found.mistakes:
        out.print(plain(f"mistake: {mistake}", "red"))
    return _deliver(found, path, given.timeout, out)


def _deliver(found: Settings, path: Path, timeout: float, out: Console) -> int:
    dispatcher = Dispatcher(found.endpoints, path, storage=found.storage)
    stop = stop_signal()
    try:
        told = tell_orphans(dispatcher.outbox, found)
        if told:
            out.print(f"{told} scan{'' if told == 1 else 's'} had died; told their end.")
        before = dispatcher.outbox.tallies()
        dispatcher.open_now()
        dispatcher.wake()
        dispatcher.linger(time.monotonic() + timeout, horizon=timeout, healthy_only=False, stop=stop)
        dark = dispatcher.tried_in_vain
    finally:
        dispatcher.stop(seconds=1.0)  # which closes what it has open, before more is opened
    with closing(Outbox(path, storage=found.storage)) as outbox, closing(Records(path)) as records:
        expire(records, outbox, found, dark, time.time(), removed=True)
        after = outbox.tallies()
        waiting = _waiting(outbox, found)
    delivered = after[State.DELIVERED.value] - before[State.DELIVERED.value]
    out.print(f"{delivered} delivered, {after[State.WAITING.value]} waiting, {after[State.DEAD.value]} dead.")
    for line in waiting:
        out.print(plain(line))
    return 1 if after[State.WAITING.value] else 0


def _waiting(outbox: Outbox, found: Settings) -> list[str]:
    """Return for each endpoint with waiting deliveries how many, and why."""
    lines = []
    names, held = {endpoint.name for endpoint in found.endpoints}, found.held
    records = Records(outbox.path)
    for name, states in sorted(records.counts(Selection(states=(State.WAITING,))).items()):
        known = name in names
        why = (
            why_waiting(name, outbox.health(name), outbox.orders(name), time.time(), held.get(name, ""))
            if known
            else "it is not in the settings, is switched off there, or its events cannot be known"
        )
        lines.append(f"{name}: {states[State.WAITING.value]} waiting: {why}")
    records.close()
    return lines
