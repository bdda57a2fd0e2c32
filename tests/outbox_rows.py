"""The rows of an outbox as a test wants to see them, with ids as text; and the work of a statement."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sfwebhooks.events import delivery_id, id_of_key
from sfwebhooks.outbox.file import File
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn, Place

#: tables of the outbox in this form; only for reading
VIEWS = (
    "CREATE TEMP VIEW event AS SELECT number, id_of(id) id, scan, type, severity, special, at, data,"
    " coalesce((SELECT id FROM scan WHERE number = scan), '') scan_id FROM {0}.event",
    "CREATE TEMP VIEW delivery AS SELECT delivery_id((SELECT id FROM event WHERE number = d.event), d.endpoint) id, d.*"
    " FROM {0}.delivery d",
)
#: the functions of these on PostgreSQL; the masks of the endpoints are at hand there
ID_OF = r"""
    CREATE OR REPLACE FUNCTION id_of(bytea) RETURNS text LANGUAGE sql
        AS $$ SELECT regexp_replace(encode($1, 'hex'), '(.{8})(.{4})(.{4})(.{4})(.{12})', '\1-\2-\3-\4-\5') $$;
    CREATE OR REPLACE FUNCTION delivery_id(text, text) RETURNS text LANGUAGE sql
        AS $$ SELECT id_of(event_key_of($1, $2)) $$;
"""


def rows_of(outbox: Outbox | Place, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement at an outbox, or at an outbox's place; for a SELECT, ids are texts."""
    place = outbox.place if isinstance(outbox, Outbox) else outbox
    if isinstance(place, Dsn):
        return _rows_at(place, query, values)
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.create_function("id_of", 1, id_of_key)
        connection.create_function("delivery_id", 2, delivery_id)
        for view in VIEWS if query.startswith("SELECT") else ():
            connection.execute(view.format("main"))
        return connection.execute(query, values).fetchall()


def file_of(outbox: Outbox) -> File:
    """Return the file of an outbox that is one."""
    assert isinstance(outbox.database, File)
    return outbox.database


def _rows_at(place: Dsn, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement in SQLite's words at an outbox on PostgreSQL."""
    other = Outbox(place)
    try:
        with other.database.reading() as session:
            if query.startswith("SELECT"):
                session.execute("SELECT event_key_of('')")  # gives it the masks
                session.connection.execute(ID_OF.encode())  # type: ignore[attr-defined]
                for view in VIEWS:
                    session.execute(f"{view.format('sfwebhooks')} ORDER BY number")  # as SQLite reads them
            if "TRIGGER" in query:
                session.connection.execute(_trigger(query).encode())  # type: ignore[attr-defined]
                return []
            found = session.execute(re.sub("x('[0-9a-f]+')", r"decode(\1, 'hex')", query), values)
            return found.fetchall() if found.description else []  # type: ignore[attr-defined]
    finally:
        other.close()


def _trigger(query: str) -> str:
    """Return what creates a trigger, or removes it, on PostgreSQL."""
    if query.startswith("DROP TRIGGER "):
        return f'DROP FUNCTION "{query[13:]}" CASCADE'
    match = re.fullmatch(r"CREATE TRIGGER (\w+) (.*) ON (\w+)(?: WHEN (.*?))? BEGIN (.*) END", query, re.DOTALL)
    assert match
    name, moment, table, which, done = match.groups()
    done = re.sub(r"SELECT raise\(ABORT, ('.*?')\)", r"RAISE EXCEPTION \1", done, flags=re.IGNORECASE)
    if (moment, table) == ("AFTER UPDATE", "delivery"):  # not called for a row that moves to another partition
        moment = "BEFORE UPDATE"
    which = f"pg_trigger_depth() < 2 AND ({which or 'true'})"  # as SQLite's, whose own changes call none
    body = f"BEGIN IF {which} THEN {done} END IF; RETURN new; END"
    return (
        f'CREATE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$;'
        f' CREATE TRIGGER "{name}" {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION "{name}"()'
    )


@contextmanager
def steps(outbox: Outbox) -> Iterator[list[int]]:
    """Count the steps of SQLite's machine, in tens, which its speed and that of the disk do not change."""
    counted = [0]

    def step() -> int:
        counted[0] += 1
        return 0

    with outbox.database.reading() as connection:
        assert isinstance(connection, sqlite3.Connection)
        connection.set_progress_handler(step, 10)
        try:
            yield counted
        finally:
            connection.set_progress_handler(None, 10)
