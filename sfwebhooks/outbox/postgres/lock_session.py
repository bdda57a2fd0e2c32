"""The session of this process with PostgreSQL that has its locks: the server frees them when it ends, however that
happens.

It is used for nothing else. A thread sends a short query every BEAT_SECONDS and receives notifications. A server that
has not answered for ANSWER_SECONDS counts as gone, long before it ends a session that is silent for SILENT_SECONDS:
so a process stops before another one can start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import weakref
from typing import Callable

import psycopg

from sfwebhooks.errors import NO_MEMORY, OutboxBusyError, OutboxError, ShortageError, is_shortage
from sfwebhooks.outbox.postgres.connecting import Row, check_pooler, check_version, connected, exchanged, first_line
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn
from sfwebhooks.outbox.postgres.identity import note_log_end
from sfwebhooks.system import POLL_IN, Poll, uptime

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two signs of life
BEAT_SECONDS = 2.0
#: seconds without an answer after which this process owns nothing
ANSWER_SECONDS = 8.0
#: seconds without a query, or without an acknowledgement, after which the server ends the session
SILENT_SECONDS = 20
#: seconds until the next try to connect after a failure
AGAIN_SECONDS = 1.0
#: seconds without locks and listeners after which a session ends
UNUSED_SECONDS = 10.0
#: the trouble of such a one
UNUSED = "closed"
#: where processes name the locks that they want
WANTED = "sfwebhooks_wanted"
#: how the server finds out that the machine of this process is gone, or the process stopped
SERVER = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
    f" SET tcp_user_timeout = '{SILENT_SECONDS}s'; SET synchronous_commit = off; SET statement_timeout = '5s';"
    f" SET lock_timeout = '3s'; SET idle_session_timeout = '{SILENT_SECONDS}s';"
    " SET client_connection_check_interval = '5s'"
)
#: the process of the server, whether that is a standby, and how far its log is on its disk
PID = (
    "SELECT pg_backend_pid(), pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN 0"
    " ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') END"
)
#: number of a lock, among those of all outboxes of a database
KEY = "hashtextextended($1, to_regclass('ownership')::oid::bigint)"
LOCK, SHARE, UNLOCK = (
    f"SELECT pg_{what}({KEY})" for what in ("try_advisory_lock", "try_advisory_lock_shared", "advisory_unlock")
)
#: the notes of holders that have written some, as JSON
POST = (
    "UPDATE ownership o SET note = n.note FROM json_to_recordset($1::json) AS n(name text, number bigint, note text)"
    " WHERE o.name = n.name AND o.number = n.number"
)


class LockSession:
    """A session; broken once the server or the network fails it; another one is opened then.

    Raises:
        OutboxBusyError: the server cannot be reached.
        PoolerError: what answers lends its sessions to several clients, which would share the locks.
    """

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        #: why it is broken; empty: it is not
        self.trouble = ""
        #: held during a query
        self._turn = threading.RLock()
        #: name of a taken lock -> its holder within this process
        self._holders: dict[str, object] = {}
        #: names of those that others want
        self.wanted: set[str] = set()
        self._joined = False
        #: channel -> what is called when something was notified there
        self._heard: dict[str, list[Callable[[], None]]] = {}
        #: name of a lock -> number of the ownership, and the note that the server does not have yet
        self._notes: dict[str, tuple[int, str]] = {}
        self._noting = threading.Lock()
        self._connection = connected(dsn)
        self._pg = self._connection.pgconn
        self._answered_at = uptime()
        #: when it was used last
        self.wanted_at = uptime()
        try:
            check_version(self._connection, dsn)
            self._server_pid = self._pid()
            if self._server_pid != self._pg.backend_pid:
                check_pooler(dsn, self._pid)
            self._ask_all(SERVER)
            if "search_path" not in dsn.parts.get("options", ""):
                self.ask(f"SET search_path = {SCHEMA}")
            self._thread = threading.Thread(target=self._live, name="webhooks-locks", daemon=True)
            self._thread.start()
        except RuntimeError as error:
            self.close()
            raise ShortageError(f"outbox {dsn}: no thread can be started for its locks") from error
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the server has answered lately, so that it has not ended the session."""
        return not self.trouble and uptime() - self._answered_at < ANSWER_SECONDS

    def take(self, name: str, holder: object) -> bool:
        """Take a lock if it is free; return whether the holder has it now. Another holder within this process excludes
        it as one of another process would.

        Raises:
            OutboxBusyError: the session is broken.
        """
        with self._turn:
            self.wanted_at = uptime()
            if name in self._holders:
                self._beat()
                return self._holders[name] is holder
            (answer,) = self.ask(LOCK, name)[0]
            if answer is None:
                raise OutboxBusyError(f"outbox {self._dsn} has no tables yet")
            is_ours = answer == "t"
            if is_ours:
                self._holders[name] = holder
                self.wanted.discard(name)
            return is_ours

    def join(self, name: str) -> None:
        """Have a lock together with other processes until the session ends, and hear which locks they want.

        Raises:
            OutboxBusyError: the session is broken.
        """
        with self._turn:
            if not self._joined:
                self.ask(SHARE, name)
                self.ask(f"LISTEN {WANTED}")
                self._joined = True

    def release(self, name: str, holder: object) -> None:
        """Release a lock that the holder has; if that fails, the session ends, and with it the lock."""
        with self._turn:
            self.wanted_at = uptime()
            if self._holders.get(name) is holder:
                del self._holders[name]
                with contextlib.suppress(OutboxError):
                    self.ask(UNLOCK, name)

    def note(self, name: str, number: int, text: str) -> None:
        """Let the next sign of life take a note along, unless the lock has a new owner by then."""
        with self._noting:
            self._notes[name] = (number, text)

    def noted(self, name: str) -> str | None:
        """Return the note of this process that the server does not have yet, if there is one."""
        waiting = self._notes.get(name)
        return waiting[1] if waiting else None

    def post(self) -> None:
        """Send the notes that the server does not have yet.

        Raises:
            OutboxBusyError: the session is broken.
        """
        with self._turn:
            with self._noting:
                notes, self._notes = self._notes, {}
            if notes:
                self.ask(
                    POST, json.dumps([{"name": name, "number": its[0], "note": its[1]} for name, its in notes.items()])
                )

    def listen(self, channel: str, hear: Callable[[], None]) -> None:
        """Call `hear`, which must not block, for each notification of a channel from now on.

        Raises:
            OutboxBusyError: the session is broken.
        """
        with self._turn:
            if channel not in self._heard:
                self._ask_all(f'LISTEN "{channel}"')
            self._heard.setdefault(channel, []).append(hear)

    def stop_listening(self, hear: Callable[[], None]) -> None:
        """Stop calling it."""
        with self._turn:
            for channel, those in [*self._heard.items()]:
                left = [one for one in those if one != hear]
                if left:
                    self._heard[channel] = left
                    continue
                del self._heard[channel]
                with contextlib.suppress(OutboxError):
                    self._ask_all(f'UNLISTEN "{channel}"')

    def ask(self, query: str, *values: object) -> list[Row]:
        """Return the rows of a query; wait at most ANSWER_SECONDS.

        Raises:
            OutboxBusyError: the session is broken, now or already.
            OutboxError: the server refuses the query.
        """
        with self._turn:
            asked_at = uptime()
            self._check()
            try:
                rows = exchanged(self._pg, query, values, ANSWER_SECONDS)
            except psycopg.ProgrammingError as error:
                raise OutboxError(f"the locks of outbox {self._dsn} cannot be used: {first_line(error)}") from error
            except (psycopg.Error, OSError) as error:
                raise self._break(first_line(error)) from error
            self._answered_at = asked_at
            heard = self._noticed()  # what has come with the answer: the socket does not show it
        for hear in heard:
            hear()
        return rows

    def close(self, trouble: str = UNUSED) -> None:
        """End the session: the server frees the locks."""
        with self._turn:
            self.trouble = self.trouble or trouble
            self._holders.clear()
            if not self._connection.closed:
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._pg.socket)) as same:
                    self._connection.close()
                    same.shutdown(socket.SHUT_RDWR)  # the thread waits for it
            self._connection.close()

    def close_unused(self) -> None:
        """End the session if no locks are held and no notifications are awaited."""
        with self._turn:
            if self._holders or self._heard or self.trouble:
                return
            self.close(UNUSED)
        if self._thread is not threading.current_thread():
            self._thread.join(AGAIN_SECONDS)

    def _forget(self) -> None:
        """Leave the session to the parent, in a forked child."""
        self.trouble, self._turn, self._noting = "it is of the parent process", threading.RLock(), threading.Lock()
        self._holders, self._heard, self._notes = {}, {}, {}

    def _check(self) -> None:
        if self.trouble:
            raise OutboxBusyError(f"the locks of outbox {self._dsn} cannot be used: {self.trouble}")

    def _ask_all(self, *statements: str) -> None:
        """Execute statements that take no values, each several with a semicolon between them."""
        for statement in statements:
            for one in statement.split(";"):
                self.ask(one)

    def _break(self, trouble: str) -> OutboxBusyError:
        """Give up the session; return the error that says why."""
        held = len(self._holders)
        self.close(trouble)
        if held:
            text = (
                "webhooks: the locks of outbox %s are lost (%s); %d were held, and are taken again when they are free"
            )
            log.warning(text, self._dsn, trouble, held)
        return OutboxBusyError(f"the locks of outbox {self._dsn} cannot be used: {trouble}")

    def _pid(self) -> int:
        """Return the id of the server's process that answers.

        Raises:
            OutboxBusyError: it is a standby, to which nothing can be written.
        """
        pid, is_standby, log_end = self.ask(PID)[0]
        if is_standby == "t":
            raise self._break("the server is a standby")
        note_log_end(self._dsn, int(log_end or 0))
        return int(pid or 0)

    def _beat(self) -> None:
        if self._pid() != self._server_pid:
            raise self._break("another session of the server answered: there is a pooler that shares sessions")

    def _live(self) -> None:
        """Send signs of life, and receive what is notified, until the session is broken, or nobody needs it."""
        poll, beat_at = Poll(), time.monotonic()
        poll.register(self._pg.socket, POLL_IN)
        while not self.trouble:
            try:
                if poll.poll(max(0, int((beat_at - time.monotonic()) * 1000))):
                    self._hear()
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + BEAT_SECONDS
                    with self._turn:
                        self._beat()
                        self.post()
                        if uptime() - self.wanted_at >= UNUSED_SECONDS:
                            self.close_unused()
            except OutboxBusyError:
                return  # `_break` has logged it
            except OutboxError as error:
                log.debug("webhooks: %s", error)
            except Exception as error:  # without signs of life it would be of no use, and no other one would be opened
                if is_shortage(error):  # there may be half an answer
                    self._break(NO_MEMORY)
                    return
                log.exception("webhooks: bug in the session of the locks")
                self.close("there is a bug, which the log shows")

    def _hear(self) -> None:
        with self._turn:
            self._check()
            try:
                self._pg.consume_input()
            except psycopg.Error as error:
                raise self._break(first_line(error)) from error
            heard = self._noticed()
        for hear in heard:
            hear()

    def _noticed(self) -> list[Callable[[], None]]:
        """Return what is to be called for the notifications that were read."""
        found: dict[str, None] = {}
        while notice := self._pg.notifies():
            found[notice.relname.decode()] = None
            if notice.relname == WANTED.encode() and notice.be_pid != self._server_pid:
                self.wanted.add(notice.extra.decode())
        return [hear for channel in found for hear in self._heard.get(channel, ())]


_sessions: dict[Dsn, LockSession] = {}
#: the last failure to connect, and when (monotonic seconds)
_failed: dict[Dsn, tuple[float, OutboxError]] = {}
_opening = threading.Lock()
_known: weakref.WeakSet[LockSession] = weakref.WeakSet()


def open_session(dsn: Dsn) -> LockSession | None:
    """Return the session of this process with a server, if there is one."""
    found = _sessions.get(dsn)
    return found if found and not found.trouble else None


def session_of(dsn: Dsn) -> LockSession:
    """Return the session of this process with a server, opened if there is none; the errors are those of `LockSession`,
    and are repeated for AGAIN_SECONDS."""
    with _opening:
        found = open_session(dsn)
        if found:
            found.wanted_at = uptime()
            return found
        failed_at, error = _failed.get(dsn, (float("-inf"), OutboxError()))
        if time.monotonic() - failed_at < AGAIN_SECONDS:
            raise error
        try:
            made = _sessions[dsn] = LockSession(dsn)
        except OutboxError as trouble:
            _failed[dsn] = (time.monotonic(), trouble)
            raise
        _known.add(made)
        return made


def _forget_all() -> None:
    global _opening
    _opening = threading.Lock()
    for session in [*_known]:
        session._forget()
    _sessions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
