"""`sfwebhooks pause` and `resume`: stop sending to an endpoint for a while, and go on."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from typing import Any

from sfwebhooks.config.values import seconds
from sfwebhooks.delivery.status import paused
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.files import is_deleted
from sfwebhooks.health import Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.terminal.arguments import add_config, endpoint_named, folder, said
from sfwebhooks.terminal.output import console, plain

FOREVER = float("inf")


def add(commands: Any) -> None:
    """Add the commands."""
    pause = commands.add_parser("pause", help="send nothing to an endpoint for a while; its deliveries are kept")
    pause.add_argument(
        "--for", type=said(seconds), dest="span", default=FOREVER, metavar="TIME", help="such as 2h (until resume)"
    )
    resume = commands.add_parser("resume", help="send to a paused, failing or held endpoint again, now")
    for command, run in ((pause, _pause), (resume, _resume)):
        command.add_argument("name", metavar="NAME", help="the endpoint")
        add_config(command)
        command.set_defaults(run=run)


def _pause(given: argparse.Namespace) -> int:
    endpoint, until = endpoint_named(given, given.name), time.time() + given.span
    outbox = Outbox(folder(given) / FILE)
    outbox.endpoints.pause(endpoint.name, until)
    outbox.close()
    console().print(plain(f"{endpoint.name} is {paused(Orders(until))}: nothing is sent, its deliveries are kept."))
    return 0


def _resume(given: argparse.Namespace) -> int:
    endpoint, path = endpoint_named(given, given.name), folder(given) / FILE
    orders, health = known_state(given, endpoint)
    if not is_deleted(path):
        with closing(Outbox(path)) as outbox:
            outbox.endpoints.resume(endpoint.name, time.time())
    stopped = orders.paused_until > time.time() or not health.healthy
    words = "is in use again" if stopped else "was neither paused nor failing; its waiting deliveries are tried now"
    console().print(plain(f"{endpoint.name} {words}: by a running scan, the next scan, or sfwebhooks drain."))
    return 0


def known_state(given: argparse.Namespace, endpoint: Endpoint) -> tuple[Orders, Health]:
    """Return an endpoint's orders and health from the outbox, if there is one."""
    path = folder(given) / FILE
    if is_deleted(path):
        return Orders(), Health()
    with closing(Outbox(path)) as outbox:
        return outbox.endpoints.orders(endpoint.name), outbox.endpoints.health(endpoint.name)
