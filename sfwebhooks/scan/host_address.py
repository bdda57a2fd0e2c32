"""Where a host's database is: the host's option comes in, an address that may be stored and shown goes out.

The address of a file is its path; that of a PostgreSQL server is what the host was given without the password. The
password stays in this process. Another process that reads the same database is given it by the settings
(`host_database`) or by $SF_POSTGRES_DSN, the variable of forks that support PostgreSQL, or finds it as every client of
PostgreSQL does: PGPASSWORD, PGPASSFILE, ~/.pgpass.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import ConfigError, HostDatabaseError
from sfwebhooks.files import is_deleted

#: the file in a data folder
DATABASE = "spiderfoot.db"
#: the variable with which such a fork is given its database
VARIABLE = "SF_POSTGRES_DSN"
#: how the address of a server starts: a URL, or libpq's name=value ...
SERVER = re.compile(r"\s*(?:postgres(?:ql)?://|[a-z_]+ *=)")
#: names of parameters that are not shown
HIDDEN = re.compile("pass(?!file)|secret|token")
#: what a host whose database is a server needs
DRIVER = "psycopg"
NO_DRIVER = "SpiderFoot's database is on PostgreSQL, which needs another package: pip install 'sfwebhooks[postgres]'"

#: address -> what this process was given, with the password; the last one is that of the current host
_given: dict[str, Secret] = {}


def is_server(database: str) -> bool:
    """Return whether a database is on a server: an address, or what the host or the settings have."""
    return SERVER.match(database) is not None


def has_driver() -> bool:
    """Return whether the package that reads PostgreSQL is installed."""
    return importlib.util.find_spec(DRIVER) is not None


def database_address(database: str) -> str:
    """Return the address of a database; the password of a server is remembered in this process.

    Args:
        database: as the host's option has it.

    Raises:
        HostDatabaseError: it is not an address of a server, or the package that reads them is missing.
    """
    if not is_server(database):
        return str(Path(database).absolute())
    address = _without_password(database)
    _given.pop(address, None)
    _given[address] = Secret(database)
    return address


def use_database(given: Secret | None) -> None:
    """Let this process read the database that its settings name.

    Raises:
        ConfigError: that is not the address of a server.
    """
    try:
        if given:
            database_address(given.reveal())
    except HostDatabaseError as error:
        raise ConfigError(f"host_database: {error}") from error


def given_for(address: str) -> Secret:
    """Return how to connect to a server: as this process was given it, else by the address alone."""
    return _given.get(address) or Secret(address)


def current_database(folder: Path) -> str:
    """Return the address of the current host's database: the server that this process was given, else the file in the
    data folder.

    Raises:
        HostDatabaseError: $SF_POSTGRES_DSN is not the address of a server, or the package that reads it is missing.
    """
    if _given:
        return next(reversed(_given))
    named = os.environ.get(VARIABLE, "")
    return database_address(named) if is_server(named) else str(folder / DATABASE)


def is_gone(address: str) -> bool:
    """Return whether there is no file at the path of a database; a server is assumed to be there."""
    return not is_server(address) and is_deleted(Path(address))


def database_secrets(database: str) -> list[str]:
    """Return what must not be shown of a database as the host's option has it: all of it, and its password."""
    if not is_server(database) or not has_driver():
        return []
    return [database, *(value for name, value in _parts(database).items() if HIDDEN.search(name))]


def _without_password(database: str) -> str:
    return _url({name: value for name, value in _parts(database).items() if not HIDDEN.search(name)})


def _parts(database: str) -> dict[str, str]:
    """Return the parts of a server's address by libpq's names."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise HostDatabaseError(NO_DRIVER) from error
    try:
        return {name: str(value) for name, value in conninfo_to_dict(database).items() if value}
    except (ProgrammingError, UnicodeError):  # its text has the password
        raise HostDatabaseError(
            "SpiderFoot's database: expected postgresql://USER:PASSWORD@HOST:PORT/NAME or libpq's name=value ..."
        ) from None


def _url(parts: Mapping[str, str]) -> str:
    """Return the URL of a database by libpq's names of its parts (postgresql.org, "Connection URIs")."""
    rest = dict(parts)
    host, port = rest.get("host", ""), rest.get("port", "")
    where = ""
    if re.fullmatch(r"[\w.-]+", host) and port.isdecimal() | (port == ""):
        where = host + (f":{port}" if port else "")
        rest.pop("host")
        rest.pop("port", None)
    user, name = quote(rest.pop("user", ""), safe=""), quote(rest.pop("dbname", ""), safe="")
    query = urlencode(rest, quote_via=quote, safe="/")
    return f"postgresql://{user}{'@' if user else ''}{where}/{name}{'?' if query else ''}{query}"
