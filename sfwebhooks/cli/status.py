"""`sfwebhooks status`: the live state of each endpoint, and whether anything is sending."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from sfwebhooks.delivery.status import why_waiting
from sfwebhooks.errors import ConfigError, OutboxError
from sfwebhooks.inspection.endpoint_fields import PROBED
from sfwebhooks.inspection.live_state import ATTENTION, LiveState, Look, Standing
from sfwebhooks.inspection.spooled import SpoolState, spool_state
from sfwebhooks.inspection.status import full_status
from sfwebhooks.outbox.listing import LastResults
from sfwebhooks.terminal.arguments import add_config, add_json, folder, settings
from sfwebhooks.terminal.output import as_json, beside, console, no_outbox, plain, table
from sfwebhooks.text import age

COLUMNS = ("endpoint", "state", "waiting", "oldest", "last success", "last error")
#: characters of an endpoint's name on a terminal
NAME = 20


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "status",
        help="show the live state of each endpoint, and what is sending",
        description="Show the live state of each endpoint: whether it accepts messages, how many deliveries are waiting"
        " and what for, its last success and error, and which process sends. Exit code: 0 all is well; 3 an endpoint"
        " needs attention: it is failing, held or disabled, its settings have a mistake, its deliveries have been"
        " waiting too long, or are for an endpoint that the settings do not have, or a sending process hangs; or an"
        " expected scan was missed, a scan is overdue or found too little, or nothing looks for expected scans; or"
        " events in the spool cannot be forwarded, are set aside, or have been waiting there for 5 minutes; 1 the"
        " settings or the outbox cannot be read.",
        epilog="example:\n  sfwebhooks status --json",
    )
    add_json(command, "print one JSON object per endpoint, one for the watch over scans, and one for the spool")
    add_config(command)
    command.set_defaults(run=_status)


def _status(given: argparse.Namespace) -> int:
    found, out = settings(given), console()
    place = found.place(folder(given))
    try:
        status = full_status(found, place)
    except OutboxError:
        _print_spool(spool_state(found, place), beside(out, given.json))
        raise
    state, watch = status.state, status.watch
    if not state.looks or (found.mistakes and not (found.endpoints or found.off or found.unused)):
        mistake = next(map(str, found.mistakes), f"{found.file}: there is no endpoint")
        raise ConfigError(f"{mistake}; sfwebhooks check shows everything that is wrong")
    if given.json:
        for name in state.looks:
            out.print(plain(as_json(status.fields_of(name))), soft_wrap=True)
        if watch.expected or watch.unwell:
            out.print(plain(as_json(watch.fields)), soft_wrap=True)
        if status.spool:
            out.print(plain(as_json(status.spool.fields(status.at))), soft_wrap=True)
    else:
        _print(state, status.results, out)
        for line in watch.lines(time.time()):
            out.print(plain(line, "yellow" if watch.unwell else ""))
        _print_spool(status.spool, out)
    there = beside(out, given.json)
    if status.is_new:
        there.print(plain(no_outbox(place)), soft_wrap=not out.is_terminal)
    if not found.is_complete:
        there.print(plain("The settings may have another endpoint: sfwebhooks check shows the mistake.", "red"))
    return ATTENTION if status.needs_attention else 0


def _print_spool(spool: SpoolState | None, out: Console) -> None:
    if spool:
        now = time.time()
        out.print(plain(f"Spool: {spool.words(now)}.", "yellow" if spool.needs_attention(now) else ""))
        for line in spool.lines_of_aside():
            out.print(plain(f"  {line}"))


def _print(state: LiveState, results: Mapping[str, LastResults], out: Console) -> None:
    now, rows = time.time(), table(*COLUMNS, whole=COLUMNS[1:-1])
    rows.columns[0].max_width = NAME if out.is_terminal else None
    for column in rows.columns[2:4]:
        column.justify = "right"
    for name, look in state.looks.items():
        known, last = look.situation, results.get(name, LastResults())
        waiting, oldest_at = (known.backlog.waiting, known.backlog.oldest_at) if known else (0, None)
        cells = (
            "" if oldest_at is None else age(now - oldest_at),
            "" if last.delivered_at is None else f"{age(now - last.delivered_at)} ago",
            f"{last.failed.reason} {age(now - last.failed.at)} ago" if last.failed else "",
        )
        rows.add_row(plain(name, "bold"), plain(look.standing.value, look.colour), f"{waiting:,}", *(map(plain, cells)))
    out.print(rows)
    explained: dict[tuple[str, ...], list[str]] = {}
    for name, look in state.looks.items():
        explained.setdefault(tuple(_explanation(look, bool(state.senders), now)), []).append(name)
    for lines, names in explained.items():
        for number, words in enumerate(lines):
            out.print(plain(f"  {words}" if number else f"{', '.join(names)}: {words}"))
    out.print(plain(f"{state.sending[:1].upper()}{state.sending[1:]}."))


def _explanation(look: Look, is_sent: bool, now: float) -> Iterator[str]:
    """Yield what an endpoint waits for and what helps, one line each; nothing if all is well."""
    known = look.situation
    if known is None:
        return
    if look.standing in PROBED:
        words = f"{known.health.reason} for {age(now - known.health.since)}"
        probe = "is due" if known.health.may_send(now) else f"in {age(known.health.open_at - now + 1)}"
        yield f"{words}; next probe {probe}, at once: sfwebhooks resume {known.name}" if is_sent else words
    elif known.backlog.waiting:
        why = why_waiting(known, now, idle="").strip("; ")
        yield from [why] if why else []
    elif known.switch or look.words != look.standing.value:
        yield f"{known.switch or look.words}{'; sfwebhooks check' if look.standing is Standing.MISTAKE else ''}"
    if look.cure:
        yield look.cure
    if look.dead:
        yield f"{look.dead:,} dead: sfwebhooks dead list --endpoint {known.name}"
