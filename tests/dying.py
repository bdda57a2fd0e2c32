"""Processes that die at a chosen moment, for programs of `tests.processes`."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import Any

#: a scan that is killed; its arguments are the data folder and its id
KILLED_SCAN = """
import os, signal, sys
from pathlib import Path
from tests.scanning import Scanning
scan = Scanning(Path(sys.argv[1]), sys.argv[2])
scan.begin()
scan.find(3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def die_at(place: str, name: str, moment: str, calls: int) -> None:
    """Let this process be killed before or after a function was called so many times; 0: never.

    Args:
        place: its module, or module:Class.
        moment: before, or after.
    """
    module, _, owner = place.partition(":")
    there: Any = import_module(module)
    there = getattr(there, owner) if owner else there
    do, left = getattr(there, name), calls

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = do(*args, **kwargs)
        if left == 0 and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(there, name, dying)
