"""The series of an outbox's numbers: which one new messages are numbered in, and when a new one is begun.

Within a series no number is given twice. A file that lost commits would give the same numbers to other messages, so
its numbers go on in a new series, from 1, where it is opened

- after another boot, and was not closed: the machine lost power, and with it what was not on the disk yet;
- older than the mark beside it, or in another series: it is a backup, or its mark is that of another file;
- under another inode: it is a copy, and the original may go on too.

The mark names the series, and how many deliveries the file has had; it is raised before one that is new goes out, so
nothing that was sent is above it. Not seen are a file and its mark that were put back together over those that are
there, within the same boot or after the outbox was closed, and a virtual machine that is resumed from a snapshot of
its memory. A power failure is seen where the system names its boot, as Linux does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sfwebhooks import system
from sfwebhooks.errors import OutboxError
from sfwebhooks.files import open_regular
from sfwebhooks.outbox.permissions import make, open_ours

log = logging.getLogger("spiderfoot.webhooks")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
RANDOM_BITS = 40
#: bytes of a mark; always as many, so that it is written over and not made longer
MARK_SIZE = 64
WRITTEN = re.compile(rb"([0-9a-z]+) ([0-9]+) *\n")
POWER = "the machine stopped while it was open, and may have lost what was accepted last"
BACK = "it does not have all that was sent from it before, as a backup that was put back"
COPY = "it is a copy of the file that it was"
#: how many rows there have been, with those that are deleted
ROWS = "reused + coalesce((SELECT max(number) FROM delivery), 0)"


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what names this boot of the machine; empty where the system does not say it."""
    return system.proc("sys/kernel/random/boot_id").strip()


class Reached(NamedTuple):
    """How far a file, or a mark, has come."""

    series: str
    #: deliveries that there have been, with those that are deleted
    rows: int


class Mark:
    """The high-water mark beside an outbox.

    Args:
        outbox: its file, and not a link to it.
    """

    def __init__(self, outbox: Path) -> None:
        self._path = outbox.with_suffix(".mark")

    def read(self) -> Reached | None:
        """Return what it says; None if it is not there, or says nothing."""
        with contextlib.suppress(OSError), _closing(open_regular(self._path, os.O_RDONLY, links=False)) as file:
            return _parsed(os.read(file, MARK_SIZE))
        return None

    def raise_to(self, reached: Reached) -> None:
        """Write how far the file has come, unless it says so already, or has become that of another series.

        Raises:
            OSError: it cannot be written.
        """
        try:
            with _locked(open_ours(self._path)) as file:  # processes that send to different URLs raise it
                before = _parsed(os.read(file, MARK_SIZE))
                if before is None or (before.series == reached.series and before.rows < reached.rows):
                    os.lseek(file, 0, os.SEEK_SET)
                    os.write(file, _written(reached))
        except (OSError, OutboxError):  # it is another user's, or not a file
            self.replace(reached)

    def replace(self, reached: Reached) -> None:
        """Write how far the file has come, whatever was there, and whoever it belongs to.

        Raises:
            OSError: it cannot be written.
        """
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with _closing(make(new)) as file:
                os.write(file, _written(reached))
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)


def check_series(sql: sqlite3.Connection, outbox: Path, mark: Mark, boot: str, closed: bool) -> None:
    """Begin a new series if the numbers that the file would give next may have been given before.

    Several processes may call this at once, each when it has opened the file.

    Args:
        boot: as `boot_id` returns it.
        closed: whether the file was closed before it was opened now, or is open in another process.

    Raises:
        sqlite3.Error: the file cannot be written.
        OSError: its mark cannot be written.
    """
    now = _Look(boot, outbox.stat().st_ino, closed, mark)
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
        log.warning("webhooks: outbox %s: %s; messages are numbered from 1 again, in a new series", outbox, why)


def begin_series(sql: sqlite3.Connection) -> int:
    """Begin a series; return its number in the file, which is higher than those before it."""
    return int(sql.execute("INSERT INTO series (name) VALUES (?)", (_new_name(),)).lastrowid or 0)


def reached(sql: sqlite3.Connection) -> Reached | None:
    """Return how far the file has come; None if it has no series yet."""
    row = sql.execute(f"SELECT name, {ROWS} FROM file JOIN series ON series = series.number").fetchone()  # noqa: S608
    return Reached(*row) if row else None


class _Look(NamedTuple):
    """What is known where a file was opened."""

    boot: str
    inode: int
    closed: bool
    mark: Mark

    def at(self, sql: sqlite3.Connection) -> str | None:
        """Return why the file needs a new series; empty if it needs none, but to be written; None if neither."""
        has, mark = reached(sql), self.mark.read()
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

    def write(self, sql: sqlite3.Connection, why: str) -> None:
        """Write what is known into the file, and begin its first series, or a new one if there is a reason."""
        if not why and reached(sql):
            sql.execute("UPDATE file SET boot = ?, inode = ?", (self.boot, self.inode))
            return
        sql.execute(
            "INSERT INTO file VALUES (1, ?, ?, ?, 0) ON CONFLICT (id) DO UPDATE"
            " SET series = excluded.series, boot = excluded.boot, inode = excluded.inode",
            (begin_series(sql), self.boot, self.inode),
        )
        sql.execute("INSERT INTO earlier SELECT * FROM sequence")
        sql.execute("DELETE FROM sequence")
        has = reached(sql)
        if has:
            self.mark.replace(has)


def _new_name() -> str:
    """Return a name that no other series has: epoch milliseconds and random bits, in base 36."""
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


def _written(reached: Reached) -> bytes:
    return f"{reached.series} {reached.rows}".ljust(MARK_SIZE - 1).encode() + b"\n"


def _parsed(text: bytes) -> Reached | None:
    match = WRITTEN.fullmatch(text)
    return Reached(match[1].decode(), int(match[2])) if match else None
