"""Results on their way into the outbox: those of attempts come in, they are settled in groups, and their deliveries are
no longer in flight. While the outbox cannot be written, they are kept in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from sfwebhooks.delivery.ownership import Ownership
from sfwebhooks.errors import NO_MEMORY, FencedError, OutboxError
from sfwebhooks.events import Batch, Bundle
from sfwebhooks.log_once import Trouble
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.store import Store
from sfwebhooks.retry import State
from sfwebhooks.sending import SendingState
from sfwebhooks.system import Clock

log = logging.getLogger("spiderfoot.webhooks")
#: results of sent deliveries that are kept in memory while the outbox cannot be written; from then on nothing is sent
UNSETTLED_MAX = 1000
#: results wait for others until they cover GROUP_MAX deliveries, or for GROUP_SECONDS: a kill repeats no more than that
GROUP_MAX = 20
GROUP_SECONDS = 0.05
#: seconds between two tries to write them
AGAIN_SECONDS = 1.0


class InFlight:
    """The deliveries of a sending queue that are in flight, with its locks."""

    def __init__(self) -> None:
        #: held while the states of the endpoints change, and by workers that rest
        self.lock = threading.Condition()
        #: held by the thread that claims or settles: one at a time goes to the outbox
        self.turn = threading.RLock()
        #: ids of the deliveries
        self.ids: set[str] = set()

    def release(self, batch: Batch) -> None:
        """Forget the deliveries of a batch: they are claimed from the outbox again if they still wait."""
        with self.lock:
            self.ids.difference_update(ids_in(batch))


#: a result with its endpoint, and the number of that one's takeovers when its deliveries were claimed
Unwritten = tuple[SendingState, Result, int]


class Unsettled:
    """The results that are not written yet, in order: their deliveries stay in flight, and are sent again if this
    process is killed.

    Args:
        deaths: takes the endpoint and reason of each dead letter, for an alert.
    """

    def __init__(
        self, flight: InFlight, outbox: Store, ownership: Ownership, clock: Clock, deaths: deque[tuple[str, str]]
    ) -> None:
        self.results: deque[Unwritten] = deque()
        #: monotonic seconds of the last try to write them
        self.wrote_at = 0.0
        self.trouble = Trouble(over="the results of sent deliveries are recorded again")
        self._flight, self._outbox, self._ownership = flight, outbox, ownership
        self._clock, self._deaths = clock, deaths

    def write(self, patient: bool = False) -> bool:
        """Commit the results in order, with the health of endpoints where it changed, and release their deliveries;
        return whether none is left. Those that come meanwhile wait for others.

        Args:
            patient: not if there are none, and not too soon after trouble.
        """
        wrote_at = self.wrote_at
        is_soon = time.monotonic() - wrote_at < AGAIN_SECONDS
        if patient and (not self.results or (self.trouble.text and is_soon)):
            return False
        with self._flight.turn:
            if self.wrote_at != wrote_at:  # another thread has tried meanwhile, with the results of this one too
                return not self.results
            self.wrote_at, left = time.monotonic(), len(self.results)
            try:
                while left > 0:
                    group = [self.results[place] for place in range(min(left, GROUP_MAX))]
                    is_late = any(takeovers != state.takeovers for state, _, takeovers in group)
                    left -= self._drop_late(group) if is_late else self._settle(group)
                if self.trouble.text:
                    self.trouble.ended()
            except (OutboxError, MemoryError) as error:
                consequence = "; results of sent deliveries are kept in memory until the outbox can be written"
                self.trouble.met(str(error) or NO_MEMORY, consequence)
        return not self.results

    def _settle(self, group: Sequence[Unwritten]) -> int:
        """Commit the first results; return how many are done."""
        states = {state.endpoint.name: state for state, *_ in group}
        changed = [(state, state.health) for state in states.values()]
        changed = [(state, health) for state, health in changed if health != state.written]
        healths = {state.endpoint.name: health for state, health in changed}
        try:
            self._outbox.queue.settle((result for _, result, _ in group), healths)
        except FencedError as error:
            for name in states.keys() & error.endpoints:
                states[name].takeovers += 1  # so its results are late
            self._ownership.lose()
            return 0
        for state, health in changed:
            state.written = health
        for state, result, _ in group:
            self.results.popleft()
            dead = [one.reason for one in result.settlements if one.state is State.DEAD]
            self._deaths.extend((state.endpoint.name, reason) for reason in dead)
            with self._flight.lock:
                state.is_news = state.health != state.written
                if result.settlements[0].split and result.settlements[0].due_at <= self._clock():
                    state.pieces += result.batch.halves  # sent at once, so they stay in flight
                else:
                    done, busy = result.batch, self._flight.ids
                    busy.difference_update((done.id,) if len(done.deliveries) == 1 else ids_in(done))
        return len(group)

    def _drop_late(self, group: Sequence[Unwritten]) -> int:
        """Drop those of the first results that came too late, since another process has taken over and sends what it
        finds waiting; return how many."""
        late = [one for one in group if one[2] != one[0].takeovers]
        for _ in group:
            self.results.popleft()
        self.results.extendleft(one for one in reversed(group) if one[2] == one[0].takeovers)
        for state, result, _ in late:
            state.is_news = False
            self._flight.release(result.batch)
        words = "webhooks: another process has taken over meanwhile; %d late results of this process are dropped"
        log.warning(words, len(late))
        return len(late)


def ids_in(batch: Batch) -> Sequence[str]:
    """Return the ids of the deliveries of a batch."""
    return batch.summary.ids if isinstance(batch, Bundle) else [one.id for one in batch.deliveries]
