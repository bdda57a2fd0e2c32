"""The rewrite of the outbox's file: its connection comes in, whether there is room for the copies goes out."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from sfwebhooks.errors import DiskFullError
from sfwebhooks.outbox.permissions import real_path

#: bytes that the log adds to each page (https://sqlite.org/fileformat2.html#the_write_ahead_log)
FRAME_BYTES = 24
MB = 1_000_000
#: where SQLite looks for a folder for temporary files, and then where (https://sqlite.org/tempfiles.html)
COPY_VARIABLES = ("SQLITE_TMPDIR", "TMPDIR")
COPY_FOLDERS = ("/var/tmp", "/usr/tmp", "/tmp", ".")  # noqa: S108  # nothing of ours is written there


def check_room(sql: sqlite3.Connection, path: Path) -> None:
    """Check that there is room for a copy of the file in the folder for temporary files, and for one in the log.

    Raises:
        DiskFullError: there is not; nothing was written.
    """
    pages, free, size = (
        sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    need, folder, copies = (pages - free) * (size + FRAME_BYTES), real_path(path).parent, copy_folder()
    shared = folder.stat().st_dev == copies.stat().st_dev
    for place, its in ((folder, need * 2 if shared else need), (copies, need)):
        disk = shutil.disk_usage(place)
        if disk.total and disk.free < its:  # a total of 0: not known
            raise DiskFullError(
                f"its rewrite needs {its / MB:,.1f} MB in {place}, where {disk.free / MB:,.1f} MB are free"
            )


def copy_folder() -> Path:
    """Return the folder in which SQLite makes the copy for a rewrite."""
    if os.name != "posix":
        from tempfile import gettempdir  # not in a scan's process, which has no other use for it

        return Path(gettempdir())
    named = [os.environ[name] for name in COPY_VARIABLES if name in os.environ]
    places = [Path(name) for name in (*named, *COPY_FOLDERS) if name]
    return next((place for place in places if place.is_dir() and os.access(place, os.W_OK | os.X_OK)), Path())
