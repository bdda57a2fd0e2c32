"""`sfwebhooks status`: the live state of each endpoint, and whether anything is sending."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.process import Role
from sfwebhooks.delivery.status import Situation, pace, waiting_reason, why_waiting
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import timestamp
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.listing import LastResults
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.terminal.arguments import add_config, add_json, folder, settings
from sfwebhooks.terminal.delivery_table import fields_of_attempt
from sfwebhooks.terminal.live_state import ATTENTION, LiveState, Look, Standing, live_state
from sfwebhooks.terminal.output import as_json, beside, console, no_outbox, plain, table
from sfwebhooks.terminal.watched import WatchOverview, watch_overview
from sfwebhooks.text import age

COLUMNS = ("endpoint", "state", "waiting", "oldest", "last success", "last error")
#: characters of an endpoint's name on a terminal
NAME = 20
#: standings with a probe to wait for
PROBED = (Standing.FAILING, Standing.HELD)


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "status",
        help="show the live state of each endpoint, and what is sending",
        description="Show the live state of each endpoint: whether it accepts messages, how many deliveries are waiting"
        " and what for, its last success and error, and which process sends. Exit code: 0 all is well; 3 an endpoint"
        " needs attention: it is failing, held or disabled, its settings have a mistake, its deliveries have been"
        " waiting too long, or are for an endpoint that the settings do not have, or a sending process hangs; or an"
        " expected scan was missed, a scan is overdue or found too little, or nothing looks for expected scans; 1 the"
        " settings or the outbox cannot be read.",
        epilog="example:\n  sfwebhooks status --json",
    )
    add_json(command, "print one JSON object per endpoint, and one for the watch over scans")
    add_config(command)
    command.set_defaults(run=_status)


def _status(given: argparse.Namespace) -> int:
    found, out, path = settings(given), console(), folder(given) / FILE
    state = live_state(found, path)
    if not state.looks or (found.mistakes and not (found.endpoints or found.off or found.unused)):
        mistake = next(map(str, found.mistakes), f"{found.file}: there is no endpoint")
        raise ConfigError(f"{mistake}; sfwebhooks check shows everything that is wrong")
    is_new = is_deleted(path)
    results = {} if is_new else _results(path, state)
    if given.json:
        for name in state.looks:
            out.print(plain(as_json(_fields(name, found, state, results.get(name)))), soft_wrap=True)
    else:
        _print(state, results, out)
    with closing(Outbox(path, listing=True)) as outbox:
        watch = watch_overview(found, None if is_new else outbox, time.time())
    if given.json and (watch.expected or watch.unwell):
        out.print(plain(as_json(_watched(watch))), soft_wrap=True)
    elif not given.json:
        for line in watch.lines(time.time()):
            out.print(plain(line, "yellow" if watch.unwell else ""))
    there = beside(out, given.json)
    if is_new:
        there.print(plain(no_outbox(path)), soft_wrap=not out.is_terminal)
    if not found.is_complete:
        there.print(plain("The settings may have another endpoint: sfwebhooks check shows the mistake.", "red"))
    is_trouble = any(look.is_trouble for look in state.looks.values()) or not found.is_complete
    return ATTENTION if is_trouble or watch.unwell or watch.is_late(time.time()) else 0


def _watched(watch: WatchOverview) -> dict[str, Any]:
    """Return the watch over scans for --json."""
    return {
        "watch": [one.fields for one in watch.unwell],
        "expected": [one.fields for one in watch.expected],
        "looked_at": _time(watch.looked_at),
    }


def _results(path: Path, state: LiveState) -> Mapping[str, LastResults]:
    with closing(Outbox(path, listing=True)) as outbox:
        return outbox.listing.last_results(state.looks)


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


def _fields(name: str, found: Settings, state: LiveState, last: LastResults | None) -> dict[str, Any]:
    """Return an endpoint's state for --json; times are RFC 3339."""
    now, look, last = time.time(), state.looks[name], last or LastResults()
    known = look.situation
    places = {endpoint.name: endpoint.place for endpoint in found.known}
    return {
        "endpoint": name,
        "to": places.get(name, ""),
        "state": look.standing.value,
        "needs_attention": look.is_trouble,
        **(_of_situation(known, look, state, now) if known else {}),
        "dead": look.dead,
        "last_success_at": _time(last.delivered_at),
        "last_error": last.failed and fields_of_attempt(last.failed),
        "what_to_do": look.advice,
    }


def _of_situation(known: Situation, look: Look, state: LiveState, now: float) -> dict[str, Any]:
    health, backlog, owner = known.health, known.backlog, known.owner
    reason = waiting_reason(known, now) if backlog.waiting else None
    if reason is WaitingReason.NO_SENDER and not state.sees_senders:
        reason = None
    is_paced = known.interval > 0 and reason in (WaitingReason.SENDING, WaitingReason.NO_SENDER)
    unhealthy = health.reason if look.standing in (*PROBED, Standing.DISABLED) else ""
    words = "" if look.standing is Standing.READY else known.switch or look.words
    return {
        "reason": unhealthy or words,
        "since": _time(health.since or None),
        "waiting": backlog.waiting,
        "refused": backlog.refused,
        "oldest_accepted_at": _time(backlog.oldest_at),
        "due_at": _time(backlog.due_at),
        "waits_for": reason and reason.value,
        "why": why_waiting(known, now) if reason else "",
        "next_probe_at": _time(health.open_at) if look.standing in PROBED else None,
        "paused_until": _time(known.orders.paused_until) if look.standing is Standing.PAUSED else None,
        "rate": pace(known.interval) if known.interval else None,
        "rate_seconds_left": known.paced_seconds if is_paced else None,
        "sender": owner
        and {
            "pid": owner.pid,
            "kind": state.senders.get(owner.pid, Role.COMMAND).value,
            "seen_at": _time(owner.at),
            "hangs": owner.hangs(now),
        },
    }


def _time(at: float | None) -> str | None:
    """Return epoch seconds for --json; a pause without an end has no time."""
    return None if at is None or math.isinf(at) else timestamp(at)
