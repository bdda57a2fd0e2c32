"""Events from other tools: a type and its data come in, the event is stored in the outbox, an Emitted goes out.

With the settings in a file nothing is sent here, so a tool never waits for a receiver: the next process that sends
delivers the event. With the settings in a mapping, which only the caller knows, it is also sent.

The outbox stays open for the next call of the process, and the settings are parsed again once they have changed, since
both take several times as long as storing an event.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfwebhooks import pipeline
from sfwebhooks.catalogue import EVENT_TYPES, EventType, type_named
from sfwebhooks.catalogue.check import mistakes
from sfwebhooks.catalogue.emitted import NO_REMEDIATION
from sfwebhooks.config.settings import Settings, active, load, load_mapping, missing, named, off
from sfwebhooks.config.values import nearest
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.status import obstacle, situation
from sfwebhooks.endpoints import EVENT_NAMES, FINDINGS, RISK_NAMES, Endpoint
from sfwebhooks.errors import ConfigError, EmitError, OutboxBusyError, OutboxError
from sfwebhooks.events import WebhookEvent, clean_text, delivery_id, id_of, printable
from sfwebhooks.host.hosts import used_folder
from sfwebhooks.outbox.file import FILE, Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.store import Store
from sfwebhooks.retry import State
from sfwebhooks.scan.host_database import FINISHED, saved_options
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severities, Severity
from sfwebhooks.strict_json import pure_json
from sfwebhooks.text import epoch_of, in_line
from sfwebhooks.text_file import state_of

log = logging.getLogger("spiderfoot.webhooks")
#: bytes of data as JSON
DATA_MAX = 1_048_576
ID_MAX = 1024
#: seconds to wait for an outbox that another process has locked or has just set aside
PATIENCE_SECONDS = 5.0
#: most mistakes in one error
MISTAKES_MAX = 10
#: most characters of a title that is taken from the finding's data
TITLE_MAX = 200
#: severity -> the word for it in the other guide's counts
RISKS = {"high": "high_risk", "medium": "medium_risk", "low": "low_risk"}
#: who sends what a call with a mapping could not
NEXT_SENDER = "the next emit with this configuration sends them"
#: mistakes in settings that this process has logged
_logged: set[str] = set()
#: the open outbox of the last call, by its path and settings. A dict, since `setdefault` gives all threads the same one
_open: dict[tuple[Path, Storage], Outbox] = {}
#: the settings of the last call, by the file and the environment that they were read from
_read: list[tuple[Path, dict[str, str], Settings]] = []


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


@dataclass(frozen=True)
class Emitted:
    """The result of storing an event."""

    #: the event's id
    id: str
    #: names of the endpoints that subscribe to it and whose filters let it pass; if empty, nothing was stored
    endpoints: tuple[str, ...]
    #: number of endpoints for which it had not been stored before
    new: int


def keep(emission: Emission, config: str = "", folder: Path | None = None) -> Emitted:
    """Store an event of another tool for each endpoint that subscribes to it; see `sfwebhooks.emit`."""
    event = event_of(emission, time.time())
    folder = folder or used_folder()
    return _stored(event, _settings(config, folder), folder / FILE)


def keep_and_send(emission: Emission, config: Mapping[str, object]) -> Emitted:
    """Store an event of another tool as `keep` does, for the endpoints of a mapping, and send
    their waiting deliveries."""
    event = event_of(emission, time.time())
    folder = used_folder()
    settings = _mapped(config, folder)
    emitted = _stored(event, settings, folder / FILE)
    if emitted.endpoints:
        _send(event, settings, folder / FILE)
    return emitted


def _rated(event: WebhookEvent, severities: Severities) -> WebhookEvent:
    """Return a finding with the severity that the settings give its type, if any."""
    own = severities.override_of(str(event.data.get("event_type", ""))) if event.type in FINDINGS else None
    if own is None or own is event.severity:
        return event
    data = {**event.data, **({"severity": own.label} if "severity" in event.data else {})}
    return replace(event, type=RISK_NAMES[own], severity=own, data=data)


def _stored(event: WebhookEvent, settings: Settings, path: Path) -> Emitted:
    event = _rated(event, settings.severities)
    screen = Screen(settings.endpoints)
    wanted, withheld = screen.of(event)
    outbox = _outbox(path.absolute(), settings.storage)
    names = tuple(one.endpoint for one in wanted)
    new = _accepted(event, screen, outbox) if wanted or withheld else 0
    with suppress(OutboxBusyError):  # the event is stored; only a count is lost
        outbox.write_withheld()
    if new < len(names) and not outbox.scans.endpoints_of(event).issuperset(names):
        raise OutboxError(f"outbox {outbox.path} is too full for a finding of severity {event.severity.label}")
    return Emitted(event.id, names, new)


def _outbox(path: Path, storage: Storage) -> Outbox:
    """Return an outbox that stays open until this process ends, or stores an event in another one."""
    for key in list(_open):
        if key != (path, storage):
            close_outboxes(key)
    return _open.get((path, storage)) or _open.setdefault((path, storage), Outbox(path, storage=storage))


def close_outboxes(*keys: tuple[Path, Storage]) -> None:
    """Close these outboxes, by default all."""
    for key in keys or list(_open):
        outbox = _open.pop(key, None)
        if outbox:
            outbox.close()


atexit.register(close_outboxes)


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


def _settings(config: str, folder: Path) -> Settings:
    """Return the settings that a scan would use.

    Raises:
        ConfigError: they do not exist or cannot be used, or webhooks are off.
    """
    options = saved_options(folder)
    if config:
        options["config"] = str(named(config).absolute())
    settings = active(options, folder, _loaded)
    if settings is None:
        raise ConfigError("webhooks are off (enabled = false, or SFWEBHOOKS_DISABLED is set); nothing was stored")
    if settings.file is None:
        raise missing(folder)
    if settings.mistakes and not settings.endpoints:
        raise ConfigError("no endpoint can be used:\n  " + "\n  ".join(str(mistake) for mistake in settings.mistakes))
    for text in map(str, settings.mistakes):
        if text not in _logged:  # a tool may emit thousands of events
            _logged.add(text)
            log.warning("webhooks: %s", text)
    return settings


def _loaded(path: Path | None) -> Settings:
    """Return the settings of a file, parsed again if it, or a file or variable that it may name, has changed."""
    if path is None:
        return load(None)
    source = path.absolute(), dict(os.environ)
    for file, variables, settings in _read:
        if (file, variables) == source and all(state_of(one) == state for one, state in settings.files.items()):
            return settings
    settings = load(path)
    _read[:] = [(*source, settings)]
    return settings


def _mapped(config: Mapping[str, object], folder: Path) -> Settings:
    """Return the settings of a mapping.

    Raises:
        ConfigError: there is a mistake in them, or webhooks are off.
    """
    why = off(saved_options(folder))
    settings = load_mapping(config, "config", Path.cwd())
    if why or settings.enabled is False:
        raise ConfigError(f"webhooks are off ({why or 'enabled = false'}); nothing was stored")
    mistakes = [*map(str, settings.mistakes)]
    if mistakes or not settings.endpoints:
        lines = "".join(f"\n  {line}" for line in mistakes or ["config: there is no usable endpoint"])
        raise ConfigError(f"nothing was stored:{lines}")
    return replace(settings, endpoints=_bound(settings.endpoints))


def _bound(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Return the endpoints of a mapping under names that contain where they send: deliveries are stored by name, and
    those of another mapping, or of an installed endpoint, must not be sent there. No name in settings has an @."""
    names = {endpoint.name: f"{endpoint.name}@{endpoint.account_id}" for endpoint in endpoints}
    return tuple(replace(one, name=names[one.name], fallback=names.get(one.fallback, "")) for one in endpoints)


def _send(event: WebhookEvent, settings: Settings, path: Path) -> None:
    """Send the waiting deliveries of the endpoints of a mapping, and log those of the event that are left."""
    try:
        dispatcher = Dispatcher(settings.endpoints, path, storage=settings.storage)
        try:
            send = dispatcher.linger if dispatcher.wake() else dispatcher.run_here
            send(time.monotonic() + settings.drain_timeout)
        finally:
            dispatcher.stop(max(endpoint.timeout for endpoint in settings.endpoints))
        for line in _left(event, settings, path):
            log.warning("webhooks: %s; %s", line, NEXT_SENDER)
    except OutboxError as error:
        log.warning("webhooks: event %s is stored, and may not be sent yet: %s; %s", event.id, error, NEXT_SENDER)
    except Exception:  # the event is stored: after an error the caller would emit it again
        log.exception("webhooks: bug while event %s was sent; %s", event.id, NEXT_SENDER)


def _left(event: WebhookEvent, settings: Settings, path: Path) -> Iterator[str]:
    """Yield a line for each waiting delivery of an event."""
    ids = tuple(delivery_id(event.id, endpoint.name) for endpoint in settings.endpoints)
    with closing(Outbox(path, listing=True)) as outbox:
        for one in outbox.listing.deliveries(Selection(ids=ids, states=(State.WAITING,)), len(ids)):
            now = time.time()
            why = obstacle(situation(outbox, one.endpoint, settings, now), now)
            last = f"its last attempt failed ({one.reason})" if one.tries else "there was no time left to send it"
            yield f"{one.endpoint}: event {event.id} is waiting: {why or last}"


def _accepted(event: WebhookEvent, screen: Screen, outbox: Store) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return pipeline.accept([event], screen, outbox, time.time())
        except OutboxBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
