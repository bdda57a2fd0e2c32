"""Whose process a scan's is: a mark, which a scan's process leaves with its lock, and by which its parent, the host,
knows its children. `run` leaves it, `host/attach` asks for those that end with their host, `recovery` compares.

A process gives each child a name of its own, and the random key that multiprocessing has made for it and for all that
descend from it (Python's documentation, multiprocessing.Process.authkey). Process ids would come again.
"""

from __future__ import annotations

import hashlib
import multiprocessing.process
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

#: exit codes of a child that was stopped as its host is: not yet (None), by SIGHUP, SIGINT or SIGTERM, which a terminal
#: or a service manager sends to all of them; 1 is what multiprocessing makes of Ctrl-C
STOPPED = (None, 1, -1, -2, -15)


def own_mark() -> str:
    """Return the mark of this process."""
    return process_mark(multiprocessing.process.current_process())


def process_mark(process: BaseProcess) -> str:
    """Return the mark of a process: of this one, or of a child."""
    return hashlib.sha256(bytes(process.authkey) + process.name.encode()).hexdigest()[:32]


def children() -> list[BaseProcess]:
    """Return the children of this process, also those that have ended and that nobody has waited for since."""
    return list(getattr(multiprocessing.process, "_children", ()))  # active_children() forgets them


def stopped(processes: Iterable[BaseProcess]) -> frozenset[str]:
    """Return the marks of those of some children that do not end by themselves, but with this process."""
    return frozenset(process_mark(child) for child in processes if child.exitcode in STOPPED)


def has_crashed(process: BaseProcess) -> bool:
    """Say whether a child has ended by itself, and not well."""
    return process.exitcode not in (*STOPPED, 0)
