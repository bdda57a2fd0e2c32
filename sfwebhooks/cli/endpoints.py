"""`sfwebhooks pause` and `resume`: stop sending to an endpoint for a while, and go on."""

from __future__ import annotations

import argparse
import math
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfwebhooks.config.values import seconds_with_unit
from sfwebhooks.delivery.status import paused, situations, waiting_line
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import clean_text, timestamp
from sfwebhooks.files import is_deleted
from sfwebhooks.health import Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, folder, said, settings
from sfwebhooks.terminal.output import console, show_result

FOREVER = float("inf")


def add(commands: Any) -> None:
    """Add the commands."""
    pause = commands.add_parser(
        "pause",
        help="send nothing to an endpoint for a while; its deliveries are kept",
        epilog="example:\n  sfwebhooks pause siem_system --for 2h",
    )
    pause.add_argument(
        "--for",
        type=said(seconds_with_unit),
        dest="span",
        default=FOREVER,
        metavar="TIME",
        help="such as 2h (until resume)",
    )
    resume = commands.add_parser(
        "resume",
        help="send to a paused, failing or held endpoint again, now",
        epilog="example:\n  sfwebhooks resume siem_system",
    )
    for command, run in ((pause, _pause), (resume, _resume)):
        command.add_argument("name", type=clean_text, metavar="NAME", help="the endpoint")
        add_json(command)
        add_config(command)
        command.set_defaults(run=run)


def _pause(given: argparse.Namespace) -> int:
    endpoint, until = endpoint_named(given, given.name), time.time() + given.span
    outbox = Outbox(folder(given) / FILE)
    outbox.endpoints.pause(endpoint.name, until)
    outbox.close()
    words = f"{endpoint.name} is {paused(Orders(until))}: nothing is sent, its deliveries are kept."
    fields = {"endpoint": endpoint.name, "until": timestamp(until) if math.isfinite(until) else None}
    show_result(given, console(), fields, words)
    return 0


def _resume(given: argparse.Namespace) -> int:
    endpoint, path = endpoint_named(given, given.name), folder(given) / FILE
    orders, health = _known_state(path, endpoint)
    if not is_deleted(path):
        with closing(Outbox(path)) as outbox:
            outbox.endpoints.resume(endpoint.name, time.time())
    stopped = orders.paused_until > time.time() or not health.healthy
    words = "is in use again" if stopped else "was neither paused nor failing"
    lines = []
    if not is_deleted(path):
        waiting = situations(path, settings(given), endpoint.name.__eq__)
        lines = [waiting_line(replace(one, health=Health())) for one in waiting]  # a process that sends resets it
    fields = {"endpoint": endpoint.name, "was_stopped": stopped}
    show_result(given, console(), fields, f"{endpoint.name} {words}.", *lines)
    return 0


def _known_state(path: Path, endpoint: Endpoint) -> tuple[Orders, Health]:
    """Return an endpoint's orders and health from the outbox, if there is one."""
    if is_deleted(path):
        return Orders(), Health()
    with closing(Outbox(path, listing=True)) as outbox:
        return outbox.endpoints.orders(endpoint.name), outbox.endpoints.health(endpoint.name)
