"""`sfwebhooks test` and `sfwebhooks enable`: try an endpoint, and let a disabled one be used again."""

from __future__ import annotations

import argparse
import time
import uuid
from typing import Any

from sfwebhooks.cli.common import add_config, console, folder, plain, settings
from sfwebhooks.config import Settings
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
    for endpoint in _chosen(settings(given), given.name):
        attempt, settlement = deliver(_message(endpoint), Line(endpoint, Sender(endpoint)), time.time)
        well = settlement.state is State.DELIVERED
        failed += not well
        words = attempt.excerpt[:200]
        answer = "" if not words else f', it said "{words}"' if attempt.status else f" ({words})"
        words = f"{endpoint.name} ({endpoint.place}): {'taken' if well else 'not taken'}, {attempt.reason}{answer}"
        out.print(plain(f"{words}, {attempt.seconds:.2f} s", "green" if well else "red"))
    return 1 if failed else 0


def _message(endpoint: Endpoint) -> Delivery:
    """Return a delivery that says that it is a test; it never was in the outbox, and is not in its log."""
    data = {"message": "A test of this endpoint by sfwebhooks test.", "test": True}
    event = WebhookEvent(str(uuid.uuid4()), "system_alert", Severity.INFO, time.time(), data)
    return Delivery(delivery_id(event.id, endpoint.name), event, endpoint.name, event.type, sequence=0)


def _chosen(found: Settings, name: str | None) -> list[Endpoint]:
    """Return the endpoint of that name, or all.

    Raises:
        ConfigError: there is none.
    """
    names = [endpoint.name for endpoint in found.endpoints]
    if not names or (name and name not in names):
        raise ConfigError(f"no such endpoint can be used; there are: {', '.join(names) or 'none'} (sfwebhooks check)")
    return [endpoint for endpoint in found.endpoints if name in (None, endpoint.name)]


def _enable(given: argparse.Namespace) -> int:
    endpoint = _chosen(settings(given), given.name)[0]
    path = folder(given) / FILE
    if path.exists():
        outbox = Outbox(path)
        outbox.forget_health(endpoint.name)
        outbox.close()
    console().print(plain(f"{endpoint.name} is tried again by the next scan, or by sfwebhooks drain."))
    return 0
