"""What is written otherwise for PostgreSQL; that it is right there, the tests of the outbox's parts say."""

from __future__ import annotations

import pytest

from sfwebhooks.outbox.postgres.dialect import translated, upsert_clause
from sfwebhooks.outbox.rows import FRESH


@pytest.mark.parametrize(
    ("ours", "its"),
    [
        ("SELECT ?, ?", "SELECT $1, $2"),
        ("SELECT ?2, ?2, ?1", "SELECT $1, $1, $2"),
        ("SELECT :name, a::b, :other", "SELECT $1, a::b, $2"),
        ("SELECT '?1 :name 9e999'  -- isn't ?2 :x\n, ?1", "SELECT '?1 :name 9e999'  -- isn't ?2 :x\n, $1"),
        ("SELECT 'it''s ?'", "SELECT 'it''s ?'"),
        ("a CROSS JOIN b ON c CROSS JOIN d WHERE e", "a JOIN b ON c CROSS JOIN d WHERE e"),
        ("a CROSS JOIN b x ON c LEFT JOIN d ON e", "a JOIN b x ON c LEFT JOIN d ON e"),
        ("a CROSS JOIN (SELECT (1) FROM b CROSS JOIN c) x ON d", "a JOIN (SELECT (1) FROM b CROSS JOIN c) x ON d"),
        ("a CROSS JOIN f(x) CROSS JOIN b ON c", "a CROSS JOIN f(x) JOIN b ON c"),
        ("a IN (SELECT value FROM json_each(?))", "a IN (SELECT CAST(value AS bigint) FROM json_each($1))"),
        ("d.number IN (SELECT (1) FROM b) AND c", "d.number = ANY (ARRAY(SELECT (1) FROM b)) AND c"),
        ("number IN (\n  WITH b AS (SELECT 1) SELECT 2)", "number = ANY (ARRAY(\n  WITH b AS (SELECT 1) SELECT 2))"),
        ("d.number IN (1, 2)", "d.number IN (1, 2)"),
        ("d.number NOT IN (SELECT 1)", "d.number NOT IN (SELECT 1)"),
        ("JOIN event e ON e.number = d.event", "JOIN event e ON e.number BETWEEN d.event AND d.event"),
        (
            "FROM part CROSS JOIN delivery d ON d.number >> 8 = part.at AND d.endpoint = n.endpoint WHERE x",
            f"FROM part CROSS JOIN LATERAL (SELECT * FROM delivery WHERE {FRESH} AND number >> 8 = part.at"
            " AND endpoint = n.endpoint ORDER BY number OFFSET 0) d WHERE x",
        ),
        (
            "SELECT coalesce(?2, (SELECT max(number) >> 8 FROM delivery), 0)",
            "SELECT coalesce($1, (SELECT max(at) FROM part), $1)",
        ),
        ("a NOT IN () AND b IN ()", "a <> ALL ('{}') AND b = ANY ('{}')"),
        ("WHERE +e.scan = +2", "WHERE e.scan = +2"),
        ("SELECT CAST(a * (b + 1) AS INTEGER)", "SELECT CAST(trunc(a * (b + 1)) AS bigint)"),
        ("SELECT length(CAST(e.data AS BLOB))", "SELECT octet_length(e.data)"),
        ("WHERE ?1 IS NULL OR a = ?1", "WHERE CAST($1 AS text) IS NULL OR a = $1"),
        ("INSERT INTO series (name) VALUES (?)", "INSERT INTO series (name) VALUES ($1) RETURNING number"),
    ],
)
def test_a_statement_is_rewritten(ours: str, its: str) -> None:
    assert translated(ours).text.decode() == its


def test_values_are_given_in_the_order_of_the_servers_parameters() -> None:
    assert translated("SELECT ?3, ?1, ?3").values(["a", "b", "c"]) == ["c", "a"]
    assert translated("SELECT :b, :a").values({"a": 1, "b": 2, "c": 3}) == [2, 1]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("frozen", "(id) DO UPDATE SET endpoint = excluded.endpoint, members = excluded.members"),
        (
            "handle",
            "(endpoint, about) DO UPDATE SET address = excluded.address, value = excluded.value, at = excluded.at",
        ),
    ],
)
def test_a_row_is_replaced_by_its_primary_key(table: str, words: str) -> None:
    assert upsert_clause(table) == f"ON CONFLICT {words}"
    assert translated(f"INSERT OR REPLACE INTO {table} VALUES (?)").text.decode().endswith(words)


def test_a_statement_is_rewritten_in_linear_time() -> None:
    """Statements are ours, but one may name thousands of values. In quadratic time it would take ten minutes."""
    marks = ",".join("?" * 200_000)
    assert translated(f"SELECT 1 WHERE 1 IN ({marks})").text.endswith(b"$200000)")
