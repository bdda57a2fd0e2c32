"""Locks between processes, held by the kernel: a process that dies, however it does, has let go of them.

One lock a URL (who holds it is the only process that sends there), and one a scan (a free one means that the
scan's process is dead). No process ids, no time-outs.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from sfwebhooks.errors import OutboxError, ShortageError, is_shortage

FOLDER = "webhooks.locks"
#: characters of a note
NOTE_MAX = 96


class Lock:
    """A lock of a name, beside the outbox."""

    def __init__(self, outbox: Path, name: str) -> None:
        self._path = outbox.parent / FOLDER / f"{name}.lock"
        self._note: int | None = None
        #: held while the note is written, and the lock let go of
        self._guard = threading.Lock()
        self._lock = FileLock(str(self._path), timeout=0, thread_local=False)

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self._lock.is_locked

    def take(self) -> bool:
        """Take the lock if it is free; return whether we hold it now.

        Raises:
            OutboxError: the lock's file cannot be made.
        """
        try:
            if not self.held:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                with contextlib.suppress(Timeout):
                    self._lock.acquire()
        except OSError as error:
            kind = ShortageError if is_shortage(error) else OutboxError
            raise kind(f"the lock {self._path} cannot be made: {error.strerror}") from error
        return self.held

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it. It is had for a moment where it is free: a process that wants it just then finds it
        taken, and looks again.

        Raises:
            OutboxError: its file cannot be opened.
        """
        if self.held:
            return False
        if not self._path.exists():  # to look makes no file: it would belong to who looks
            return True
        try:
            return self.take()
        finally:
            self.release()

    def note(self, text: str) -> None:
        """Write a short text beside the lock; it is still there if this process dies now. On a full disk it may fail,
        and nothing says so."""
        with self._guard, contextlib.suppress(OSError):
            if not self.held:  # a thread that is late must not write over what the next holder wrote
                return
            if self._note is None:
                self._note = os.open(self._path.with_suffix(".note"), os.O_RDWR | os.O_CREAT, 0o600)
            os.lseek(self._note, 0, os.SEEK_SET)
            os.write(self._note, text.ljust(NOTE_MAX).encode())

    def noted(self) -> str:
        """Return what the last holder of the lock wrote, or nothing."""
        with contextlib.suppress(OSError):
            return self._path.with_suffix(".note").read_text(encoding="utf-8", errors="replace").strip()
        return ""

    def release(self, remove: bool = False) -> None:
        """Let go of it. `remove` deletes the file too: only for a name that nobody will ask for again."""
        with self._guard:
            if remove and self.held:
                self._path.unlink(missing_ok=True)
            if self._note is not None:
                os.close(self._note)
                self._note = None
            self._lock.release(force=True)


def scan_lock(outbox: Path, scan_id: str) -> Lock:
    """Return the lock that a scan's process holds while it lives."""
    return Lock(outbox, f"scan-{scan_id}")


def endpoint_lock(outbox: Path, name: str) -> Lock:
    """Return the lock of the process that sends to an endpoint, at whichever URL."""
    return Lock(outbox, f"endpoint-{name}")


def url_lock(outbox: Path, url_id: str) -> Lock:
    """Return the lock of who sends to a URL; `url_id` gives nothing of the URL away."""
    return Lock(outbox, f"url-{url_id}")
