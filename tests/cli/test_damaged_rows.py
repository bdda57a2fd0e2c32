"""Rows with values that we never write, from a damaged file or another program: no command ends in a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.builders import NOW
from tests.cli.test_stats import settings
from tests.conftest import Result, sql
from tests.filled import put, send

ONE_STORE = "a column of PostgreSQL has values of one type"

DAMAGES = (
    "UPDATE delivery_attempt SET at = 'abc', seconds = 'x', status = 'y'",
    "UPDATE delivery_attempt SET reason = x'fffe', excerpt = x'ff', outcome = 'dead'",
    "UPDATE delivery SET endpoint = x'ff00' WHERE number < 4",
    "UPDATE delivery SET state = 'waiting', accepted_at = 'zz', due_at = 'yy'",
    "UPDATE delivery SET settled_at = 'zz', reason = x'ff' WHERE state <> 'waiting'",
    "UPDATE file SET erase_at = 'abc'",
    "INSERT INTO withheld VALUES ('', 'team', x'ff', 'many')",
)
COMMANDS = (
    ("stats",),
    ("stats", "--json"),
    ("metrics",),
    ("status",),
    ("check",),
    ("deliveries",),
    ("deliveries", "--json"),
    ("dead", "list", "--json"),
    ("purge", "--all", "--dry-run"),
    ("dead", "drop", "--all", "--dry-run"),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_command_ends_in_a_traceback(cli: Callable[..., Result], outbox: Outbox, damage: str) -> None:
    settings(outbox.path.parent, "team")
    put(outbox, 1, 2, 3, 4, at=NOW)
    send(outbox, at=NOW)
    send(outbox, State.DEAD, "http_400", at=NOW)
    sql(outbox, damage)
    codes = {command: cli(*command).code for command in COMMANDS}
    assert set(codes.values()) <= {0, 3}, codes


@pytest.mark.parametrize("arguments", [["purge", "--all", "--yes"], ["dead", "drop", "--all"]])
def test_damaged_rows_can_be_deleted(cli: Callable[..., Result], outbox: Outbox, arguments: Sequence[str]) -> None:
    put(outbox, 1, at=NOW)
    send(outbox, State.DEAD, "http_400", at=NOW)
    sql(outbox, "UPDATE delivery SET endpoint = x'ff00', settled_at = 'zz', reason = x'ff'")
    assert cli(*arguments).code == 0
    assert sql(outbox, "SELECT count(*) FROM delivery") == [(0,)]
