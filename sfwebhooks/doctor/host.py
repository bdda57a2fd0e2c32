"""Checks of this package, and of the SpiderFoots that it serves."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from sfwebhooks import __version__
from sfwebhooks.dependencies import outdated
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.files import is_deleted
from sfwebhooks.host.hosts import limits_of_host, version_of
from sfwebhooks.host.install import trouble
from sfwebhooks.scan.host_address import VARIABLE, current_database, is_server, use_database
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase
from sfwebhooks.text import amount


def versions(found: Installation) -> Iterator[Report]:
    """Report the versions of this package and of Python, and packages with known vulnerabilities."""
    yield Report("version", f"sfwebhooks {__version__}, Python {platform.python_version()}, {sys.executable}")
    for warning in outdated():
        words, _, cure = warning.partition(": ")
        yield Report("version", words, Level.WARNING, cure)


def hosts(found: Installation) -> Iterator[Report]:
    """Report the SpiderFoots, with their versions."""
    for module in found.modules:
        spiderfoot = module.parent.parent
        yield Report("SpiderFoot", f"{version_of(spiderfoot) or 'unknown version'} in {spiderfoot}")
    if not found.modules:
        words = f"none is installed for {sys.executable}, and the module was not installed into another one"
        yield Report("SpiderFoot", words, Level.WARNING, "sfwebhooks install --spiderfoot DIR")
    yield from _server(found)


def _server(found: Installation) -> Iterator[Report]:
    """Report what is special about SpiderFoots whose database is on a server, and whether it can be read."""
    for module in found.modules:
        for words in limits_of_host(module.parent.parent):
            yield Report("SpiderFoot", words)
    use_database(found.settings.host_database if found.settings else None)
    address = current_database(found.folder)
    if is_server(address):
        try:
            number = len(HostDatabase(address, READ_SECONDS).scan_ids())
            yield Report("SpiderFoot", f"its database {address} can be read: {amount(number, 'scan')}")
        except HostDatabaseError as error:
            cure = f"correct host_database in the settings, or ${VARIABLE}"
            yield Report("SpiderFoot", f"its database {address} cannot be read: {error}", Level.WARNING, cure)


def modules(found: Installation) -> Iterator[Report]:
    """Report whether the module is in each SpiderFoot, and current."""
    is_nowhere = all(map(is_deleted, found.modules))
    for module in found.modules:
        words, cure = trouble(module)
        level = Level.OK if not words else Level.ERROR if is_nowhere else Level.WARNING
        yield Report("module", words or f"{module} is current", level, cure)
