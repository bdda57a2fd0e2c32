"""A fleet on one machine: processes that send from an outbox on PostgreSQL, each with a data folder of its own, and a
network between them and the server that can go silent."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL
from urllib.parse import urlsplit

from tests.builders import PATIENCE
from tests.processes import Process
from tests.threads import until

#: sends as `service` does, without settings; its log is a file
PROGRAM = f"""
import json, logging, sys, time
from contextlib import suppress
from pathlib import Path
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.sending import load_senders
from tests.builders import an_endpoint
address, folder, urls, values = sys.argv[1:]
logging.basicConfig(filename=f"{{folder}}/log", level=logging.INFO, format="%(message)s")
load_senders()
values = {{"timeout": {PATIENCE}, "concurrency": 1, **json.loads(values)}}
endpoints = [an_endpoint(name, url=url, **values) for name, url in json.loads(urls).items()]
dispatcher = Dispatcher(endpoints, Dsn(address, Path(folder)))
dispatcher.wake()
tick_at = 0.0
while True:
    with suppress(OutboxError):
        dispatcher.follow()
    if time.monotonic() >= tick_at:
        tick_at = time.monotonic() + 1
        dispatcher.tick()
    time.sleep(0.02)
"""


class Host:
    """A delivery host.

    Args:
        address: of the database, as this host knows it.
        folder: its data folder.
        urls: name of an endpoint -> its URL.
        values: further fields of all endpoints.
    """

    def __init__(self, address: str, folder: Path, urls: Mapping[str, str], **values: object) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        arguments = [address, folder, json.dumps(urls), json.dumps(values)]
        self.process = Process(arguments, PROGRAM, stdin=DEVNULL, stdout=DEVNULL)

    @property
    def log(self) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / "log").read_text(encoding="utf-8")
        return ""

    def wait_for(self, words: str) -> None:
        """Wait until its log has some words."""
        until(lambda: words in self.log)

    def stop(self) -> None:
        """Stop it as a machine that sleeps, until `go_on`."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)


class Network:
    """What is between a host and the server: a port of this machine, whose connections can go silent without an end.

    Args:
        address: of the database, on a Unix socket.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._server = f"{parts.query.partition('=')[2]}/.s.PGSQL.5432"
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"postgresql://{parts.netloc.rstrip('@')}@127.0.0.1:{self._door.getsockname()[1]}{parts.path}"
        #: set while bytes pass
        self._passes = threading.Event()
        self._passes.set()
        self._open: list[socket.socket] = [self._door]
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self) -> None:
        """Let nothing pass any more, in either direction, and accept connections that nobody answers."""
        self._passes.clear()

    def heal(self) -> None:
        """Let everything pass again."""
        self._passes.set()

    def close(self) -> None:
        self._passes.set()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            self._open += [client, server]
            with suppress(OSError):
                server.connect(self._server)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                self._passes.wait()
                other.sendall(data)
            self._passes.wait()
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
