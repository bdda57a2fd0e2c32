"""A Lane: the sending threads of one URL, with all endpoints that use it. claim -> deliver -> settle.

It sends only while it holds the lock of its URL, so no two processes ever send there, and what it knows of the
endpoints' health is the truth. The threads start lazily, up to the endpoint's concurrency, and are daemons: an exit
of the process ends them, and what they had begun is repeated under the same id.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from sfwebhooks.attempts import Attempt
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.events import Delivery
from sfwebhooks.locks import url_lock
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Condition, Health
from sfwebhooks.pipeline import Clock, Line, deliver
from sfwebhooks.retry import Settlement, State
from sfwebhooks.sender import Sender

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks for what other processes put into the outbox, and for the lock of a dead sender
POLL_SECONDS = 0.5
NEVER = float("inf")


class Lane:
    """The way to one URL."""

    def __init__(self, endpoints: Iterable[Endpoint], outbox: Outbox, clock: Clock) -> None:
        self.lines = [Line(endpoint, Sender(endpoint)) for endpoint in endpoints]
        first = self.lines[0].endpoint
        self._concurrency = max(line.endpoint.concurrency for line in self.lines)
        self._name = f"webhooks-{first.name}"
        self._lock = url_lock(outbox.path, first.url_id)
        #: held while a message is made, so that there is one whose making can have killed the process
        self._making = threading.Lock()
        self._outbox = outbox
        self._clock = clock
        self._bell = threading.Condition()
        self._stopping = False
        #: whether a resting thread looks for work by itself
        self._polled = False
        #: held while claiming; not the bell, since the scan rings that and must not wait for the outbox
        self._claiming = threading.Lock()
        #: held while settling, so that healths are written in the order in which they came about
        self._settling = threading.Lock()
        #: delivery in flight -> its endpoint
        self._busy: dict[str, str] = {}
        self._threads: list[threading.Thread] = []
        self._trouble = ""

    def wake(self) -> None:
        """Look for work now; the first call starts the first thread."""
        with self._bell:
            self._bell.notify()
            if not self._threads:
                self._grow()

    def step(self) -> bool:
        """Deliver one delivery, if one may go now; return whether one went.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        claimed = self._claim()
        if not claimed:
            return False
        line, delivery = claimed
        try:
            before = line.health
            attempt, settlement = deliver(delivery, line, self._clock, self._naming(delivery))
            self._settle(line, delivery, attempt, settlement)
            self._tell(line, delivery, attempt, settlement, before)
        finally:
            with self._claiming:
                self._busy.pop(delivery.id)
        return True

    def next_at(self, healthy_only: bool) -> float:
        """Return the epoch seconds at which something could be sent: 0 for now, NEVER if nothing waits."""
        with self._claiming:
            if self._busy and (not healthy_only or any(line.health.healthy for line in self.lines)):
                return 0.0
            return min(self._line_next_at(line, healthy_only) for line in self.lines)

    def stop(self, deadline: float) -> None:
        """End the threads; those that are still sending at `deadline` (monotonic seconds) are left behind."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        # also while some are sending: a message that comes twice does no harm, a lock that is held for ever does
        self._lock.release()
        if not any(thread.is_alive() for thread in self._threads):
            for line in self.lines:
                line.sender.close()

    @contextmanager
    def _naming(self, delivery: Delivery) -> Iterator[None]:
        """Name the delivery whose message is being made: if that kills the process, the next one knows which it was."""
        with self._making:
            self._lock.note(delivery.id)
            try:
                yield
            except Exception:
                self._outbox.blame(delivery.id, self._clock())
                raise
            finally:
                self._lock.note("")

    def _line_next_at(self, line: Line, healthy_only: bool) -> float:
        health = line.health if self._lock.held else self._written_health(line)
        due = self._outbox.next_due(line.endpoint.name)
        if due is None or health.condition is Condition.DISABLED or (healthy_only and not health.healthy):
            return NEVER
        return max(due, health.open_at)

    def _claim(self) -> tuple[Line, Delivery] | None:
        with self._claiming:
            if self._stopping or not self._holds_lock():
                return None
            now = self._clock()
            for line in self.lines:
                endpoint = line.endpoint
                probing = not line.health.healthy
                if not line.health.may_send(now) or (probing and endpoint.name in self._busy.values()):
                    continue  # a probe goes alone
                longest = max((*endpoint.retry_schedule, 3600.0)) * 2
                delivery = self._outbox.claim(endpoint.name, self._busy, now, longest)
                if delivery:
                    self._busy[delivery.id] = endpoint.name
                    self.lines.remove(line)  # the other endpoints of this URL come first next time
                    self.lines.append(line)
                    self._more()
                    return line, delivery
        return None

    def _holds_lock(self) -> bool:
        """Take the URL's lock if nobody has it; then the health is what the last holder wrote."""
        if self._lock.held:
            return True
        if not self._lock.take():
            return False
        fatal = self._lock.noted()
        if fatal:
            self._outbox.blame(fatal, self._clock())
            self._lock.note("")
        for line in self.lines:
            line.health = line.written = self._written_health(line)
        return True

    def _written_health(self, line: Line) -> Health:
        """Return the health that the last sender wrote, unless the endpoint's settings are others since then."""
        health, fingerprint = self._outbox.health(line.endpoint.name), line.endpoint.fingerprint
        return health if health.fingerprint == fingerprint else Health(fingerprint=fingerprint)

    def open_now(self) -> None:
        """Let the next step try endpoints that are failing or held, and what waits for a retry."""
        with self._claiming:
            if self._holds_lock():
                for line in self.lines:
                    line.open()
                    self._outbox.make_due(line.endpoint.name, self._clock())

    def _settle(self, line: Line, delivery: Delivery, attempt: Attempt, settlement: Settlement) -> None:
        """Write down what became of an attempt; a locked or full disk is waited for, since it cannot be undone."""
        level = logging.WARNING
        while True:
            try:
                with self._settling:
                    health = line.health
                    self._outbox.settle(delivery, attempt, settlement, health if health != line.written else None)
                    line.written = health
                return
            except OutboxBusyError as error:
                log.log(level, "webhooks: %s; a delivery that was made waits to be noted", error)
                level = logging.DEBUG
                if self._stopping:
                    raise
                time.sleep(POLL_SECONDS)

    def _tell(self, line: Line, delivery: Delivery, attempt: Attempt, plan: Settlement, before: Health) -> None:
        """Log one line for an attempt that failed; the same failure again is only DEBUG."""
        now, name = line.health, f"endpoint {delivery.endpoint} ({line.endpoint.place})"
        if plan.state is State.DELIVERED:
            if not before.healthy:
                log.info("webhooks: %s works again", name)
            return
        if plan.state is State.DEAD:
            log.warning(
                "webhooks: %s did not take %s, and it is not sent again: %s%s (delivery %s)",
                *(name, delivery.name, plan.reason, attempt.answer, delivery.id),
            )
            return
        news = now.condition is not before.condition or not before.failures
        log.log(
            logging.WARNING if news else logging.DEBUG,
            "webhooks: %s%s: %s%s; its deliveries are kept",
            *(name, "" if now.healthy else f" is {now.condition.value}", plan.reason, attempt.answer),
        )

    def _more(self) -> None:
        """Let one more thread look for work, if there are threads at all."""
        with self._bell:
            self._bell.notify()
            if self._threads and len(self._threads) < self._concurrency:
                self._grow()

    def _grow(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
        with suppress(RuntimeError):  # no more threads can be had: those that there are must do
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while not self._stopping:
            went = False
            try:
                went = self.step()
                self._trouble = ""
            except OutboxError as error:
                log.log(logging.DEBUG if str(error) == self._trouble else logging.WARNING, "webhooks: %s", error)
                self._trouble = str(error)
            except Exception:  # a thread that ends would leave its endpoint silent for the rest of the process
                log.exception("webhooks: the sending thread of %s met a bug", self._name)
            if not went:
                self._rest()

    def _rest(self) -> None:
        """Wait for the bell; one of the resting threads also looks by itself from time to time."""
        with self._bell:
            polls = not self._polled
            self._polled = True
            if not self._stopping:
                self._bell.wait(POLL_SECONDS if polls else None)
            if polls:
                self._polled = False
