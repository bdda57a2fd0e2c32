"""`sfwebhooks test` and `sfwebhooks enable`: try an endpoint, and let a disabled one be used again."""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Sequence
from typing import Any

from sfwebhooks.cli.common import add_config, console, endpoint_named, folder, plain, settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import Delivery, WebhookEvent, delivery_id
from sfwebhooks.outbox import FILE, Outbox
from sfwebhooks.pipeline import Line, deliver
from sfwebhooks.retry import State
from sfwebhooks.sender import Sender
from sfwebhooks.severity import Severity


def add(commands: Any) -> None:
    """Add the two commands."""
    test = commands.add_parser("test", help="send one test message to each endpoint, or to one, and show the answer")
    enable = commands.add_parser("enable", help="let an endpoint that answered 410 be used again")
    test.add_argument("name", nargs="?", metavar="NAME", help="the endpoint (all of them)")
    enable.add_argument("name", metavar="NAME", help="the endpoint")
    for command, run in ((test, _test), (enable, _enable)):
        add_config(command)
        command.set_defaults(run=run)


def _test(given: argparse.Namespace) -> int:
    out, failed = console(), 0
    for endpoint in _chosen(given):
        attempt, settlement = deliver(_message(endpoint), Line(endpoint, Sender(endpoint)), time.time)
        well = settlement.state is State.DELIVERED
        failed += not well
        taken = "taken" if well else "not taken"
        words = f"{endpoint.name} ({endpoint.place}): {taken}, {attempt.reason}{attempt.answer}"
        out.print(plain(f"{words}, {attempt.seconds:.2f} s", "green" if well else "red"))
    return 1 if failed else 0


def _message(endpoint: Endpoint) -> Delivery:
    """Return a delivery that says that it is a test; it never was in the outbox, and is not in its log."""
    data = {"message": "A test of this endpoint by sfwebhooks test.", "test": True}
    event = WebhookEvent(str(uuid.uuid4()), "system_alert", Severity.INFO, time.time(), data)
    return Delivery(delivery_id(event.id, endpoint.name), event, endpoint.name, event.type, sequence=0)


def _chosen(given: argparse.Namespace) -> Sequence[Endpoint]:
    """Return the endpoint that the command line names, or all.

    Raises:
        ConfigError: there is none.
    """
    if given.name:
        return [endpoint_named(given, given.name)]
    found = settings(given).endpoints
    if not found:
        raise ConfigError("there is no endpoint that can be used: sfwebhooks check says why")
    return found


def _enable(given: argparse.Namespace) -> int:
    endpoint = endpoint_named(given, given.name)
    path = folder(given) / FILE
    if path.exists():
        outbox = Outbox(path)
        outbox.forget_health(endpoint.name)
        outbox.close()
    console().print(plain(f"{endpoint.name} is tried again by the next scan, or by sfwebhooks drain."))
    return 0
