"""`sfwebhooks route`: which endpoint gets what, under which name, at which pace; of a past scan, how much of it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from rich.console import Console

from sfwebhooks.catalogue import EventType, type_named
from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import nearest
from sfwebhooks.delivery.status import switch_of
from sfwebhooks.endpoints import ALERTS, EVENT_NAMES, FINDINGS, RISK_NAMES, SPECIALS, Endpoint
from sfwebhooks.errors import ConfigError, HostDatabaseError, SelectionError
from sfwebhooks.events import Scan, WebhookEvent, clean_text, printable
from sfwebhooks.examples import example
from sfwebhooks.inspection.filter_words import (
    CONTENTS,
    KINDS,
    filters_of,
    messages_in,
    newness_of,
    profile_of,
    redaction_words,
)
from sfwebhooks.inspection.forecast_fields import fields_of_forecast
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.backfill import Past, past_scan
from sfwebhooks.scan.forecast import Forecast, forecast
from sfwebhooks.screening import COMPARISON, CORRELATION, withheld_by
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity, special_of
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, outbox_place, settings
from sfwebhooks.terminal.output import as_json, console, plain, print_hanging
from sfwebhooks.text import amount, counted, moment

#: width of the words before a line's text
LABEL = 10
#: a type of the host
HOST_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
DESCRIPTION = """
Show what each endpoint is sent: its events and filters, its pace, what is redacted for it. With TYPE, an event type or
a finding type of SpiderFoot such as EMAILADDR_COMPROMISED: who gets it, under which name, and who does not, and why.
With --scan: what a backfill of that scan would send now, to each endpoint and under each name, what would be withheld
and why, in how many messages and how long they take; what an endpoint has already is not counted. Nothing is sent or
written.
"""
EXAMPLES = (
    "examples:\n  sfwebhooks route\n  sfwebhooks route EMAILADDR_COMPROMISED\n"
    "  sfwebhooks route --scan 5909AA61 --endpoint new_siem"
)
#: in which findings are, whatever its target
A_SCAN = Scan("", "", "", "")


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "route", help="who gets what, and why; of a past scan, how much", description=DESCRIPTION, epilog=EXAMPLES
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument("type", nargs="?", type=clean_text, metavar="TYPE", help="an event type, or SpiderFoot's own")
    which.add_argument("--scan", type=clean_text, metavar="ID", help="a past scan: what a backfill would send of it")
    command.add_argument("--dead", action="store_true", help="with --scan: its process has ended, as for backfill")
    command.add_argument("--endpoint", type=clean_text, metavar="NAME", help="only this endpoint")
    add_json(command, "print one JSON object per line")
    add_config(command)
    command.set_defaults(run=_route)


def _route(given: argparse.Namespace) -> int:
    found = settings(given)
    endpoints = [endpoint_named(given, given.endpoint)] if given.endpoint else list(found.endpoints)
    if not endpoints and found.mistakes:
        raise ConfigError(str(found.mistakes[0]))
    out = console()
    if given.scan is not None:
        return _route_scan(given, found, endpoints, out)
    if given.type is not None:
        _route_type(given, found, endpoints, out)
    else:
        _print_all([(one, profile_of(one)) for one in endpoints], given, out)
    if not given.json:
        _print_others(found, given, out)
    return 0


def _print_others(found: Settings, given: argparse.Namespace, out: Console) -> None:
    """Print which endpoints are sent nothing, and why."""
    for name in sorted(found.unused) if not given.endpoint else ():
        out.print(plain(f"{name} is sent nothing: {switch_of(found, name)}.", "yellow"))
    if found.enabled is False:
        out.print(plain("Webhooks are off (enabled = false in [webhooks]).", "yellow"))
    if not found.known and not found.unused:
        out.print("No endpoints: sfwebhooks create NAME adds one.")


# --- what an endpoint is sent


def _print_all(found: Sequence[tuple[Endpoint, dict[str, str]]], given: argparse.Namespace, out: Console) -> None:
    for endpoint, about in found:
        if given.json:
            its = {"endpoint": endpoint.name, "to": endpoint.place, **about, "mistake": about["mistake"] or None}
            out.print(plain(as_json(its)), soft_wrap=True)
        else:
            _print_block(f"{endpoint.name} ({endpoint.place})", about, out)


def _print_block(head: str, lines: Mapping[str, str], out: Console, style: str = "bold") -> None:
    """Print some lines below their head, and an empty one."""
    out.print(plain(head, style))
    for label, text in lines.items():
        if text:
            print_hanging(f"  {label:{LABEL}}", plain(text), out)
    out.print()


# --- who gets a type


def _route_type(given: argparse.Namespace, found: Settings, endpoints: Sequence[Endpoint], out: Console) -> None:
    entry, host_type = type_named(given.type), "" if type_named(given.type) else given.type
    if host_type and not HOST_TYPE.fullmatch(host_type):
        raise SelectionError(
            f"no event type is called {printable(given.type)!r}.{nearest(given.type.lower(), EVENT_NAMES)}"
            f"{nearest(given.type.upper(), SEVERITY_OF_TYPE)} sfwebhooks events lists them."
        )
    events = [*_of_host_type(host_type, found)] if entry is None else [*_of_type(entry)]
    about = [(one, _verdicts(one, events, host_type)) for one in endpoints]
    if given.json:
        for endpoint, rows in about:
            its = {"endpoint": endpoint.name, "type": given.type, "redacted": redaction_words(endpoint, host_type)}
            out.print(plain(as_json({**its, "routes": rows})), soft_wrap=True)
        return
    if host_type:
        out.print(plain(_host_type_words(host_type, events, found)))
        out.print()
    for endpoint, rows in about:
        for row in rows:
            words = ", ".join(row["severities"])
            if not row["name"]:
                _print_block(f"{endpoint.name}: not sent if {words}: {row['why']}", {}, out, "yellow")
                continue
            lines = {"filters": "; ".join(row["only_if"]), "redacted": redaction_words(endpoint, host_type)}
            _print_block(f"{endpoint.name}: {row['name']} ({words})", lines, out)


def _of_host_type(host_type: str, found: Settings) -> Iterator[WebhookEvent]:
    """Yield findings of a type of the host: as they mostly are, and one that is known to be exploited."""
    special, severities = special_of(host_type), found.severities
    kinds = [False, True] if special and found.enrichment.raises and host_type.startswith("VULNERABILITY") else [False]
    for exploited in kinds:
        severity = severities.of(host_type, 0, exploited)
        yield WebhookEvent("", RISK_NAMES[severity], severity, 0.0, {"event_type": host_type}, A_SCAN, special)


def _of_type(entry: EventType) -> Iterator[WebhookEvent]:
    """Yield events of a type of ours, one for each severity."""
    made = example(entry, entry.name).event
    is_special = entry.name in SPECIALS
    is_finding = is_special or entry.name in FINDINGS or entry.name.startswith("finding.")
    for severity in entry.severities or (sorted(Severity, reverse=True) if is_special else [made.severity]):
        if is_finding:
            special = entry.name if is_special else None
            yield WebhookEvent("", RISK_NAMES[severity], severity, 0.0, {}, A_SCAN, special)
        else:
            yield replace(made, severity=severity)


def _verdicts(endpoint: Endpoint, events: Sequence[WebhookEvent], host_type: str) -> list[dict[str, Any]]:
    """Return what becomes of events at an endpoint: those with the same fate together."""
    content = {name: getattr(Endpoint, name) for name in CONTENTS}  # only known of an event that was found
    known, found = replace(endpoint, **content), dict[tuple[str, str], list[str]]()
    conditions = _conditions(endpoint, events[0], host_type)
    for event in events:
        name, why = endpoint.name_for(event) or "", "not asked for by its events"
        reason = withheld_by(known, event) if name else None
        if reason:
            name, why = "", f"{reason.meaning} ({'; '.join(filters_of(endpoint, *KINDS))})"
        found.setdefault((name, "" if name else why), []).append(event.severity.label)
    return [
        {"name": name or None, "severities": labels, "why": why, "only_if": conditions if name else []}
        for (name, why), labels in found.items()
    ]


def _conditions(endpoint: Endpoint, event: WebhookEvent, host_type: str) -> list[str]:
    """Return the filters that look at more of an event than its type and severity."""
    newness = list(filter(None, [newness_of(endpoint)]))
    if event.type in FINDINGS:
        kinds = () if host_type else ("finding_types", "include_raw")
        return [*filters_of(endpoint, *kinds, *CONTENTS), *newness]
    if event.type == CORRELATION:
        return [*filters_of(endpoint, "targets", "data_match", "data_not_match"), *newness]
    if event.type == COMPARISON:
        return filters_of(endpoint, "targets", "only_if_changed")
    return [] if event.type in ALERTS else filters_of(endpoint, "targets")


def _host_type_words(host_type: str, events: Sequence[WebhookEvent], found: Settings) -> str:
    first, *exploited = events
    own = found.severities.override_of(host_type) is not None
    why = " by [webhooks-severity]" if own else "" if host_type in SEVERITY_OF_TYPE else ", being unknown here"
    also = f"; {exploited[0].severity.label} if it is known to be exploited" if exploited else ""
    special = f", and {first.special}" if first.special else ""
    return f"{host_type} is of {first.severity.label} severity{why}{also}: {first.type}{special}."


# --- what of a past scan


def _route_scan(given: argparse.Namespace, found: Settings, endpoints: Sequence[Endpoint], out: Console) -> int:
    place = outbox_place(given)
    try:
        with closing(Outbox(place, listing=True)) as outbox:
            past = past_scan(outbox, given.scan, given.dead, found.enrichment)
            if not given.json:
                out.print(plain(_head(past)))
                out.print()
            for endpoint in endpoints:
                known = forecast(outbox, endpoint, past)
                if given.json:
                    out.print(plain(as_json(fields_of_forecast(endpoint, known, past))), soft_wrap=True)
                else:
                    print_forecast(endpoint, known, past, out)
    except HostDatabaseError as error:
        raise SelectionError(f"SpiderFoot's database cannot be read: {error}") from error
    if not given.json:
        _print_others(found, given, out)
    return 0


def _head(past: Past) -> str:
    over = f"{past.row.status} at {moment(past.row.ended)}" if past.row.ended else past.row.status
    return f"Scan {past.scan.id} of {past.scan.target}, {over}. A backfill would send now:"


def print_forecast(endpoint: Endpoint, known: Forecast, past: Past, out: Console, command: bool = True) -> None:
    """Print what a backfill of a scan to an endpoint would do.

    Args:
        command: whether to show the command for it.
    """
    name, scan_id = endpoint.name, past.scan.id
    in_all = messages_in(known.messages, known.seconds)
    lines = {
        "sent": counted(known.sent),
        "withheld": "; ".join(f"{number:,} {one.meaning}" for one, number in _by_number(known.withheld)),
        "redacted": "; ".join(f"{number:,} by {rule}" for rule, number in _by_number(known.redacted)),
        "has": f"{known.has:,} of this scan already, which are not sent again" if known.has else "",
        "deleted": f"{known.deleted:,} that it had: a backfill requires --again, and sends all again"
        if known.deleted
        else "",
        "mistake": f"{endpoint.mistake}: they would wait" if endpoint.mistake else "",
        "do": f"sfwebhooks backfill {scan_id} --endpoint {name}{' --again' if known.deleted else ''}"
        if command and known.number
        else "",
    }
    how = f"{amount(known.number, 'delivery', 'deliveries')} in {in_all}" if known.number else "nothing"
    _print_block(f"{name}: {how}", lines, out)


def _by_number(counts: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])
