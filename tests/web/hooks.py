"""A server and its settings file, which each test writes as it needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.web.serving import Web, served

URL = "https://siem.example.com/in"
SECRET = "qT5zR8wXy1LmN3oPs7uVk2aBcD4e"
#: more than the endpoint: other programs' sections, comments, a secret
INI = f"""\
; written by hand
[global]
verbose = 1

[webhooks]
# for all of them
timeout = 20s

[webhooks.team]
# the team
url = {URL}/9f8e7d6c5b4a39281706?key=0123456789abcdef
secret = {SECRET}
api_key = kT7uWq2ZxV5nBm8LsR4e
events = all
# behind it

[other]
key = value  ; kept
"""


@dataclass
class Hooks:
    """A server, and what it edits."""

    web: Web
    path: Path

    def put(self, text: str = INI, mode: int = 0o600) -> Path:
        """Write the settings, as if that was long ago."""
        self.path.unlink(missing_ok=True)
        self.path.touch(0o600)
        self.path.write_text(text)
        self.path.chmod(mode)
        os.utime(self.path, (1, 1))
        return self.path

    @property
    def text(self) -> str:
        return self.path.read_text()

    def ask(self, method: str, name: str = "", body: object = None, **headers: str) -> httpx.Response:
        """Send a request of an operator about a webhook, or about all."""
        place = f"/v1/webhooks/{name}" if name else "/v1/webhooks"
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        if isinstance(body, bytes):
            named["Content-Type"] = "application/json"
            return self.web.client.request(method, place, content=body, headers=named)
        return self.web.client.request(method, place, json=body, headers=named)

    def refused(self, method: str, name: str = "", body: object = None, **headers: str) -> tuple[int, str]:
        """Send a request that is to be refused; return the status and what is said, once nothing was changed."""
        before = self.text
        reply = self.ask(method, name, body, **headers)
        assert reply.headers["Content-Type"] == "application/problem+json", reply.text
        assert self.text == before
        found = reply.json()
        return reply.status_code, " ".join([found["detail"], *(one["where"] for one in found.get("errors", ()))])


@contextmanager
def hooked(folder: Path) -> Iterator[Hooks]:
    """Run a server that sends nothing, with settings in a folder."""
    path = folder / "spiderfoot.conf"
    path.touch(0o600)
    path.write_text("[webhooks]\n")
    with served(folder, "--no-deliver") as web:
        yield Hooks(web, path)
