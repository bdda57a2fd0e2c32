"""Commands as another user; only root can start them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

#: the user that every system has, and its group
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: everything is imported first: the other user may not be allowed to read this Python
PROGRAM = """
import importlib, os, pkgutil, sys
import encodings, sqlite3, urllib.request
for found in pkgutil.iter_modules(encodings.__path__, "encodings."):
    if found.name not in ("encodings.mbcs", "encodings.oem"):
        importlib.import_module(found.name)
for name in ("utf-8", "utf-8-sig", "ascii", "latin-1", "idna"):
    "".encode(name)
import sfwebhooks
for found in pkgutil.walk_packages(sfwebhooks.__path__, "sfwebhooks."):
    if found.name.rpartition(".")[2] not in ("__main__", "plugin", "around_scan", "risks", "shim"):
        importlib.import_module(found.name)
from sfwebhooks.cli import main
try:
    main(["events"])
    sys.stdout.flush()
except SystemExit:
    pass
print("as the other user:", flush=True)
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""


def command_as(
    uid: int, folder: Path, *arguments: str, text: str = "", environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command as a user, with a data folder; return its exit code and what it printed, in one line.

    Args:
        text: what it reads from its standard input.
        environment: in the place of the data folder.
    """
    given = {"SPIDERFOOT_DATA": str(folder), "HOME": str(folder)} if environment is None else environment
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(uid), *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], **given},
        input=text,
        capture_output=True,
        text=True,
    )
    return done.returncode, " ".join((done.stdout.partition("as the other user:")[2] + done.stderr).split())
