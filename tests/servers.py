"""Servers of other people, such as nginx, as processes of ours for as long as a block runs."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.builders import PATIENCE
from tests.hostile import held_port


def installed(name: str) -> str:
    """Return where a server is, or nothing; Debian has them where a user's PATH does not lead."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin") or ""


@contextmanager
def running(command: Sequence[str], is_ready: Callable[[], bool], **values: Any) -> Iterator[None]:
    """Run a server while the block runs."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **values)
    try:
        until = time.monotonic() + PATIENCE
        while not is_ready():
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < until, f"{command[0]} does not start"
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with held_port() as holder:
        return int(holder.getsockname()[1])
