"""The background work of a process that sends: once a second it alerts, and maintains the outbox."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.maintenance import Maintenance
from sfwebhooks.errors import NO_MEMORY, DamagedError, OutboxError, is_shortage
from sfwebhooks.events import Scan

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two rounds
ROUND_SECONDS = 1.0


class BackgroundWork:
    """The background work of a process, with its scan if it has one.

    Args:
        log: gets a line for each bug.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: Settings,
        scan: Scan | None = None,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger] = log,
    ) -> None:
        self._dispatcher = dispatcher
        self._maintenance = Maintenance(settings, dispatcher.outbox.place, scan)
        self._log = log

    def round(self, *own: Callable[[], object]) -> str:
        """Do the caller's tasks, then all others; return the outbox error that some could not be done for, or an empty
        text. One that fails does not prevent the others."""
        database = self._dispatcher.outbox.database
        tasks = (*own, self._dispatcher.tick, lambda: self._maintenance.look(time.time()), database.checkpoint)
        found = [self.attempt(task) for task in tasks]
        return next(filter(None, found), "")

    def attempt(self, task: Callable[[], object]) -> str:
        """Do a task; return the outbox error that it met, or an empty text."""
        try:
            task()
        except DamagedError:
            self._log.debug("webhooks: maintenance is not possible", exc_info=True)
        except OutboxError as error:
            self._log.debug("webhooks: background work is postponed", exc_info=True)
            return str(error)
        except Exception as error:
            if is_shortage(error):
                return NO_MEMORY
            # the thread would end, and with it the deliveries, or the writing of events in memory
            self._log.exception("webhooks: bug in background work, which continues")
        return ""

    def close(self) -> None:
        """Close the files."""
        self._maintenance.close()
