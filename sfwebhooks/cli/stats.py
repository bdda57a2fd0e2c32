"""`sfwebhooks stats`: how many messages each endpoint got, how fast, and how many are waiting."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from sfwebhooks.config.values import seconds
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import clean_text
from sfwebhooks.outbox.listing import Cursor
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.statistics import Figures, Statistics
from sfwebhooks.terminal.arguments import add_config, add_json, known_settings, said
from sfwebhooks.terminal.output import as_json, plain
from sfwebhooks.terminal.selection_arguments import on_outbox, past_time
from sfwebhooks.terminal.stats_table import EndpointRow, Round, drawing, fields_of_row, round_line
from sfwebhooks.terminal.stop_signal import end_at_signals

#: seconds between two rounds of --watch
ROUND_SECONDS = 2.0
#: and how many times as long as a round: with a million deliveries one takes seconds
REST = 4.0
#: how often per second the terminal is drawn again, in case its size was changed
DRAWN_PER_SECOND = 4
#: the first second of a period, given the present time; both in epoch seconds
Since = Callable[[float], float]


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
        "--since", type=said(_since), default="24h", metavar="TIME", help="2h or 7d (ago), or an ISO 8601 time (24h)"
    )
    command.add_argument("--endpoint", type=clean_text, default="", metavar="NAME", help="only this endpoint")
    command.add_argument("--watch", action="store_true", help="update them every two seconds until Ctrl-C")
    add_json(command, "print one JSON object per line and endpoint")
    add_config(command)
    command.set_defaults(run=on_outbox(_stats, listing=True))


def _since(text: str) -> Since:
    """Read the begin of a period: a duration counts from the present time, whenever that is."""
    try:
        ago = seconds(text)
    except ValueError:
        at = past_time(text)
        return lambda now: at
    return lambda now: now - ago


def _stats(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    counting = _Counting(records, given)
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


def _watch(counting: _Counting, given: argparse.Namespace, out: Console) -> None:
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


class _Counting:
    """Counts an outbox's deliveries, round after round."""

    def __init__(self, records: Outbox, given: argparse.Namespace) -> None:
        self._records = records
        self._statistics = Statistics(records.file)
        self._since: Since = given.since
        self._only: str = given.endpoint
        found = known_settings(given)
        self._names = [one.name for one in found.endpoints] if found else []
        #: end of the delivery log in the round before, and its time in monotonic seconds
        self._before: tuple[Cursor, float] | None = None

    def round(self, now: float) -> Round:
        """Return the figures at a time in epoch seconds.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        since, rates, listing = self._since(now), self._rates(), self._records.listing
        figures = self._statistics.figures(since)
        active = {*figures, *self._records.retention.waiting_endpoints()}
        names = [*self._names, *sorted(active.difference(self._names))]
        rows = [
            EndpointRow(
                name,
                figures.get(name, Figures()),
                listing.backlog(name),
                None if rates is None else rates.get(name, 0.0),
            )
            for name in names
            if self._only in ("", name)
        ]
        return Round(now, since, rows)

    def _rates(self) -> dict[str, float] | None:
        """Return endpoint -> deliveries per second since the last call; None: this is the first one."""
        now, before = time.monotonic(), self._before
        place = before[0] if before else self._records.listing.last_attempt()
        delivered, end = self._statistics.delivered_after(place)
        self._before = (end, now)
        return {name: number / max(now - before[1], 0.001) for name, number in delivered.items()} if before else None
