"""A corrupt outbox's file: its path comes in, it is renamed with its log, and the new path goes out."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.opening import BUSY_SECONDS
from sfwebhooks.outbox.permissions import SUFFIXES, Identity, identity


def locked_to_replace(path: Path) -> Lock:
    """Return the lock for replacing the files themselves; not held if it was not free within BUSY_SECONDS."""
    lock = Lock(path, "outbox")
    deadline = time.monotonic() + BUSY_SECONDS
    while not lock.take() and time.monotonic() < deadline:
        time.sleep(0.01)
    return lock


def set_aside(path: Path, files: tuple[Identity | None, ...]) -> Path | None:
    """Rename a corrupt file and its log; return the new path, or None if another process does it."""
    lock = locked_to_replace(path)
    try:
        if not lock.held or (identity(path),) != files:
            return None
        aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        for suffix in SUFFIXES[::-1]:  # the log first: it must not pass for the log of the new file
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return aside
    except OSError as error:
        raise OutboxError(f"outbox {path} is corrupt and cannot be set aside: {error.strerror}") from error
    finally:
        lock.release()
