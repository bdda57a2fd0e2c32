"""The explanation of an event: an endpoint comes in; why it has the event or not, and what would be today, go out.

What happened is read from the rows: the delivery, and what was counted of its scan. Today's answer comes from what a
scan asks, `screening` and the outbox's `foresee`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from sfwebhooks import fingerprints
from sfwebhooks.config.location import disabled, off
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.status import situation, waiting_reason, why_waiting
from sfwebhooks.delivery.troubleshooting import cure, meaning
from sfwebhooks.endpoints import FINDINGS, SILENT, Endpoint
from sfwebhooks.errors import ConfigError, HostDatabaseError, OutboxError
from sfwebhooks.events import WebhookEvent, delivery_id
from sfwebhooks.inspection.fields import SHORT, counted_deliveries
from sfwebhooks.inspection.filter_words import why_withheld
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.sighting_list import SightingFilter
from sfwebhooks.reasons import WITHHELD_WORDS, Reason, Unsent, Withheld
from sfwebhooks.retry import State
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.host_database import READ_SECONDS, database_of
from sfwebhooks.scan.own_host import saved_options
from sfwebhooks.screening import Screen
from sfwebhooks.text import amount, moment

#: of what cannot be read
DAMAGED, DOCTOR = "damaged", "sfwebhooks doctor"
#: reasons of today that no scan counts: they are taken for those of then
UNCOUNTED = frozenset((Unsent.NOT_SUBSCRIBED.value, Unsent.EVENTS_UNKNOWN.value))


@dataclass(frozen=True)
class Because:
    """Why an endpoint has an event, or has it not."""

    #: for machines: a state, or the value of a reason
    reason: str
    words: str
    #: what helps; empty: nothing needs to be done
    cure: str = ""
    #: for machines: of a delivery that waits, the reason
    waits_for: str = ""


@dataclass(frozen=True)
class Explained:
    """What became of an event at an endpoint."""

    endpoint: str
    then: Because
    #: why it would not be sent by today's settings; None: it would be
    today: Because | None
    #: id of its delivery; empty: it has none
    delivery: str = ""
    #: the command that sends it after all, once nothing withholds it; empty: there is none, or `then` has it
    again: str = ""


class Explanation:
    """The explanation of an event. All methods raise OutboxError.

    Args:
        found: today's settings.
        now: epoch seconds.
    """

    def __init__(self, event: WebhookEvent, outbox: Outbox, found: Settings, now: float) -> None:
        self.event = event
        self._outbox = outbox
        self._settings = found
        self._now = now
        #: its fingerprint; None: it has none, or is damaged
        self._key: bytes | None = None
        with suppress(ValueError):
            self._key = fingerprints.of_event(event) if event.scan else None
        self._receivers = outbox.scans.endpoints_of(event)
        self._counts = outbox.scans.withheld(event.scan_id) if event.scan else {}
        known = outbox.scans.scan(event.scan_id) if event.scan else None
        self._is_known, self._is_over = known is not None, bool(known and known[1])

    @property
    def endpoints(self) -> list[str]:
        """The names of the endpoints in the settings, and of others that have the event."""
        return sorted({one.name for one in self._settings.known} | self._settings.unused | self._receivers)

    def of(self, name: str) -> Explained:
        """Return what became of the event at an endpoint."""
        endpoint = next((one for one in self._settings.known if one.name == name), None)
        today = self._today(name, endpoint)
        if name in self._receivers:
            chosen = Selection(ids=(delivery_id(self.event.id, name),))
            for record in self._outbox.listing.deliveries(chosen, 1):
                return Explained(name, self._delivered(record), today, record.id)
            return Explained(name, Because(DAMAGED, "its row in the outbox is damaged", DOCTOR), today)
        then = self._missing(name, today)
        again = f"sfwebhooks backfill {self.event.scan_id} --endpoint {name}"
        has_it = not self._is_over or then != today or again in then.cure
        return Explained(name, then, today, again="" if has_it else again)

    # --- by today's settings

    def _today(self, name: str, endpoint: Endpoint | None) -> Because | None:
        """Return why the event would not be sent to an endpoint today; None: it would be."""
        if endpoint is None:
            unknown = name in self._settings.unused or not self._settings.is_complete
            return self._because(Unsent.EVENTS_UNKNOWN if unknown else Unsent.NOT_IN_SETTINGS, name)
        if not endpoint.enabled:
            return self._because(Unsent.ENDPOINT_OFF, name)
        if not endpoint.name_for(self.event):
            has = f"events = {', '.join(endpoint.events)}; this is {self.event.type}, {self.event.severity.label}"
            if endpoint.takes_scans:
                has += f"; format = {endpoint.format} is for events of scans"
            return self._because(Unsent.NOT_SUBSCRIBED, name, has)
        try:
            wanted, withheld = Screen((endpoint,), self._false_positives).of(self.event)
            reason = withheld.get(name) or self._outbox.foresee([(self.event, wanted)], self._now)[0].get(name)
        except ValueError:
            return Because(DAMAGED, "its stored data is not JSON: the outbox is damaged", DOCTOR)
        return self._withheld(reason, endpoint) if reason else None

    @cached_property
    def _false_positives(self) -> frozenset[bytes]:
        if self.event.scan is None:
            return frozenset()
        with suppress(HostDatabaseError):
            database = database_of(self.event.scan.database, self._outbox.path.parent, self._settings.enrichment)
            return screen_for(self.event.scan, self._settings.endpoints, database).false_positives
        return frozenset()

    def _withheld(self, reason: Withheld, endpoint: Endpoint) -> Because:
        words, helps = why_withheld(endpoint, self.event, reason), reason.cure
        if reason is Withheld.MUTED:
            words, helps = self._mute(endpoint.name), self._unmute(endpoint.name)
        elif reason is Withheld.KNOWN:
            words = self._first_seen()
        elif reason is Withheld.BASELINE:
            words = f"no earlier scan of {self._target} is complete; baseline = {SILENT}"
        return Because(reason.value, f"{reason.meaning}{f': {words}' if words else ''}", helps)

    @property
    def _target(self) -> str:
        return self.event.scan.target if self.event.scan else ""

    def _mute(self, name: str) -> str:
        found = [
            one
            for one in self._outbox.sightings.mutes(self._now, self._target)
            if one.fingerprint == self._key and one.endpoint in ("", name)
        ]
        return "; ".join(
            f"for {one.endpoint or 'all endpoints'} since {moment(one.at)},"
            f" {'until sfwebhooks unmute' if one.until is None else f'until {moment(one.until)}'}"
            for one in found
        )

    def _unmute(self, name: str) -> str:
        return f"sfwebhooks unmute {(self._key or b'').hex()[:SHORT]} --target {self._target}"

    def _first_seen(self) -> str:
        sought = SightingFilter(among=frozenset([self._key] if self._key else ()))
        found = self._outbox.sighting_list.of(self._target, sought, 1)
        return f"first by scan {found[0].first_scan}, {moment(found[0].first_at)}" if found else ""

    # --- at the time

    def _delivered(self, record: Record) -> Because:
        name = record.endpoint
        tries = amount(record.tries, "attempt")
        others = self._outbox.listing.others_of(record)
        together = f", together with {amount(others, 'other')} (request {record.batch})" if others else ""
        late = f", replayed {amount(record.replays, 'time')}" if record.replays else ""
        if record.state is State.DELIVERED:
            at = moment(record.settled_at or record.accepted_at)
            return Because("delivered", f"delivered as {record.name} at {at}, {tries}{together}{late}")
        if record.state is State.DEAD:
            means = meaning(record.reason)
            words = f"dead since {moment(record.settled_at or record.accepted_at)}: {record.reason}"
            helps = cure(record.reason, record.last.excerpt if record.last else "", name)
            return Because("dead", f"{words}{f', {means}' if means else ''}; {tries}", helps)
        known = situation(self._outbox, name, self._settings, self._now)
        reason = waiting_reason(known, self._now)
        again = f"; {tries}, next at {moment(record.due_at)}" if record.tries and record.due_at > self._now else ""
        helps = reason.cure.format(name=name, pid=known.owner.name if known.owner else "PID")
        words = f"waiting: {why_waiting(known, self._now) or reason.meaning}{again}"
        return Because("waiting", words, helps, reason.value)

    def _missing(self, name: str, today: Because | None) -> Because:
        """Return why an endpoint has no delivery of the event."""
        if self.event.scan is None:
            return today or self._because(Unsent.MISSED, name)
        if not self._is_known:
            return self._because(self._switch(), name)
        if not self._is_over:
            if self._outbox.locks.scan(self.event.scan_id).is_free:
                return self._because(Unsent.UNRECOVERED, name)
            return today or self._because(Unsent.RUNNING, name)
        counted = self._counts.get(name, {})
        if today and (today.reason in counted or today.reason in UNCOUNTED):
            return today
        return self._unlike_today(name, today, counted)

    def _unlike_today(self, name: str, today: Because | None, counted: dict[str, int]) -> Because:
        """Return why an endpoint has no delivery of the event, if today's answer is not the one of then."""
        refused = [
            one for one in (Withheld.OUTBOX_FULL, Withheld.UNWRITABLE, Withheld.SET_ASIDE) if one.value in counted
        ]
        if refused and not today and (self.event.type in FINDINGS or refused[0] is not Withheld.OUTBOX_FULL):
            words = f"{counted[refused[0].value]:,} of this scan {refused[0].meaning}"
            cure = refused[0].cure if refused[0] is Withheld.SET_ASIDE else self._because(Unsent.MISSED, name).cure
            return Because(refused[0].value, words, cure)
        if self._outbox.scans.deleted(self.event.scan_id, name):
            gone = counted_deliveries(self._outbox.scans.deleted(self.event.scan_id, name))
            return self._because(Unsent.DELETED, name, gone)
        if not counted and not self._outbox.scans.known_events(self.event.scan_id, name):
            return self._because(Unsent.ADDED_LATER, name)
        of_then = ", ".join(f"{number:,} {WITHHELD_WORDS.get(one, one)}" for one, number in counted.items())
        if today or counted:
            return self._because(Unsent.SETTINGS_CHANGED, name, f"of this scan {of_then}" if of_then else "")
        return self._because(Unsent.MISSED, name)

    def _switch(self) -> Unsent:
        """Return why a scan ran without us, as far as the settings of today say."""
        if disabled():
            return Unsent.DISABLED
        if self._settings.enabled is False:
            return Unsent.WEBHOOKS_OFF
        with suppress(ConfigError, OutboxError):
            if off(saved_options(self._outbox.path.parent, READ_SECONDS)):
                return Unsent.MODULE_OFF
        return Unsent.WITHOUT_US

    def _because(self, reason: Reason, name: str, has: str = "") -> Because:
        helps = reason.cure.format(name=name, scan=self.event.scan_id or "SCAN_ID", type=self.event.type)
        return Because(reason.value, f"{reason.meaning}{f': {has}' if has else ''}", helps)
