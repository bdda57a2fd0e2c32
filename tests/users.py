"""Commands as another user; only root can start them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.processes import run

#: the user that every system has, and its group
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: everything is imported: the other user may not be allowed to read this Python
PROGRAM = """
import os, sys
from sfwebhooks.cli import main
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
    environment = {"PATH": os.environ["PATH"], **given}
    done = run([uid, *arguments], PROGRAM, input=text, env=environment, cwd=Path("/"))
    return done.returncode, " ".join((done.stdout + done.stderr).split())
