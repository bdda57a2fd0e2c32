"""The intake of a scan's process: its events come in, and are committed to the outbox, or to the spool in front of it
(`forwarder`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sfwebhooks import pipeline
from sfwebhooks.config.settings import Settings
from sfwebhooks.events import Scan, WebhookEvent, clean_text
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.spool import TO_FORWARD, Spool, over
from sfwebhooks.outbox.store import Store
from sfwebhooks.own_secrets import masked_error
from sfwebhooks.scan.forwarder import Forwarder
from sfwebhooks.scan.host_log import credentials_of
from sfwebhooks.screening import Screen


class Intake:
    """The intake of a scan. All methods raise OutboxError: nothing was committed.

    Args:
        folder: the data folder.
        admitted: called when something was forwarded that can be sent.
    """

    def __init__(self, settings: Settings, folder: Path, admitted: Callable[[], object]) -> None:
        place, path = settings.place(folder), settings.spool_in(folder)
        left = settings.spool_left_in(folder)
        self._spool = Spool(path, accepting=True, storage=settings.storage) if path else None
        self._forwarder = Forwarder(left, place, settings, admitted) if left else None
        #: where the events are committed
        self.outbox: Store = (
            self._spool.outbox if self._spool else Outbox(place, accepting=True, storage=settings.storage)
        )
        #: commits events as `pipeline.accept` does, and takes its arguments `events`, `screen`, `now` and `generation`
        self.accept: Callable[..., int] = (
            self._spool.accept if self._spool else partial(pipeline.accept, outbox=self.outbox)
        )

    def begin(self, scan: Scan, event: WebhookEvent, screen: Screen) -> None:
        """Commit a scan, and the event that reports its start to the endpoints that do not have it."""
        wanted = TO_FORWARD if self._spool else screen.of(event)[0]
        self.outbox.scans.begin_scan(scan, event, wanted, time.time())

    def leave_end(self, scan: Scan, error: str, settings: Settings) -> bool:
        """Commit to the spool that a scan is over, so that the forwarder reports its end; return False without one."""
        if self._spool:
            text = clean_text(error)
            text = masked_error(text, settings.endpoints, credentials_of(scan.id)) if text else ""
            now = time.time()
            self._spool.end(over(scan, now, text), now)
        return self._spool is not None

    def start(self) -> None:
        """Forward in this process, if there is a spool, or what earlier settings left in one."""
        if self._forwarder:
            self._forwarder.start()

    def use(self, settings: Settings) -> None:
        """Forward by other settings from now on."""
        if self._forwarder:
            self._forwarder.use(settings)

    def forward(self, scan_id: str, deadline: float) -> str:
        """Forward what can be forwarded at once, until a deadline (monotonic seconds); return how much of a scan waits
        in the spool, and why, or nothing."""
        if self._forwarder is None:
            return ""
        self._forwarder.start()
        self._forwarder.linger(deadline)
        return self._forwarder.left_of(scan_id)

    def close(self, seconds: float) -> None:
        """Stop forwarding, wait for that at most for some seconds, and close the files."""
        if self._forwarder:
            self._forwarder.stop(seconds)
        self.outbox.close()
