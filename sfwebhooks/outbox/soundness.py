"""Whether the outbox's file is sound: a file comes in, the damage that SQLite finds in it goes out."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass

from sfwebhooks.outbox.file import File

#: seconds between two interrupts: one that comes before the statement has begun is lost
PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Soundness:
    """The result of a look for damage."""

    #: what is damaged, in SQLite's words; empty: nothing was found
    damage: str
    #: whether all of the file was read
    is_complete: bool


def soundness(file: File, seconds: float | None = None) -> Soundness:
    """Look for damage in the file; others can read and write it meanwhile.

    Args:
        seconds: limit of a quick look, which does not compare indexes with their tables; None: look at everything.

    Raises:
        OutboxError: the file cannot be read, or is so damaged that SQLite gives up.
    """
    with file.reading() as sql:
        done = threading.Event()
        stopper = threading.Thread(target=_stop, args=(sql, seconds or 0.0, done), name="outbox-look", daemon=True)
        if seconds:
            stopper.start()
        try:
            row = sql.execute("PRAGMA quick_check(1)" if seconds else "PRAGMA integrity_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                return Soundness("", is_complete=False)
            raise
        finally:
            done.set()
            if seconds:
                stopper.join()  # a late interrupt would end another statement
    damage = " ".join(str(row[0]).split())
    return Soundness("" if damage == "ok" else damage, is_complete=True)


def _stop(sql: sqlite3.Connection, seconds: float, done: threading.Event) -> None:
    """Interrupt the statement of a connection once the time is over."""
    done.wait(seconds)
    while not done.wait(PAUSE_SECONDS):
        sql.interrupt()
