"""The rooms of the package: imports go down only, no room is nearly empty, and a public name stands once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import sfwebhooks

PACKAGE = Path(sfwebhooks.__file__).parent
#: top to bottom; rooms of one floor do not know each other
FLOORS = (
    ("__main__",),
    ("cli",),
    ("doctor",),
    ("demo", "terminal", "web"),
    ("inspection",),
    ("emission", "metrics_server"),
    ("emitted_event", "host", "metrics", "receive", "service"),
    ("scan",),
    ("delivery",),
    ("pipeline",),
    ("config", "sending"),
    ("own_secrets",),
    ("network",),
    ("signing",),
    ("authentication", "formats", "outbox"),
    ("examples", "redaction", "retry", "screening"),
    ("quotations", "ticketing"),
    ("endpoints", "fingerprints", "sensitive", "strict_json"),
    ("statements",),
    ("catalogue", "decoding", "enrichment", "expectations", "health", "jsontext", "text"),
    ("events",),
    ("attempts", "digesting", "severity"),
    ("reasons", "signatures"),
    ("dependencies", "errors", "expressions", "log_once", "naming", "searching", "signing_keys", "text_file"),
    ("files",),
    ("system",),
    ("__init__",),
)
#: a statement, or its begin
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|PRAGMA|BEGIN)\b")
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: members of a family, one in each of its files
FAMILIES = {"add", "render", "bundle", "read", "join", "main", "query", "follow", "wrong_path", "escape",
            "find", "fetch", "create", "comment", "close", "reopen"}  # fmt: skip


@cache
def modules() -> dict[str, ast.Module]:
    """Name without the package's -> its code."""
    paths = sorted(PACKAGE.rglob("*.py"))
    names = (".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths)
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(names, paths)}


def imports(name: str, code: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    """Yield the modules of ours that a module imports when it is imported."""
    lazy = {id(part) for node in ast.walk(code) if isinstance(node, ast.FunctionDef) for part in ast.walk(node)}
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sfwebhooks":
            if id(node) in lazy and name == "__init__":
                continue  # emit(), which needs much
            base = (node.module or "").split(".")[1:]
            for alias in node.names:
                full, parent = ".".join([*base, alias.name]), ".".join(base)
                found = next(
                    one for one in (full, f"{full}.__init__", parent, f"{parent}.__init__", "__init__") if one in known
                )
                yield found


def room(module: str) -> str:
    return module.split(".")[0]


def test_imports_between_rooms_go_down_only() -> None:
    known = modules()
    up = [
        f"{name} imports {other}"
        for name, code in known.items()
        for other in imports(name, code, known)
        if room(name) != room(other) and FLOOR_OF[room(other)] <= FLOOR_OF[room(name)]
    ]
    assert up == []


def test_imports_within_a_room_make_no_circle() -> None:
    known = modules()
    graph = {name: {*imports(name, code, known)} - {name} for name, code in known.items()}
    assert len([*TopologicalSorter(graph).static_order()]) == len(known)


def test_every_module_has_a_floor() -> None:
    assert {room(name) for name in modules()} == set(FLOOR_OF)


def test_no_room_has_fewer_than_four_files() -> None:
    sizes = Counter(room(name) for name in modules() if "." in name)
    assert {name: size for name, size in sizes.items() if size < 5} == {}, "the room's own __init__ is one"


def test_a_public_name_is_unique() -> None:
    names = [
        (node.name, name)
        for name, code in modules().items()
        for node in code.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")
    ]
    counts = Counter(name for name, _ in names if name not in FAMILIES)
    assert sorted(pair for pair in names if counts[pair[0]] > 1) == []


def test_sql_is_in_the_room_of_its_database_only() -> None:
    found = {
        name
        for name, code in modules().items()
        for node in ast.walk(code)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    }
    # the demo's company has a leaked dump on its site
    assert {name for name in found if room(name) != "outbox"} == {
        "scan.host_database",
        "scan.host_file",
        "scan.host_server",
        "scan.host_sql",
        "demo.company",
        "receive.request_log",
    }
