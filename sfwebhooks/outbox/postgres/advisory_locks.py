"""Locks between all processes that use an outbox on PostgreSQL, on whatever machine: the server has them for the
session of a process (`lock_session`), and frees them when it ends.

Each one that is taken gets a number, which `ownership` has. A process that was stopped or cut off, and does not know
yet that another one has taken over, has an old number: `Fence` refuses what it settles.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sfwebhooks import system
from sfwebhooks.errors import FencedError, OutboxBusyError, OutboxError
from sfwebhooks.outbox.database import ALONE, Database, Senders, Sql
from sfwebhooks.outbox.locks import NOTE_MAX, note_path, read_note
from sfwebhooks.outbox.permissions import make_folder, open_ours
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.lock_session import UNUSED, WANTED, LockSession, open_session, session_of
from sfwebhooks.system import uptime

#: where `schema` announces new deliveries
NEW = "sfwebhooks_new"
#: the number of an ownership is the time in microseconds, or one more than the last: a server that takes over from one
#: that failed may not know the last ones, and must not give them again. Who was the last owner (?3) keeps its number
TAKEN = (
    "INSERT INTO ownership VALUES (?1, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint), '', ?2, NULL)"
    " ON CONFLICT (name) DO UPDATE SET number = CASE WHEN ownership.number = ?3 THEN ?3"
    " ELSE greatest(ownership.number + 1, excluded.number) END,"
    " machine = excluded.machine, free_since = NULL RETURNING number"
)
NUMBER, NOTE = "SELECT number FROM ownership WHERE name = ?", "SELECT note, machine FROM ownership WHERE name = ?"
NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
#: the machine of a lock's last holder, and for how many seconds nobody has been seen to hold it
FREE_FOR = (
    f"UPDATE ownership SET free_since = coalesce(free_since, {NOW}) WHERE name = ?"  # noqa: S608
    f" RETURNING machine, {NOW} - free_since"
)
RELEASE = "UPDATE ownership SET free_since = 0 WHERE name = $1 AND number = $2"
FORGET = "DELETE FROM ownership WHERE name = $1 AND number = $2"
#: a scan is vouched for while the time since which its lock is free is still to come
VOUCH = (
    f"INSERT INTO ownership VALUES (?1, 0, '', ?2, {NOW} + ?3) ON CONFLICT (name) DO UPDATE"  # noqa: S608
    " SET machine = excluded.machine, free_since = excluded.free_since"
)
VOUCH_NO_LONGER = "DELETE FROM ownership WHERE name = ? AND number = 0"
#: locks that sessions have, or share (postgresql.org/docs/current/view-pg-locks.html), and the name of each
HELD = (
    "pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32) | objid::bigint = hashtextextended({}, to_regclass('ownership')::oid::bigint)"
)
#: how many sessions have a lock, or vouch for its scan
HOLDERS = (
    f"SELECT (SELECT count(*) FROM ownership WHERE name = ?1 AND free_since > {NOW}) + count(*)"  # noqa: S608
    f" FROM {HELD.format('?1')}"
)
#: names of the locks of scans, endpoints and URLs, and of the one that all processes share that send
SCAN, ENDPOINT, URL, SENDERS = "scan-", "endpoint-", "url-", "senders"
URLS = f"SELECT name FROM ownership WHERE name LIKE '{URL}%' AND EXISTS (SELECT 1 FROM {HELD.format('name')})"  # noqa: S608
#: the name of this machine
MACHINE = socket.gethostname()[:64]
#: seconds for which it is known which these processes are
COUNT_SECONDS = 1.0
#: seconds between two requests to release a lock
WANT_SECONDS = 2.0
#: seconds within which a scan that has lost its session takes its lock again
ALIVE_SECONDS = 60.0
#: seconds after which the end of one that has not is left to other machines, which know less of it
ELSEWHERE_SECONDS = 600.0


class Shared(Database, Protocol):
    """A server as the locks use it."""

    dsn: Dsn


class AdvisoryLock:
    """A named lock of an outbox on PostgreSQL, with the methods of a `Lock` between the processes of a machine.

    Args:
        notes_here: whether this machine keeps what its last holder has noted, for `noted_here`.
    """

    def __init__(self, locks: AdvisoryLocks, name: str, notes_here: bool = False) -> None:
        self._locks = locks
        self._name = name
        self._has_file = notes_here
        #: the session that has it, and the number of this ownership, or of the last one; negative: there was none
        self._session: LockSession | None = None
        self._number = -1
        self._changed_hands = False
        #: whether the server has a note of this ownership
        self._is_noted = False
        self._file: int | None = None
        #: when the holder was asked for it last
        self._wanted_at = float("-inf")
        #: held while the lock is taken or released, and while a note is written
        self._guard = threading.Lock()
        _ALL.add(self)

    @property
    def held(self) -> bool:
        """Whether this process holds it: its session lives, and the server has answered lately."""
        session = self._session
        return session is not None and session.is_alive

    def take(self) -> bool:
        """Take the lock if it is free; return whether this process holds it now, under a new number.

        Raises:
            OutboxError: the server cannot be used.
        """
        with self._guard:
            if self.held:
                return True
            self._close()
            session = self._locks.session()
            try:
                is_ours = session.take(self._name, self)
            except OutboxBusyError:
                if session.trouble != UNUSED:
                    raise
                session = self._locks.session()  # another thread has just closed the one that nobody used
                is_ours = session.take(self._name, self)
            if not is_ours:
                return False
            try:
                number = self._locks.new_number(self._name, self._number)
            except BaseException:  # without a number nobody would be refused
                session.release(self._name, self)
                raise
            self._changed_hands = number != self._number >= 0
            self._session, self._number, self._is_noted = session, number, False
        return self.held

    @property
    def changed_hands(self) -> bool:
        """Whether another process had it between the last two times that this holder took it."""
        return self._changed_hands

    def check(self) -> None:
        """Check that it could be taken, now or once it is free.

        Raises:
            OutboxError: as `take` does.
        """
        self._locks.session()

    @property
    def is_free(self) -> bool:
        """Whether no process holds it.

        Raises:
            OutboxError: the server cannot be used.
        """
        return not self.held and not self._locks.holders(self._name)

    def note(self, text: str) -> None:
        """Write a short text for the next holder, and another one for the next holder on this machine, if it keeps
        them; that one is written before this returns, the other one within seconds. It may fail silently."""
        with self._guard, contextlib.suppress(OSError, OutboxError):
            session = self._session
            if session is None or not session.is_alive:  # a late thread must not overwrite the next holder's note
                return
            session.note(self._name, self._number, text)
            if not self._is_noted:
                session.post()
                self._is_noted = True
            if self._has_file:
                self._file = self._open() if self._file is None else self._file
                system.write_at(self._file, text.ljust(NOTE_MAX).encode(), 0)

    def noted(self) -> str:
        """Return the note of the last holder of the lock, or nothing."""
        with contextlib.suppress(OutboxError):
            session = open_session(self._locks.place.dsn)
            waiting = session.noted(self._name) if session else None
            return self._locks.last(self._name)[0] if waiting is None else waiting
        return ""

    def noted_here(self) -> str:
        """Return the note of the last holder of the lock on this machine, or nothing."""
        return read_note(self._path) if self._has_file else self.noted()

    def want(self) -> None:
        """Ask the holder to release it, if it has more than its share; not too often. It may fail silently."""
        if uptime() - self._wanted_at >= WANT_SECONDS:
            self._wanted_at = uptime()
            with contextlib.suppress(OutboxError):
                self._locks.session().ask(f"SELECT pg_notify('{WANTED}', $1)", self._name)

    @property
    def machine(self) -> str:
        """Name of the machine of the last holder; empty: this one."""
        name = ""
        with contextlib.suppress(OutboxError):
            name = self._locks.last(self._name)[1]
        return "" if name == MACHINE else name

    @property
    def is_wanted(self) -> bool:
        """Whether another process has asked for it since it was taken."""
        session = self._session
        return session is not None and self._name in session.wanted

    def release(self, remove: bool = False) -> None:
        """Release it. `remove` deletes its notes too: only for a name that is never used again."""
        with self._guard:
            session, self._session = self._session, None
            if session and not session.trouble:
                with contextlib.suppress(OutboxError):
                    session.post()
                    session.ask(FORGET if remove else RELEASE, self._name, self._number)
                with contextlib.suppress(OutboxError):
                    session.release(self._name, self)
            self._close()
            if remove and session and self._has_file:
                system.remove(self._path)

    @property
    def _path(self) -> Path:
        return note_path(self._locks.place.path, self._name)

    def _open(self) -> int:
        make_folder(self._path.parent)
        return open_ours(self._path)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._session = self._file = None

    def _forget(self) -> None:
        """Leave the lock to the parent, in a forked child."""
        self._guard, self._number = threading.Lock(), -1
        self._close()


_ALL: weakref.WeakSet[AdvisoryLock] = weakref.WeakSet()


class AdvisoryLocks:
    """The locks of an outbox on PostgreSQL. To make one asks nothing of the server."""

    #: each user of the outbox sees who holds them
    are_readable = True
    #: the server gets them with the next sign of life
    notes_are_late = True

    def __init__(self, place: Shared) -> None:
        #: the server
        self.place = place
        #: endpoint -> number of the ownership that this outbox had last
        self._numbers: dict[str, int] = {}
        #: the session that hears of new deliveries, and whether it has
        self._hears_by: LockSession | None = None
        self._has_heard = False
        #: the processes that send, and when they were counted
        self._senders, self._counted_at = ALONE, float("-inf")

    def scan(self, scan_id: str) -> AdvisoryLock:
        """Return the lock that a scan's process holds while it lives."""
        return AdvisoryLock(self, f"{SCAN}{scan_id}")

    def endpoint(self, name: str) -> AdvisoryLock:
        """Return the lock of the process that sends to an endpoint, at any URL."""
        return AdvisoryLock(self, f"{ENDPOINT}{name}")

    def url(self, url_id: str) -> AdvisoryLock:
        """Return the lock of the process that sends to a URL; `url_id` reveals nothing about the URL."""
        return AdvisoryLock(self, f"{URL}{url_id}", notes_here=True)

    def check_fence(self, sql: Sql, endpoints: Iterable[str]) -> None:
        """Check, within a write transaction, that no other process has taken over endpoints that this one has owned.

        Raises:
            FencedError: one has.
        """
        lost = []
        for endpoint in endpoints:
            row = sql.execute(NUMBER, (f"{ENDPOINT}{endpoint}",)).fetchone() if endpoint in self._numbers else None
            if row and row[0] != self._numbers[endpoint]:
                lost.append(endpoint)
        if lost:
            raise FencedError(f"outbox {self.place.dsn}: another process sends to {', '.join(lost)} now", tuple(lost))

    def session(self) -> LockSession:
        """Return the session of this process.

        Raises:
            OutboxError: the server cannot be used.
        """
        with self.place.reading():  # which creates the tables if there are none
            return session_of(self.place.dsn)

    def new_number(self, name: str, before: int) -> int:
        """Give a new ownership of a lock its number, in the order of all writes, and return it.

        Args:
            before: number of the last ownership of the same holder, which is kept if nobody has owned it since.
        """
        with self.place.writing() as sql:
            number = int(sql.execute(TAKEN, (name, MACHINE, before)).fetchone()[0])
        if name.startswith(ENDPOINT):
            self._numbers[name[len(ENDPOINT) :]] = number
        return number

    def last(self, name: str) -> tuple[str, str]:
        """Return the last note of a lock that has reached the server, and the machine of its last holder."""
        with self.place.reading() as sql:
            row = sql.execute(NOTE, (name,)).fetchone()
        return (row[0], row[1]) if row else ("", "")

    def may_be_alive(self, scan_id: str) -> bool:
        """Return whether a scan runs, or is not to be reported as dead here yet: its process may have lost its session,
        and be about to take the lock again, and its own machine knows more of it.

        Raises:
            OutboxError: the server cannot be used.
        """
        name = f"{SCAN}{scan_id}"
        if self.holders(name):
            return True
        with self.place.writing() as sql:
            row = sql.execute(FREE_FOR, (name,)).fetchone()
        return row is not None and row[1] < (ALIVE_SECONDS if row[0] == MACHINE else ELSEWHERE_SECONDS)

    def vouch(self, scan_id: str, seconds: float) -> None:
        """Let a scan count as running for some seconds from now although no session holds its lock: its events are in
        the spool of this machine. 0: no longer."""
        name = f"{SCAN}{scan_id}"
        with self.place.writing() as sql:
            sql.execute(*((VOUCH, (name, MACHINE, seconds)) if seconds else (VOUCH_NO_LONGER, (name,))))

    def holders(self, name: str) -> int:
        """Return how many sessions have a lock; one more for a scan that is vouched for."""
        with self.place.reading() as sql:
            return int(sql.execute(HOLDERS, (name,)).fetchone()[0])

    def senders(self) -> Senders:
        """Return the processes that want to send, with this one; they may be a second old.

        Raises:
            OutboxError: the server cannot be used.
        """
        if uptime() - self._counted_at >= COUNT_SECONDS:
            self.session().join(SENDERS)
            with self.place.reading() as sql:
                urls = frozenset(name[len(URL) :] for (name,) in sql.execute(URLS))
            self._senders, self._counted_at = Senders(self.holders(SENDERS), urls), uptime()
        return self._senders

    def has_heard(self) -> bool:
        """Return whether there may be new deliveries since the last call; the first call begins to listen.

        Raises:
            OutboxError: the server cannot be used.
        """
        if self._hears_by is None or self._hears_by.trouble:
            self._hears_by = self.session()
            self._hears_by.listen(NEW, self._hear)
            self._has_heard = True  # what was announced meanwhile is not repeated
        heard, self._has_heard = self._has_heard, False
        return heard

    def close(self) -> None:
        """Stop listening, and end the session if nobody else in this process uses it."""
        if self._hears_by:
            self._hears_by.stop_listening(self._hear)
        self._hears_by, session = None, open_session(self.place.dsn)
        if session:
            session.close_unused()

    def _hear(self) -> None:
        self._has_heard = True
