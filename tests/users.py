"""Commands and calls as another user; only root can make them."""

from __future__ import annotations

import ctypes
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def open_folder(mode: int = 0o755) -> Iterator[Path]:
    """Lend a folder of root's into which other users can look, as they cannot into the tests' own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(mode)
        yield folder


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Make this process's calls those of a user and its group; the process itself stays root's."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextmanager
def without_chown() -> Iterator[None]:
    """Take from root the right to give files away, as a container does that was started without CAP_CHOWN."""
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # capset(2), version 3
    system = ctypes.CDLL(None, use_errno=True)
    assert system.capget(header, rights) == 0
    rights[0] &= ~1
    assert system.capset(header, rights) == 0
    try:
        yield
    finally:
        rights[0] |= 1
        assert system.capset(header, rights) == 0


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let this process open no more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def descriptors() -> set[str]:
    """Return the open descriptors of this process."""
    return {file.name for file in Path("/dev/fd").iterdir()}
