"""The module class that SpiderFoot loads: a SpiderFootEvent comes in, a Finding goes out to `ScanRun.accept`.

The host's terms stay here. No exception leaves a method: it would stop the host at its start (`__init__`,
`watchedEvents`), fail the scan (`watchedEvents`), or end the delivery of events to the module (`handleEvent`).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any, Callable, TypeVar

import spiderfoot
from spiderfoot import SpiderFootPlugin, __version__

from sfwebhooks.config import settings as config
from sfwebhooks.config.location import off
from sfwebhooks.delivery.process import DeliveryProcess
from sfwebhooks.errors import ConfigError, HostDatabaseError
from sfwebhooks.events import Scan
from sfwebhooks.host import risks
from sfwebhooks.host.hosts import data_folder_of
from sfwebhooks.host.risks import Watched
from sfwebhooks.host.settings_page import page_words
from sfwebhooks.scan.findings import ROOT, SOURCES_MAX, Finding, Source, can_be_wanted, may_be_wanted
from sfwebhooks.scan.host_address import database_address, is_server
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase
from sfwebhooks.scan.own_host import unsupported
from sfwebhooks.scan.run import RUNS, ScanRun
from sfwebhooks.scan.terms import Terms
from sfwebhooks.screening import Screen

log = logging.getLogger("spiderfoot.webhooks")
#: folder of this SpiderFoot
HERE = Path(spiderfoot.__file__).parent.parent
#: queued by the host behind the last event
FINISHED = "FINISHED"
#: most events that are committed together
GROUP_MAX = 50
Method = TypeVar("Method", bound=Callable[..., Any])


def door(method: Method) -> Method:
    """Keep every exception of a method from the host; log it once, with its traceback."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any) -> Any:
        try:
            return method(self, *args)
        except Exception as error:  # would stop the host, fail the scan, or end the delivery of events: see above
            if repr(error) != self._last_bug:
                self._last_bug = repr(error)
                log.exception("webhooks: bug in %s; the scan continues", method.__name__)
            return None

    return guarded  # type: ignore[return-value]


class sfp__stor_webhooks(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    """The output module. The host creates one instance at its start and one for each scan."""

    meta = {
        "name": "Webhooks",
        "summary": "Sends the findings of a scan and how it ends to other systems, while it runs.",
    }
    opts: dict[str, Any] = {"config": "", "enabled": True}
    optdescs = {
        "config": "File with the [webhooks] settings; a relative path starts in the data folder. Empty: spiderfoot.conf"
        " or webhooks.ini there.",
        "enabled": "Send webhooks? False sends none, whatever the file says.",
    }
    _run: ScanRun | None = None
    _watched: Any = None
    _last_bug = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the host's class: the host pickles the instance from its start into each scan's process, which
        never uses it and has to start without this package too."""
        return SpiderFootPlugin, ()

    @door
    def setup(self, sfc: Any, userOpts: dict[str, Any] | None = None) -> None:
        """Store the options: the host's thread needs all of them, `__database` above all."""
        self.sf = sfc
        self.opts = {**type(self).opts, **(userOpts or {})}
        self.errorState = False

    def asdict(self) -> dict[str, Any]:
        """Return what the host shows of the module; the summary on its settings page names the address of ours."""
        found: dict[str, Any] = super().asdict()
        return {**found, "descr": f"{found['descr']}{page_words(HERE)}"}

    def setTarget(self, target: Any) -> None:
        """Begin the scan unless that was done before its setup, and find the event types to watch."""
        super().setTarget(target)
        self._begin(target)

    def watchedEvents(self) -> Any:
        """Return the types that an endpoint wants; the host neither copies nor queues the others. They are not known
        before a scan, when the host's own module tests expect a list."""
        return ["*"] if self._watched is None else self._watched

    @door
    def handleEvent(self, event: Any) -> None:
        """Accept an event if an endpoint wants it, and in the same commit those that are queued for this module behind
        it, as in a storm."""
        run, events = self._run, [event]
        with suppress(IndexError, Empty, AttributeError):  # nothing is queued, or the host has another kind of queue
            queue = self.incomingEventQueue
            while len(events) < GROUP_MAX and queue.queue[0] != FINISHED:
                events.append(queue.get_nowait())
        findings = [finding_of(one) for one in events if run and run.terms.wants[one.eventType, one.risk]]
        if run and findings:
            run.accept(*findings)

    @door
    def _begin(self, target: Any) -> None:
        self._watched = frozenset()
        self._run = RUNS.get(self.getScanId()) or self._begun(target)
        if self._run:
            self._run.watch(self._watch)
        else:
            say_why_off(self.getScanId(), self.opts, place_problem(self.opts) or "enabled = false")

    @door
    def _watch(self, terms: Terms) -> None:
        """Let the host hand over the types that an endpoint can want by these terms."""
        run = self._run
        if run:
            self._watched = watched_types(terms.settings, run.descriptions, risks.raised(), run.scan.target)

    def _begun(self, target: Any) -> ScanRun | None:
        """Begin the scan with data from the host's database that the host does not pass to its modules."""
        if unsupported(self.opts["__database"]):
            return None
        row = None
        with suppress(HostDatabaseError):
            row = HostDatabase(database_address(self.opts["__database"]), READ_SECONDS).scan(self.getScanId())
        name, value = (row.name, row.target) if row else ("", target.targetValue)
        return begin_run(self.getScanId(), name, value, target.targetType, self.opts)


def begin_run(
    scan_id: str,
    name: str,
    target: str,
    target_type: str,
    opts: dict[str, Any],
    modules: Iterable[str] = (),
    shim: str = "",
) -> ScanRun | None:
    """Begin the run of a scan of this process and return it; None if webhooks are disabled, or if a mistake in the
    settings makes it unknown where the outbox is.

    Args:
        opts: the module's options and the host's.
        modules: modules of the scan, if the host's database does not have them yet.
        shim: our file in the host's modules folder, for whose scans a delivery process is started; empty: none is.
    """
    settings = settings_of(opts)
    if settings is None or _problem(settings, folder_of(opts)):
        return None
    scan = Scan(scan_id, name, target, target_type, __version__, database_address(opts["__database"]))
    folder = folder_of(opts)
    delivery = DeliveryProcess(settings, folder, shim) if shim else None
    RUNS[scan_id] = run = ScanRun(scan, settings, folder, modules, delivery)
    run.begin()
    return run


def settings_of(opts: dict[str, Any]) -> config.Settings | None:
    """Return the settings to use, or None if webhooks are disabled or the host is not supported.

    Args:
        opts: the module's options and the host's.
    """
    return None if unsupported(opts["__database"]) else config.active(opts, folder_of(opts))


def say_why_off(scan_id: str, opts: dict[str, Any], otherwise: str = "") -> None:
    """Log why webhooks are disabled in a scan: host, options or environment, else the reason `otherwise`, if any."""
    missing = unsupported(opts["__database"])
    why = missing or off(opts) or otherwise
    if why:
        log.log(logging.WARNING if missing else logging.INFO, "webhooks: disabled: %s", why, extra={"scanId": scan_id})


def place_problem(opts: dict[str, Any]) -> str:
    """Return the mistake because of which a scan has no place for its events, or nothing."""
    settings = settings_of(opts)
    problem = _problem(settings, folder_of(opts)) if settings else ""
    return f"{problem}; sfwebhooks backfill sends this scan later" if problem else ""


def _problem(settings: config.Settings, folder: Path) -> str:
    try:
        settings.spool_in(folder)
    except ConfigError as error:
        return str(error)
    return settings.outbox_mistake


def folder_of(opts: dict[str, Any]) -> Path:
    """Return the folder of the host's database, which also has the outbox and the configuration; of a host whose
    database is on a server its data folder."""
    database = opts["__database"]
    return data_folder_of(HERE) if is_server(database) else Path(database).absolute().parent


def watched_types(
    settings: config.Settings, types: Iterable[str], raised: Container[str] | None, target: str = ""
) -> frozenset[str] | Watched:
    """Return the event types that an endpoint can want; all types if the host's list is not known.

    Args:
        raised: event types that a module has given a risk so far; None: that cannot be observed here.
        target: of the scan.
    """
    if not types:
        return frozenset("*")
    endpoints, enrichment = Screen(settings.endpoints).at(target), settings.enrichment
    possible = frozenset(
        name for name in types if name != ROOT and can_be_wanted(name, endpoints, enrichment.severities)
    )
    if raised is None:
        return possible
    always = frozenset(name for name in possible if may_be_wanted(name, 0, endpoints, enrichment))
    return Watched(always, possible, raised)


def finding_of(event: Any) -> Finding:
    """Convert a SpiderFootEvent to a Finding."""
    sources: list[Source] = []
    parent = event.sourceEvent
    while parent is not None and parent.eventType != ROOT and len(sources) < SOURCES_MAX:
        sources.append(Source(parent.eventType, parent.data, parent.module, parent.hash))
        parent = parent.sourceEvent
    return Finding(
        event.eventType,
        event.data,
        event.module,
        event.hash,
        event.generated,
        event.confidence,
        event.visibility,
        event.risk,
        tuple(sources),
        str(event.moduleDataSource or ""),
    )
