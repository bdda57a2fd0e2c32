"""The series of an outbox's numbers: an opened file comes in, and gets a new series if it may have lost commits.

Within a series no number is given twice. A file that lost commits would give the same numbers to other messages, so
its numbers start from 1 in a new series if it is opened

- after another boot without having been closed: the machine lost power, and data that was not on the disk yet;
- older than its mark, or in another series: it is a backup, or the mark belongs to another file;
- under another inode: it is a copy, and the original may still be in use.

The mark names the series and the number of deliveries that the file has had; it is raised before a new one is sent, so
no sent delivery is above it. Two cases are not detected: a file and its mark that were restored together over the
existing ones, within the same boot or after the outbox was closed; and a virtual machine that is resumed from a
snapshot of its memory. A power failure is detected where the system has a boot id, as Linux does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sfwebhooks import system
from sfwebhooks.errors import OutboxError
from sfwebhooks.files import open_regular
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.permissions import make, open_ours

log = logging.getLogger("spiderfoot.webhooks")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
RANDOM_BITS = 40
#: bytes of a mark: constant, so that it is overwritten in place
MARK_SIZE = 64
WRITTEN = re.compile(rb"([0-9a-z]+) ([0-9]+) *\n")
POWER = "the machine stopped while it was open, and the last accepted events may be lost"
BACK = "it lacks deliveries that were sent from it before, like a restored backup"
COPY = "it is a copy of the original file"
#: number of rows so far, including deleted ones
ROWS = "reused + coalesce((SELECT max(number) FROM delivery), 0)"


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the id of this boot of the machine; empty if the system has none."""
    return system.proc("sys/kernel/random/boot_id").strip()


class Position(NamedTuple):
    """The position of a file or a mark."""

    series: str
    #: number of deliveries so far, including deleted ones
    rows: int


class HighWaterMark:
    """The high-water mark of an outbox, in a file next to it.

    Args:
        outbox: real path of its file, not a link.
    """

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_suffix(".mark")

    def read(self) -> Position | None:
        """Return its position; None if it is missing or unreadable."""
        with contextlib.suppress(OSError), _closing(open_regular(self._path, os.O_RDONLY, links=False)) as file:
            return _parsed(os.read(file, MARK_SIZE))
        return None

    def raise_to(self, here: Position) -> None:
        """Raise it to the file's position, unless it is there already or belongs to another series.

        Raises:
            OSError: it cannot be written.
        """
        try:
            with _locked(open_ours(self._path)) as file:  # processes that send to different URLs raise it
                before = _parsed(os.read(file, MARK_SIZE))
                if before is None or (before.series == here.series and before.rows < here.rows):
                    os.lseek(file, 0, os.SEEK_SET)
                    os.write(file, _written(here))
        except (OSError, OutboxError):  # it is another user's, or not a file
            self.replace(here)

    def replace(self, here: Position) -> None:
        """Write the file's position, whatever the mark has, and whichever user owns it.

        Raises:
            OSError: it cannot be written.
        """
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with _closing(make(new)) as file:
                os.write(file, _written(here))
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)


def check_series(sql: Sql, outbox: Path, mark: HighWaterMark, boot: str, closed: bool) -> None:
    """Begin a new series if the file's next numbers may have been given before.

    Several processes may call this at once, each after opening the file.

    Args:
        boot: result of `boot_id`.
        closed: whether the file was closed before it was opened now, or is open in another process.

    Raises:
        sqlite3.Error: the file cannot be written.
        OSError: its mark cannot be written.
    """
    now = _FileState(boot, outbox.stat().st_ino, closed, mark)
    if now.at(sql) is None:
        return
    sql.execute("BEGIN IMMEDIATE")
    try:
        why = now.at(sql)  # again, under the lock
        if why is not None:
            now.write(sql, why)
        sql.execute("COMMIT")
    except BaseException:
        if sql.in_transaction:  # a full disk has ended it already
            sql.execute("ROLLBACK")
        raise
    if why:
        log.warning("webhooks: outbox %s: %s; messages are numbered from 1 again in a new series", outbox, why)


def begin_series(sql: Sql) -> int:
    """Begin a series; return its number in the file, which is higher than those before it."""
    return int(sql.execute("INSERT INTO series (name) VALUES (?)", (_new_name(),)).lastrowid or 0)


def end_numbers(sql: Sql) -> None:
    """Let the next message of each scan be the first one of the present series."""
    sql.execute("INSERT INTO earlier SELECT * FROM sequence")
    sql.execute("DELETE FROM sequence")


def renew_series(sql: Sql) -> None:
    """Begin a series in a file that has one."""
    sql.execute("UPDATE file SET series = ?", (begin_series(sql),))
    end_numbers(sql)


def position(sql: Sql) -> Position | None:
    """Return the position of the file; None if it has no series yet."""
    row = sql.execute(f"SELECT name, {ROWS} FROM file JOIN series ON series = series.number").fetchone()  # noqa: S608
    return Position(*row) if row else None


class _FileState(NamedTuple):
    """The state of a file when it was opened."""

    boot: str
    inode: int
    closed: bool
    mark: HighWaterMark

    def at(self, sql: Sql) -> str | None:
        """Return why the file needs a new series; empty if only its state has to be written; None if neither."""
        has, mark = position(sql), self.mark.read()
        if has is None:
            return ""
        boot, inode = sql.execute("SELECT boot, inode FROM file").fetchone()
        rebooted = bool(self.boot and boot) and self.boot != boot
        if rebooted and not self.closed:
            return POWER
        if mark and (mark.series != has.series or mark.rows > has.rows):
            return BACK
        if inode != self.inode:
            return COPY
        return "" if self.boot and self.boot != boot else None

    def write(self, sql: Sql, why: str) -> None:
        """Write the state into the file, and begin its first series, or a new one if there is a reason."""
        if not why and position(sql):
            sql.execute("UPDATE file SET boot = ?, inode = ?", (self.boot, self.inode))
            return
        sql.execute(
            "INSERT INTO file VALUES (1, ?, ?, ?, 0, 0, NULL, 0) ON CONFLICT (id) DO UPDATE"
            " SET series = excluded.series, boot = excluded.boot, inode = excluded.inode",
            (begin_series(sql), self.boot, self.inode),
        )
        end_numbers(sql)
        has = position(sql)
        if has:
            self.mark.replace(has)


def _new_name() -> str:
    """Return a unique name for a series: epoch milliseconds and random bits, in base 36."""
    number, name = (time.time_ns() // 1_000_000 << RANDOM_BITS) | secrets.randbits(RANDOM_BITS), ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        name = DIGITS[digit] + name
    return name


@contextlib.contextmanager
def _closing(file: int) -> Iterator[int]:
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _locked(file: int) -> Iterator[int]:
    try:
        system.lock(file, wait=True)
        yield file
    finally:
        system.unlock(file)


def _written(here: Position) -> bytes:
    return f"{here.series} {here.rows}".ljust(MARK_SIZE - 1).encode() + b"\n"


def _parsed(text: bytes) -> Position | None:
    match = WRITTEN.fullmatch(text)
    return Position(match[1].decode(), int(match[2])) if match else None
