"""Services of vendors, and endpoints that send to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from tests.builders import NOW, PATIENCE, an_endpoint, an_event
from tests.conftest import Clock, sql
from tests.receivers.vendors import Answer, Asked, Vendor


@pytest.fixture
def vendor() -> Iterator[Callable[[Callable[[Asked], Answer]], Vendor]]:
    """Start a service: `vendor(answer)`."""
    started: list[Vendor] = []

    def start(answer: Callable[[Asked], Answer]) -> Vendor:
        started.append(Vendor(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


class Sending:
    """An endpoint of one format, and its deliveries, driven step by step."""

    def __init__(self, queue: SendQueue, outbox: Outbox, clock: Clock) -> None:
        self.queue = queue
        self.outbox = outbox
        self.clock = clock
        self._accepted = 0

    def accept(self, events: int = 1, backfilled: bool = False) -> None:
        numbers = range(self._accepted + 1, self._accepted + 1 + events)
        accept(map(an_event, numbers), (self.queue.states[0].endpoint,), self.outbox, NOW, backfilled)
        self._accepted += events

    def step(self, later: float = 0.0) -> bool:
        """Make the attempts that are due `later` seconds from now."""
        self.clock.now += later
        return self.queue.step()

    @property
    def states(self) -> list[tuple[str, str]]:
        """State and reason of each delivery."""
        return sql(self.outbox, "SELECT state, reason FROM delivery ORDER BY sequence")

    @property
    def condition(self) -> str:
        return self.queue.states[0].health.condition.value


@pytest.fixture
def sending(outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]) -> Callable[..., Sending]:
    """Send to a URL: `sending(url, format, key=value, ...)`; other keys than the format's own are the endpoint's."""

    def start(url: str, format: str, **keys: Any) -> Sending:
        names = {key.name for key in FORMATS[format].keys}
        own = {name: Secret(text) for name, text in keys.items() if name in names}
        others = {name: value for name, value in keys.items() if name not in names}
        endpoint = an_endpoint(url=url, timeout=PATIENCE, format=format, own=own, concurrency=1, **others)
        return Sending(new_queue(endpoint), outbox, clock)

    return start
