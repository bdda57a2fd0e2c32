"""Whatever uses an outbox is tested on both stores, or says why it is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: what has an outbox: names of the package and of tests, and fixtures
CLASSES = {"Outbox", "Dispatcher", "SendQueue", "Scanning", "ScanRun"}
FIXTURES = {"outbox", "store", "shared_store", "queue", "new_queue", "dispatch", "site_folder"}
#: fixtures of servers: who has one is about PostgreSQL
SERVERS = {"postgres", "postgres_dsn", "own_server", "server"}
modules = pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS))
)


def names(tree: ast.Module) -> Iterator[str]:
    """Yield the names of what a module imports, and of its functions' arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.FunctionDef):
            yield from (one.arg for one in node.args.args)


def constants(tree: ast.Module) -> set[str]:
    """Return the names of a module's own constants."""
    return {ast.unparse(one.targets[0]) for one in tree.body if isinstance(one, ast.Assign)}


@modules
def test_a_module_with_an_outbox_runs_on_both_stores_or_says_why_not(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said, used = constants(tree) & {"STORES", "ONE_STORE"}, {*names(tree)}
    assert len(said) < 2
    if used & (CLASSES | FIXTURES) and not used & SERVERS:
        assert said, "say STORES = BOTH, or ONE_STORE = the reason why SQLite is enough"


@modules
def test_a_test_on_sqlite_alone_says_why(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for mark in getattr(node, "decorator_list", ()):
            assert ast.unparse(mark) != "pytest.mark.sqlite", f"{path}:{mark.lineno}: a reason is missing"
