"""The open files of this process: each File is added when it is made, and all are held while a log is saved, or while
this process forks.

A forked child can use no connection of its parent, and must not close one either (sqlite.org/howtocorrupt.html, 2.6).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.outbox.opening import BUSY_SECONDS

#: seconds that a fork waits for threads that use a file
FORK_SECONDS = 2.0


class OpenFile(Protocol):
    """What `file.File` is here."""

    path: Path
    #: held by the thread that uses the connection
    guard: threading.RLock
    #: None: it is closed
    connection: sqlite3.Connection | None
    #: paths of the outbox, its log, and the log's index, when it was last opened
    names: tuple[str, ...]

    def close(self) -> None:
        """Close the connection; the next call opens it again."""

    def drop(self) -> None:
        """Close the connection, whatever has become of the log."""


#: the databases of this process, opened or not. A WeakSet cannot be read while other threads add to it
_ALL: weakref.WeakValueDictionary[int, OpenFile] = weakref.WeakValueDictionary()
#: held by a thread that opens a file or saves a log
OPENING = threading.RLock()


def add(file: OpenFile) -> None:
    """Add a file for as long as it exists."""
    _ALL[id(file)] = file


def _all() -> list[OpenFile]:
    return [one for one in (reference() for reference in _ALL.valuerefs()) if one]


def files_of(database: OpenFile) -> list[OpenFile]:
    """Return all of the same outbox."""
    return [one for one in _all() if one.names[1:] == database.names[1:]]


@contextmanager
def held_alone(database: OpenFile) -> Iterator[None]:
    """Keep all other threads of this process from using the same file.

    Raises:
        OutboxBusyError: one of them uses it for long, opens it, or is saving a log too.
    """
    with ExitStack() as stack:
        busy = OutboxBusyError(f"outbox {database.path}: its log was deleted, and another thread is using it")
        if not OPENING.acquire(blocking=False):
            raise busy
        stack.callback(OPENING.release)
        for one in files_of(database):
            if not one.guard.acquire(timeout=BUSY_SECONDS):
                raise busy
            stack.callback(one.guard.release)
        yield


# --- fork


#: held by the thread that forks, and what else it holds meanwhile
_FORKING = threading.RLock()
_HELD = ExitStack()
#: connections in use when a child was forked, which it must neither use nor close
_INHERITED: list[sqlite3.Connection] = []


def _before_fork() -> None:
    """Close all files and keep other threads from opening one, but do not wait long for those that use one: a child
    would inherit their locks, and SQLite's belief that it holds those on the file."""
    _FORKING.acquire()
    deadline = time.monotonic() + FORK_SECONDS
    while not _hold_all(deadline):
        _HELD.close()


def _hold_all(deadline: float) -> bool:
    """Hold the guards of all files and close these, until `deadline` (monotonic seconds); return False if another one
    was opened meanwhile."""
    held = []
    for guard, one in [*((one.guard, one) for one in _all()), (OPENING, None)]:
        if guard.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _HELD.callback(guard.release)
            held += [one] if one else []
    if time.monotonic() < deadline and any(one.connection for one in _all() if one not in held):
        return False
    for one in held:
        if one.connection and not one.connection.in_transaction:  # by this thread
            with suppress(OutboxError, OSError, sqlite3.Error):
                one.close()
    return True


def _after_fork() -> None:
    _HELD.close()
    _FORKING.release()


def _after_fork_in_child() -> None:
    global _FORKING, OPENING
    _HELD.pop_all()
    _FORKING, OPENING = threading.RLock(), threading.RLock()
    for one in _all():
        one.guard = threading.RLock()
        if one.connection:
            _INHERITED.append(one.connection)
            one.connection = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
