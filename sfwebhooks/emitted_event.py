"""The event of another tool: an Emission comes in, is checked against the catalogue, and a WebhookEvent goes out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfwebhooks.catalogue import EVENT_TYPES, EventType, type_named
from sfwebhooks.catalogue.check import mistakes
from sfwebhooks.catalogue.emitted import NO_REMEDIATION
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import EVENT_NAMES, RISK_NAMES
from sfwebhooks.errors import EmitError
from sfwebhooks.events import WebhookEvent, clean_text, id_of, printable
from sfwebhooks.scan.host_rows import FINISHED
from sfwebhooks.severity import Severity
from sfwebhooks.strict_json import pure_json
from sfwebhooks.text import epoch_of, in_line

#: bytes of data as JSON
DATA_MAX = 1_048_576
ID_MAX = 1024
#: most mistakes in one error
MISTAKES_MAX = 10
#: most characters of a title that is taken from the finding's data
TITLE_MAX = 200
#: severity -> the word for it in the other guide's counts
RISKS = {"high": "high_risk", "medium": "medium_risk", "low": "low_risk"}


@dataclass(frozen=True)
class Emission:
    """An event as another tool reports it."""

    #: name or alias of an event type
    type: str
    #: the event's data, or a whole message with event_type and data, as the guides show it
    data: Mapping[str, Any]
    #: its unique id; None: each call is a new event
    id: str | None = None
    #: None: the one in the data, or the type's own
    severity: str | None = None


def event_of(emission: Emission, now: float) -> WebhookEvent:
    """Return the event that another tool reports.

    Args:
        now: epoch seconds.

    Raises:
        EmitError: it does not match the catalogue.
    """
    entry = _entry(emission.type)
    event_id, wanted = _id(entry, emission.id), _parsed(entry, emission.severity)
    data, at = _opened(emission.data, entry, now)
    fields = {field.name for field in entry.by_others}
    only = wanted or (entry.severities[0] if len(entry.severities) == 1 else None)
    if only is not None and "severity" in fields - data.keys():
        data = {**data, "severity": only.label}
    _check(data, entry)
    level = _severity(entry, wanted, data["severity"] if "severity" in fields else None)
    content = {**data, **_added(data, entry, event_id)}
    if not entry.alias.startswith("finding."):
        return WebhookEvent(event_id, entry.name, level, at, content)
    special = None if entry.severities else entry.name  # by its kind, whatever its severity
    content |= {"special": special} if special else {}
    return WebhookEvent(event_id, RISK_NAMES[level], level, at, content, special=special)


def _entry(word: str) -> EventType:
    entry = type_named(word)
    if entry is None:
        raise EmitError(f"no event type is called {word!r}.{nearest(str(word), EVENT_NAMES)}")
    if not entry.by_others:
        known = ", ".join(one.name for one in EVENT_TYPES if one.by_others)
        raise EmitError(f"{entry.name} is not accepted from other tools; expected one of {known}")
    return entry


def _opened(given: object, entry: EventType, now: float) -> tuple[dict[str, Any], float]:
    """Return the data in JSON types, and the event's time in epoch seconds; a whole message contains both."""
    if not isinstance(given, Mapping):
        raise EmitError(f"data is not a JSON object; expected the fields that sfwebhooks events {entry.name} shows")
    read: dict[str, Any] = pure_json(given)
    name, data = read.get("event_type"), read.get("data")
    stated = type_named(name) if isinstance(name, str) and isinstance(data, dict) else None
    if stated is None:
        return read, now
    if stated is not entry:
        raise EmitError(f"event_type is {name}, but the event was emitted as {entry.name}; they must be equal")
    return dict(data or {}), _moment(read["timestamp"]) if "timestamp" in read else now


def _moment(text: object) -> float:
    """Return a message's time in epoch seconds."""
    try:
        return epoch_of(str(text))
    except ValueError:
        raise EmitError(f"timestamp is {str(text)[:40]!r}; expected a time such as 2026-11-21T10:00:00Z") from None


def _check(data: Mapping[str, Any], entry: EventType) -> None:
    size = len(json.dumps(data, ensure_ascii=False).encode())
    if size > DATA_MAX:
        raise EmitError(f"data has {size:,} bytes as JSON; expected at most {DATA_MAX:,}: send a link instead")
    found = list(mistakes(data, entry.by_others))
    if found:
        more = [f"and {len(found) - MISTAKES_MAX} more"] if len(found) > MISTAKES_MAX else []
        lines = "".join(f"\n  {printable(line)}" for line in (*found[:MISTAKES_MAX], *more))
        raise EmitError(f"data does not match {entry.name} (sfwebhooks events {entry.name} shows an example):{lines}")


def _added(data: Mapping[str, Any], entry: EventType, event_id: str) -> dict[str, Any]:
    """Return the keys of either guide that a tool did not provide, derived from those that it did.

    An endpoint receives events from any tool, and its receiver may know the keys of one guide only.
    """
    about = data.get("target", data.get("repository_url", ""))
    words = {"repository_url": about, "target": about, "target_type": ""}
    if entry.alias.startswith("finding."):
        words |= _finding(data, event_id)
    elif entry.name == "scan_completed":
        words |= _completed(data)
    elif entry.name == "scan_failed":
        words |= dict.fromkeys(("error", "error_message"), data.get("error_message", data.get("error")))
    return {field.name: words[field.name] for field in entry.by_others if field.added and field.name not in data}


def _finding(data: Mapping[str, Any], event_id: str) -> dict[str, Any]:
    title = data.get("title", data.get("description")) or in_line(data.get("data", ""), TITLE_MAX)
    return {
        "finding_id": event_id,
        "scan_id": "",
        "title": title,
        "description": data.get("data", title),
        "data": data.get("description", title),
        "category": data.get("event_type", ""),
        "event_type": data.get("category") or title,
        "file": "",
        "line": None,
        "remediation": dict(NO_REMEDIATION),
    }


def _completed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a scan's end; a count that the tool does not provide is 0, since receivers compare it."""
    counts = {"critical": 0, **{name: data.get(f"{risk}_events", 0) for name, risk in RISKS.items()}}
    found = data.get("findings_summary", {**counts, "total": sum(counts.values())})
    seconds = data.get("duration_seconds", data.get("duration", 0))
    return {
        "status": FINISHED,
        "duration": seconds,
        "duration_seconds": seconds,
        "findings_summary": found,
        "events_found": found["total"],
        "high_risk_events": found["critical"] + found["high"],
        "medium_risk_events": found["medium"],
        "low_risk_events": found["low"],
        "modules_used": [],
        "report_url": None,
    }


def _parsed(entry: EventType, given: str | None) -> Severity | None:
    """Return the severity that a caller gave."""
    try:
        level = None if given is None else Severity.parse(given)
    except (ValueError, AttributeError):
        raise EmitError(f"severity is {given!r}; {_right(entry)}") from None
    if level is not None and entry.severities and level not in entry.severities:
        raise EmitError(f"severity is {level.label}; {_right(entry)}")
    return level


def _right(entry: EventType) -> str:
    *others, last = [one.label for one in reversed(entry.severities or tuple(Severity))]
    whose = f" for {entry.name}" if entry.severities else ""
    return f"expected {', '.join(others)}{' or ' if others else ''}{last}{whose}"


def _severity(entry: EventType, given: Severity | None, stated: str | None) -> Severity:
    """Return the severity that was given, or is in the data, or is the type's first one, or else INFO."""
    level = given if stated is None else Severity.parse(stated)
    if given is not None and level is not given:
        raise EmitError(f"severity is {given.label}, but data.severity is {stated}; they must be equal")
    return (entry.severities or (Severity.INFO,))[0] if level is None else level


def _id(entry: EventType, given: str | None) -> str:
    """Return the event's id, which is the same for the same text and type."""
    if given is None:
        return str(uuid.uuid4())
    if not isinstance(given, str) or not 0 < len(given) <= ID_MAX or clean_text(given) != given:
        raise EmitError(f"id must be a string of 1 to {ID_MAX} valid Unicode characters")
    return id_of(f"emit/{entry.name}/{given}")
