"""One delivery in detail: its id comes in; its record, event, attempts and the request as it is sent go out.

Data are as the endpoint gets them, or as people may see them, who copy from a terminal or a page into tickets.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from sfwebhooks.attempts import Attempt
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.status import config_mistake, obstacle, situation, why_waiting
from sfwebhooks.delivery.troubleshooting import cure, meaning
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import WebhooksError, is_shortage
from sfwebhooks.events import Batch, Delivery, WebhookEvent, printable, timestamp
from sfwebhooks.fingerprints import of_event
from sfwebhooks.formats import redaction_of, render
from sfwebhooks.inspection.drawing import DRAWINGS, draw
from sfwebhooks.inspection.fields import SHORT, fields_of, fields_of_attempt
from sfwebhooks.inspection.requests import ShownRequest, masked_body, shown_request, without_signatures
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.own_secrets import Mask
from sfwebhooks.redaction import Rules, explained, quoted_by
from sfwebhooks.retry import State
from sfwebhooks.sensitive import WITHHELD

T = TypeVar("T")
#: for an endpoint that the settings do not have, or that has no rules
FOR_PEOPLE = Rules(has_default=True)


@dataclass(frozen=True)
class Detail:
    """A delivery with all that the outbox and the settings have about it."""

    record: Record
    attempts: Sequence[Attempt]
    #: None: its row is damaged, or was removed just now
    delivery: Delivery | None
    #: None: the settings do not have it, or cannot be read
    endpoint: Endpoint | None

    @property
    def rules(self) -> Rules:
        """What is redacted for its endpoint."""
        return redaction_of(self.endpoint) if self.endpoint else FOR_PEOPLE

    @property
    def rules_for_people(self) -> Rules:
        """What is redacted for those who look at it."""
        return FOR_PEOPLE if self.rules.are_empty else self.rules

    def shown(self, rules: Rules) -> tuple[Delivery | None, str]:
        """Return the delivery as rules show it, and those that changed it in words; a damaged one as it is."""
        if self.delivery is None:
            return None, ""
        try:
            found, applied = explained(self.delivery, rules)
        except ValueError:  # it is damaged, which is shown
            return self.delivery, ""
        return found, ", ".join(applied)

    def redaction_for_people(self) -> str:
        """Return in words what people are not shown of it; empty: nothing."""
        words = self.shown(self.rules_for_people)[1]
        return f"{words} only here; it is sent as it is" if words and self.rules.are_empty else words

    @property
    def fingerprint(self) -> str:
        """The beginning of the fingerprint of a finding or correlation of a scan, by which it can be muted; empty: it
        has none."""
        if self.delivery is None or self.delivery.event.scan is None or not self.delivery.event.scan.target:
            return ""
        try:
            found = of_event(self.delivery.event)
        except ValueError:  # it is damaged, which is shown
            return ""
        return found.hex()[:SHORT] if found else ""

    def fields(self, delivery: Delivery | None) -> dict[str, Any]:
        """Return its fields for --json; times are RFC 3339.

        Args:
            delivery: with its data as they are shown.
        """
        event = delivery and delivery.event
        return {
            **fields_of(self.record),
            "at": event and timestamp(event.at),
            "data": event and readable_data(event),
            "log": [fields_of_attempt(attempt) for attempt in self.attempts],
        }

    def request(self, for_people: bool = False) -> tuple[ShownRequest | None, str]:
        """Return the request as it would be sent now, its secrets masked, or None and why it cannot be built.

        Args:
            for_people: with the data that people may see, where the endpoint has no rules, and without signatures.
        """
        found, why_not = self._built(
            lambda batch, endpoint: shown_request(batch, endpoint, Mask.of_keys(endpoint)), for_people
        )
        return (without_signatures(found) if found and for_people else found), why_not

    def look(self, for_people: bool = False) -> tuple[str | None, str]:
        """Return the message as HTML, about as its chat draws it; see `request`."""
        return self._built(_drawn, for_people)

    def _built(self, build: Callable[[Batch, Endpoint], T], for_people: bool) -> tuple[T | None, str]:
        if self.endpoint is None:
            return None, f'the settings have no endpoint "{self.record.endpoint}"'
        if self.endpoint.mistake:
            return None, config_mistake(self.endpoint.mistake)
        if self.delivery is None:
            return None, "its row in the outbox is damaged, or was removed just now"
        try:
            one = explained(self.delivery, FOR_PEOPLE)[0] if for_people and self.rules.are_empty else self.delivery
            return build(Batch((one,)), self.endpoint), ""
        except Exception as error:  # of any kind, from garbage in a row; the rest of it is shown
            if is_shortage(error):
                raise
            words = str(error) if isinstance(error, WebhooksError) else f"{type(error).__name__}: {error}"
            return None, printable(words)

    def reply_for_people(self, excerpt: str) -> str:
        """Return a receiver's reply, which may quote what it was sent, as people may see it."""
        if not excerpt or self.delivery is None or self.record.batch:  # it may quote the others of the batch
            return excerpt and WITHHELD
        try:
            return quoted_by(self.delivery, self.rules_for_people, excerpt)
        except ValueError:  # its data cannot be read
            return WITHHELD


def detail_of(record: Record, records: Outbox, found: Settings | None) -> Detail:
    """Return a delivery in detail.

    Args:
        found: the settings; None: not known.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    attempts, delivery = records.listing.attempts(record.id), records.listing.delivery(record.id)
    endpoint = next((one for one in found.known if one.name == record.endpoint), None) if found else None
    return Detail(record, attempts, delivery, endpoint)


def waits_of(record: Record, records: Outbox, found: Settings | None) -> tuple[str, str]:
    """Return why a delivery waits, in words, and what keeps those of its endpoint waiting in a few; empty: nothing.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    now = time.time()
    known = situation(records, record.endpoint, found, now, stays=True)
    return (why_waiting(known, now) if record.state is State.WAITING else ""), obstacle(known, now)


def explained_fields(detail: Detail, records: Outbox, found: Settings | None, for_people: bool) -> dict[str, Any]:
    """Return the fields of a delivery for those who want to know what became of it.

    Args:
        for_people: redacted as people may see it.
    """
    record = detail.record
    rules = detail.rules_for_people if for_people else detail.rules
    shown, words = detail.shown(rules)
    fields = detail.fields(shown)
    for attempt in (*fields["log"], *filter(None, [fields["last_attempt"]])) if for_people else ():
        attempt["excerpt"] = detail.reply_for_people(attempt["excerpt"])
    request, why_not = detail.request(for_people)
    waits, keeps = waits_of(record, records, found)
    return {
        **fields,
        "together": records.listing.others_of(record),
        # a hash of the data: what was masked could be found by trying
        "fingerprint": "" if for_people and words else detail.fingerprint,
        "meaning": meaning(record.reason) if record.state is State.DEAD else "",
        "what_to_do": cure(record.reason, record.last.excerpt if record.last else "", record.endpoint),
        "why_waiting": waits,
        "why_endpoint": keeps,
        "request": request and fields_of_request(request, detail.endpoint),
        "why_no_request": why_not,
        "is_drawn": bool(request and detail.endpoint and detail.endpoint.format in DRAWINGS),
        "explained": words,
    }


def fields_of_request(request: ShownRequest, endpoint: Endpoint | None) -> dict[str, Any]:
    """Return a request's fields for JSON."""
    return {
        "method": request.method,
        "place": endpoint.place if endpoint else "",
        "headers": request.headers,
        "body": request.body.decode("utf-8", "replace"),
    }


def _drawn(batch: Batch, endpoint: Endpoint) -> str:
    return draw(endpoint.format, masked_body(render(batch, endpoint).body, Mask.of_keys(endpoint)).decode())


def readable_data(event: WebhookEvent) -> dict[str, Any] | None:
    """Return an event's data, None if it cannot be read."""
    try:
        return dict(event.data)
    except ValueError:
        return None
