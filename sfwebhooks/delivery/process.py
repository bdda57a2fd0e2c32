"""The delivery process, as a scan's process sees it: settings come in, the id of a process that sends goes out.

A scan starts `sfwebhooks run --while-needed` (`service`), so that sending takes no time from the scan, and goes on
after it. There is one for each outbox: it holds a lock, whose note has its process id and a digest of its settings.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.locks import Lock

log = logging.getLogger("spiderfoot.webhooks")
#: seconds that a new one may take to begin, also on a busy machine: where the scan's process sends once, it goes on
START_SECONDS = 10.0
#: Windows would show its console, and end it with that of the scan
FLAGS: int = getattr(subprocess, "DETACHED_PROCESS", 0)


def service_lock(outbox: Path) -> Lock:
    """Return the lock of the process that sends whatever any process has stored: the delivery process, or `run`."""
    return Lock(outbox, "service")


def note_service(lock: Lock, settings: Settings) -> None:
    """Write into a service's lock, which this process holds, which settings it has."""
    lock.note(f"{os.getpid()} {settings.digest}")


def service_pid(lock: Lock, digest: str = "") -> int:
    """Return the id of the process that holds the lock of services; 0: there is none.

    Args:
        digest: of the settings that it must have; empty: any.
    """
    pid, _, noted = lock.noted().partition(" ")
    with suppress(OutboxError, ValueError):
        if pid and digest in ("", noted) and not lock.is_free:
            return int(pid)
    return 0


class DeliveryProcess:
    """The delivery process of an outbox.

    Args:
        settings: of the scan.
        folder: the data folder.
        module: our file in the host's modules folder; when it is removed, the process ends.
    """

    def __init__(self, settings: Settings, folder: Path, module: str) -> None:
        self._settings = settings
        self._digest = settings.digest
        self._folder = folder.absolute()
        self._module = str(Path(module).absolute())
        self._lock = service_lock(folder / FILE)
        #: the one that this process has started, and when (monotonic seconds)
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def ensure(self) -> None:
        """Start it, unless one is running, or the settings or this Python make it impossible.

        Raises:
            OutboxError: its lock cannot be used.
        """
        found = self._settings
        usable = found.detach_timeout and found.file and any(not endpoint.mistake for endpoint in found.endpoints)
        if not usable or not sys.executable or getattr(sys, "frozen", False) or self.pid or not self._lock.is_free:
            return
        command = [sys.executable, "-m", "sfwebhooks", "run", "--while-needed", "--module", self._module]
        command += ["--config", str(found.file), "--folder", str(self._folder)]
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                command,
                cwd=self._folder.anchor,  # no folder that anybody wants to remove, or that others can put modules into
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                creationflags=FLAGS,
            )
        except OSError as error:
            log.warning("webhooks: no delivery process: %s: %s; the scan's process sends", sys.executable, error)
            return
        self._started_at = time.monotonic()
        # a host that goes on after the scan would keep a zombie
        threading.Thread(target=self._child.wait, name="webhooks-reaper", daemon=True).start()

    @property
    def pid(self) -> int:
        """Id of the process that sends for these settings, or is about to; 0: there is none."""
        pid = service_pid(self._lock, self._digest)
        if pid:
            return pid
        begins = time.monotonic() - self._started_at < START_SECONDS
        return self._child.pid if self._child and begins and self._child.poll() is None else 0
