"""A receiver in a process of its own, as quick as one can be here: nginx, else one in C, else one in Python."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sfwebhooks.demo.certificates import Authority, Identity
from tests.servers import free_port, installed, listens, running

SOURCES = Path(__file__).parent
PYTHON = (sys.executable, str(SOURCES / "plain_receiver.py"))
#: seconds until the slow receiver answers
SLOW_SECONDS = 0.2
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=512{tls};
    location / {{ return 200 "ok"; }}
  }}
}}
"""
TLS_CONFIGURATION = """ ssl;
    ssl_certificate "{tls.server.cert}";
    ssl_certificate_key "{tls.server.key}";
    ssl_client_certificate "{tls.ca}";
    ssl_verify_client on"""


@dataclass(frozen=True)
class Mutual:
    """Certificates for TLS in which the client has one too."""

    ca: Path
    server: Identity
    client: Identity


@contextlib.contextmanager
def certificates() -> Iterator[Mutual]:
    """Make certificates, which are gone with the block."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.create(Path(folder), "CA")
        yield Mutual(authority.cert, authority.issue("receiver"), authority.issue("sender", client=True))


@contextlib.contextmanager
def nginx(tls: Mutual | None = None) -> Iterator[str]:
    """Run nginx in one process and lend its URL; with certificates it demands the client's."""
    with tempfile.TemporaryDirectory() as folder:
        port, file = free_port(), Path(folder) / "conf"
        secured = TLS_CONFIGURATION.format(tls=tls) if tls else ""
        file.write_text(CONFIGURATION.format(folder=folder, port=port, tls=secured), encoding="utf-8")
        with running([installed("nginx"), "-p", folder, "-c", str(file)], lambda: listens(port)):
            yield url_of(port, tls)


def in_c() -> AbstractContextManager[str]:
    """Run the receiver in C and lend its URL."""
    return program(str(Path(compiled().name) / "receiver"))


@lru_cache(maxsize=1)
def compiled() -> tempfile.TemporaryDirectory[str]:
    """Return the folder with the receiver in C, which is gone when this process ends."""
    folder = tempfile.TemporaryDirectory()
    target, source = Path(folder.name) / "receiver", SOURCES / "plain_receiver.c"
    subprocess.run(["cc", "-O2", "-pthread", "-o", str(target), str(source)], check=True)
    return folder


def in_python(
    tls: Mutual | None = None, notes: Path | None = None, seconds: float = 0.0
) -> AbstractContextManager[str]:
    """Run the receiver in Python and lend its URL; it can note what comes, and be slow."""
    secured = ["--tls", str(tls.server.cert), str(tls.server.key), str(tls.ca)] if tls else []
    noting = ["--notes", str(notes)] if notes else []
    return program(*PYTHON, *secured, *noting, "--seconds", str(seconds), tls=tls)


def slow() -> AbstractContextManager[str]:
    """Run a receiver that takes its time."""
    return in_python(seconds=SLOW_SECONDS)


@contextlib.contextmanager
def program(*command: str, tls: Mutual | None = None) -> Iterator[str]:
    """Run a receiver that prints its port, and lend its URL."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield url_of(int(process.stdout.readline()), tls)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def url_of(port: int, tls: Mutual | None) -> str:
    return f"{'https' if tls else 'http'}://127.0.0.1:{port}/webhook"


#: name -> a receiver that can run here, the quickest first
RECEIVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    **({"nginx": nginx} if installed("nginx") else {}),
    **({"C": in_c} if shutil.which("cc") else {}),
    "Python": in_python,
}
KIND, receiver = next(iter(RECEIVERS.items()))
#: the quickest receiver that demands a client certificate
secured_receiver: Callable[[Mutual], AbstractContextManager[str]] = nginx if KIND == "nginx" else in_python
