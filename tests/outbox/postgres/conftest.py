"""Without psycopg the modules that are tested here cannot be imported; tests elsewhere say that it is missing."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("psycopg") else ["test_*.py"]
