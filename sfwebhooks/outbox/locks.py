"""Locks between processes, held by the kernel: a process that dies, however it does, has let go of them.

One lock a URL and one an endpoint (who holds them is the only process that sends there), and one a scan (a free one
means that the scan's process is dead). No time-outs. They are beside the outbox as it is really called
(`permissions`), so that whoever uses it by another name finds the same ones.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from sfwebhooks import system
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.permissions import (
    LOCKS,
    Identity,
    check_file,
    identity,
    make_folder,
    open_ours,
    real_path,
    refused,
)

#: characters of a note
NOTE_MAX = 96


class Lock:
    """A lock of a name, beside the outbox."""

    def __init__(self, outbox: Path, name: str) -> None:
        self._outbox = outbox
        self._name = name
        #: where it was taken, as which file, and the descriptor that holds it
        self._path = outbox
        self._identity: Identity | None = None
        self._descriptor: int | None = None
        self._note: int | None = None
        #: held while it is taken or let go of, and the note is written
        self._guard = threading.Lock()
        _ALL.add(self)

    @property
    def held(self) -> bool:
        """Whether we hold it, and others find it held: one whose file was removed keeps nobody out."""
        return self._descriptor is not None and identity(self._path) == self._identity

    def take(self) -> bool:
        """Take the lock if it is free; return whether we hold it now.

        Raises:
            OutboxError: the lock's file cannot be made, or is not ours, nor is its note.
        """
        with self._guard:
            if not self.held:
                self._close()
                self._path = self._place
                with _refusing(self._path):
                    make_folder(self._path.parent)
                    check_file(_note_of(self._path))
                    self._lock()
        return self.held

    def check(self) -> None:
        """Check that it could be taken, now or once it is free.

        Raises:
            OutboxError: as `take` does.
        """
        path = self._place
        with _refusing(path):
            make_folder(path.parent)
            check_file(_note_of(path))
            os.close(open_ours(path))

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it. It is had for a moment where it is free: a process that wants it just then finds it
        taken, and looks again.

        Raises:
            OutboxError: its file cannot be opened.
        """
        if self.held:
            return False
        if not self._place.exists():  # to look makes no file: it would belong to who looks
            return True
        try:
            return self.take()
        finally:
            self.release()

    def note(self, text: str) -> None:
        """Write a short text beside the lock; it is still there if this process dies now. On a full disk it may fail,
        and nothing says so."""
        with self._guard, contextlib.suppress(OSError, OutboxError):
            if not self.held:  # a thread that is late must not write over what the next holder wrote
                return
            if self._note is None:
                self._note = open_ours(_note_of(self._path))
            os.lseek(self._note, 0, os.SEEK_SET)
            os.write(self._note, text.ljust(NOTE_MAX).encode())

    def noted(self) -> str:
        """Return what the last holder of the lock wrote, or nothing."""
        with contextlib.suppress(OSError, OutboxError):
            note = _note_of(self._place)
            if note.exists():
                descriptor = open_ours(note)
                try:
                    return os.read(descriptor, NOTE_MAX).decode("utf-8", "replace").strip()
                finally:
                    os.close(descriptor)
        return ""

    def release(self, remove: bool = False) -> None:
        """Let go of it. `remove` deletes its files too: only for a name that nobody will ask for again."""
        with self._guard:
            if remove and self.held:
                if not system.REMOVES_OPEN:
                    self._close()
                for path in (_note_of(self._path), self._path):
                    system.remove(path)
            self._close()

    @property
    def _place(self) -> Path:
        return real_path(self._outbox).with_suffix(LOCKS) / f"{self._name}.lock"

    def _lock(self) -> None:
        """Lock the file, if it is free; once more if it was removed while we did so."""
        while self._descriptor is None or not self.held:
            self._close()
            descriptor = open_ours(self._path)
            try:
                is_ours = system.lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if not is_ours:
                os.close(descriptor)
                return
            found = os.fstat(descriptor)
            self._descriptor, self._identity = descriptor, (found.st_dev, found.st_ino)

    def _close(self) -> None:
        if self._note is not None:
            os.close(self._note)
        if self._descriptor is not None:
            system.unlock(self._descriptor)
        self._descriptor = self._note = None

    def _forget(self) -> None:
        """Leave the lock to the process that forked this one, and that would hold it beyond its death otherwise."""
        self._guard = threading.Lock()
        self._close()


_ALL: weakref.WeakSet[Lock] = weakref.WeakSet()


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused(f"the lock {path}", path, error) from error


def _forget_all() -> None:
    for lock in list(_ALL):
        lock._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _note_of(lock: Path) -> Path:
    return lock.with_suffix(".note")


def scan_lock(outbox: Path, scan_id: str) -> Lock:
    """Return the lock that a scan's process holds while it lives."""
    return Lock(outbox, f"scan-{scan_id}")


def endpoint_lock(outbox: Path, name: str) -> Lock:
    """Return the lock of the process that sends to an endpoint, at whichever URL."""
    return Lock(outbox, f"endpoint-{name}")


def url_lock(outbox: Path, url_id: str) -> Lock:
    """Return the lock of who sends to a URL; `url_id` gives nothing of the URL away."""
    return Lock(outbox, f"url-{url_id}")
