"""The watch over scans: was an expected one missed, does one run too long, did one find too little, do modules fail
that did not before?

    settings, host's database, outbox --Watch.look--> changes of state, each with its event --> outbox, in one commit

`run` looks from time to time and `drain` once, never a scan's process. Each trouble is sent when it begins and once
more when it is over. Nothing from before the first look is sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from sfwebhooks.catalogue import WATCH_TYPES
from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import subscribed_name
from sfwebhooks.errors import HostDatabaseError, OutboxError
from sfwebhooks.events import WebhookEvent, id_of
from sfwebhooks.expectations import LOCAL, PAST_SECONDS, Expectation, Missed, is_made_up, missed
from sfwebhooks.outbox.store import Store
from sfwebhooks.outbox.watch import WatchChange, WatchState
from sfwebhooks.scan.history import History, KnownScan, read_history, usual
from sfwebhooks.scan.watch_events import (
    DEGRADED,
    MISSED,
    OVERDUE,
    THIN,
    degraded_event,
    missed_event,
    overdue_event,
    thin_event,
)
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity

log = logging.getLogger("spiderfoot.webhooks")
#: the state that says when the watch looked last, and seconds for which it is not written again
LOOKED = ("", "looked")
LOOKED_SECONDS = 600.0
#: a scan is overdue from this multiple of its usual duration on, and not before this time in seconds
OVERDUE_TIMES = 3
OVERDUE_LEAST = 300.0
#: seconds after which a scan that has not ended is not watched any more: its process has died
RUNNING_SECONDS = 30 * 86400.0
#: the part of the usual findings that is too little
THIN_SHARE = 0.2
#: earlier scans in which a module must not have failed
WORKED_SCANS = 3
#: seconds after a scan's end until it is judged: the host may still write its log
SETTLE_SECONDS = 30.0
#: seconds by which a scan may end, by its own clock, before one that was judged earlier
MARGIN_SECONDS = 3600.0

States = Mapping[tuple[str, str], WatchState]


class Watch:
    """The watch with some settings.

    Args:
        zone: of the cron expressions.
    """

    def __init__(self, settings: Settings, outbox: Store, zone: tzinfo = LOCAL) -> None:
        self._settings = settings
        self._outbox = outbox
        self._zone = zone
        self._screen = Screen(settings.endpoints)
        #: the types of events that an endpoint wants
        self._kinds = {
            kind
            for kind in WATCH_TYPES
            if any(subscribed_name(one.events, kind, Severity.INFO, None) for one in settings.endpoints)
        }

    @property
    def is_needed(self) -> bool:
        """Whether a scan is expected, or an endpoint wants its events."""
        return self._settings.enabled is not False and bool(self._kinds or self._settings.expected)

    def look(self, now: float) -> list[WebhookEvent]:
        """Look at all scans, and commit what has changed; return the events.

        Args:
            now: epoch seconds.

        Raises:
            HostDatabaseError: the host's database cannot be read; nothing was committed.
            OutboxError: the outbox cannot be used.
        """
        if not self.is_needed:
            return []
        known, history = self._outbox.watch.all(), read_history(self._outbox, now)
        states = {key: state for key, state in known.items() if is_whole(state)}
        changes = [WatchChange(state, None) for key, state in known.items() if key not in states]
        changes += [*self._looked(states, now), *self._missed(history, states, now)]
        if history.has_host:
            changes += [*self._overdue(history, states, now)]
            changes += [change for kind in (THIN, DEGRADED) for change in self._ended(kind, history, states, now)]
        changes += [*_forgotten(states, self._settings, now)]
        done = self._outbox.watch.commit(changes, now) if changes else []
        for event in done:
            level = logging.INFO if event.data["resolved"] else logging.WARNING
            log.log(level, "webhooks: %s", event.data["message"])
        return done

    def _change(self, before: WatchState | None, after: WatchState | None, event: WebhookEvent) -> WatchChange:
        return WatchChange(before, after, event, self._screen.of(event)[0])

    def _looked(self, states: States, now: float) -> Iterator[WatchChange]:
        before = states.get(LOOKED)
        if before is None or abs(now - before.checked_at) > LOOKED_SECONDS:
            yield WatchChange(before, WatchState(*LOOKED, now))

    def _missed(self, history: History, states: States, now: float) -> Iterator[WatchChange]:
        for one in self._settings.expected:
            before = states.get((MISSED, one.id))
            if before is None:
                yield WatchChange(None, WatchState(MISSED, one.id, now))
                continue
            scans = history.of(one.of)
            starts = [scan.started for scan in scans]
            # scans from before the oldest one may have been deleted
            over = [
                pair for pair in one.over(before.checked_at, now, self._zone) if pair[1] >= min(starts, default=0.0)
            ]
            past = missed_before(before)
            found = missed(over, starts, past)
            after = replace(before, checked_at=over[-1][0] if over else before.checked_at)
            if found and is_made_up(found, starts):
                by = next(scan for scan in scans if scan.started > found.last_at)
                event = missed_event(one, found, self._zone, _about(history, scans, now), by)
                yield self._change(before, replace(after, begun_at=None, data={}), event)
            elif found and past is None:
                event = missed_event(one, found, self._zone, _about(history, scans, now), None)
                yield self._change(before, _missing(after, one, found), event)
            elif after != before:
                yield WatchChange(before, _missing(after, one, found) if found else after)
        yield from self._unexpected(states, now)

    def _unexpected(self, states: States, now: float) -> Iterator[WatchChange]:
        """Yield the changes for missed scans that are no longer expected."""
        if self._settings.mistakes:
            return  # one of them may be why
        ids = {one.id for one in self._settings.expected}
        for (kind, subject), state in states.items():
            found = missed_before(state) if kind == MISSED and subject not in ids else None
            if found:
                one = Expectation(*(str(state.data.get(key, "")) for key in ("name", "cron", "of")))
                about = {"now": now, "last_scan": None, "usual_duration": None, "is_expected": False}
                event = missed_event(one, found, self._zone, about, None)
                yield self._change(state, replace(state, begun_at=None, data={}), event)

    def _overdue(self, history: History, states: States, now: float) -> Iterator[WatchChange]:
        root = states.get((OVERDUE, ""))
        if OVERDUE not in self._kinds:
            return
        if root is None:
            yield WatchChange(None, WatchState(OVERDUE, "", now))
            return
        for scan in history.scans.values():
            is_recent = scan.started >= root.checked_at and now - scan.started < RUNNING_SECONDS
            if is_recent and not history.is_over(scan):
                yield from self._running(scan, history, states.get((OVERDUE, scan.id)), now)
        for (kind, subject), state in states.items():
            if kind != OVERDUE or not subject:
                continue
            known = history.scans.get(subject)
            is_over = known is None or history.is_over(known)
            if is_over and state.begun_at is None:
                yield WatchChange(state, None)
            elif known is None or is_over or (state.begun_at is not None and history.is_overtaken(known)):
                name, target, started = state.data["scan"]
                scan = known or KnownScan(subject, name, target, started, 0.0, "")
                last = history.about(history.last_before(scan))
                event = overdue_event(scan, state.data, _limit(state.data["usual"]), True, now, last)
                # one that was overtaken died, and the host still says that it is running
                after = None if is_over else replace(state, begun_at=None, data={**state.data, "usual": None})
                yield self._change(state, after, event)

    def _running(
        self, scan: KnownScan, history: History, before: WatchState | None, now: float
    ) -> Iterator[WatchChange]:
        state = before
        if state is None:
            compared = history.comparable(scan)
            typical = usual(one.duration for one in compared)
            about = {"usual": typical, "compared": len(compared), "scan": [scan.name, scan.target, scan.started]}
            state = WatchState(OVERDUE, scan.id, now, None, about)
        typical = state.data["usual"]
        if typical is not None and state.begun_at is None and now - scan.started > _limit(typical):
            last = history.about(history.last_before(scan))
            event = overdue_event(scan, state.data, _limit(typical), False, now, last)
            yield self._change(before, replace(state, begun_at=now), event)
        elif before is None:
            yield WatchChange(None, state)

    def _ended(self, kind: str, history: History, states: States, now: float) -> Iterator[WatchChange]:
        """Yield the changes by the scans that finished since the last look, of each target and list of modules by the
        last one."""
        if kind not in self._kinds:
            return
        if (kind, "") not in states:
            yield WatchChange(None, WatchState(kind, "", now))
            return
        judged_at = max(state.checked_at for (its, _), state in states.items() if its == kind)
        after = max(states[kind, ""].checked_at, min(judged_at, now) - MARGIN_SECONDS)
        last: dict[str, KnownScan] = {}
        for scan in history.finished_after(after):
            if scan.ended <= now - SETTLE_SECONDS and history.is_reported(scan):
                last[id_of(f"{scan.key} {history.lineage(scan)}")] = scan  # a target is named only while it is not well
        judge = self._thin if kind == THIN else self._degraded
        for subject, scan in last.items():
            before = states.get((kind, subject))
            if before is None or scan.ended > before.checked_at:
                yield judge(scan, history, before, WatchState(kind, subject, scan.ended), now)

    def _thin(
        self, scan: KnownScan, history: History, before: WatchState | None, after: WatchState, now: float
    ) -> WatchChange:
        compared, found = history.comparable(scan), history.findings(scan)
        typical = usual(map(history.findings, compared))
        is_thin = bool(typical) and found <= THIN_SHARE * (typical or 0)
        begun_at = before.begun_at if before else None
        if is_thin:
            after = replace(after, begun_at=begun_at or scan.ended, data={"target": scan.target})
        if is_thin is (begun_at is not None):
            return WatchChange(before, after)
        about = {
            "lineage": history.lineage(scan),
            "events_found": found,
            "usual_events_found": typical,
            "compared_scans": len(compared),
            "modules_failed": sorted(history.failing(scan)),
            "last_scan": history.about(next(iter(compared), None)),
        }
        event = thin_event(scan, about, begun_at or scan.ended, not is_thin, now)
        return self._change(before, after, event)

    def _degraded(
        self, scan: KnownScan, history: History, before: WatchState | None, after: WatchState, now: float
    ) -> WatchChange:
        compared, failing = history.comparable(scan)[:WORKED_SCANS], history.failing(scan)
        known = {*before.data.get("modules", ())} if before else set()
        earlier = {name for one in compared for name in history.failing(one)}
        new = failing - earlier - known if compared else set()
        left = (known & failing) | new
        begun_at = before.begun_at if before else None
        if left:
            after = replace(
                after, begun_at=begun_at or scan.ended, data={"modules": sorted(left), "target": scan.target}
            )
        if not new and (left or not known):
            return WatchChange(before, after)
        about = {
            "lineage": history.lineage(scan),
            "modules": sorted(new or known),
            "modules_failed": sorted(failing),
            "compared_scans": len(compared),
            "last_scan": history.about(next(iter(compared), None)),
        }
        event = degraded_event(scan, about, begun_at or scan.ended, not new, now)
        return self._change(before, after, event)


def look_at_scans(settings: Settings, outbox: Store) -> str:
    """Let the watch look once; return why it could not, or nothing.

    Raises:
        OutboxError: the outbox cannot be used.
    """
    try:
        Watch(settings, outbox).look(time.time())
    except HostDatabaseError as error:
        return f"scans are not watched now: SpiderFoot's database cannot be read: {error}"
    except OutboxError:
        raise
    except Exception:  # a bug, or garbage in the database: deliveries are still sent
        log.exception("webhooks: scans cannot be watched")
    return ""


def missed_before(state: WatchState) -> Missed | None:
    """Return the missed scans of which a state knows."""
    if state.begun_at is None:
        return None
    return Missed(state.begun_at, float(state.data["last_at"]), int(state.data["number"]))


def is_whole(state: WatchState) -> bool:
    """Return whether a state has what we write with one of its kind: its row may be damaged."""
    data = state.data
    try:
        if state.kind == MISSED:
            missed_before(state)
        elif state.kind == OVERDUE and state.subject:
            name, target, started = data["scan"]
            return isinstance(name, str) and isinstance(target, str) and float(started) + (data["usual"] or 0) >= 0
        elif state.kind == DEGRADED and state.begun_at is not None:
            return all(isinstance(name, str) for name in data["modules"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True


def _missing(state: WatchState, one: Expectation, found: Missed) -> WatchState:
    """Return the state with missed scans."""
    about = {"name": one.name, "cron": one.cron, "of": one.of, "last_at": found.last_at, "number": found.number}
    return replace(state, begun_at=found.first_at, data=about)


def _about(history: History, scans: list[KnownScan], now: float) -> dict[str, Any]:
    """Return what an event about missed scans says of those that were not."""
    finished = [scan for scan in reversed(scans) if scan.has_finished]
    durations = [scan.duration for scan in finished[:10]]
    return {
        "now": now,
        "last_scan": history.about(next(iter(finished), None)),
        "usual_duration": usual(durations),
    }


def _limit(typical: float) -> float:
    """Return from how many seconds on a scan is overdue."""
    return max(OVERDUE_TIMES * typical, OVERDUE_LEAST)


def _forgotten(states: States, settings: Settings, now: float) -> Iterator[WatchChange]:
    """Yield the changes that delete states of what has not been seen for long."""
    ids = {one.id for one in settings.expected}
    for (_, subject), state in states.items():
        if state.begun_at is None and subject not in ("", *ids) and state.checked_at < now - PAST_SECONDS:
            yield WatchChange(state, None)
