"""The delivery process, as a scan's process sees it: settings come in, the id of a process that sends goes out; and the
other processes that send (`senders`).

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
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.postgres.dsn import local_path
from sfwebhooks.outbox.store import Store

log = logging.getLogger("spiderfoot.webhooks")
#: seconds that a new one may take to begin, also on a busy machine: where the scan's process sends once, it goes on
START_SECONDS = 10.0
#: Windows would show its console, and end it with that of the scan
FLAGS: int = getattr(subprocess, "DETACHED_PROCESS", 0)


class Role(str, Enum):
    """The role of a process that sends."""

    #: it runs a scan, or has just ended one
    SCAN = "scan"
    #: it was started by a scan, and sends for all of them
    DELIVERY = "delivery_process"
    #: `sfwebhooks run`
    RUN = "run"
    #: `sfwebhooks web`
    WEB = "web"
    #: a command that sends for a while, such as drain or backfill
    COMMAND = "command"

    @property
    def words(self) -> str:
        """The role for people."""
        return ROLE_WORDS[self]


ROLE_WORDS = {
    Role.SCAN: "a scan",
    Role.DELIVERY: "the delivery process",
    Role.RUN: "sfwebhooks run",
    Role.WEB: "sfwebhooks web",
    Role.COMMAND: "a command such as sfwebhooks drain",
}


def service_lock(outbox: Path) -> Lock:
    """Return the lock of the process that sends whatever any process has stored: the delivery process, `run` or
    `web`."""
    return Lock(outbox, "service")


def note_service(lock: Lock, settings: Settings, role: Role = Role.RUN) -> None:
    """Write into a service's lock, which this process holds, which settings and which role it has."""
    lock.note(f"{os.getpid()} {settings.digest} {role.value}")


def senders(outbox: Store, owners: Iterable[int]) -> dict[int, Role]:
    """Return the processes that send: process id -> role. A running scan counts if there is no other one, since it
    leaves sending to the delivery process.

    Args:
        owners: ids of the processes that own the lock of an endpoint.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    scans = {}
    for scan in outbox.scans.open_scans():
        lock = outbox.locks.scan(scan.id)
        words = lock.noted().split(" ")
        with suppress(OutboxError, ValueError, IndexError):  # another user's lock; an incomplete note
            if not lock.is_free:
                scans[int(words[2])] = Role.SCAN
    holder = _holder(service_lock(outbox.path))
    service = dict([holder] if holder else [])
    roles = scans | service
    return {pid: roles.get(pid, Role.COMMAND) for pid in owners} | service or scans


def _holder(lock: Lock, digest: str = "") -> tuple[int, Role] | None:
    """Return the id and the role of the process that holds the lock of services, if there is one.

    Args:
        digest: of the settings that it must have; empty: any.
    """
    with suppress(OutboxError, ValueError):
        pid, its_digest, role = lock.noted().split(" ")
        if digest in ("", its_digest) and not lock.is_free:
            return int(pid), Role(role)
    return None


def service_pid(lock: Lock, digest: str = "") -> int:
    """Return the id of the process that holds the lock of services; 0: there is none.

    Args:
        digest: of the settings that it must have; empty: any.
    """
    holder = _holder(lock, digest)
    return holder[0] if holder else 0


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
        self._lock = service_lock(local_path(settings.place(folder)))
        #: the one that this process has started, and when (monotonic seconds)
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        #: when the settings changed, monotonic seconds
        self._changed_at = float("-inf")

    def use(self, settings: Settings) -> None:
        """Use other settings: those of a file that has changed, which a running process is about to read as well."""
        self._settings, self._digest = settings, settings.digest
        self._changed_at = time.monotonic()

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
        if time.monotonic() - self._changed_at < START_SECONDS and (pid := service_pid(self._lock)):
            return pid
        begins = time.monotonic() - self._started_at < START_SECONDS
        return self._child.pid if self._child and begins and self._child.poll() is None else 0
