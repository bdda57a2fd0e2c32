"""The state of an endpoint in the outbox: its health as its last sender wrote it, and an operator's orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.due import DueTimes


@dataclass(frozen=True)
class Orders:
    """An operator's orders for an endpoint."""

    #: epoch seconds before which nothing is sent
    paused_until: float = 0.0
    #: how often the operator reset it to healthy
    resets: int = 0


class EndpointStates:
    """The health of the endpoints, and the orders for them."""

    def __init__(self, database: Database, due: DueTimes) -> None:
        self._database = database
        self._due = due

    def health(self, endpoint: str) -> Health:
        """Return the last written health of an endpoint."""
        with self._database.reading() as sql:
            return health_of(sql.execute("SELECT * FROM health WHERE endpoint = ?", (endpoint,)).fetchone())

    def orders(self, endpoint: str) -> Orders:
        """Return the operator's orders for an endpoint."""
        with self._database.reading() as sql:
            row = sql.execute("SELECT paused_until, resets FROM operator WHERE endpoint = ?", (endpoint,)).fetchone()
        return Orders(*row) if row else Orders()

    def pause(self, endpoint: str, until: float) -> None:
        """Send nothing to an endpoint before a time (epoch seconds)."""
        with self._database.writing() as sql:
            sql.execute(
                "INSERT INTO operator VALUES (?1, ?2, 0) ON CONFLICT (endpoint) DO UPDATE SET paused_until = ?2",
                (endpoint, until),
            )

    def resume(self, endpoint: str, now: float) -> None:
        """Resume sending to an endpoint at once, whatever it answered."""
        self._due.make_due(endpoint, now)  # first: if this is killed, deliveries due in hours must not look resumed
        with self._database.writing() as sql:
            health = health_of(sql.execute("SELECT * FROM health WHERE endpoint = ?", (endpoint,)).fetchone())
            if not health.healthy:
                save_health(sql, endpoint, health.reopened(health.fingerprint))
            sql.execute(
                "INSERT INTO operator VALUES (?, 0, 1)"
                " ON CONFLICT (endpoint) DO UPDATE SET paused_until = 0, resets = operator.resets + 1",
                (endpoint,),
            )


def save_health(sql: Sql, endpoint: str, health: Health) -> None:
    """Insert or replace an endpoint's health."""
    values = [value.value if isinstance(value, Condition) else value for value in astuple(health)]
    marks = ", ".join("?" * (len(values) + 1))
    sql.execute(f"INSERT OR REPLACE INTO health VALUES ({marks})", (endpoint, *values))  # noqa: S608


def health_of(row: Sequence[Any] | None) -> Health:
    """Convert a row of `health`; without a row the endpoint is healthy."""
    if not row:
        return Health()
    values = dict(zip((field.name for field in fields(Health)), row[1:]))
    values |= {"condition": Condition(values["condition"]), "alerted": Condition(values["alerted"])}
    return Health(**values)
