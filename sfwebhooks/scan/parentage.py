"""The parent of a scan's process: the process writes a mark into its scan's lock, and the host recognises its children
by it. `run` writes it, `host/around_scan` asks for the children that end with their host, `recovery` compares.

A process gives each child a distinct name and its own random multiprocessing key, which all descendants share (Python's
documentation, multiprocessing.Process.authkey). Process ids would be reused.
"""

from __future__ import annotations

import hashlib
import multiprocessing.process
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

#: exit codes of a child that is stopped together with its host: still running (None), or ended by SIGHUP, SIGINT or
#: SIGTERM, which a terminal or a service manager sends to all of them; multiprocessing turns Ctrl-C into 1
STOPPED = (None, 1, -1, -2, -15)


def own_mark() -> str:
    """Return the mark of this process."""
    return process_mark(multiprocessing.process.current_process())


def process_mark(process: BaseProcess) -> str:
    """Return the mark of this process or of a child."""
    return hashlib.sha256(bytes(process.authkey) + process.name.encode()).hexdigest()[:32]


def children() -> list[BaseProcess]:
    """Return the children of this process, including those that have ended but were not joined."""
    return list(getattr(multiprocessing.process, "_children", ()))  # active_children() forgets them


def stopped(processes: Iterable[BaseProcess]) -> frozenset[str]:
    """Return the marks of the children that end with this process rather than by themselves."""
    return frozenset(process_mark(child) for child in processes if child.exitcode in STOPPED)


def has_crashed(process: BaseProcess) -> bool:
    """Return whether a child ended by itself with an error."""
    return process.exitcode not in (*STOPPED, 0)
