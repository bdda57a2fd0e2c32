"""`sfwebhooks stats`: how many messages each endpoint got, how fast, and how many are waiting."""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext, suppress
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import clean_text
from sfwebhooks.inspection.counting import Counting, Round, fields_of_row, since_of
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.terminal.arguments import add_config, add_json, known_settings, said
from sfwebhooks.terminal.output import as_json, plain
from sfwebhooks.terminal.selection_arguments import on_outbox
from sfwebhooks.terminal.stats_table import drawing, round_line
from sfwebhooks.terminal.stop_signal import end_at_signals

#: seconds between two rounds of --watch
ROUND_SECONDS = 2.0
#: and how many times as long as a round: with a million deliveries one takes seconds
REST = 4.0
#: how often per second the terminal is drawn again, in case its size was changed
DRAWN_PER_SECOND = 4


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "stats",
        help="count deliveries, failures and delays per endpoint",
        description="Per endpoint: the deliveries that ended in a period, the attempts that failed, the deliveries"
        " waiting now, and within what time half (p50) and 95 % (p95) of the deliveries were made. All times are UTC.",
        epilog="example:\n  sfwebhooks stats --since 7d",
    )
    command.add_argument(
        "--since", type=said(since_of), default="24h", metavar="TIME", help="2h or 7d (ago), or an ISO 8601 time (24h)"
    )
    command.add_argument("--endpoint", type=clean_text, default="", metavar="NAME", help="only this endpoint")
    command.add_argument("--watch", action="store_true", help="update them every two seconds until Ctrl-C")
    add_json(command, "print one JSON object per line and endpoint")
    add_config(command)
    command.set_defaults(run=on_outbox(_stats, listing=True))


def _stats(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    counting = Counting(records, known_settings(given), given.since, given.endpoint)
    if given.watch:
        _watch(counting, given, out)
        return 0
    found = counting.round(time.time())
    if given.json:
        _print_json(found, out)
    else:
        out.print(drawing(found, out))
    return 0


def _print_json(found: Round, out: Console) -> None:
    for row in found.rows:
        out.print(plain(as_json(fields_of_row(row, found))), soft_wrap=True)


def _watch(counting: Counting, given: argparse.Namespace, out: Console) -> None:
    """Show a round after the other until Ctrl-C: on a terminal in the same place, elsewhere in a line each."""
    end_at_signals()
    found: Round | None = None
    is_drawn = out.is_terminal and not given.json

    def current() -> RenderableType:
        return drawing(found, out, watching=True) if found else Text("")

    live = Live(get_renderable=current, console=out, screen=True, refresh_per_second=DRAWN_PER_SECOND)
    with suppress(KeyboardInterrupt), live if is_drawn else nullcontext():
        while True:
            begin = time.monotonic()
            with suppress(OutboxBusyError):  # the next round may succeed
                found = counting.round(time.time())
                if given.json:
                    _print_json(found, out)
                elif not is_drawn:
                    out.print(plain(round_line(found)), soft_wrap=True)
            time.sleep(max(ROUND_SECONDS, REST * (time.monotonic() - begin)))
    if found and is_drawn:
        out.print(drawing(found, out))
