"""The address of an outbox on PostgreSQL, whose password leaves it only towards the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import Union

from sfwebhooks.errors import ConfigError
from sfwebhooks.files import is_deleted

#: our schema, unless the address names another one
SCHEMA = "sfwebhooks"
#: how an address begins
PREFIXES = ("postgresql://", "postgres://")
EXPECTED = "expected an address such as postgresql://user:password@host/database"


@dataclass(frozen=True)
class Dsn:
    """A database on a PostgreSQL server."""

    #: libpq's URI
    text: str = field(repr=False)
    #: folder of this machine for notes about it
    folder: Path

    def __str__(self) -> str:
        """Where it is, as logs and errors say it."""
        given = self.parts
        hosts, ports = (given.get(name, "").split(",") for name in ("host", "port"))
        ports = ports * len(hosts) if len(ports) == 1 else ports
        pairs = zip_longest(hosts, ports, fillvalue="")
        servers = ",".join(f"{host or 'localhost'}{':' if port else ''}{port}" for host, port in pairs)
        return f"{servers}/{given.get('dbname', '')}"

    @property
    def address(self) -> str:
        """What libpq connects to: of several servers to the one that can be written to, unless the address says which.

        Raises:
            ConfigError: as `parts`.
        """
        given = self.parts
        if "target_session_attrs" in given or not any("," in given.get(name, "") for name in ("host", "hostaddr")):
            return self.text
        from psycopg.conninfo import make_conninfo

        return make_conninfo(self.text, target_session_attrs="read-write")

    @property
    def path(self) -> Path:
        """Where the notes about it are, next to which are local locks."""
        given = [self.parts.get(name, "") for name in ("host", "port", "dbname", "options")]
        name = blake2b("\n".join(given).encode("utf-8", "replace"), digest_size=6).hexdigest()
        return self.folder / f"webhooks-{name}.pg"

    @cached_property
    def parts(self) -> dict[str, str]:
        """Parameters of libpq, without the password.

        Raises:
            ConfigError: it cannot be understood, or psycopg is not installed.
        """
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import conninfo_to_dict
        except ImportError as error:
            raise ConfigError("an outbox on PostgreSQL needs psycopg: pip install 'sfwebhooks[postgres]'") from error
        try:
            found = conninfo_to_dict(self.text)
        except ProgrammingError:  # its text may repeat the password
            raise ConfigError(f"the address cannot be understood; {EXPECTED}") from None
        return {key: str(value) for key, value in found.items() if key != "password" and value is not None}


#: where an outbox is: a file, or a database on a server
Place = Union[Path, Dsn]


def local_path(place: Place) -> Path:
    """Return the path next to which this machine has its own locks and notes about an outbox."""
    return place.path if isinstance(place, Dsn) else place


def is_missing(place: Place) -> bool:
    """Return whether there is no outbox yet; on a server there always is one, whose tables are created when needed."""
    return not isinstance(place, Dsn) and is_deleted(place)
