"""Locks between processes, held by the kernel: they are released however a process dies.

One lock for each URL and one for each endpoint (only their holder sends there), and one for each scan (if it is free,
the scan's process is dead). They have no timeouts. They are next to the outbox's real path (`permissions`), so that a
process that uses another name for it finds the same ones.
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
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.database import ALONE, Senders
from sfwebhooks.outbox.permissions import (
    LOCKS,
    Identity,
    check_file,
    make_folder,
    open_ours,
    real_path,
    refused,
)

#: characters of a note
NOTE_MAX = 96


class Lock:
    """A named lock next to the outbox."""

    #: a holder keeps it until it releases it, or its file is removed
    changed_hands = False

    def __init__(self, outbox: Path, name: str) -> None:
        self._outbox = outbox
        self._name = name
        #: path and identity of the taken lock file, and the descriptor that holds it
        self._path = outbox
        self._identity: Identity | None = None
        self._descriptor: int | None = None
        self._note: int | None = None
        #: held while the lock is taken or released, and while the note is written
        self._guard = threading.Lock()
        _ALL.add(self)

    @property
    def held(self) -> bool:
        """Whether this process holds it effectively: a lock whose file was removed excludes no other process."""
        if self._descriptor is None:
            return False
        try:
            found = os.stat(self._path)  # noqa: PTH116  # twice as fast, before each attempt
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def take(self) -> bool:
        """Take the lock if it is free; return whether this process holds it now.

        Raises:
            OutboxError: the lock's file cannot be created, or it or its note is not ours.
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
        """Whether no process holds it. A free lock is taken for a moment: a process that wants it just then finds it
        taken and tries again.

        Raises:
            OutboxError: its file cannot be opened.
        """
        if self.held:
            return False
        if not self._place.exists():  # a look creates no file: it would belong to this user
            return True
        try:
            return self.take()
        finally:
            self.release()

    def note(self, text: str) -> None:
        """Write a short text next to the lock, which outlives this process. It may fail silently on a full disk."""
        with self._guard, contextlib.suppress(OSError, OutboxError):
            if not self.held:  # a late thread must not overwrite the next holder's note
                return
            if self._note is None:
                self._note = open_ours(_note_of(self._path))
            system.write_at(self._note, text.ljust(NOTE_MAX).encode(), 0)

    def noted(self) -> str:
        """Return the note of the last holder of the lock, or nothing."""
        return read_note(_note_of(self._place))

    #: all holders are on this machine
    noted_here = noted
    machine = ""
    #: the holder has it until it ends
    is_wanted = False

    def want(self) -> None:
        """Ask the holder to release it, if it has more than its share: here it has not."""

    def release(self, remove: bool = False) -> None:
        """Release it. `remove` deletes its files too: only for a name that is never used again."""
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
        """Lock the file if it is free; try again if it was removed meanwhile."""
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
        """Close the descriptors in a forked child, which would hold the lock beyond the death of its parent."""
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


def note_path(outbox: Path, name: str) -> Path:
    """Return the path of the note of a lock."""
    return _note_of(real_path(outbox).with_suffix(LOCKS) / f"{name}.lock")


def read_note(path: Path) -> str:
    """Return the text of a note, or nothing."""
    with contextlib.suppress(OSError, OutboxError):
        if path.exists():
            descriptor = open_ours(path)
            try:
                return os.read(descriptor, NOTE_MAX).decode("utf-8", "replace").strip()
            finally:
                os.close(descriptor)
    return ""


class FileLocks:
    """The locks of an outbox that is a file. To make one touches nothing."""

    #: a process that holds a lock is not mistaken about it
    check_fence = None
    #: a note is as its holder wrote it
    notes_are_late = False

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox

    @property
    def are_readable(self) -> bool:
        """Whether this user can see who holds them."""
        folder = real_path(self._outbox).with_suffix(LOCKS)
        return os.access(folder, os.R_OK | os.W_OK | os.X_OK) or is_deleted(folder)

    def senders(self) -> Senders:
        """Return among which processes the URLs are shared out: here the first one has all."""
        return ALONE

    def may_be_alive(self, scan_id: str) -> bool:
        """Return whether a scan may be running although its lock is free: a process keeps its locks until it ends."""
        return False

    def vouch(self, scan_id: str, seconds: float) -> None:
        """Do nothing: only events for a server are in a spool."""

    def scan(self, scan_id: str) -> Lock:
        """Return the lock that a scan's process holds while it lives."""
        return Lock(self._outbox, f"scan-{scan_id}")

    def endpoint(self, name: str) -> Lock:
        """Return the lock of the process that sends to an endpoint, at any URL."""
        return Lock(self._outbox, f"endpoint-{name}")

    def url(self, url_id: str) -> Lock:
        """Return the lock of the process that sends to a URL; `url_id` reveals nothing about the URL."""
        return Lock(self._outbox, f"url-{url_id}")
