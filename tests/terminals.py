"""Commands in a terminal, as a person uses them."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.builders import PATIENCE
from tests.stores import ADDRESS

#: a command whose outbox is on the server of the tests
ON_SERVER = f"""
import sys
sys.path.append({str(Path(__file__).parent.parent)!r})
from sfwebhooks.__main__ import main
from tests.stores import name_the_server
name_the_server(setattr)
sys.exit(main())
"""


def in_terminal(arguments: Sequence[str], keys: Sequence[tuple[str, str]], **environment: str) -> tuple[int, str]:
    """Run a command in a terminal of 80x24; return its exit code and what it printed.

    Args:
        keys: texts and, for each, what is typed once the command shows it, one after the other.
        environment: further variables.
    """
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it, and so would the command
        os.environ.update(TERM="xterm", COLUMNS="80", LINES="24", **environment)
        command = ["-c", ON_SERVER] if ADDRESS in os.environ else ["-m", "sfwebhooks"]
        os.execv(sys.executable, [sys.executable, *command, *arguments])
    shown, place, left, deadline = b"", 0, list(keys), time.monotonic() + PATIENCE
    while select.select([terminal], [], [], max(deadline - time.monotonic(), 0))[0]:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        shown += data
        while left and (at := shown.find(left[0][0].encode(), place)) >= 0:
            text, typed = left.pop(0)
            place = at + len(text.encode())
            os.write(terminal, typed.encode())
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert left == [], shown.decode()
    return code, shown.decode()
