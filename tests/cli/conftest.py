"""Settings, a folder that looks like a SpiderFoot, and another process that sends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from sfwebhooks.outbox.outbox import Outbox
from tests.processes import Process

#: has the lock of an endpoint, and says so until it is ended; or ends at once, and leaves its note behind
OWNER = """
import os, sys
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.delivery.ownership import Note
from tests.stores import place_in
lock = Outbox(place_in(Path(sys.argv[1]))).locks.endpoint("team")
assert lock.take()
lock.note(str(Note(0.0, os.getpid(), float(sys.argv[2]))))
print("owns", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Path]:
    """Write webhooks.ini: `configure(text)`."""

    def write(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "webhooks.ini"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def spiderfoot(tmp_path: Path) -> Path:
    """A folder that looks like a SpiderFoot."""
    folder = tmp_path / "spiderfoot"
    (folder / "modules").mkdir(parents=True)
    (folder / "modules" / "sfp__stor_db.py").write_text("")
    (folder / "sfscan.py").write_text("")
    return folder


@pytest.fixture
def owner(outbox: Outbox) -> Iterator[Callable[..., Process]]:
    """Start a process that sends to the team, and showed its last sign of life so many seconds ago."""
    started: list[Process] = []

    def start(silent: float = 0.0) -> Process:
        started.append(Process([outbox.path.parent, time.time() - silent], OWNER, stdin=PIPE, stdout=PIPE))
        assert started[-1].stdout and started[-1].stdout.readline() == "owns\n"
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()
