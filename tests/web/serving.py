"""`sfwebhooks web` as a process of its own, for as long as a block runs, and clients for it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE

import httpx

from sfwebhooks.cli.web import TOKEN, VIEWER_TOKEN
from tests.builders import PATIENCE
from tests.processes import Process
from tests.threads import until

OPERATOR, VIEWER = "an-operator-of-the-tests", "a-viewer-of-the-tests"


@dataclass
class Web:
    """A running server."""

    process: Process
    #: http://127.0.0.1:PORT/, or the one-time link
    printed: str
    #: with the operator's token, and with the viewer's
    client: httpx.Client
    viewer: httpx.Client
    #: lines of its log
    said: list[str] = field(default_factory=list)

    def wait_for(self, words: str) -> None:
        """Return once the server has logged this."""
        until(lambda: any(words in line for line in self.said))

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    @property
    def port(self) -> int:
        assert self.client.base_url.port
        return self.client.base_url.port

    def anybody(self, **values: object) -> httpx.Client:
        """Return a client without a token, as a browser or an attacker has one."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **values)  # type: ignore[arg-type]


@contextmanager
def served(folder: Path, *arguments: str, token: str = OPERATOR, viewer: str = VIEWER) -> Iterator[Web]:
    """Run `sfwebhooks web` with the settings and outbox of a folder while the block runs, at a free port.

    Args:
        arguments: further ones.
        token: the operator's; empty: a one-time link is printed.
        viewer: the viewer's token.
    """
    environment = {**os.environ, TOKEN: token, VIEWER_TOKEN: viewer}
    command = ["web", "--folder", str(folder), "--listen", "127.0.0.1:0", *arguments]
    with Process(command, env=environment, stdout=PIPE, stderr=PIPE) as process:
        said: list[str] = []
        assert process.stdout and process.stderr
        listening = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        listening.start()
        try:
            printed = process.stdout.readline().strip()
            assert printed, said
            url = printed.split("login#")[0]
            with _client(url, token) as operator, _client(url, viewer) as looking:
                yield Web(process, printed, operator, looking, said)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            listening.join(PATIENCE)


def _client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False)
