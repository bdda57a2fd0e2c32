"""Without psycopg what moves the rows cannot be imported; tests elsewhere say that it is missing."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("psycopg") else ["test_transfer.py", "test_limits.py"]
