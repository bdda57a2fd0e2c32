"""Commands and programs as processes of their own that need not import the package: each is forked from one that has
imported it. To start one takes 0.02 s of a processor instead of 0.6 s.

Not for what asks how a process starts: its arguments in /proc, what it imports, the limits that it is given.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess, TimeoutExpired
from types import TracebackType
from typing import IO, Callable

from tests.forking import LENGTH_BYTES

ROOT = Path(__file__).parent.parent


class Process:
    """As `subprocess.Popen` for texts, of `sfwebhooks ...`, or of a program as Python's `-c` takes it."""

    def __init__(
        self,
        arguments: Sequence[object],
        program: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        **files: int,
    ) -> None:
        self.args = [str(argument) for argument in arguments]
        self.returncode: int | None = None
        theirs: list[int] = []
        ours: list[IO[str] | None] = []
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            their, our = _opened(number, files.get(name), theirs)
            theirs.append(their)
            ours.append(our)
        self.stdin, self.stdout, self.stderr = ours
        self._report, report = os.pipe()
        environment = dict(os.environ if env is None else env)
        request = {"arguments": self.args, "program": program, "folder": str(cwd or Path.cwd())}
        _ask(json.dumps({**request, "environment": environment}).encode(), [*theirs, report])
        for descriptor in (*theirs, report):
            os.close(descriptor)
        self._lines = os.fdopen(self._report, "rb", 0)
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._lines], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._lines], [], [], timeout)[0]:
                raise TimeoutExpired(self.args, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write to the process, read all that it writes, and wait for its end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        readers = [_Reader(file) for file in (self.stdout, self.stderr)]
        if self.stdin and not self.stdin.closed:
            try:
                self.stdin.write(input or "")
                self.stdin.close()
            except BrokenPipeError:
                pass
        for reader in readers:
            reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if reader.is_alive():
                raise TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return readers[0].text, readers[1].text

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self.stdin, self.stdout, self.stderr):
            if file:
                file.close()
        self.wait()

    def _end(self) -> None:
        self.returncode = int(self._lines.readline())
        self._lines.close()


class _Reader(threading.Thread):
    """Reads a file to its end."""

    def __init__(self, file: IO[str] | None) -> None:
        super().__init__(daemon=True)
        self.text, self._file = "", file
        self.start()

    def run(self) -> None:
        if self._file and not self._file.closed:
            with self._file:
                self.text = self._file.read()


def run(
    arguments: Sequence[object],
    program: str = "",
    input: str = "",
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> CompletedProcess[str]:
    """Run a command or a program to its end."""
    with Process(arguments, program, env, cwd, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        try:
            out, err = process.communicate(input, timeout)
        finally:
            process.kill()
    assert process.returncode is not None
    return CompletedProcess(process.args, process.returncode, out, err)


def python(arguments: Sequence[object], stdout: int, stderr: int) -> subprocess.Popen[str]:
    """Start a command as a user does."""
    command = [sys.executable, "-m", "sfwebhooks", *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)


#: what starts a command
Start = Callable[..., "Process | subprocess.Popen[str]"]


def _opened(number: int, wanted: int | None, theirs: list[int]) -> tuple[int, IO[str] | None]:
    """Return the descriptor of the process for one of its files, and our end of it."""
    if wanted == PIPE:
        reading, writing = os.pipe()
        return (reading, os.fdopen(writing, "w")) if number == 0 else (writing, os.fdopen(reading))
    if wanted == DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    return os.dup(theirs[1] if wanted == STDOUT else number), None


@lru_cache(maxsize=1)
def _server() -> tuple[socket.socket, threading.Lock, subprocess.Popen[bytes]]:
    """Start the process from which others are forked; it ends with this one."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forking", str(theirs.fileno())],
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    theirs.close()
    return ours, threading.Lock(), process


def _ask(request: bytes, descriptors: list[int]) -> None:
    server, lock, _ = _server()
    with lock:
        socket.send_fds(server, [len(request).to_bytes(LENGTH_BYTES, "big")], descriptors)
        server.sendall(request)
