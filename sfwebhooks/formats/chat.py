"""The words of chat messages: a delivery, redacted, comes in; its Notice goes out (wording, order, selection). Not a
format: the chat formats start here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from sfwebhooks.catalogue import WATCH_TYPES
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.content import watched_scan
from sfwebhooks.formats.links import LINK_MAX, scan_links
from sfwebhooks.formats.notice import COLOURS, GOOD, ITEM_MAX, Notice
from sfwebhooks.reasons import Withheld, short_words
from sfwebhooks.sensitive import WITHHELD
from sfwebhooks.severity import Severity, severity_of
from sfwebhooks.text import amount, counted, duration, in_line, moment, numbers, people, readable, simple, text_of

SPECIAL_NAMES = ("vulnerability_found", "malware_detected")
#: keys of other events that describe them, the most specific first
MESSAGE_KEYS = ("title", "message", "summary", "error", "description", "reason")
#: keys that people do not need
SILENT = ("scan_id", "target", "target_type", "severity", "rule_risk", "hash", "sources", "event_type", "data",
          "modules")  # fmt: skip
#: and of one type of event
SILENT_OF = {
    "scan_progress": ("number", "status"),
    "module_error": ("exception",),
    **dict.fromkeys(WATCH_TYPES, ("resolved", "since", "lineage", "scan_name", "compared_scans", "started", "link")),
}
#: keys that the body sums up in one line
COUNTS = ("events_found", "high_risk_events", "medium_risk_events", "low_risk_events", "info_events",
          "events_by_severity", "events_by_type")  # fmt: skip
#: the reasons of `scan/run` why another process reported the end
WHY = {"process_died": "The scan's process died.", "host_stopped": "SpiderFoot was stopped."}
#: the host's word for the source of a module that names none
UNKNOWN = "Unknown"
#: a time in our events
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
TRAIL_MAX = 3
LIST_MAX = 5
TOP_MAX = 3
#: characters of a text that are shown: more than a chat accepts
TEXT_MAX = 4096
#: data with more characters than this is shown with its length
LONG = 1000


@dataclass(frozen=True)
class ChatMessage:
    """A delivery with its data made readable."""

    delivery: Delivery
    data: Mapping[str, Any]
    target: str


def notice(delivery: Delivery, endpoint: Endpoint) -> Notice:
    """Return the chat notice of a delivery."""
    event = delivery.event
    data = readable(event.data)
    message = ChatMessage(delivery, data, readable(event.scan.target) if event.scan else text_of(data, "target"))
    found = "event_type" in data and "data" in data and "finding_id" not in data  # the last is another tool's
    known = LIFECYCLE.get(event.type, other) if event.scan else other
    headline, body, facts, colour = (finding if found else known)(message)
    scan = event.scan or (watched_scan(event) if event.type in WATCH_TYPES else None)
    link, page = scan_links(scan, endpoint, LINK_MAX)
    return Notice(
        headline=headline,
        body=body.strip(),
        facts=tuple((label.strip() or "?", value) for label, value in facts if value.strip()),
        colour=colour,
        severity=event.severity,
        event=event.type,
        target=message.target,
        trail=trail(message) if found else (),
        footer=footer(message),
        link=link,
        page=page,
        is_late=delivery.is_late,
    )


def is_edited(batch: Batch) -> bool:
    """Return whether a message takes the place of the last one about its subject, in chats where one can be edited: the
    progress of a running scan."""
    first = batch.deliveries[0]
    return first.event.type == "scan_progress" and not first.is_late


#: headline, body, facts, colour
Words = tuple[str, str, list[tuple[str, str]], str]


def finding(message: ChatMessage) -> Words:
    """Return the words for a finding."""
    from sfwebhooks.formats.exploitation import exploitation_of  # most scans leave the sending to another process

    data, severity = message.data, message.delivery.event.severity
    host_type = text_of(data, "event_type")
    name, what = message.delivery.name, " ".join(text_of(data, "description").split()) or host_type
    special, exploitation = name in SPECIAL_NAMES, exploitation_of(data)
    headline = f"{people(name)} ({severity.label}): {what}" if special else f"{severity.label.capitalize()}: {what}"
    facts = [
        ("Target", message.target),
        ("Known exploited", exploitation.known_words),
        ("EPSS", exploitation.score_words),
        ("Type", host_type),
        ("Module", text_of(data, "module")),
        ("Confidence", text_of(data, "confidence") and f"{text_of(data, 'confidence')} %"),
        ("Data source", "" if text_of(data, "data_source") == UNKNOWN else text_of(data, "data_source")),
        ("Length", data_length(data)),
    ]
    return headline, text_of(data, "data").strip() or "(empty)", facts, COLOURS[severity]


def data_length(data: Mapping[str, Any]) -> str:
    """Return the length of a finding's data if a chat may cut it."""
    number = data.get("data_length") or len(text_of(data, "data"))
    return f"{number:,} characters" if isinstance(number, int) and number > LONG else ""


def scan_started(message: ChatMessage) -> Words:
    """Return the words for the start of a scan."""
    facts = [
        ("Target", message.target),
        ("Target type", text_of(message.data, "target_type").replace("_", " ").lower()),
        ("Modules", listed(message.data.get("modules_used"))),
    ]
    return "Scan started", "", facts, COLOURS[message.delivery.event.severity]


def scan_ended(message: ChatMessage) -> Words:
    """Return the words for the end of a scan, with its totals and most severe findings.

    Where those that earlier scans found are withheld, what is new came in messages of its own: the end names no finding
    and has no alarming colour.
    """
    data, event = message.data, message.delivery.event
    error, found = text_of(data, "error"), totals(data)
    late = text_of(data, "reason") if data.get("detected_late") else ""
    top, withheld = data.get("top_findings"), not_sent(data.get("receipt"))
    is_known = withheld.get(Withheld.KNOWN, 0) > 0
    about = [
        ("Most serious" if worst_severity(data) >= Severity.MEDIUM else "Most frequent", types(data)),
        ("Top findings", listed(top[:TOP_MAX] if isinstance(top, list) else None)),
    ]
    facts = [
        ("Target", message.target),
        ("Duration", duration(data.get("duration"))),
        ("Found", found if error else ""),
        *(() if is_known else about),
        ("Not sent", counted({short_words(reason): number for reason, number in withheld.items()})),
        ("Reported late", WHY.get(late, late) if late != error else ""),
    ]
    colour = COLOURS[event.severity]
    if event.type == "scan_completed" and found and not is_known:
        colour = COLOURS[worst_severity(data)] if worst_severity(data) >= Severity.MEDIUM else GOOD
    return people(event.type), WHY.get(error, error) or found, facts, colour


def not_sent(receipt: Any) -> dict[str, int]:
    """Return how many events were not sent, by reason."""
    return numbers(receipt.get("withheld_by_reason")) if isinstance(receipt, Mapping) else {}


def surface_changed(message: ChatMessage) -> Words:
    """Return the words for the comparison of a scan with the one before it."""
    data, severity = message.data, message.delivery.event.severity
    groups = {name: data[name] if isinstance(data.get(name), Mapping) else {} for name in ("new", "gone", "changed")}
    facts = [
        ("Target", message.target),
        *((people(name), differences(group)) for name, group in groups.items()),
        ("Modules failed", listed(data.get("modules_failed"))),
    ]
    is_different = any(numbers(group).get("total") for group in groups.values())
    what = "not compared" if "not_comparable" in data else "changed" if is_different else "unchanged"
    headline = f"Surface {what}" + (f" ({severity.label})" if severity else "")
    return headline, text_of(data, "message"), facts, GOOD if what == "unchanged" else COLOURS[severity]


def differences(group: Mapping[str, Any]) -> str:
    """Return the number of findings of each type, if not all of them are named, and the first findings."""
    total, items = numbers(group).get("total", 0), group.get("items")
    named = [
        _difference(one) for one in (items if isinstance(items, list) else [])[:LIST_MAX] if isinstance(one, Mapping)
    ]
    if len(named) == total:
        return "\n".join(named)
    by_type = numbers(group.get("by_type"))
    order = sorted(by_type, key=lambda name: (-severity_of(name), -by_type[name], name))
    more = [f"{len(order) - LIST_MAX:,} more types"] if len(order) > LIST_MAX else []
    types = ", ".join([*(f"{by_type[name]:,} {name}" for name in order[:LIST_MAX]), *more])
    return "\n".join(filter(None, [types, *named, f"and {total - len(named):,} more" if named else ""]))


def _difference(finding: Mapping[str, Any]) -> str:
    """Return a finding in one line; of a changed one also what it was before."""
    before = finding.get("before")
    was = item(before).partition(" ")[2] if isinstance(before, Mapping) else ""
    return f"{item(finding)} (was {was})" if was else item(finding)


LIFECYCLE: dict[str, Callable[[ChatMessage], Words]] = {
    "scan_started": scan_started,
    "scan_completed": scan_ended,
    "scan_failed": scan_ended,
    "scan_aborted": scan_ended,
    "surface_changed": surface_changed,
}


def other(message: ChatMessage) -> Words:
    """Return the words for any other event: its descriptive keys are the body, its other simple values the facts."""
    data, severity = message.data, message.delivery.event.severity
    headline = people(message.delivery.name) + (f" ({severity.label})" if severity else "")
    found, kind = totals(data), message.delivery.event.type
    is_over = kind in WATCH_TYPES and data.get("resolved") is True
    headline += ": resolved" if is_over else ""
    body: list[str] = []
    for text in (*(described(data, key) for key in MESSAGE_KEYS), found):
        is_repeated = len(text) <= ITEM_MAX and any(text in line for line in body)
        body += [] if is_repeated else [text]
    known = {*MESSAGE_KEYS, *SILENT, *SILENT_OF.get(kind, ()), *(COUNTS if found else ())}
    known |= {"rule_name"} if text_of(data, "rule_name") in body else set()
    facts = [("Target", message.target), *((people(key), fact(key, data[key])) for key in data if key not in known)]
    return headline, "\n".join(body), facts, GOOD if is_over else COLOURS[severity]


def described(data: Mapping[str, Any], key: str) -> str:
    """Return one of the texts that describe an event; the name of an exception is in front of its text."""
    exception, text = text_of(data, "exception") if key == "error" else "", text_of(data, key)
    text = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"
    return f"{exception}: {text}" if exception else text


def fact(key: str, value: Any) -> str:
    """Return a short form of a value; an empty text if it is not simple."""
    if key == "last_scan":
        return earlier_scan(value)
    seconds = duration(value) if key.endswith(("duration", "elapsed")) else ""
    if isinstance(value, str) and TIME.fullmatch(value):
        return f"{value[:10]} {value[11:19]} UTC"
    return seconds or listed(value) or counted(value) or simple(value)


def earlier_scan(value: Any) -> str:
    """Return an earlier scan in short."""
    if not isinstance(value, Mapping):
        return simple(value)
    found = value.get("events_found")
    parts = (fact("ended", value.get("ended")), duration(value.get("duration")),
             amount(found, "finding") if isinstance(found, int) else "")  # fmt: skip
    return ", ".join(filter(None, parts))


def trail(message: ChatMessage) -> tuple[str, ...]:
    """Return short forms of the sources, without the target, which is shown elsewhere."""
    given = message.data.get("sources")
    sources = [source for source in given if isinstance(source, Mapping)] if isinstance(given, list) else []
    if sources and text_of(sources[-1], "data") == message.target:
        sources.pop()
    shown = tuple(item(source) for source in sources[:TRAIL_MAX])
    return (*shown, f"{len(sources) - TRAIL_MAX} more") if len(sources) > TRAIL_MAX else shown


def item(source: Mapping[str, Any]) -> str:
    """Return a scanner event in one short line."""
    host_type = text_of(source, "event_type")
    data = text_of(source, "data")
    return host_type if data == WITHHELD else f"{host_type} {in_line(data, ITEM_MAX)}".strip()


def footer(message: ChatMessage) -> tuple[str, ...]:
    """Return the scan's name, the time, the sequence number, which reveals missing messages, and why it comes late."""
    event = message.delivery.event
    name = readable(event.scan.name).strip() if event.scan else ""
    delivery = message.delivery
    late = [*(["backfilled"] if delivery.backfilled else []), *(["replayed"] if delivery.replayed else [])]
    return (*([name] if name else []), moment(event.at), f"#{delivery.sequence}", *late)


def totals(data: Mapping[str, Any]) -> str:
    """Return the number of findings, in total and by severity; an empty text if the event does not have it."""
    total = data.get("events_found")
    if not isinstance(total, int):
        return ""
    parts = counted(data.get("events_by_severity"))
    return amount(total, "finding") + (f": {parts}" if parts else "")


def worst_severity(data: Mapping[str, Any]) -> Severity:
    """Return the highest severity found."""
    found = numbers(data.get("events_by_severity"))
    return max((severity for severity in Severity if found.get(severity.label)), default=Severity.INFO)


def types(data: Mapping[str, Any]) -> str:
    """Return the types of medium severity and up, most severe first, with counts; without any, the frequent ones."""
    by_type = numbers(data.get("events_by_type"))
    serious = {name: -severity_of(name) for name in by_type if severity_of(name) >= Severity.MEDIUM}
    order = sorted(serious or by_type, key=lambda name: (serious.get(name, 0), -by_type[name], name))
    return "\n".join(f"{name}: {by_type[name]:,}" for name in order[:LIST_MAX])


def listed(value: Any) -> str:
    """Return a short form of a list, as names or as the first scanner events; an empty text if it is not a list."""
    if not isinstance(value, list) or not value:
        return ""
    entries = [item(entry) if isinstance(entry, Mapping) else simple(entry) for entry in value]
    if not all(entries) or (len(entries) > LIST_MAX and not isinstance(value[0], Mapping)):
        return f"{len(entries):,}"
    more = [f"and {len(entries) - LIST_MAX:,} more"] if len(entries) > LIST_MAX else []
    return ("\n" if isinstance(value[0], Mapping) else ", ").join([*entries[:LIST_MAX], *more])
