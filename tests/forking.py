"""The process from which those of `tests.processes` are forked: it has imported all that needs no scanner.

For each request it forks a process that starts the wanted one, and reports its id, then its end.
"""

from __future__ import annotations

import contextlib
import encodings
import gc
import importlib
import json
import logging
import os
import pkgutil
import signal
import socket
import sys
import types
from typing import Any

#: a request is so long, and has this many descriptors: input, output, errors, and where to report
LENGTH_BYTES, DESCRIPTORS = 8, 4


def load() -> None:
    """Import all that processes may need, also that which the user that they become may not read."""
    for found in pkgutil.iter_modules(encodings.__path__, "encodings."):
        if found.name not in ("encodings.mbcs", "encodings.oem"):
            importlib.import_module(found.name)
    for name in ("sqlite3", "urllib.request", "sfwebhooks", "tests.builders", "tests.stores"):
        importlib.import_module(name)
    for found in pkgutil.walk_packages(sys.modules["sfwebhooks"].__path__, "sfwebhooks."):
        if found.name.rpartition(".")[2] not in ("__main__", "plugin", "around_scan", "risks", "shim"):
            importlib.import_module(found.name)
    with contextlib.suppress(SystemExit):
        sys.modules["sfwebhooks.cli"].main(["events"])  # what only the first output needs
    logging.getLogger().handlers.clear()  # each process has its own level
    sys.modules["sfwebhooks.dependencies"].outdated()  # importlib.metadata imports parts of itself when they are used
    for name in ("utf-8", "utf-8-sig", "ascii", "latin-1", "idna"):
        "".encode(name)


def serve(requests: socket.socket) -> dict[str, Any]:
    """Return in each process that was wanted, with the request for it; end when nobody can ask for one any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        length, descriptors, _, _ = socket.recv_fds(requests, LENGTH_BYTES, DESCRIPTORS)
        if not length:
            os._exit(0)
        text = requests.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        if not os.fork():
            break
        for descriptor in descriptors:
            os.close(descriptor)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    report = descriptors.pop()
    process = os.fork()
    for number, descriptor in enumerate(descriptors):
        if not process:
            os.dup2(descriptor, number)
        os.close(descriptor)
    if not process:
        os.close(report)
        return dict(json.loads(text))
    os.write(report, f"{process}\n".encode())
    os.write(report, f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n".encode())
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Be the process that was wanted."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.modules["tests.stores"].name_the_server(setattr)
    encoding = request["environment"].get("PYTHONIOENCODING", "utf-8")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding, "backslashreplace", closefd=False)
    sys.argv = ["sfwebhooks", *request["arguments"]]
    if request["program"]:
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(request["program"], main.__dict__)
    else:
        sys.exit(importlib.import_module("sfwebhooks.__main__").main())


if __name__ == "__main__":
    load()
    gc.freeze()
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
