"""The SpiderFoot of this process or this user: where its data are, whether it is supported, what its settings page has
saved for our module."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sfwebhooks import system
from sfwebhooks.errors import ConfigError, HostBusyError, HostDatabaseError
from sfwebhooks.scan.host_address import current_database, database_address, is_server
from sfwebhooks.scan.host_database import MODULE, HostDatabase

#: the host's function that runs a scan, and the modules that may have it, the usual one first
FUNCTION = "startSpiderFootScanner"
STARTERS = ("sfscan", "spiderfoot.scan.scanner", "spiderfoot.scan_service.scanner")
#: why a host is not supported
NO_SCANS = f"this SpiderFoot is not supported: it has none of {', '.join(STARTERS)}, which start scans"
NO_DATABASE = "this SpiderFoot is not supported: its database is neither a file nor on PostgreSQL"
#: seconds that reading our module's options may take
OPTIONS_SECONDS = 5.0


def data_folder() -> Path:
    """Return SpiderFoot's data folder: $SPIDERFOOT_DATA, else ~/.spiderfoot.

    Raises:
        ConfigError: neither is known, as for a container's user without a name.
    """
    named = os.environ.get("SPIDERFOOT_DATA")
    try:
        return Path(named) if named else Path.home() / ".spiderfoot"
    except (RuntimeError, KeyError) as error:  # KeyError: Python 3.9
        raise ConfigError(
            f"uid {system.user()} has no home folder, where SpiderFoot's data would be: set SPIDERFOOT_DATA or HOME"
        ) from error


def unsupported(database: str) -> str:
    """Return why the host of this process is not supported, or nothing.

    Args:
        database: value of the host's option: a path, or the address of a server with its password.
    """
    if not any(map(is_importable, STARTERS)):
        return NO_SCANS
    if is_server(database):
        try:
            database_address(database)
        except HostDatabaseError as error:
            return str(error)
        return ""
    return "" if os.path.isfile(database) else NO_DATABASE  # noqa: PTH113  # Path.is_file raises where access is denied


def is_importable(module: str) -> bool:
    """Return whether this process has a module."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # of a package that it would be in
        return False


def saved_options(folder: Path, limit: float | None = None) -> dict[str, str]:
    """Return our module's options as saved on the host's settings page; empty without saved options or a database, or
    if this user may not read them there.

    Args:
        limit: as for `HostDatabase`.

    Raises:
        ConfigError: the database is locked or cannot be reached, so it may have some, or something else is at its path.
    """
    place = f"{folder}"
    try:
        place = current_database(folder)
        return HostDatabase(place, limit or OPTIONS_SECONDS).options(MODULE)
    except HostBusyError as error:
        words = "cannot be reached" if is_server(place) else "is locked"
        raise ConfigError(f"{place}, which may name the configuration, {words}: try again") from error
    except HostDatabaseError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            where = cause.filename or place
            raise ConfigError(f"{where}, which may name the configuration, cannot be read: {cause.strerror}") from error
        if is_server(place) and getattr(cause, "sqlstate", None) is None:  # there is no connection
            raise ConfigError(f"{place}, which may name the configuration, cannot be read: {error}") from error
        return {}
