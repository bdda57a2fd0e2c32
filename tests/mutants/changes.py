"""The changes: each makes one place of a module wrong, in a way in which a person might have written it.

A tool of its own, since mutmut and cosmic-ray drop neither statements nor locks, and these are what the engine's
promises depend on.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("delivery", "outbox", "scan", "pipeline.py")
COMPARED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
CALLED = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A change in one place of a module."""

    path: str
    #: number of the change among all of the module
    number: int
    function: str
    #: lines whose execution is needed to notice it
    lines: range
    before: str
    after: str

    @property
    def room(self) -> str:
        return self.path.split("/")[1]

    def __str__(self) -> str:
        """Return what identifies it as long as its place stays as it is."""
        return f"{self.path} {self.function}: {self.before} -> {self.after}"


def changes_of(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], ast.AST | list[ast.stmt]]]]:
    """Yield the changes of a node: a name, and what makes the new node of a copy."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED and not _is_of_a_moment(node):
        yield "compared", lambda one: _with(one, ops=[COMPARED[type(one.ops[0])](), *one.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        yield "and/or", lambda one: _with(one, op=ast.Or() if isinstance(one.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "no not", lambda one: one.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not isinstance(node.left, ast.JoinedStr):
        yield "computed", lambda one: _with(one, op=COMPUTED[type(one.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "bool", lambda one: ast.Constant(not one.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield "number", lambda one: ast.Constant(one.value * 10 if one.value > 1 else one.value + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLED:
        yield "called", lambda one: _with(one, func=ast.Name(CALLED[one.func.id], ast.Load()))
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, ast.Constant):
        yield "always", lambda one: _with(one, test=ast.Constant(True))
        yield "never", lambda one: _with(one, test=ast.Constant(False))
    elif isinstance(node, ast.With) and isinstance(node.items[0].context_expr, (ast.Attribute, ast.Name)):
        yield "no with", lambda one: one.body
    elif isinstance(node, ast.Break):
        yield "continue", lambda one: ast.Continue()
    elif isinstance(node, ast.Continue):
        yield "break", lambda one: ast.Break()
    elif isinstance(node, ast.Return) and node.value and not _is_constant(node.value, None, False):
        yield "returns None", lambda one: ast.Return(ast.Constant(None))
    elif _can_go(node):
        yield "gone", lambda one: ast.Pass()


def _can_go(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], (ast.Attribute, ast.Subscript))
    return isinstance(node, (ast.AugAssign, ast.Raise, ast.Delete))


def _is_constant(node: ast.AST, *values: object) -> bool:
    return isinstance(node, ast.Constant) and any(node.value is value for value in values)


def _is_of_a_moment(node: ast.Compare) -> bool:
    """Return whether the change would matter only in the very moment at which a real clock reaches a limit."""
    return isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) and "time.monotonic()" in ast.unparse(node)


def _with(node: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


class Changer(ast.NodeTransformer):
    """Counts the changes of a module, and makes the one with a number."""

    def __init__(self, path: str, wanted: int = -1) -> None:
        self.path = path
        self.wanted = wanted
        self.found: list[Mutant] = []
        self._functions: list[str] = []
        self._statement = 0

    def visit(self, node: ast.AST) -> Any:
        """Visit all but annotations, decorators and default values."""
        if isinstance(node, ast.stmt):
            self._statement = node.lineno
        for name, make in changes_of(node):
            new = make(copy.deepcopy(node))
            before, after = (_first_line(one) for one in (node, new))
            function, lines = ".".join(self._functions), self._lines(node)
            self.found.append(Mutant(self.path, len(self.found), function, lines, before, f"({name}) {after}"))
            if len(self.found) - 1 == self.wanted:
                return new
        if isinstance(node, ast.AnnAssign):
            node.value = self.visit(node.value) if node.value else None
            return node
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            self._functions.append(node.name)
            found = [self.visit(one) for one in node.body]
            node.body = [part for one in found for part in (one if isinstance(one, list) else [one])]
            self._functions.pop()
            return node
        return self.generic_visit(node)

    def _lines(self, node: Any) -> range:
        is_block = isinstance(node, (ast.If, ast.While, ast.With))
        return range(self._statement, (node.lineno if is_block else node.end_lineno) + 1)


def _first_line(node: Any) -> str:
    text = "; ".join(
        ast.unparse(ast.fix_missing_locations(one)) for one in (node if isinstance(node, list) else [node])
    )
    return text.splitlines()[0][:120]


def changed(root: Path, path: str, wanted: int = -1) -> tuple[str, list[Mutant]]:
    """Return the code of a module with one change, or none, and the changes up to there."""
    changer = Changer(path, wanted)
    tree = changer.visit(ast.parse((root / path).read_text(encoding="utf-8")))
    return ast.unparse(ast.fix_missing_locations(tree)), changer.found


def all_mutants() -> list[Mutant]:
    """Return all changes of the engine."""
    paths = sorted(path for room in ROOMS for path in _modules(ROOT / "sfwebhooks" / room))
    return [one for path in paths for one in changed(ROOT, path.relative_to(ROOT).as_posix())[1]]


def _modules(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.py"))


def equivalents() -> dict[str, str]:
    """Return the changes that no test can notice, each with the reason."""
    lines = (Path(__file__).parent / "equivalents.txt").read_text(encoding="utf-8").splitlines()
    return dict(zip(lines[::2], map(str.strip, lines[1::2])))
