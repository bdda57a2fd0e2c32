"""`sfwebhooks metrics`: the metrics for Prometheus, as text or in a file for node_exporter."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sfwebhooks.errors import ConfigError, OutboxError
from sfwebhooks.files import demand_regular
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.totals import Totals
from sfwebhooks.terminal.arguments import add_config, demand_prometheus, folder, said, settings


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "metrics",
        help="show the metrics for Prometheus, or write them to a file",
        epilog="examples:\n  sfwebhooks metrics\n"
        "  sfwebhooks metrics --textfile /var/lib/node_exporter/sfwebhooks.prom",
    )
    add_config(command)
    command.add_argument(
        "--textfile",
        type=said(_prom_file),
        metavar="FILE",
        help="replace this file with them, for node_exporter's textfile collector (its name must end in .prom)",
    )
    command.set_defaults(run=_metrics)


def _prom_file(text: str) -> Path:
    """Return the path of a file that node_exporter reads.

    Raises:
        ValueError: it ignores files of this name.
    """
    if not text.endswith(".prom"):
        raise ValueError(f"{text!r}: expected a file whose name ends in .prom: node_exporter ignores others")
    return Path(text)


def _metrics(given: argparse.Namespace) -> int:
    demand_prometheus("metrics")
    from prometheus_client import generate_latest

    from sfwebhooks.metrics import OutboxMetrics

    found = settings(given)
    place = found.place(folder(given))
    with closing(OutboxMetrics(place, lambda: found)) as metrics:
        if not given.textfile:
            sys.stdout.write(generate_latest(metrics.registry()).decode())
            return 0
        _write(given.textfile, metrics.registry())
    if not is_missing(place):
        with closing(Outbox(place)) as outbox, suppress(OutboxError):
            Totals(outbox.database).count()  # such a file is written again and again
    return 0


def _write(file: Path, registry: Any) -> None:
    """Write the metrics of a registry to a file, which is replaced as a whole; a link to it stays.

    Raises:
        ConfigError: it cannot be written.
    """
    from prometheus_client import write_to_textfile

    try:
        with suppress(FileNotFoundError):
            demand_regular(file)  # a device or a pipe would be replaced
        write_to_textfile(os.path.realpath(file), registry)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"--textfile {file} cannot be written: {why}") from error
