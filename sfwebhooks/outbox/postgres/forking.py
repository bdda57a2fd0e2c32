"""Connections to PostgreSQL and forked children: a child must neither use its parent's connection nor keep it open.

If it did, the server would not notice the parent's death, and its locks and transactions would stay.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, TypeVar

import psycopg

_OPEN: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()
C = TypeVar("C", bound="psycopg.Connection[Any]")


def closed_in_children(connection: C) -> C:
    """Let a child that is forked from now on leave a connection to its parent; return the connection."""
    _OPEN.add(connection)
    return connection


def _leave_all() -> None:
    """Put something harmless in the place of the sockets: to close the connections would end the parent's sessions."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for connection in [*_OPEN]:
        if not connection.closed:
            os.dup2(nothing, connection.fileno(), inheritable=False)
    os.close(nothing)
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
