"""`sfwebhooks pause` and `resume`: stop sending to an endpoint for a while, and go on."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from sfwebhooks.config.values import seconds_with_unit
from sfwebhooks.delivery.status import paused, situations, waiting_line
from sfwebhooks.events import clean_text
from sfwebhooks.health import Health
from sfwebhooks.inspection.pausing import (
    FOREVER,
    fields_of_pause,
    fields_of_resuming,
    pause_endpoint,
    resume_endpoint,
)
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, outbox_place, said, settings
from sfwebhooks.terminal.output import console, show_result


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
    endpoint = endpoint_named(given, given.name)
    until = pause_endpoint(outbox_place(given), endpoint.name, given.span)
    words = f"{endpoint.name} is {paused(Orders(until))}: nothing is sent, its deliveries are kept."
    show_result(given, console(), fields_of_pause(endpoint.name, until), words)
    return 0


def _resume(given: argparse.Namespace) -> int:
    endpoint, place = endpoint_named(given, given.name), outbox_place(given)
    was_stopped = resume_endpoint(place, endpoint.name)
    words = "is in use again" if was_stopped else "was neither paused nor failing"
    lines = []
    if not is_missing(place):
        waiting = situations(place, settings(given), endpoint.name.__eq__)
        lines = [waiting_line(replace(one, health=Health())) for one in waiting]  # a process that sends resets it
    show_result(given, console(), fields_of_resuming(endpoint.name, was_stopped), f"{endpoint.name} {words}.", *lines)
    return 0
