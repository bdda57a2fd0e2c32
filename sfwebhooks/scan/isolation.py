"""The isolation of events that cannot be admitted: events of a scan come in from the spool, in their order. Those with
which the admission fails because of an error of ours, or because the server does not take their values, are set aside
in the spool; the others go to the outbox.

A group that fails is halved until the events at fault are alone. They are blamed only once another event was admitted
by the same settings, or if they are the last few of their scan: until then the error may be anywhere, and all of them
wait. Trouble of a database and a shortage of this process blame nothing.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sfwebhooks import pipeline
from sfwebhooks.errors import RejectedError, WebhooksError, is_shortage
from sfwebhooks.events import Scan, WebhookEvent, clean_text, printable
from sfwebhooks.outbox.spool import Spool
from sfwebhooks.outbox.store import Store
from sfwebhooks.own_secrets import masked_error
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import Screen, Verdicts

log = logging.getLogger("spiderfoot.webhooks")
#: events that are blamed at the end of their scan although no other was admitted: it would wait for another scan
FEW = 3


@dataclass(frozen=True)
class SparingScreen(Screen):
    """A screen that lets no event pass that is set aside."""

    #: their ids
    set_aside: frozenset[str] = frozenset()

    def of(self, event: WebhookEvent) -> Verdicts:
        """As `Screen.of`."""
        if event.id not in self.set_aside:
            return super().of(event)
        with suppress(Exception):  # with it the screening may fail, and no end of its scan would be reported
            return [], super().of(event)[1]
        return [], {}


class Isolation:
    """The admission of events from a spool, as far as it succeeds. All methods raise OutboxError."""

    def __init__(self, spool: Spool, outbox: Store) -> None:
        self._spool = spool
        self._outbox = outbox
        #: whether an event was admitted by the settings
        self.works = False
        #: the errors that were logged
        self._logged: set[str] = set()

    def reset(self) -> None:
        """Blame nothing until an event is admitted by other settings."""
        self.works = False

    def admit(
        self,
        events: Sequence[WebhookEvent],
        screen: Screen,
        generation: int,
        is_late: bool = False,
        is_last: bool = False,
    ) -> int:
        """Admit events of one scan in their order, and remove them from the spool; set aside those at fault. Return the
        number of new deliveries.

        Args:
            generation: as for `pipeline.accept`.
            is_late: whether their scan's end was reported before.
            is_last: whether their scan is over, and nothing else is left of it.

        Raises:
            Exception: an error of ours with the first of these events, none of which can be admitted.
        """
        failed: list[tuple[WebhookEvent, Exception]] = []
        new = self._admit(events, screen, (is_late, generation), failed)
        if failed and not (self.works or ((is_late or is_last) and len(events) <= FEW)):
            raise failed[0][1]
        for event, error in failed:
            self._set_aside(event, error, screen)
        return new

    def _admit(
        self,
        events: Sequence[WebhookEvent],
        screen: Screen,
        how: tuple[bool, int],
        failed: list[tuple[WebhookEvent, Exception]],
    ) -> int:
        try:
            new = pipeline.accept(events, screen, self._outbox, time.time(), *how)
        except Exception as error:  # one event would hold up all others
            if not is_fault(error):
                raise
            fault = error
        else:
            self.works |= new > 0
            self._spool.forget(events, time.time())
            return new
        if len(events) == 1:
            failed.append((events[0], fault))
            return 0
        half = len(events) // 2
        return sum(self._admit(part, screen, how, failed) for part in (events[:half], events[half:]))

    def _set_aside(self, event: WebhookEvent, error: Exception, screen: Screen) -> None:
        words = str(error) if isinstance(error, WebhooksError) else f"{type(error).__name__}: {error}"
        reason = " ".join(printable(masked_error(clean_text(words), screen.endpoints)).split())
        self._spool.set_aside(event, reason, time.time())
        is_new = reason not in self._logged and not isinstance(error, WebhooksError)
        self._logged.add(reason)
        log.error(
            "webhooks: spool: event %s (%s) of scan %s cannot be forwarded and is set aside: %s; sfwebhooks spool list",
            *(event.id, printable(event.type), event.scan_id or "none", reason),
            exc_info=error if is_new else None,
        )

    def without_aside(self, scan: Scan, screen: Screen) -> Screen:
        """Return a screen that lets no event of a scan pass that is set aside."""
        ids = frozenset(one.event.id for one in self._spool.aside(scan.id))
        return SparingScreen(screen.endpoints, screen.false_positives, screen.remembered, ids) if ids else screen

    def count(self, scan: Scan, screen: Screen) -> None:
        """Let the outbox count, for each endpoint, the events of a scan that are set aside now."""
        counts = Counter(
            (name, Withheld.SET_ASIDE) for one in self._spool.aside(scan.id) for name in wanting(one.event, screen)
        )
        names = [one.name for one in screen.endpoints]
        self._outbox.scans.replace_withheld(scan.id, names, counts, [Withheld.SET_ASIDE])


def wanting(event: WebhookEvent, screen: Screen) -> list[str]:
    """Return the endpoints that would be sent an event; those that subscribe to it if its filters cannot be asked."""
    with suppress(Exception):  # with it the screening may fail
        return [one.endpoint for one in screen.of(event)[0]]
    return [*screen.asking(event)]


def is_fault(error: Exception) -> bool:
    """Return whether an error may be the fault of an event: not the trouble of a database or of this process."""
    if isinstance(error, RejectedError):
        return True
    return not (isinstance(error, (WebhooksError, OSError)) or is_shortage(error))
