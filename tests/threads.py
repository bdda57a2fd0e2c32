"""Two threads at a critical point."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any, Callable

from tests.builders import PATIENCE

#: seconds after which a call that has not returned is waiting
WAITING_SECONDS = 0.15


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
