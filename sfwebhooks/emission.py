"""Events from other tools: a type and its data come in, the event is stored in the outbox, an Emitted goes out.

With the settings in a file nothing is sent here, so a tool never waits for a receiver: the next process that sends
delivers the event. With the settings in a mapping, which only the caller knows, it is also sent.

The outbox stays open for the next call of the process, and the settings are parsed again once they have changed, since
both take several times as long as storing an event.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sfwebhooks import pipeline
from sfwebhooks.config.location import missing, named, off
from sfwebhooks.config.settings import Settings, active, load, load_mapping
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.status import obstacle, situation
from sfwebhooks.emitted_event import Emission, event_of
from sfwebhooks.endpoints import FINDINGS, RISK_NAMES, Endpoint
from sfwebhooks.errors import ConfigError, OutboxBusyError, OutboxError
from sfwebhooks.events import WebhookEvent, delivery_id
from sfwebhooks.host.hosts import used_folder
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.store import Store
from sfwebhooks.retry import State
from sfwebhooks.scan.own_host import saved_options
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severities
from sfwebhooks.text_file import state_of

log = logging.getLogger("spiderfoot.webhooks")
#: seconds to wait for an outbox that another process has locked or has just set aside
PATIENCE_SECONDS = 5.0
#: who sends what a call with a mapping could not
NEXT_SENDER = "the next emit with this configuration sends them"
#: mistakes in settings that this process has logged
_logged: set[str] = set()
#: the open outbox of the last call, by its place and settings. A dict: `setdefault` gives all threads the same one
_open: dict[tuple[Place, Storage], Outbox] = {}
#: the settings of the last call, by the file and the environment that they were read from
_read: list[tuple[Path, dict[str, str], Settings]] = []


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
    settings = _settings(config, folder)
    return _stored(event, settings, settings.place(folder.absolute()))


def keep_and_send(emission: Emission, config: Mapping[str, object]) -> Emitted:
    """Store an event of another tool as `keep` does, for the endpoints of a mapping, and send
    their waiting deliveries."""
    event = event_of(emission, time.time())
    folder = used_folder()
    settings = _mapped(config, folder)
    place = settings.place(folder.absolute())
    emitted = _stored(event, settings, place)
    if emitted.endpoints:
        _send(event, settings, place)
    return emitted


def _rated(event: WebhookEvent, severities: Severities) -> WebhookEvent:
    """Return a finding with the severity that the settings give its type, if any."""
    own = severities.override_of(str(event.data.get("event_type", ""))) if event.type in FINDINGS else None
    if own is None or own is event.severity:
        return event
    data = {**event.data, **({"severity": own.label} if "severity" in event.data else {})}
    return replace(event, type=RISK_NAMES[own], severity=own, data=data)


def _stored(event: WebhookEvent, settings: Settings, place: Place) -> Emitted:
    event = _rated(event, settings.severities)
    screen = Screen(settings.endpoints)
    wanted, withheld = screen.of(event)
    outbox = _outbox(place, settings.storage)
    names = tuple(one.endpoint for one in wanted)
    new = _accepted(event, screen, outbox) if wanted or withheld else 0
    with suppress(OutboxBusyError):  # the event is stored; only a count is lost
        outbox.write_withheld()
    if new < len(names) and not outbox.scans.endpoints_of(event).issuperset(names):
        raise OutboxError(f"outbox {outbox.place} is too full for a finding of severity {event.severity.label}")
    return Emitted(event.id, names, new)


def _outbox(place: Place, storage: Storage) -> Outbox:
    """Return an outbox that stays open until this process ends, or stores an event in another one."""
    for key in list(_open):
        if key != (place, storage):
            close_outboxes(key)
    return _open.get((place, storage)) or _open.setdefault((place, storage), Outbox(place, storage=storage))


def close_outboxes(*keys: tuple[Place, Storage]) -> None:
    """Close these outboxes, by default all."""
    for key in keys or list(_open):
        outbox = _open.pop(key, None)
        if outbox:
            outbox.close()


atexit.register(close_outboxes)


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


def _send(event: WebhookEvent, settings: Settings, place: Place) -> None:
    """Send the waiting deliveries of the endpoints of a mapping, and log those of the event that are left."""
    try:
        dispatcher = Dispatcher(settings.endpoints, place, storage=settings.storage)
        try:
            send = dispatcher.linger if dispatcher.wake() else dispatcher.run_here
            send(time.monotonic() + settings.drain_timeout)
        finally:
            dispatcher.stop(max(endpoint.timeout for endpoint in settings.endpoints))
        for line in _left(event, settings, place):
            log.warning("webhooks: %s; %s", line, NEXT_SENDER)
    except OutboxError as error:
        log.warning("webhooks: event %s is stored, and may not be sent yet: %s; %s", event.id, error, NEXT_SENDER)
    except Exception:  # the event is stored: after an error the caller would emit it again
        log.exception("webhooks: bug while event %s was sent; %s", event.id, NEXT_SENDER)


def _left(event: WebhookEvent, settings: Settings, place: Place) -> Iterator[str]:
    """Yield a line for each waiting delivery of an event."""
    ids = tuple(delivery_id(event.id, endpoint.name) for endpoint in settings.endpoints)
    with closing(Outbox(place, listing=True)) as outbox:
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
