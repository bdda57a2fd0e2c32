"""Vulnerable dependencies: installed versions come in, a warning for each known and fixed vulnerability goes out.

pyproject.toml has the same bounds, but the scanner, or an installation without dependencies, may bring older versions.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Callable, NamedTuple


class Hole(NamedTuple):
    """A vulnerability in a package, fixed in a newer version."""

    package: str
    #: the first version without it
    fixed: str
    #: the first version of Python for which that is available
    python: tuple[int, int]
    #: its public id
    name: str


#: without cryptography: the scanner pins an old version, which its users cannot change
HOLES = (
    Hole("requests", "2.33.0", (3, 10), "CVE-2026-25645"),
    Hole("requests", "2.32.4", (3, 9), "CVE-2024-47081"),
    Hole("urllib3", "2.8.0", (3, 10), "CVE-2026-97687, CVE-2026-97689"),
    Hole("urllib3", "2.6.3", (3, 9), "CVE-2026-21441"),
)


def outdated(
    installed: Callable[[str], str] = version, python: tuple[int, ...] = tuple(sys.version_info[:2])
) -> list[str]:
    """Return a warning for each installed package with a known vulnerability.

    Args:
        installed: package -> its version; raises PackageNotFoundError.
        python: the version of Python for which the fixed version must be available.
    """
    worst: dict[str, Hole] = {}
    for hole in HOLES:
        if python >= hole.python and _parts(_installed(hole.package, installed) or hole.fixed) < _parts(hole.fixed):
            worst.setdefault(hole.package, hole)
    return [
        f"{hole.package} {_installed(hole.package, installed)} has a known vulnerability ({hole.name}):"
        f" pip install --upgrade '{hole.package}>={hole.fixed}'"
        for hole in worst.values()
    ]


def _installed(package: str, installed: Callable[[str], str]) -> str:
    try:
        return installed(package)
    except PackageNotFoundError:
        return ""


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
