"""What other tools tell: a type and its data come in, an event is kept in the outbox, a Receipt goes out.

Nothing is sent here, so that a tool waits for no receiver. Whatever process sends next delivers it.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfwebhooks import pipeline
from sfwebhooks.catalogue import EVENT_TYPES, EventType, find
from sfwebhooks.catalogue.checking import mistakes
from sfwebhooks.config import Settings, active, missing
from sfwebhooks.database import FILE
from sfwebhooks.endpoints import EVENT_NAMES, RISK_NAMES
from sfwebhooks.errors import ConfigError, EmitError, OutboxBusyError, OutboxError
from sfwebhooks.events import WebhookEvent, clean_text, id_of, printable
from sfwebhooks.hostdb import data_folder, saved_options
from sfwebhooks.jsonvalues import plain
from sfwebhooks.outbox import Outbox
from sfwebhooks.severity import Severity
from sfwebhooks.values import nearest

log = logging.getLogger("spiderfoot.webhooks")
#: bytes of data as JSON
DATA_MAX = 1_048_576
ID_MAX = 1024
#: seconds that are waited for an outbox that others write to, or that was just set aside
PATIENCE_SECONDS = 5.0
#: mistakes that are told at once
TOLD_MAX = 10


@dataclass(frozen=True)
class Receipt:
    """What became of something that another tool told."""

    #: the event's
    id: str
    #: names of the endpoints that want it; if there are none, nothing was kept
    endpoints: tuple[str, ...]
    #: for how many of them it was not kept before
    new: int


def keep(
    type: str, data: Mapping[str, Any], id: str | None = None, severity: str | None = None, config: str = ""
) -> Receipt:
    """Commit what another tool tells, for each endpoint that wants it; see `sfwebhooks.emit`."""
    event = event_of(type, data, id, severity, time.time())
    folder = data_folder()
    settings = _settings(config, folder)
    wanted = pipeline.wanted_by(event, settings.endpoints)
    outbox = Outbox(folder / FILE, storage=settings.storage)
    names = tuple(endpoint for endpoint, _ in wanted)
    try:
        new = _accepted(event, settings, outbox) if wanted else 0
        if new < len(names) and not outbox.endpoints_of(event.id).issuperset(names):
            raise OutboxError(f"outbox {outbox.path} is too full for a finding of severity {event.severity.label}")
    finally:
        outbox.close()
    return Receipt(event.id, names, new)


def event_of(type: str, data: Mapping[str, Any], id: str | None, severity: str | None, now: float) -> WebhookEvent:
    """Return the event that another tool tells.

    Args:
        now: epoch seconds.

    Raises:
        EmitError: it is not as the catalogue says.
    """
    entry = _entry(type)
    told = _completed(_checked(data, entry), entry)
    stated = told.get("severity") if any(field.name == "severity" for field in entry.by_others) else None
    level = _severity(entry, severity, stated)
    event_id = _id(entry, id)
    if not entry.alias.startswith("finding."):
        return WebhookEvent(event_id, entry.name, level, now, told)
    special = None if entry.severities else entry.name  # what it is makes it so, not how bad it is
    told |= {"special": special} if special else {}
    return WebhookEvent(event_id, RISK_NAMES[level], level, now, told, special=special)


def _entry(word: str) -> EventType:
    entry = find(word)
    if entry is None:
        raise EmitError(f"no event type is called {word!r}.{nearest(str(word), EVENT_NAMES)}")
    if not entry.by_others:
        known = ", ".join(one.name for one in EVENT_TYPES if one.by_others)
        raise EmitError(f"{entry.name} is not for other tools to tell; right: {known}")
    return entry


def _checked(data: Mapping[str, Any], entry: EventType) -> dict[str, Any]:
    """Return the data as JSON has it."""
    if not isinstance(data, Mapping):
        raise EmitError("data is no JSON object; right: an object with the keys of sfwebhooks events " + entry.name)
    told: dict[str, Any] = plain(data)
    size = len(json.dumps(told, ensure_ascii=False).encode())
    if size > DATA_MAX:
        raise EmitError(f"data has {size:,} bytes as JSON; right: {DATA_MAX:,} at most; send a link to what is larger")
    found = list(mistakes(told, entry.by_others))
    if found:
        more = [f"and {len(found) - TOLD_MAX} more"] if len(found) > TOLD_MAX else []
        lines = "".join(f"\n  {printable(line)}" for line in (*found[:TOLD_MAX], *more))
        raise EmitError(f"this is no data of {entry.name} (sfwebhooks events {entry.name} shows an example):{lines}")
    return told


def _completed(told: dict[str, Any], entry: EventType) -> dict[str, Any]:
    """Return a tool's data and what the catalogue adds: the words in which SpiderFoot says the same.

    An endpoint that asks for scan_completed gets it from whoever tells it, and its receiver may know these only.
    """
    found = told["findings_summary"] if entry.name == "scan_completed" else {}
    words = {
        "target": told.get("repository_url", ""),
        "target_type": "",
        "status": "FINISHED",
        "events_found": found.get("total"),
        "high_risk_events": found.get("critical", 0) + found.get("high", 0),
        "medium_risk_events": found.get("medium"),
        "low_risk_events": found.get("low"),
        "duration": told.get("duration_seconds"),
        "modules_used": [],
        "event_type": told.get("category", ""),
        "data": told.get("description", told.get("title")),
    }
    added = {field.name: words[field.name] for field in entry.by_others if field.added and field.name not in told}
    return {**told, **added}


def _severity(entry: EventType, given: str | None, stated: str | None) -> Severity:
    """Return the severity that was given, or stands in the data, or is the type's only one, or else INFO."""
    *others, last = [one.label for one in reversed(entry.severities or tuple(Severity))]
    right = (
        f"right{f' for {entry.name}' if entry.severities else ''}: {', '.join(others)}{' or ' if others else ''}{last}"
    )
    try:
        wanted = [Severity.parse(text) for text in (given, stated) if text is not None]
    except (ValueError, AttributeError):
        raise EmitError(f"severity is {given!r}; {right}") from None
    if len(set(wanted)) > 1:
        raise EmitError(f"severity is {given}, but data.severity is {stated}; right: the same")
    level = wanted[0] if wanted else (entry.severities or (Severity.INFO,))[0]
    if entry.severities and level not in entry.severities:
        raise EmitError(f"severity is {level.label}; {right}")
    return level


def _id(entry: EventType, given: str | None) -> str:
    """Return the event's id: for the same text of the same type the same."""
    if given is None:
        return str(uuid.uuid4())
    if not isinstance(given, str) or not 0 < len(given) <= ID_MAX or clean_text(given) != given:
        raise EmitError(f"id is no text of 1 to {ID_MAX} whole characters")
    return id_of(f"emit/{entry.name}/{given}")


def _settings(config: str, folder: Path) -> Settings:
    """Return the settings that a scan would use.

    Raises:
        ConfigError: there are none, they cannot be used, or webhooks are off.
    """
    settings = active({**saved_options(folder), **({"config": config} if config else {})}, folder)
    if settings is None:
        raise ConfigError(
            "webhooks are switched off (enabled = false, or SFWEBHOOKS_DISABLED is set); nothing was kept"
        )
    if settings.file is None:
        raise missing(folder)
    if settings.mistakes and not settings.endpoints:
        raise ConfigError("no endpoint can be used:\n  " + "\n  ".join(str(mistake) for mistake in settings.mistakes))
    for mistake in settings.mistakes:
        log.warning("webhooks: %s", mistake)
    return settings


def _accepted(event: WebhookEvent, settings: Settings, outbox: Outbox) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return pipeline.accept([event], settings.endpoints, outbox, event.at)
        except OutboxBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
