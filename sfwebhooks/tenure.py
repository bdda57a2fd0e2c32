"""A Tenure: the time in which this process is the one that sends to a URL. take -> follow the clock, name -> release

It begins with what the sender before it left, and leaves the same to the next one, also when it is killed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from sfwebhooks.events import Batch
from sfwebhooks.locks import url_lock
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import SET_SECONDS, Health, Pace
from sfwebhooks.pipeline import Clock, Line
from sfwebhooks.times import Waiting

log = logging.getLogger("spiderfoot.webhooks")


class Tenure:
    """Who sends to the URL of some lines, as long as `held` is true: this process, and no other one.

    Args:
        steady: seconds that nobody sets; by it is seen that the clock was set.
    """

    def __init__(self, lines: Sequence[Line], outbox: Outbox, clock: Clock, steady: Clock) -> None:
        self.pace = Pace(max(line.endpoint.interval for line in lines))
        self._lines = lines
        self._lock = url_lock(outbox.path, lines[0].endpoint.url_id)
        #: held while a message is made, so that there is one whose making can have killed the process
        self._making = threading.Lock()
        self._outbox = outbox
        self._clock = clock
        self._steady = steady
        self._offset = 0.0
        #: when the clock was last looked at, in steady seconds
        self._looked_at = 0.0
        #: seconds by which it was set, and what has to follow; 0 and nothing once all does
        self._jump = 0.0
        self._old: Sequence[Waiting] = ()

    @property
    def held(self) -> bool:
        """Whether it has begun, and not ended."""
        return self._lock.held

    def take(self) -> bool:
        """Begin, if no other process sends; return whether this one does now, and knows what the last one knew.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        if self._lock.held:
            return True
        if not self._lock.take():
            return False
        try:
            self._take_over()
        except BaseException:  # a locked outbox: with half of it known, nothing may be sent
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """End it."""
        self._lock.release()

    def health(self, line: Line) -> Health:
        """Return the health of a line; while another process sends, as that one wrote it."""
        return line.health if self.held else _as_of_now(self._outbox.health(line.endpoint.name), line)

    @contextmanager
    def naming(self, batch: Batch) -> Iterator[None]:
        """Name what is being made: if that kills the process, the next one knows what it was."""
        with self._making:
            self._note(batch.id)
            try:
                yield
            except Exception:
                self._outbox.blame(batch.id, self._clock())
                raise
            finally:
                self._note("")

    def follow_clock(self) -> None:
        """Let what waits follow a clock that was set.

        Raises:
            OutboxError: the outbox cannot be used; the rest follows at the next call.
        """
        now, steady = self._clock(), self._steady()
        jump = now - steady - self._offset
        if not self._jump and abs(jump) > SET_SECONDS:
            names = [line.endpoint.name for line in self._lines]
            self._old = self._outbox.waiting(names, now - (steady - self._looked_at), now)
            self._jump = jump
            log.warning("webhooks: the clock was set by %.0f s; what waits is sent as if it had not been", jump)
        if self._jump:
            self._follow()
        self._looked_at = steady

    def _follow(self) -> None:
        jump = self._jump
        self._outbox.shift(self._old, jump)
        for line in self._lines:
            line.shift(jump)
        self._offset += jump
        self.pace = replace(self.pace, open_at=self.pace.open_at + jump)
        self._jump, self._old = 0.0, ()

    def _note(self, making: str) -> None:
        """Leave behind, for who takes over, the pace and what is being made."""
        self._lock.note(f"{self.pace.open_at:.3f} {making}")

    def _take_over(self) -> None:
        """Learn what the last holder of the lock left: batches in flight, the pace, what killed it, the healths."""
        for line in self._lines:
            self._outbox.recall(line.endpoint.name)
            self._outbox.pull(line.endpoint.name, self._clock(), line.longest_wait)
        open_at, _, fatal = self._lock.noted().partition(" ")
        with suppress(ValueError):
            self.pace = replace(self.pace, open_at=float(open_at or 0.0))
        if fatal:
            log.warning("webhooks: a process died while it made the message %s; it is tried again", fatal)
            self._outbox.blame(fatal, self._clock())
            self._note("")
        self._looked_at = self._steady()
        self._offset, self._jump, self._old = self._clock() - self._looked_at, 0.0, ()
        for line in self._lines:
            line.orders, written = self._outbox.orders(line.endpoint.name), self._outbox.health(line.endpoint.name)
            line.health = _as_of_now(written, line)
            line.written = written if written.fingerprint else line.health


def _as_of_now(written: Health, line: Line) -> Health:
    """Return a health as the last sender wrote it; it may be tried now if the settings are others since then."""
    fingerprint = line.endpoint.fingerprint
    return written if written.fingerprint == fingerprint else written.reopened(fingerprint)
