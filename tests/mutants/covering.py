"""Which tests execute a line: the quick tests of the engine run once under coverage, which notes the test.

Processes that a test starts are measured too: they find the test's name in their environment. This module is also the
plugin that pytest loads for that run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

from tests.mutants.changes import Mutant

#: the tests that use the engine, except scans of the real scanner and campaigns, which are too slow for each change
TESTS = (
    *("tests/test_pipeline.py", "tests/delivery", "tests/outbox", "tests/scan"),
    *("tests/test_service.py", "tests/test_emission.py", "tests/cli"),
)
PYTEST = ("pytest", "-p", "xdist.plugin", "-n0", "-q", "-p", "no:cacheprovider")
#: seconds that the tests of one change may take, as measured without a change
BUDGET_SECONDS = 30.0
SETTINGS = """
[run]
source = sfwebhooks
data_file = {folder}/data
parallel = true
core = ctrace
sigterm = true
patch = subprocess,_exit,fork
context = ${{PYTEST_CURRENT_TEST-}}
"""
#: the environment's name for the file with the seconds that each test took
SECONDS_FILE = "MUTANTS_SECONDS"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note which lines a test executes, and how long it takes; one that fails is of no use here."""
    running, begun, failed = coverage.Coverage.current(), time.monotonic(), item.session.testsfailed
    assert running, "to be run under coverage"
    running.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        running.switch_context("")
        if item.session.testsfailed == failed:
            with Path(os.environ[SECONDS_FILE]).open("a", encoding="utf-8") as file:
                file.write(f"{time.monotonic() - begun:.3f} {item.nodeid}\n")


@dataclass(frozen=True)
class Covering:
    """The tests that execute each line."""

    root: Path
    data: coverage.CoverageData
    #: test -> seconds
    seconds: dict[str, float]

    @classmethod
    def measured(cls, root: Path, folder: Path) -> Covering:
        """Run the tests.

        Args:
            root: a copy of the project.
            folder: an empty folder for what is measured.
        """
        settings, seconds = folder / "settings", folder / "seconds"
        settings.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
        command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", *PYTEST]
        environment = {**environment_of(root), SECONDS_FILE: str(seconds)}
        command += ["-p", "tests.mutants.covering", *TESTS]
        output = subprocess.run(command, cwd=root, check=False, env=environment, stdout=subprocess.PIPE, text=True)
        print(*(line for line in output.stdout.splitlines() if line.startswith("FAILED")), sep="\n", flush=True)
        data = coverage.CoverageData(basename=str(folder / "all"))
        for path in folder.glob("data.*"):
            part = coverage.CoverageData(basename=str(path))
            part.read()
            data.update(part)
        lines = [line.split(" ", 1) for line in seconds.read_text(encoding="utf-8").splitlines()]
        return cls(root, data, {test: float(took) for took, test in lines})

    def tests_of(self, mutant: Mutant) -> list[list[str]]:
        """Return the tests that could notice a change, in the order in which to run them: those of its module, those of
        its room, all others; of each the quick ones first.

        A line that is executed by the import alone has no test; there it is the room's test of its limits, and all
        tests that execute its module.
        """
        lines = self.data.contexts_by_lineno(str(self.root / mutant.path))
        found = {test for line in mutant.lines for test in self._tests(lines.get(line, ()))}
        if not found:
            found = {test for contexts in lines.values() for test in self._tests(contexts)}
            found |= {test for test in self.seconds if test.startswith(f"tests/{mutant.room}/test_limits.py")}
        stages: list[list[str]] = [[], [], []]
        left = BUDGET_SECONDS
        for distance, seconds, test in sorted((_distance(one, mutant), self.seconds[one], one) for one in found):
            left -= seconds
            if left > 0:
                stages[distance].append(test)
        return [stage for stage in stages if stage]

    def _tests(self, contexts: list[str] | tuple[()]) -> Iterator[str]:
        for context in contexts:
            test = context.rsplit(" (", 1)[0] if context.endswith((" (setup)", " (call)", " (teardown)")) else context
            if test in self.seconds:
                yield test


def environment_of(root: Path) -> dict[str, str]:
    """Return an environment in which commands, too, are those of a copy of the project, and pytest starts quickly."""
    own = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {**os.environ, **own}


def _distance(test: str, mutant: Mutant) -> int:
    path = Path(mutant.path)
    own = Path("tests", *path.parts[1:-1], f"test_{path.name}").as_posix()
    near = path.parts[1:-1] or ("delivery",)
    if test.startswith(own) or "/test_limits.py" in test:
        return 0
    return 1 if test.startswith("/".join(("tests", *near, ""))) else 2
