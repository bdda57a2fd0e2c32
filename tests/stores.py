"""The stores of an outbox: a file in the data folder, or a database on a PostgreSQL server.

A module with `STORES` runs on both. The settings that its tests write name no outbox, so that it is a file; while
ADDRESS is in the environment, that database takes the place of such a file for all settings that this process reads, or
one of `tests.processes`.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from sfwebhooks.config.settings import Settings
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn, Place
from sfwebhooks.terminal import arguments
from tests.builders import PATIENCE
from tests.postgres import Postgres
from tests.threads import until

BOTH = ("sqlite", "postgres")
#: ends the other sessions with a database
OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
#: what tests may have changed besides rows: tables, columns, triggers, privileges, the version
SHAPE = f"""
    SELECT (SELECT string_agg(concat(oid, relkind, relnatts, relacl), ' ' ORDER BY oid) FROM pg_class
            WHERE relnamespace = '{SCHEMA}'::regnamespace), (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal),
        (SELECT nspacl::text FROM pg_namespace WHERE nspname = '{SCHEMA}'), (SELECT number FROM {SCHEMA}.schema_version)
"""
#: tables that have, or had, rows
USED = f"""
    SELECT relname FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'r'
        AND relname NOT IN ('schema_version', 'period') AND pg_relation_size(oid) > 0
"""
#: lets rows be numbered from 1 again
RESTART = f"SELECT setval(oid, 1, false) FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'S'"
#: the variable with the address of the database
ADDRESS = "SFWEBHOOKS_TESTS_OUTBOX"


def place_in(folder: Path) -> Place:
    """Return where the outbox of a data folder is."""
    address = os.environ.get(ADDRESS)
    return Dsn(address, folder.absolute()) if address else folder / FILE


def name_the_server(patch: Callable[[Any, str, Any], None]) -> None:
    """Let settings that name no outbox, and commands without settings, use the database at ADDRESS, if there is one.

    Args:
        patch: sets an attribute.
    """
    patch(Settings, "place", _place)
    patch(Settings, "is_at", _is_at)
    patch(arguments, "known_settings", _known_settings)
    if ADDRESS in os.environ:
        from sfwebhooks.outbox.postgres import advisory_locks

        patch(advisory_locks, "ALIVE_SECONDS", 0.0)  # a scan that has lost its lock is dead: none lives on here


_OWN_PLACE, _OWN_IS_AT, _OWN_SETTINGS = Settings.place, Settings.is_at, arguments.known_settings


def _place(self: Settings, data_folder: Path) -> Place:
    return _OWN_PLACE(self, data_folder) if self.outbox or self.outbox_mistake else place_in(data_folder)


def _is_at(self: Settings, place: Place) -> bool:
    if self.outbox or self.outbox_mistake or ADDRESS not in os.environ:
        return _OWN_IS_AT(self, place)
    return isinstance(place, Dsn) and place.text == os.environ[ADDRESS]


def _known_settings(given: argparse.Namespace) -> Settings:
    return _OWN_SETTINGS(given) or Settings()


class Databases:
    """Databases with the tables of an outbox, which are emptied after a test: to make one takes ten times as long.

    Args:
        template: the name of one of which nobody uses the tables.
    """

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._shape = server.execute(SHAPE, server.dsn(template))
        self._spare: list[str] = []

    @contextmanager
    def one(self) -> Iterator[str]:
        """Lend one by its address."""
        address = self._spare.pop() if self._spare else self._server.create_database(self._template)
        try:
            yield address
        finally:
            if self._is_emptied(address):
                self._spare.append(address)
            else:
                self._server.drop_database(address)

    def close(self) -> None:
        """Drop them."""
        while self._spare:
            self._server.drop_database(self._spare.pop())

    def _is_emptied(self, address: str) -> bool:
        """End all sessions, and delete all rows; return whether it is as a new one."""
        import psycopg

        with psycopg.connect(address, autocommit=True) as connection:
            until(lambda: not connection.execute(OTHERS).fetchall())
            if connection.execute(SHAPE).fetchall() != self._shape:
                return False
            used = ", ".join(f"{SCHEMA}.{name}" for (name,) in connection.execute(USED))
            if used:
                connection.execute(f"TRUNCATE {used}".encode())
            connection.execute(RESTART)
        return True


class Locked:
    """An outbox to which another process writes, so that nobody else can."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._other: Any = None

    def lock(self) -> None:
        """Begin to write."""
        if isinstance(self._place, Dsn):
            import psycopg

            from sfwebhooks.outbox.postgres.server import WRITING

            schema = f"SELECT oid::bigint::int FROM pg_namespace WHERE nspname = '{SCHEMA}'"
            self._other = psycopg.connect(self._place.text, autocommit=True)
            self._other.execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITING}, ({schema}))".encode())
        else:
            self._other = sqlite3.connect(self._place, isolation_level=None, timeout=PATIENCE, check_same_thread=False)
            self._other.execute("BEGIN IMMEDIATE")

    def free(self) -> None:
        """End without having written anything."""
        self._other.execute("ROLLBACK")
        self._other.close()
