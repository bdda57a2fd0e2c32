"""Waiting for other threads and processes, and two threads at a critical point."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from typing import Any, Callable

from tests.builders import PATIENCE

#: seconds after which a call that has not returned is waiting
WAITING_SECONDS = 0.15


def until(happened: Callable[[], Any], seconds: float = PATIENCE, pause: float = 0.02) -> Any:
    """Wait for something of another thread or process, and return it; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(pause)
    return found


def waits_for(lock: AbstractContextManager[Any], call: Callable[[], object], seen: Callable[[], object] = bool) -> bool:
    """Return whether a call in another thread waits while this thread holds a lock; it goes on afterwards.

    Args:
        seen: is true once the call has passed the lock.
    """
    thread = threading.Thread(target=call, daemon=True)
    with lock:
        thread.start()
        thread.join(WAITING_SECONDS)
        waited = thread.is_alive() and not seen()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return waited


def forked(work: Callable[[], object]) -> int:
    """Do something in a forked child; return its id. Its exit code is 0 if that ended in time and raised nothing."""
    child = os.fork()
    if child:
        return child
    signal.alarm(int(PATIENCE))
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def is_well(child: int) -> bool:
    """Return whether a forked child has ended in time and raised nothing, once it has ended."""
    return os.waitpid(child, 0)[1] == 0
