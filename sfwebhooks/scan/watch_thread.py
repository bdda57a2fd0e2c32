"""The thread of `run` in which the watch looks from time to time: a slow or locked host's database holds up no
delivery."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Callable

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import OutboxError
from sfwebhooks.log_once import Trouble
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.scan.watch import look_at_scans

#: seconds between two looks
WATCH_SECONDS = 60.0
#: seconds to wait at the end for a look
JOIN_SECONDS = 3.0


class WatchThread:
    """Looks at all scans once a minute, the first time at once.

    Args:
        place: of the outbox.
        settings: the current ones.
    """

    def __init__(self, place: Place, settings: Callable[[], Settings]) -> None:
        self._place = place
        self._settings = settings
        self._trouble = Trouble(over="scans are watched again")
        self._thread: threading.Thread | None = None

    def start(self, stop: threading.Event) -> None:
        """Begin; the thread ends when `stop` is set."""
        self._thread = threading.Thread(target=self._run, args=(stop,), name="webhooks-watch", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread, which has to stop, but not for long."""
        if self._thread:
            self._thread.join(JOIN_SECONDS)

    def _run(self, stop: threading.Event) -> None:
        while True:
            with closing(Outbox(self._place, storage=self._settings().storage)) as outbox:
                try:
                    trouble = look_at_scans(self._settings(), outbox)
                except OutboxError as error:
                    trouble = f"scans are not watched now: {error}"
            if trouble:
                self._trouble.met(trouble)
            else:
                self._trouble.ended()
            if stop.wait(WATCH_SECONDS):
                return
