"""`sfwebhooks run`: a service that keeps delivering from the outbox."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.permissions import permission_warnings
from sfwebhooks.outbox.postgres.dsn import Place, local_path
from sfwebhooks.service import Need, Service
from sfwebhooks.terminal.arguments import (
    add_config,
    demand_prometheus,
    demand_sending,
    folder,
    parsed_address,
    said,
    settings,
)
from sfwebhooks.terminal.stop_signal import StopSignal


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "run",
        help="keep delivering from the outbox until it is stopped",
        description="Keep delivering from the outbox until SIGTERM or Ctrl-C. The settings are read again when their"
        " file changes, or at SIGHUP. `sfwebhooks service` prints a unit file for it.",
        epilog="example:\n  sfwebhooks run --config /etc/spiderfoot/webhooks.ini",
    )
    add_config(command)
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--metrics",
        type=said(parsed_address),
        metavar="ADDRESS:PORT",
        help="serve metrics for Prometheus at this address, such as 127.0.0.1:9464, path /metrics, and the probes /live"
        " and /ready",
    )
    how.add_argument(
        "--while-needed",
        action="store_true",
        help="end when no scan is running and nothing can be sent soon, at the latest detach_timeout after the last"
        " scan, and at once if another process does this; a scan starts such a process",
    )
    # our file in SpiderFoot: end when it is removed
    command.add_argument("--module", type=Path, help=argparse.SUPPRESS)
    command.set_defaults(run=_run, log_level=logging.INFO, log_form="%(asctime)s %(message)s")


def _run(given: argparse.Namespace) -> int:
    demand_sending()
    if given.metrics:
        demand_prometheus("run --metrics")
    stop, reload = StopSignal(), threading.Event()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reload.set())
    found = settings(given)
    place = found.place(folder(given))
    for text in (*found.mistakes, *found.warnings, *permission_warnings(local_path(place))):
        logging.getLogger("spiderfoot.webhooks").warning("webhooks: %s", text)
    if not found.endpoints and found.enabled is not False:
        raise ConfigError("there is no usable endpoint: sfwebhooks check shows why")
    need = Need(place, given.module, time.monotonic()) if given.while_needed else None
    service = Service(lambda: settings(given), place)
    with _metrics(given, place, service):
        return 0 if service.run(stop, reload, need) else 1


def _metrics(given: argparse.Namespace, place: Place, service: Service) -> AbstractContextManager[object]:
    """Return a context in which the metrics can be read, if they are wanted."""
    if not given.metrics:
        return nullcontext()
    from sfwebhooks.metrics_server import exposed_metrics

    probes = {"/live": lambda: service.is_turning, "/ready": lambda: service.is_ready}
    return exposed_metrics(given.metrics, place, lambda: service.settings, probes)
