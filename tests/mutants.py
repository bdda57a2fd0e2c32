"""Would the tests notice? Changes the package in one place at a time and runs the tests of the changed room.

`python -m tests.mutants` takes a seeded sample from delivery, outbox, scan and pipeline, and prints the part that was
noticed ("killed") by room, and each change that was not. A tool of its own, since mutmut and cosmic-ray drop neither
statements nor locks, and these are what the engine's promises depend on.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.equivalents import EQUIVALENT

ROOT = Path(__file__).parents[1]
ROOMS = ("delivery", "outbox", "scan", "pipeline.py")
#: seconds for the tests of a room; a change that makes them take longer is noticed
TIMEOUT = 150
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
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
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
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "always", lambda one: _with(one, test=ast.Constant(True))
        yield "never", lambda one: _with(one, test=ast.Constant(False))
    elif isinstance(node, ast.With) and isinstance(node.items[0].context_expr, (ast.Attribute, ast.Name)):
        yield "no with", lambda one: one.body
    elif isinstance(node, ast.Break):
        yield "continue", lambda one: ast.Continue()
    elif isinstance(node, ast.Continue):
        yield "break", lambda one: ast.Break()
    elif isinstance(node, ast.Return) and node.value and not _is_none(node.value):
        yield "returns None", lambda one: ast.Return(ast.Constant(None))
    elif _can_go(node):
        yield "gone", lambda one: ast.Pass()


def _can_go(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], (ast.Attribute, ast.Subscript))
    return isinstance(node, (ast.AugAssign, ast.Raise, ast.Delete))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


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

    def visit(self, node: ast.AST) -> Any:
        """Visit all but annotations, decorators and default values."""
        for name, make in changes_of(node):
            new = make(copy.deepcopy(node))
            before, after = (_first_line(one) for one in (node, new))
            after = f"({name}) {after}"
            self.found.append(Mutant(self.path, len(self.found), ".".join(self._functions), before, after))
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
    paths = sorted(path for room in ROOMS for path in _modules(ROOT / "sfwebhooks" / room))
    return [one for path in paths for one in changed(ROOT, path.relative_to(ROOT).as_posix())[1]]


def _modules(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.py"))


def tests_of(mutant: Mutant) -> list[list[str]]:
    """Return the tests that should notice it, those that probably do first."""
    path = Path(mutant.path)
    own = Path("tests", *path.parts[1:-1], f"test_{path.name}")
    room = (
        ["tests/test_pipeline.py", "tests/delivery"] if path.parent.name == "sfwebhooks" else [f"tests/{mutant.room}"]
    )
    return [*([[str(own)]] if (ROOT / own).exists() else []), room]


def is_killed(mutant: Mutant | None, folder: Path) -> bool:
    """Run the tests on a copy of the project with the change."""
    stages = tests_of(mutant) if mutant else [["tests/test_pipeline.py"], *([f"tests/{room}"] for room in ROOMS[:3])]
    if mutant:
        (folder / mutant.path).write_text(changed(ROOT, mutant.path, mutant.number)[0], encoding="utf-8")
    try:
        return any(not _pass(stage, folder) for stage in stages)
    finally:
        if mutant:
            shutil.copy(ROOT / mutant.path, folder / mutant.path)


def _pass(tests: list[str], folder: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as run:
        try:
            return run.wait(TIMEOUT) == 0
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            return False


def main() -> int:
    """Print the score by room and the survivors; return 1 if the score is below the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="number of changes")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--goal", type=float, default=0.95, help="least part that must be noticed")
    parser.add_argument("--only", default="", help="run only sampled changes with these words")
    given = parser.parse_args()
    found = all_mutants()
    sample = random.Random(given.seed).sample(found, min(given.sample, len(found)))
    asked = [one for one in sample if given.only in str(one) and str(one) not in EQUIVALENT]
    print(f"{len(found)} changes, {len(sample)} sampled (seed {given.seed}), {len(asked)} to run", flush=True)
    folders: SimpleQueue[Path] = SimpleQueue()
    killed, total = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(given.jobs) as pool:
        for number in range(given.jobs):
            folder = Path(home, str(number))
            ignored = shutil.ignore_patterns(".git", ".venv", "*cache*", "build", "*.egg-info")
            shutil.copytree(ROOT, folder, ignore=ignored)
            folders.put(folder)

        def run(mutant: Mutant | None) -> bool:
            folder = folders.get()
            try:
                return is_killed(mutant, folder)
            finally:
                folders.put(folder)

        if run(None):
            print("the tests fail without a change already")
            return 1
        for mutant, was_killed in zip(asked, pool.map(run, asked)):
            total[mutant.room] += 1
            killed[mutant.room] += was_killed
            print(f"{'killed' if was_killed else 'SURVIVED'} {mutant}", flush=True)
    for room in sorted(total):
        print(f"{room:12} {killed[room]:4} of {total[room]:4}  {killed[room] / total[room]:.0%}")
    score = sum(killed.values()) / max(1, sum(total.values()))
    print(f"{'all':12} {sum(killed.values()):4} of {sum(total.values()):4}  {score:.1%}")
    return 0 if score >= given.goal else 1


if __name__ == "__main__":
    sys.exit(main())
