"""Commands in a terminal, as a person uses them."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from collections.abc import Sequence
from subprocess import Popen

from tests.builders import PATIENCE


def in_terminal(arguments: Sequence[str], until: bytes, keys: bytes) -> tuple[int, str]:
    """Run a command in a terminal of 80x24, press keys once it shows a text; return its exit code and output."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-m", "sfwebhooks", *arguments]
    text, deadline = b"", time.monotonic() + PATIENCE
    with Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True) as process:
        os.close(theirs)
        while time.monotonic() < deadline and select.select([ours], [], [], PATIENCE)[0]:
            try:
                text += os.read(ours, 4096)
            except OSError:  # it has ended
                break
            if until in text and keys:
                if keys == b"\x03":  # this terminal controls no process that would get the signal
                    process.send_signal(2)
                else:
                    os.write(ours, keys)
                keys = b""
        if process.poll() is None and time.monotonic() >= deadline:
            process.kill()
        code = process.wait(PATIENCE)
    os.close(ours)
    return code, text.decode()
