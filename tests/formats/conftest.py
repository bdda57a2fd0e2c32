"""Services of vendors, and endpoints that send to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol, TypeVar

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import WebhookEvent
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen
from tests.builders import PATIENCE, an_endpoint, an_event
from tests.conftest import Clock, sql
from tests.receivers.vendor import Vendor, serve

Any_vendor = TypeVar("Any_vendor", bound=Vendor)


class Served(Protocol):
    """Starts a service: `served(Discord())`."""

    def __call__(self, vendor: Any_vendor, /) -> Any_vendor: ...


@pytest.fixture
def served() -> Iterator[Served]:
    with ExitStack() as running:

        def start(vendor: Any_vendor) -> Any_vendor:
            vendor.root = running.enter_context(serve(vendor))
            return vendor

        yield start


class Sending:
    """An endpoint of one format, and its deliveries, driven step by step."""

    def __init__(self, queue: SendQueue, outbox: Outbox, clock: Clock) -> None:
        self.queue = queue
        self.outbox = outbox
        self.clock = clock
        self._accepted = 0

    def accept(self, events: int | Iterable[WebhookEvent] = 1, backfilled: bool = False) -> None:
        """Accept some events, or these."""
        if isinstance(events, int):
            self._accepted += events
            events = map(an_event, range(self._accepted - events + 1, self._accepted + 1))
        accept(events, Screen((self.queue.states[0].endpoint,)), self.outbox, self.clock.now, backfilled)

    def step(self, later: float = 0.0) -> bool:
        """Make the attempts that are due `later` seconds from now."""
        self.clock.now += later
        return self.queue.step()

    def finish(self) -> None:
        """Make attempts, however late, until none is left to make."""
        self.queue.hurry()
        for _ in range(300):
            if not self.step(86400):
                return
        raise AssertionError(f"there is no end to it: {set(self.states)}")

    @property
    def states(self) -> list[tuple[str, str]]:
        """State and reason of each delivery."""
        return sql(self.outbox, "SELECT state, reason FROM delivery ORDER BY sequence")

    def numbers(self, state: str) -> list[int]:
        """Return the sequence numbers of the deliveries in a state."""
        return [at for at, (found, _) in enumerate(self.states, 1) if found == state]

    @property
    def condition(self) -> str:
        return self.queue.states[0].health.condition.value

    @property
    def health_reason(self) -> str:
        return self.queue.states[0].health.reason


class Start(Protocol):
    """Makes an endpoint that sends to a service: `sending(vendor, key=value, ...)`.

    Its keys are those that the service wants, or the given ones; others are fields of Endpoint.
    """

    def __call__(self, vendor: Vendor, **keys: Any) -> Sending: ...


@pytest.fixture
def sending(outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]) -> Start:
    def start(vendor: Vendor, **keys: Any) -> Sending:
        keys = {"url": vendor.url, "timeout": PATIENCE, "concurrency": 1, **vendor.keys, **vendor.fields, **keys}
        for key in ("api_key", "client_secret", "token_url"):
            if isinstance(keys.get(key), str):
                keys[key] = Secret(keys[key])
        names = {key.name for key in FORMATS[vendor.format].keys}
        own = {name: Secret(keys.pop(name)) for name in names & keys.keys()}
        return Sending(new_queue(an_endpoint(format=vendor.format, own=own, **keys)), outbox, clock)

    return start
