"""Every statement of the outbox is one of both databases: those that are constants are prepared on both, and no literal
has words that only SQLite knows and nobody translates. The others run in the tests of the outbox's parts."""

from __future__ import annotations

import ast
import importlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.events import event_key_of
from sfwebhooks.outbox import schema
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dialect import translated
from tests.rows import in_one

STORES = ("postgres",)
ROOM = Path(schema.__file__).parent
#: what only SQLite's file has
FILE = {
    "deleted_log",
    "erasure",
    "file",
    "open_files",
    "opening",
    "permissions",
    "rewriting",
    "schema",
    "set_aside",
    "soundness",
}
NAMES = sorted(path.stem for path in ROOM.glob("*.py") if path.stem not in FILE)
WHOLE = re.compile(r"\s*(?:--[^\n]*\n\s*)*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
#: words of SQLite alone -> what both know
ONLY_SQLITE = {
    r"INSERT OR IGNORE": "ON CONFLICT DO NOTHING",
    r"ON CONFLICT DO UPDATE": "ON CONFLICT (columns) DO UPDATE",
    r"\bGLOB\b": "glob(pattern, text), or substr(text, 1, n) = '...'",
    r"\browid\b": "the table's primary key",
    r"\bIS (NOT )?'": "coalesce(column, '') = '...'",
    r"LIMIT -1": "LIMIT {EVERY}",
    r"\btotal\(": "coalesce(sum(), 0)",
    r"\bsum\([^()]*(=|IN)[^()]*\)": "count(*) FILTER (WHERE ...)",
    r"(WHERE|AND) (NOT )?(complete|kept|alone|stated)( |$)(?![<=>])": "complete = 1",
    r"(WHERE|AND) 1( |$)": "true",
    r"\bVALUES \(NULL\b": "names of the columns",
    r"DO UPDATE SET (\w+) = \1\b": "the table's name before the column",
}


def constants() -> list[tuple[str, str]]:
    """Return name and text of each constant that is a whole statement."""
    found = []
    for name in NAMES:
        for key, value in vars(importlib.import_module(f"sfwebhooks.outbox.{name}")).items():
            if key.isupper() and isinstance(value, str) and WHOLE.match(value) and not re.search(r"[{}]|%s", value):
                found.append((f"{name}.{key}", value))
    return list({text: (name, text) for name, text in found}.values())


def is_whole(sql: sqlite3.Connection, text: str) -> bool:
    """Return whether SQLite takes a text for a statement: else it is a part of one."""
    try:
        sql.execute(f"EXPLAIN {text}")
    except sqlite3.Error as error:
        return "number of bindings" in str(error) or "supply a value for binding" in str(error)
    return True


def test_constants_are_statements_of_both(outbox: Outbox) -> None:
    import psycopg  # the fixture has asked for it

    wrong, number = [], 0
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sql, outbox.database.reading() as session:
        sql.create_function("event_key_of", -1, event_key_of)
        schema.make_tables(sql)
        for name, text in constants():
            if is_whole(sql, text):
                number += 1
                try:
                    session.connection.execute(b"PREPARE its AS " + translated(text).text)  # type: ignore[attr-defined]
                    session.connection.execute(b"DEALLOCATE its")  # type: ignore[attr-defined]
                except psycopg.errors.AmbiguousFunction:
                    pass  # its values have types
                except psycopg.Error as error:
                    wrong.append(f"{name}: {error}")
    assert wrong == []
    assert number > 50


@in_one("name", NAMES)
def test_no_literal_has_words_that_only_sqlite_knows(name: str) -> None:
    wrong = []
    tree = ast.parse((ROOM / f"{name}.py").read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            text = re.sub(r"--[^\n]*", "", node.value)
            wrong += [f"line {node.lineno}: {words}: {better}" for words, better in ONLY_SQLITE.items()
                      if re.search(words, text)]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    ["INSERT OR IGNORE INTO kind", "a GLOB 'x*'", "ended IS NOT ''", "sum(d.state = 'dead')", "WHERE complete",
     "SELECT 1 WHERE 1", "DO UPDATE SET last = last + 1", "AND NOT kept", "max(rowid)"],
)  # fmt: skip
def test_such_words_are_found(text: str) -> None:
    assert any(re.search(words, text) for words in ONLY_SQLITE)
