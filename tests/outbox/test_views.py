"""The views, as another program sees them: it has SQLite, and none of our functions."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_event
from tests.conftest import sql
from tests.filled import begin, put, put_event, send
from tests.test_docs import OPERATIONS

STORES = ("sqlite", "postgres")

#: "Sample Dashboard Query" of the security-audit guide
OF_THE_GUIDE = """
SELECT
    webhook_id,
    COUNT(*) as total_deliveries,
    SUM(CASE WHEN status = 'success' THEN 1 ELSE 0 END) as successful,
    SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) as failed,
    AVG(delivery_time_ms) as avg_latency
FROM webhook_deliveries
WHERE timestamp > NOW() - INTERVAL 24 HOUR
GROUP BY webhook_id
"""
#: its time, and the same for SQLite
TIMES = ("NOW() - INTERVAL 24 HOUR", "datetime('now', '-24 hours')")
#: columns of the table that WebhookLogger of SpiderFoot's guide makes
LOGGED = ["id", "timestamp", "event_type", "source_ip", "payload", "processed", "error_message"]


def rows(outbox: Outbox, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query at the file, opened as the documents say; or at the database, in a plain session."""
    if isinstance(outbox.place, Dsn):
        import psycopg  # the fixture has asked for it
        from psycopg.rows import dict_row

        with psycopg.connect(outbox.place.text, row_factory=dict_row) as session:
            session.execute(f"SET search_path = {SCHEMA}".encode())
            return session.execute(query.encode()).fetchall()
    with closing(sqlite3.connect(f"{outbox.path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def documented_query() -> str:
    (found,) = re.findall(r"```sql\n(.*?)```", OPERATIONS, re.S)
    return str(found)


def test_the_documented_query_is_that_of_the_guide_but_for_its_time() -> None:
    assert documented_query().strip() == OF_THE_GUIDE.replace(*TIMES).strip()


@pytest.mark.sqlite("the documented query is SQLite's")
def test_the_documented_query_counts_what_happened_in_a_day(outbox: Outbox) -> None:
    now = time.time()
    put(outbox, 1, 2, 3, 4, 5, at=now)
    put(outbox, 1, endpoint="siem", at=now)
    put(outbox, 1, endpoint="archive", at=now - 90_000)
    for _ in range(3):
        send(outbox, at=now)
    send(outbox, State.DEAD, "http_400", at=now)
    assert [tuple(row.values()) for row in rows(outbox, documented_query())] == [
        ("siem", 1, 0, 0, None),
        ("team", 5, 3, 1, 125.0),
    ]


def test_a_delivery_is_a_row_with_readable_ids_and_times(outbox: Outbox) -> None:
    begin(outbox, a_scan())
    put_event(outbox, an_event(1), name="finding.high")
    send(outbox, State.WAITING, "http_503", "busy", at=NOW + 1)
    send(outbox, at=NOW + 70)
    (row,) = rows(outbox, "SELECT * FROM webhook_deliveries")
    assert row == {
        "webhook_id": "team",
        "status": "success",
        "delivery_time_ms": 125.0,
        "timestamp": "2026-11-21 10:01:10",
        "event_id": an_event(1).id,
        "event_type": "finding.high",
        "severity": "high",
        "scan_id": a_scan().id,
        "target": "acme.example",
        "sequence": 1,
        "attempts": 2,
        "http_status": 200,
        "reason": "http_200",
        "accepted_at": "2026-11-21 10:00:00",
        "due_at": None,
        "latency_seconds": 70.125,
    }


def test_a_waiting_delivery_of_no_scan_is_due_and_has_no_duration(outbox: Outbox) -> None:
    put_event(outbox, an_event(1, scan=None))
    (row,) = rows(outbox, "SELECT * FROM webhook_deliveries")
    empty = ("delivery_time_ms", "scan_id", "target", "http_status", "reason", "latency_seconds")
    assert [row[name] for name in empty] == [None] * len(empty)
    assert (row["status"], row["due_at"], row["timestamp"]) == ("waiting", *["2026-11-21 10:00:00"] * 2)


@pytest.mark.parametrize("severity", Severity)
def test_each_severity_has_its_name(outbox: Outbox, severity: Severity) -> None:
    put_event(outbox, an_event(1, severity=severity))
    assert [row["severity"] for row in rows(outbox, "SELECT * FROM webhook_deliveries")] == [severity.label]


def test_an_attempt_is_a_row_of_the_log(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING, "http_503", "busy", at=NOW + 1)
    send(outbox, State.WAITING, "timeout", "", at=NOW + 70)
    send(outbox, at=NOW + 140.5)
    found = rows(outbox, "SELECT * FROM webhook_logs ORDER BY id")
    assert [*found[0]][: len(LOGGED)] == LOGGED
    assert [(row["timestamp"], row["processed"], row["error_message"]) for row in found] == [
        ("2026-11-21T10:00:01.000", 0, "http_503: busy"),
        ("2026-11-21T10:01:10.000", 0, "timeout"),
        ("2026-11-21T10:02:20.500", 1, None),
    ]
    assert {(row["event_type"], row["event_id"], row["webhook_id"]) for row in found} == {
        ("high_risk_event", an_event(1).id, "team")
    }
    assert [
        row["payload"] for row in rows(outbox, "SELECT json_extract(payload, '$.data') payload FROM webhook_logs")
    ] == ["CVE-2026-0001"] * 3


def test_a_message_that_was_refused_among_others_was_not_processed(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.DEAD, "http_200", at=NOW)
    assert [row["processed"] for row in rows(outbox, "SELECT processed FROM webhook_logs")] == [0]


def test_what_was_delivered_and_is_replayed_was_processed(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    outbox.retention.replay(Selection(), NOW + 9)
    assert [row["processed"] for row in rows(outbox, "SELECT processed FROM webhook_logs")] == [1]


def test_a_step_of_a_pending_request_was_processed(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING, "hec_pending", pending=True)
    send(outbox, State.DELIVERED, "hec_acknowledged", at=NOW + 100)
    assert [row["processed"] for row in rows(outbox, "SELECT processed FROM webhook_logs")] == [1, 1]


@pytest.mark.parametrize("view", ["webhook_deliveries", "webhook_logs"])
def test_the_documents_have_each_column(outbox: Outbox, view: str) -> None:
    put(outbox, 1)
    send(outbox)
    section = OPERATIONS.partition(f"| column of `{view}` |")[2].partition("\n\n")[0]
    documented = re.findall(
        r"`(\w+)`", " ".join(line.split("|")[1] for line in section.splitlines() if line.count("|") > 2)
    )
    assert sorted(documented) == sorted(rows(outbox, f"SELECT * FROM {view}")[0])


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
def test_damaged_rows_do_not_end_a_query(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    sql(outbox, "UPDATE event SET id = 'rubbish', data = x'00ff', at = 'never' WHERE number = 1")
    sql(outbox, "UPDATE delivery SET settled_at = 'never', state = x'00' WHERE number = 1")
    for view in ("webhook_deliveries", "webhook_logs"):
        assert rows(outbox, f"SELECT * FROM {view}")
