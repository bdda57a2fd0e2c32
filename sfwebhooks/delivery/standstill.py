"""A standstill: an outbox comes in, and no process sends from it while the context is entered.

It begins as a process begins to send: what the last sender has left is taken over, such as batches in flight.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from types import TracebackType

from sfwebhooks.delivery.ownership import Ownership, holder_of
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import DamagedError, OutboxBusyError
from sfwebhooks.outbox.database import StoreLock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.sending import SendingState
from sfwebhooks.system import uptime


class SendersBusyError(OutboxBusyError):
    """Another process sends."""

    cure = "stop it (sfwebhooks run or web), or wait until its scan has ended"


class Standstill:
    """The locks of all URLs and endpoints.

    Args:
        endpoints: of the settings.

    Raises:
        SendersBusyError: another process holds one; its text names both.
    """

    def __init__(self, outbox: Outbox, endpoints: Iterable[Endpoint]) -> None:
        self._outbox = outbox
        sent_to = sorted((one for one in endpoints if not one.mistake), key=lambda one: one.url_id)
        #: those of each URL
        self._states = [
            [SendingState(one) for one in group] for _, group in groupby(sent_to, key=lambda one: one.url_id)
        ]
        self._names = {state.endpoint.name for states in self._states for state in states}
        self._owned = [Ownership(states, outbox, time.time, uptime, deque()) for states in self._states]
        self._locks: list[StoreLock] = []

    def __enter__(self) -> Standstill:
        try:
            try:
                self._take_over()
            except DamagedError:
                self._release()
                self._take_locks()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _take_over(self) -> None:
        """Take all locks, and what their last owners have left."""
        for ownership, states in zip(self._owned, self._states):
            if not ownership.take():
                raise _busy(ownership.lock, states[0].endpoint.name)
            for name in (state.endpoint.name for state in states if not state.is_owned):
                raise _busy(self._outbox.locks.endpoint(name), name)
        for name in {*self._outbox.listing.endpoints()} - self._names:
            self._take(name)
            self._outbox.queue.recall(name)

    def _take_locks(self) -> None:
        """Take all locks of a file that is damaged where that is: batches in flight come again as others."""
        for name in self._names:
            self._take(name)
        with suppress(DamagedError):
            for name in {*self._outbox.listing.endpoints()} - self._names:
                self._take(name)

    def _take(self, name: str) -> None:
        lock = self._outbox.locks.endpoint(name)
        if not lock.take():
            raise _busy(lock, name)
        self._locks.append(lock)

    def _release(self) -> None:
        while self._locks:
            self._locks.pop().release()
        for one in self._owned:
            one.release()


def _busy(lock: StoreLock, name: str) -> SendersBusyError:
    return SendersBusyError(f"process {holder_of(lock).name} sends to {name}")
