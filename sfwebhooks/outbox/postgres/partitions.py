"""The partitions of the tables that grow: the number of a period comes in, the statements that create its partitions
go out.

A row's number begins with that of the period in which it was accepted, so no clock decides where it belongs, and none
is ever without a partition. An attempt is in the period of its delivery.
"""

from __future__ import annotations

#: bits of a row's number after those of its period
BITS = 32
#: table -> keys of each of its partitions; with the state, deliveries are counted by reading an index only
KEYS = {
    "delivery_delivered": "(UNIQUE (number), UNIQUE (event, endpoint) INCLUDE (state))",
    "delivery_attempt": "(UNIQUE (id))",
    "event": "(UNIQUE (number), UNIQUE (scan, id))",
}
#: the sequences that number rows
SEQUENCES = ("event_number_seq", "delivery_number_seq")
#: those that are there from the beginning: the dead letters have whatever is neither waiting nor delivered, and the
#: rest what is left of periods that are gone
FIRST = f"""
    CREATE TABLE delivery_waiting PARTITION OF delivery (UNIQUE (number)) FOR VALUES IN ('waiting');
    CREATE INDEX ON delivery_waiting (event);
    CREATE TABLE delivery_dead PARTITION OF delivery {KEYS["delivery_delivered"]} DEFAULT;
    CREATE TABLE delivery_delivered PARTITION OF delivery FOR VALUES IN ('delivered') PARTITION BY RANGE (number);
    {" ".join(f"CREATE TABLE {name}_rest PARTITION OF {name} {keys} DEFAULT;" for name, keys in KEYS.items())}
    CREATE INDEX ON delivery_delivered (settled_at);
    CREATE TABLE period (number bigint PRIMARY KEY, begun_at double precision NOT NULL);
"""


def bounds(period: int) -> tuple[int, int]:
    """Return the first number of a period, and that of the next one."""
    return period << BITS if period else -(2**62), period + 1 << BITS


def creation(period: int) -> str:
    """Return the statements that begin a period: rows are numbered in it from now on."""
    first, after = bounds(period)
    tables = [
        f"CREATE TABLE {name}_{period} PARTITION OF {name} {keys} FOR VALUES FROM ({first}) TO ({after});"
        for name, keys in KEYS.items()
    ]
    numbers = [f"ALTER SEQUENCE {name} RESTART WITH {max(first, 1)};" for name in SEQUENCES]
    begun = f"INSERT INTO period VALUES ({period}, extract(epoch FROM clock_timestamp()));"  # noqa: S608
    return " ".join((*tables, *numbers, begun))
