"""Lock ownership: the exclusive right of this process to send to a URL. take -> name -> release

It starts from the notes of the previous owner and leaves the same for the next one, even when killed. Each of the URL's
endpoints has its own lock as well: where two configurations give one name two URLs, one process sends.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from sfwebhooks.delivery.pace import shared_pace
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError, TemplateFailedError, is_shortage
from sfwebhooks.events import Batch, Bundle
from sfwebhooks.formats import render
from sfwebhooks.health import Health
from sfwebhooks.outbox.database import LocksPart, StoreLock
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import DeadReason
from sfwebhooks.sending import SendingState
from sfwebhooks.system import Clock

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two signs of life
LIFE_SECONDS = 5.0
#: seconds without one after which a process may be gone, and after which it hangs if it is not
GONE_SECONDS = 15.0
HUNG_SECONDS = 60.0
#: seconds between two looks for due times that a clock put too far ahead: to look costs as much as there are replays
PULL_SECONDS = 60.0


@dataclass(frozen=True)
class Note:
    """The owner's note in the lock of a URL."""

    #: epoch seconds before which the pace allows no attempt
    open_at: float = 0.0
    #: process that owns or owned the lock
    pid: int = 0
    #: epoch seconds of its last sign of life
    at: float = 0.0
    #: id of the message that it is rendering; empty: none
    rendering: str = ""
    #: epoch seconds at which its channel takes several messages at once again
    rested_at: float = 0.0

    @classmethod
    def read(cls, text: str) -> Note:
        """Parse a note; an unreadable text gives an empty one."""
        parts = [*text.split(" "), "", "", "", "", ""]
        with suppress(ValueError):
            return cls(float(parts[0]), int(parts[1]), float(parts[2]), parts[3], float(parts[4] or 0))
        return cls()

    def __str__(self) -> str:
        """Return the text that `read` takes."""
        return f"{self.open_at:.3f} {self.pid} {self.at:.0f} {self.rendering} {self.rested_at:.3f}"


@dataclass(frozen=True)
class Owner:
    """The process that sends to a URL or to an endpoint."""

    pid: int
    #: epoch seconds of its last sign of life
    at: float
    #: its machine; empty: this one
    machine: str = ""

    @property
    def name(self) -> str:
        """Its id, and where that is not here, its machine."""
        return f"{self.pid} (on {self.machine})" if self.machine else f"{self.pid}"

    def hangs(self, now: float) -> bool:
        """Return whether its last sign of life is too old to wait for it (`now` in epoch seconds)."""
        return now - self.at > HUNG_SECONDS


def owner_of(locks: LocksPart, name: str, url_id: str, now: float) -> Owner | None:
    """Return the process that sends to an endpoint or to another one at its URL; None if there is none.

    The locks of a process with recent signs of life are not touched, nor is one that it is about to take.

    Args:
        locks: of the outbox.
        url_id: `Endpoint.url_id`; empty: not known.
        now: epoch seconds.

    Raises:
        OutboxError: the locks cannot be read.
    """
    for lock in (locks.endpoint(name), *([locks.url(url_id)] if url_id else [])):
        note = Note.read(lock.noted())
        if note.pid and ((abs(now - note.at) < GONE_SECONDS and _is_there(note.pid, lock)) or not lock.is_free):
            return Owner(note.pid, note.at, lock.machine)
    return None


def holder_of(lock: StoreLock) -> Owner:
    """Return the process that holds a lock, or was the last one to hold it."""
    note = Note.read(lock.noted())
    return Owner(note.pid, note.at, lock.machine)


def _is_there(pid: int, lock: StoreLock) -> bool:
    """Return whether the process with this id exists here; one in another container is not seen."""
    if os.name != "posix" or lock.machine:  # elsewhere os.kill would end it
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


class Ownership:
    """The exclusive right of this process to send to the URL of `states` while `lock` is held.

    Args:
        steady: a clock that cannot be set, in seconds.
        deaths: takes the endpoint and reason of each dead letter, for an alert.
    """

    def __init__(
        self,
        states: Sequence[SendingState],
        outbox: Store,
        clock: Clock,
        steady: Clock,
        deaths: deque[tuple[str, str]],
    ) -> None:
        self.pace = shared_pace([state.endpoint for state in states])
        self._states = states
        #: held by the one process that sends to the URL
        self.lock = outbox.locks.url(states[0].endpoint.url_id)
        #: endpoint -> its lock
        self._locks = {state.endpoint.name: outbox.locks.endpoint(state.endpoint.name) for state in states}
        #: endpoints that another process sends to at another URL; logged already
        self._elsewhere: set[str] = set()
        #: held while a message is rendered, so that only one message can have crashed the process
        self._making = threading.Lock()
        #: id of the message that is being rendered
        self._rendering = ""
        self._outbox = outbox
        self._deaths = deaths
        self._clock = clock
        self._steady = steady
        #: steady seconds of the last sign of life, and of the last look at due times
        self._noted_at = self._pulled_at = 0.0

    def take(self) -> bool:
        """Take the locks if no other process sends; return whether this process owns the URL, with its state loaded.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        if self.lock.held:
            return True
        self._disown()
        if not self.lock.take():
            return False
        try:
            self._take_over()
            self.own_all()
        except BaseException:  # a locked outbox: with half of the state loaded, nothing may be sent
            self.lose()
            raise
        return True

    def own_all(self) -> None:
        """Take the free locks of the URL's endpoints and load what their last owners left; from time to time correct
        due times that a clock set back has put too far ahead.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        now = self._steady()
        pulls = abs(now - self._pulled_at) >= PULL_SECONDS
        self._pulled_at = now if pulls else self._pulled_at
        for state in self._states:
            name = state.endpoint.name
            if self._locks[name].held and state.is_owned:
                if pulls:
                    self._pull(state)
                continue
            state.is_owned = False
            if self._locks[name].take():
                state.takeovers += self._locks[name].changed_hands
                self._take_over_endpoint(state)
                self._note(self._locks[name])
                state.is_owned = True
                self._elsewhere.discard(name)
            elif name not in self._elsewhere:
                self._elsewhere.add(name)
                text = "webhooks: endpoint %s: process %s sends to it at another URL; this process does not send to it"
                log.warning(text, name, holder_of(self._locks[name]).name)

    def release(self) -> None:
        """Release the locks and note that no process sends."""
        if self._making.acquire(blocking=False):  # else a late thread is still rendering, and its note has to stay
            try:
                for lock in (*self._locks.values(), self.lock):
                    self._note(lock, pid=0)
            finally:
                self._making.release()
        self.lose()

    def lose(self) -> None:
        """Release the locks without a note: that is another owner's."""
        self._disown()
        for lock in (*self._locks.values(), self.lock):
            lock.release()

    def _disown(self) -> None:
        for state in self._states:
            state.is_owned = False

    def health(self, state: SendingState) -> Health:
        """Return the health of a state; while another process sends, as that process wrote it."""
        return state.health if state.is_owned else _as_of_now(self._outbox.endpoints.health(state.endpoint.name), state)

    @contextmanager
    def rendering(self, batch: Batch) -> Iterator[None]:
        """Note the message that is being rendered: if it crashes the process, the next owner knows which it was."""
        with self._making:
            self._rendering = batch.id
            self._note(self.lock, batch.id)
            try:
                yield
            except (TemplateFailedError, OutboxError):
                raise  # the operator's mistake: the message becomes a dead letter with its own reason; or the outbox's
            except Exception as error:
                if not is_shortage(error) and not self._gives_up(batch):  # of this process, not the message's fault
                    self._blame(batch.id)
                raise
            finally:
                self._rendering = ""
                self._note(self.lock)

    def show_life(self) -> None:
        """Write a sign of life into the locks at intervals: a waiting process can name the owner and its last sign."""
        if self.lock.held and self._steady() - self._noted_at >= LIFE_SECONDS and self._making.acquire(blocking=False):
            try:
                self._noted_at = self._steady()
                for lock in (self.lock, *(self._locks[one.endpoint.name] for one in self._states if one.is_owned)):
                    self._note(lock)
            finally:
                self._making.release()

    def _note(self, lock: StoreLock, rendering: str = "", pid: int | None = None) -> None:
        """Write the pace and the message being rendered for the next owner."""
        its, pid, now = self.pace, os.getpid() if pid is None else pid, self._clock()
        lock.note(f"{its.open_at:.3f} {pid} {now:.0f} {rendering} {its.rested_at:.3f}")

    def _take_over(self) -> None:
        """Load what the last owner of the URL left: the pace, and the message that crashed it."""
        last, note = Note.read(self.lock.noted()), Note.read(self.lock.noted_here())
        self.pace = replace(self.pace, open_at=last.open_at, rested_at=last.rested_at)
        if last.pid and self._outbox.locks.notes_are_late:  # it may have sent since
            self.pace = self.pace.unknown(self._clock())
        if note.rendering and note.rendering != self._rendering:  # else the note is ours: our lock file was removed
            text = "webhooks: process %d crashed while building message %s; retrying"
            log.warning(text, note.pid, note.rendering)
            self._note(
                self.lock, self._rendering
            )  # first: if this process were killed now, the next one would count it again
            try:
                self._blame(note.rendering)
            except BaseException:
                self._note(self.lock, note.rendering)
                raise
        self._note(self.lock, self._rendering)

    def _gives_up(self, batch: Batch) -> bool:
        """Make those members of a bundle dead letters that cannot be built alone either; return whether there are any.
        The others are the bundle from now on."""
        if not isinstance(batch, Bundle):
            return False
        endpoint = next(one.endpoint for one in self._states if one.endpoint.name == batch.deliveries[0].endpoint)
        damaged = [*unbuildable(batch, endpoint)]
        if damaged:
            self._outbox.queue.give_up(endpoint.name, damaged, self._clock())
        return bool(damaged)

    def _blame(self, batch: str) -> None:
        whole = [one.endpoint.name for one in self._states if one.endpoint.takes_scans]
        for endpoint in self._outbox.queue.blame(batch, self._clock(), whole):
            log.warning("webhooks: endpoint %s: message %s could not be built and is dead", endpoint, batch)
            self._deaths.append((endpoint, DeadReason.CRASHED.value))

    def _take_over_endpoint(self, state: SendingState) -> None:
        """Load what the last owner of an endpoint left: batches in flight, due times, its health."""
        name = state.endpoint.name
        state.ahead.clear()  # another process may have sent them meanwhile
        self._outbox.queue.recall(name, state.repeat_at(self._clock()))
        self._pull(state)
        state.orders, written = self._outbox.endpoints.orders(name), self._outbox.endpoints.health(name)
        state.health = _as_of_now(written, state)
        state.written = written if written.fingerprint else state.health

    def _pull(self, state: SendingState) -> None:
        self._outbox.due.pull(state.endpoint.name, self._clock(), state.longest_wait)


def unbuildable(bundle: Bundle, endpoint: Endpoint) -> Iterator[str]:
    """Yield the ids of those members of a bundle of which, each on its own, no message can be built."""
    for one in bundle.deliveries:
        try:
            render(Batch((one,)), endpoint)
        except Exception as error:  # raised further, it would hold up the others
            if is_shortage(error):
                raise
            yield one.id


def _as_of_now(written: Health, state: SendingState) -> Health:
    """Return a health as the last owner wrote it; if the settings have changed since, the endpoint may be tried now."""
    fingerprint = state.endpoint.fingerprint
    return written if written.fingerprint == fingerprint else written.reopened(fingerprint)
