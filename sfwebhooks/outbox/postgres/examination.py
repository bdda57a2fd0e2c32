"""The examination of a server for `sfwebhooks doctor`: an open Server comes in, what it says of itself goes out."""

from __future__ import annotations

from dataclasses import dataclass

from sfwebhooks.outbox.database import Database

VERSION = "SELECT current_setting('server_version'), current_schema()"
CLOCK = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
#: our tables in which the user may not do all that we do
REFUSED = """
    SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(current_schema())::oid
        AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
    ORDER BY relname
"""
#: whether the user sees the transactions of others
SEES = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
#: what keeps deleted rows from being removed: open transactions, prepared ones, replication slots
#: (postgresql.org/docs/current/routine-vacuuming.html)
HOLDERS = """
    SELECT 'process ' || pid, coalesce(usename, ''),
        CAST(extract(epoch FROM clock_timestamp() - xact_start) AS double precision)
    FROM pg_stat_activity
    WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND xact_start IS NOT NULL
        AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    UNION ALL
    SELECT 'prepared transaction ' || gid, owner,
        CAST(extract(epoch FROM clock_timestamp() - prepared) AS double precision) FROM pg_prepared_xacts
    UNION ALL
    SELECT 'replication slot ' || slot_name, '', NULL
    FROM pg_replication_slots WHERE xmin IS NOT NULL AND NOT active
"""


@dataclass(frozen=True)
class Holder:
    """What keeps the server from removing deleted rows."""

    #: such as: process 4711
    name: str
    user: str
    #: seconds since it began; None: not known
    age: float | None


@dataclass(frozen=True)
class ServerState:
    """What a server says of itself."""

    version: str
    #: the schema that has our tables
    schema: str
    #: its clock, in epoch seconds
    clock_at: float
    #: our tables in which the user may not do all that we do
    refused: tuple[str, ...]
    #: whether the user sees the transactions of all others
    sees_all: bool
    #: the oldest first
    holders: tuple[Holder, ...]


def state_of_server(server: Database) -> ServerState:
    """Return what a server says of itself.

    Raises:
        OutboxError: it cannot be used.
    """
    with server.reading() as sql:
        version, schema = sql.execute(VERSION).fetchone()
        (clock_at,) = sql.execute(CLOCK).fetchone()
        refused = tuple(name for (name,) in sql.execute(REFUSED))
        (sees,) = sql.execute(SEES).fetchone()
        holders = [Holder(*row) for row in sql.execute(HOLDERS)]
    holders.sort(key=lambda one: float("-inf") if one.age is None else -one.age)
    return ServerState(version, schema, clock_at, refused, bool(sees), tuple(holders))
