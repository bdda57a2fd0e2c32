"""Forecast: a past scan and an endpoint come in; what a backfill would send to it, and withhold and why, goes out.

It asks what a backfill asks (`backfill`, `survey`, the outbox's `foresee`), and writes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from sfwebhooks.delivery.pace import shared_pace
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, WebhookEvent, delivery_id
from sfwebhooks.formats import redaction_of
from sfwebhooks.outbox.claim import Filling
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import Withheld
from sfwebhooks.redaction import explained
from sfwebhooks.scan.backfill import Past, forecast_backfill
from sfwebhooks.scan.lifecycle import SEVERITY_OF_END
from sfwebhooks.scan.missing import CHUNK
from sfwebhooks.scan.survey import COUNTED
from sfwebhooks.sending import limits_of


@dataclass(frozen=True)
class Forecast:
    """What a backfill of a scan to an endpoint would do."""

    #: event name -> number of deliveries
    sent: Mapping[str, int]
    #: reason -> number of the events that it asks for by name and would not be sent
    withheld: Mapping[Withheld, int]
    #: rule of its `redact` -> number of deliveries in which it changes something
    redacted: Mapping[str, int]
    #: about the number of requests for these deliveries, and the seconds that their pace takes
    messages: int
    seconds: float
    #: number of the scan's deliveries that it has already, in any state
    has: int
    #: number of those that it had and that were deleted, so that a backfill requires --again
    deleted: int

    @property
    def number(self) -> int:
        """The number of deliveries."""
        return sum(self.sent.values())


def forecast(outbox: Store, endpoint: Endpoint, past: Past) -> Forecast:
    """Return what a backfill of a scan to an endpoint would do now.

    Raises:
        OutboxError: the outbox cannot be read.
        HostDatabaseError: the host's database cannot be read.
    """
    missing, requests = forecast_backfill(outbox, endpoint, past), _Requests(endpoint)
    sent, withheld, name = Counter[str](), Counter[Withheld](), endpoint.name
    while chunk := list(islice(missing.events, CHUNK)):
        items = [(event, missing.screen.of(event)[0]) for event in chunk]
        for (event, wanted), held in zip(items, outbox.foresee(items, time.time())):
            if name in held:
                withheld[held[name]] += held[name] not in COUNTED
            elif event.type in SEVERITY_OF_END and withheld[Withheld.OUTBOX_FULL]:
                continue  # it waits until there is room for the others
            else:
                for one in wanted:
                    sent[one.name] += 1
                    requests.add(event, one.name)
    withheld.update({reason: number for (_, reason), number in missing.survey.counts().items()})
    has = len(outbox.scans.known_events(past.scan.id, name))
    seconds = shared_pace([endpoint]).seconds_for(requests.number)
    gone = outbox.scans.deleted(past.scan.id, name)
    return Forecast(sent, +withheld, requests.redacted, requests.number, seconds, has, gone)


class _Requests:
    """The requests for the deliveries of a backfill, and what is redacted in them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._limits = limits_of(endpoint).for_mark(True)
        self._rules = redaction_of(endpoint)
        self._filling: Filling | None = None
        self.number = 0
        self.redacted = Counter[str]()

    def add(self, event: WebhookEvent, name: str) -> None:
        """Add the next delivery."""
        its_id = delivery_id(event.id, self._endpoint.name)
        delivery = Delivery(its_id, event, self._endpoint.name, name, series="", sequence=1, backfilled=True)
        if not self._rules.are_empty:
            self.redacted.update(explained(delivery, self._rules)[1])
        if self._limits.size > 1 and self._filling and self._filling.takes(delivery):
            return
        self.number += 1
        self._filling = Filling(self._limits)
        if self._limits.size > 1:
            self._filling.takes(delivery)
