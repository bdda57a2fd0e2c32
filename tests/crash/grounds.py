"""Where a campaign takes place: an outbox in a file, or on a PostgreSQL server, there also behind a spool."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sfwebhooks.outbox.file import FILE, SPOOL_FILE
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn, Place, local_path
from tests.crash.looking import Look
from tests.postgres import Postgres


@dataclass(frozen=True)
class Ground:
    """The outbox, and what there is besides it."""

    outbox: Place
    #: whose database it is; None: it is a file
    server: Postgres | None = None
    #: whether scans accept into a spool
    has_spool: bool = False

    @property
    def folder(self) -> Path:
        """The data folder."""
        return local_path(self.outbox).parent

    @property
    def spooled(self) -> int:
        """How many events are in the spool."""
        path = self.folder / SPOOL_FILE
        return Look(path).count("delivery") if path.exists() else 0

    @contextmanager
    def another(self) -> Iterator[Place]:
        """Lend the place of an outbox that is still to be made."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            if self.server is None:
                yield Path(name) / FILE
                return
            with self.server.database() as address:
                yield Dsn(address, Path(name))


def version(place: Place) -> int:
    """Return the version of the schema of an outbox; 0: it has none, or is not there."""
    if isinstance(place, Path) and not place.exists():
        return 0
    with closing(Look(place)) as look:
        if isinstance(place, Path):
            assert look.rows("PRAGMA integrity_check") == [("ok",)]
            return int(look.rows("PRAGMA user_version")[0][0])
        is_there = look.rows(f"SELECT to_regclass('{SCHEMA}.schema_version') IS NOT NULL") == [(True,)]
        return int(look.rows("SELECT number FROM schema_version")[0][0]) if is_there else 0
