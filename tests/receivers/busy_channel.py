"""A channel of Slack that takes one message a second, and of these shows about 30 a minute: it answers ok to the
others, and nobody ever sees them."""

from __future__ import annotations

import json
from typing import Any

from sfwebhooks.system import Clock
from tests.receivers.chats import Slack
from tests.receivers.vendor import Answer, Asked

#: seconds between two messages; messages that are shown in SHOWN_SECONDS
SPACING = 1.0
SHOWN_MAX = 30
SHOWN_SECONDS = 60.0


class BusyChannel(Slack):
    """The channel; `shown` has the messages that people see, with the times at which they came."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._came_at: list[float] = []
        self.shown: list[tuple[float, Any]] = []
        #: number of messages that were dropped, and of those that came too soon
        self.dropped = self.refused = 0

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        now = self._clock()
        if self._came_at and now - self._came_at[-1] < SPACING - 0.05:  # two clocks, and the way between them
            self.refused += 1
            return Answer(429, "", {"Retry-After": "1"})
        answer = super().__call__(asked)
        if answer.status == 200:
            self._came_at.append(now)
            if sum(now - at < SHOWN_SECONDS for at in self._came_at) > SHOWN_MAX:
                self.dropped += 1
            else:
                self.shown.append((now, json.loads(asked.body)))
        return answer
