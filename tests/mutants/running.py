"""Run tests on a copy of the project with a change, in a process forked from one that has imported what they use.

A process that is forked so finds its task by the name of a module, so this is none that is started as a command.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.mutants.changes import ROOT, Mutant, changed
from tests.mutants.covering import PYTEST, Covering, environment_of

#: seconds beyond four times what the tests take without a change
TIMEOUT = 40.0
PREPARED = multiprocessing.get_context("forkserver")
PREPARED.set_forkserver_preload(
    ["pytest", "_pytest.assertion.rewrite", "xdist.plugin", "cryptography.x509", "requests", "rich.table", "responses"]
)


def is_noticed(mutant: Mutant, covering: Covering, folder: Path) -> bool:
    """Run the tests on a copy of the project with the change."""
    path = folder / mutant.path
    path.write_text(changed(ROOT, mutant.path, mutant.number)[0], encoding="utf-8")
    _forget_compiled(path)
    try:
        return any(
            not _pass(tests, folder, TIMEOUT + 4 * sum(covering.seconds[test] for test in tests))
            for tests in covering.tests_of(mutant)
        )
    finally:
        shutil.copy(ROOT / mutant.path, path)
        _forget_compiled(path)


def passes_unchanged(covering: Covering, folder: Path) -> bool:
    """Run a few quick tests on a copy of the project without a change."""
    return _pass(sorted(covering.seconds, key=covering.seconds.__getitem__)[:20], folder, TIMEOUT)


def _forget_compiled(path: Path) -> None:
    """Remove the compiled module: a change within the same second may be of the same size."""
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _pass(tests: list[str], folder: Path, timeout: float) -> bool:
    """Run tests in a process that has imported what they use, except our own modules."""
    process = PREPARED.Process(target=_run, args=(tests, folder))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    return process.exitcode == 0


def _run(tests: list[str], folder: Path) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.chdir(folder)
    os.environ.update(environment_of(folder))
    sys.dont_write_bytecode = False
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "sfwebhooks")]:
        del sys.modules[name]
    os._exit(pytest.main([*PYTEST[1:], "-x", *tests]))
