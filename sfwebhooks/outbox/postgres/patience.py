"""A connection to PostgreSQL with a limit for each answer, after which it ends.

The limits of the server do not help against a server that is stopped, or a network that swallows everything.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose waits are limited.

    Raises:
        TimeoutError: there was no answer in time; the connection is closed.
    """

    #: seconds to wait for an answer
    patience = float("inf")

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Wait for an answer, as psycopg does, but not longer than that."""
        try:
            return super().wait(_within(gen, self.patience), *args, **kwargs)
        except TimeoutError:
            self.pgconn.finish()
            raise


def _within(gen: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """Return a generator of psycopg with a limit; psycopg resumes it several times a second while nothing comes."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise TimeoutError(f"the server has not answered for {seconds:.0f} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
