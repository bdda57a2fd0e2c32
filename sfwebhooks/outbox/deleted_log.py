"""A log that was deleted while in use: a file comes in, with a connection that still has the log's content, which goes
into the file.

Other processes do the same, each before it writes again; the first one has saved the writes of all of them.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.open_files import OpenFile, files_of, held_alone
from sfwebhooks.outbox.opening import not_the_last
from sfwebhooks.outbox.permissions import Identity, identity, real_path
from sfwebhooks.outbox.set_aside import locked_to_replace

log = logging.getLogger("spiderfoot.webhooks")


class LoggedFile(OpenFile, Protocol):
    """What `file.File` is here."""

    #: identities of the open files: the outbox, its log, the log's index
    files: tuple[Identity | None, ...]

    def connect(self) -> sqlite3.Connection:
        """Return the connection to the current file."""


def save_log(file: LoggedFile, connection: sqlite3.Connection) -> None:
    """Save the content of a deleted log, and switch to the current files.

    All connections of this process are closed: SQLite shares the log's index between them.

    Raises:
        OutboxBusyError: another thread or process is using it; the next call tries again.
    """
    with held_alone(file):
        lock = locked_to_replace(real_path(file.path))
        try:
            if not lock.held:
                raise OutboxBusyError(f"outbox {file.path}: its log was deleted, and another process is saving it")
            _save(file, connection, lock)
        finally:
            lock.release()


def forget_saved(file: LoggedFile, lock: Lock) -> None:
    """Clear the note of a deleted log that was saved if the current log has its inode, which is free again: nobody has
    the deleted one open."""
    if lock.noted() == str(file.files[1]) and (lock.held or lock.take()):
        lock.note("")


def _save(file: LoggedFile, connection: sqlite3.Connection, lock: Lock) -> None:
    gone, log_path = str(file.files[1]), Path(file.names[1])
    is_saved, waiting = identity(log_path) == file.files[1] or lock.noted() == gone, 0
    if not is_saved:
        waiting = _waiting(connection)
        is_saved = not (identity(log_path) and log_path.stat().st_size)
        if is_saved and connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0]:
            raise OutboxBusyError(f"outbox {file.path}: its log was deleted, and another process is reading it")
        lock.note(gone if is_saved else "")
    with not_the_last(file.names[0]):
        for one in files_of(file):
            one.drop()
    now = _waiting(file.connect())
    forget_saved(file, lock)
    if is_saved:
        text = "webhooks: %s was deleted while in use; its content was saved, and %d deliveries are waiting"
        log.warning(text, log_path, now)
    else:
        text = "webhooks: %s was deleted while in use, and another process created a new one; %d deliveries are lost"
        log.error(text, log_path, max(waiting - now, 0))


def _waiting(connection: sqlite3.Connection) -> int:
    """Return the number of waiting deliveries; 0 if the file cannot be read."""
    with suppress(sqlite3.Error):
        return int(connection.execute("SELECT count(*) FROM delivery WHERE state = 'waiting'").fetchone()[0])
    return 0
