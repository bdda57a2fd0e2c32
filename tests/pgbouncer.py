"""A real PgBouncer in front of a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.postgres import OWNER
from tests.threads import until
from tests.users import NOBODY

#: where Debian has it
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
PORT = 6432


@contextmanager
def pooled(dsn: str, mode: str) -> Iterator[str]:
    """Run a pooler while the block runs.

    Args:
        dsn: a database of `tests.postgres`.
        mode: session, transaction or statement.

    Yields:
        The address of the database behind the pooler.
    """
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed (Debian: pgbouncer)")
    parts = urlsplit(dsn)
    name, socket = parts.path[1:], parts.query.partition("=")[2]
    with tempfile.TemporaryDirectory(prefix="sfpb-", dir="/tmp") as made:
        folder, user = Path(made), dict[str, Any]()
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        folder.chmod(0o755)
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n{name} = host={socket} user={OWNER}\n[pgbouncer]\nlisten_port = {PORT}\nlisten_addr =\n"
            f"unix_socket_dir = {folder}\nauth_type = any\npool_mode = {mode}\nlogfile = {folder}/log\n",
            encoding="utf-8",
        )
        process = subprocess.Popen([PROGRAM, "-q", settings], **user)
        try:
            until((folder / f".s.PGSQL.{PORT}").exists)
            yield f"postgresql:///{name}?host={folder}&port={PORT}&user={OWNER}"
        finally:
            process.terminate()
            process.wait()
