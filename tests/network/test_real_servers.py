"""Real servers that refuse: nginx and HAProxy in front of a receiver, PostgreSQL behind one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.health import Condition
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.receive.received import Received
from sfwebhooks.screening import Screen
from tests.builders import PATIENCE, an_endpoint, an_event
from tests.conftest import Clock, Team, sql
from tests.servers import free_port, installed, listens, running

NGINX, HAPROXY = installed("nginx"), installed("haproxy")
INITDB, POSTGRES, PSQL = (shutil.which(name) or "" for name in ("initdb", "postgres", "psql"))
#: PostgreSQL does not run as root
SERVICE = "nobody"
NGINX_CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 4k;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate "{server.cert}";
    ssl_certificate_key "{server.key}";
    ssl_client_certificate "{ca}";
    ssl_verify_client on;
    location / {{ proxy_pass {behind}; }}
  }}
}}
"""
HAPROXY_CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend wall
  bind 127.0.0.1:{port}
  option http-buffer-request
  http-request deny deny_status 403 if {{ req.body -m sub <script }}
  default_backend team
backend team
  server team {behind}
"""
TABLE = "CREATE TABLE message (body jsonb NOT NULL)"

needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is not installed: apt-get install nginx-light")
needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="HAProxy is not installed: apt-get install haproxy")
needs_postgres = pytest.mark.skipif(
    not (INITDB and POSTGRES and PSQL and os.getuid() == 0), reason="PostgreSQL is not installed, or we are not root"
)


@pytest.fixture
def nginx(tmp_path: Path, team: Team, server_identity: Identity, authority: Authority) -> Iterator[int]:
    """Start nginx, which demands a client certificate and takes 4 kB, before the team; its port."""
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    values = {"folder": folder, "server": server_identity, "ca": authority.cert, "behind": team.url}
    (folder / "conf").write_text(NGINX_CONFIGURATION.format(port=port, **values))
    with running([NGINX, "-p", str(folder), "-c", str(folder / "conf")], lambda: listens(port)):
        yield port


@pytest.fixture
def haproxy(tmp_path: Path, team: Team) -> Iterator[int]:
    """Start HAProxy, which refuses what looks like a script, before the team; its port."""
    port, behind = free_port(), team.url.removeprefix("http://").partition("/")[0]
    (tmp_path / "haproxy.cfg").write_text(HAPROXY_CONFIGURATION.format(port=port, behind=behind))
    with running([HAPROXY, "-db", "-f", str(tmp_path / "haproxy.cfg")], lambda: listens(port)):
        yield port


class Postgres:
    """A database of messages, asked with psql."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, query: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a statement, in which the variable `given` is the content of the file of that name."""
        command = [PSQL, "-qtA", "-h", str(self._folder), "-U", SERVICE, "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
        return subprocess.run(command, input=f"\\set given `cat {given}`\n{query}" if given else query,
                              capture_output=True, text=True, timeout=PATIENCE)  # fmt: skip

    def take(self, body: bytes) -> bool:
        """Insert the messages of a request, all or none; return whether they were taken."""
        file = self._folder / "body"
        file.write_bytes(body)
        given = "(:'given')::jsonb"
        many = f"CASE jsonb_typeof({given}) WHEN 'array' THEN {given} ELSE jsonb_build_array({given}) END"
        return self.ask(f"INSERT INTO message SELECT * FROM jsonb_array_elements({many});", str(file)).returncode == 0


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp())
    shutil.chown(folder, SERVICE)
    data, database = folder / "data", Postgres(folder)
    made = [INITDB, "-D", str(data), "-U", SERVICE, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(made, user=SERVICE, cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    command = [POSTGRES, "-D", str(data), "-c", "listen_addresses=", "-k", str(folder), "-F"]
    with running(command, lambda: database.ask("SELECT 1").returncode == 0, user=SERVICE, cwd=folder):
        assert database.ask(TABLE).returncode == 0
        yield database
    shutil.rmtree(folder)


@pytest.fixture
def postgres(database: Postgres) -> Postgres:
    """The database without messages."""
    assert database.ask("TRUNCATE message").returncode == 0
    return database


Go = Callable[..., SendQueue]


@pytest.fixture
def go(outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]) -> Go:
    """Let events with these data be accepted and sent for a while: `go(endpoint, data, seconds)`."""

    def send(endpoint: Endpoint, data: list[str], seconds: int) -> SendQueue:
        events = [
            an_event(number, data={"event_type": "RAW_RIR_DATA", "data": text}) for number, text in enumerate(data, 1)
        ]
        accept(events, Screen((endpoint,)), outbox, clock.now)
        queue = new_queue(endpoint)
        for _ in range(seconds):
            while queue.step():
                pass
            clock.now += 1
        return queue

    return send


def states(outbox: Outbox) -> dict[str, int]:
    rows = sql(outbox, "SELECT state, count(*) FROM delivery GROUP BY state")
    return {str(state): int(count) for state, count in rows}


def seen(team: Team) -> list[str]:
    """Return the data of all messages that came."""
    return [message["data"]["data"] for received in team.got for message in messages(received)]


def messages(received: Received) -> list[dict[str, Any]]:
    body = json.loads(received.body)
    return body if isinstance(body, list) else [body]


# --- nginx


@needs_nginx
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nginx_that_says_400_to_everything_holds_the_endpoint_and_kills_nothing(
    nginx: int, authority: Authority, team: Team, outbox: Outbox, go: Go, scheme: str
) -> None:
    """Without a client certificate, and in plain HTTP at its port of TLS."""
    endpoint = an_endpoint(url=f"{scheme}://127.0.0.1:{nginx}/", ca_bundle=authority.cert, timeout=PATIENCE)
    queue = go(endpoint, ["a", "b", "c", "d"], 60)
    assert (team.got, states(outbox)) == ([], {"waiting": 4})
    assert (queue.states[0].health.condition, queue.states[0].health.reason) == (Condition.HELD, "http_400")


@needs_nginx
@pytest.mark.parametrize("batch_size", [1, 20])
def test_nginx_that_says_413_to_one_message_gets_all_others(
    nginx: int, authority: Authority, client_identity: Identity, team: Team, outbox: Outbox, go: Go, batch_size: int
) -> None:
    endpoint = an_endpoint(
        url=f"https://127.0.0.1:{nginx}/",
        ca_bundle=authority.cert,
        client_cert=client_identity.cert,
        client_key=client_identity.key,
        timeout=PATIENCE,
        batch_size=batch_size,
        batch_wait=0.0,
    )
    small = [f"small {number}" for number in range(19)]
    queue = go(endpoint, [*small[:7], "x" * 5000, *small[7:]], 600)
    assert sorted(seen(team)) == sorted(small)
    assert states(outbox) == {"delivered": 19, "dead": 1}
    assert sql(outbox, "SELECT reason FROM delivery WHERE state = 'dead'") == [("refused: http_413",)]
    assert queue.states[0].health.healthy


# --- HAProxy


@needs_haproxy
@pytest.mark.parametrize("batch_size", [1, 20])
def test_haproxy_that_refuses_scripts_gets_all_others(
    haproxy: int, team: Team, outbox: Outbox, go: Go, batch_size: int
) -> None:
    endpoint = an_endpoint(url=f"http://127.0.0.1:{haproxy}/", timeout=PATIENCE, batch_size=batch_size, batch_wait=0.0)
    data = [f"page {number}" + (" <script>" if number in (3, 4, 5, 15) else "") for number in range(20)]
    go(endpoint, data, 1200)
    assert sorted(seen(team)) == sorted(text for text in data if "<" not in text)
    assert states(outbox) == {"delivered": 16, "dead": 4}
    assert set(sql(outbox, "SELECT reason FROM delivery WHERE state = 'dead'")) == {("refused: http_403",)}


@pytest.mark.slow
@needs_haproxy
def test_haproxy_without_a_receiver_makes_nothing_but_wait(haproxy: int, team: Team, outbox: Outbox, go: Go) -> None:
    team.receiver.stop()
    queue = go(an_endpoint(url=f"http://127.0.0.1:{haproxy}/", timeout=PATIENCE), ["a", "b", "c", "d", "e", "f"], 60)
    assert states(outbox) == {"waiting": 6}
    assert (queue.states[0].health.condition, queue.states[0].health.reason) == (Condition.FAILING, "http_503")


# --- PostgreSQL


@needs_postgres
def test_what_is_hostile_to_a_database_gets_into_it(postgres: Postgres, team: Team, outbox: Outbox, go: Go) -> None:
    data = ["\ud800", "\udfff\ud800", "\ufffe", "'; DROP TABLE message; --", "\\u0000", "{}", "\U0001f600"]
    team.answer = lambda received: 200 if postgres.take(received.body) else 500
    go(an_endpoint(url=team.url, timeout=PATIENCE), data, 30)
    assert states(outbox) == {"delivered": len(data)}
    assert postgres.ask("SELECT count(*) FROM message").stdout.strip() == str(len(data))


@needs_postgres
def test_of_a_batch_that_a_database_refuses_only_the_one_message_dies(
    postgres: Postgres, team: Team, outbox: Outbox, go: Go
) -> None:
    team.answer = lambda received: 200 if postgres.take(received.body) else 500
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, batch_size=20, batch_wait=0.0, retry_schedule=(1.0, 5.0))
    data = [f"page {number}" for number in range(20)]
    go(endpoint, [*data[:7], "jsonb has no \0", *data[7:]], 1200)
    assert states(outbox) == {"delivered": 20, "dead": 1}
    kept = postgres.ask("SELECT body->'data'->>'data' FROM message").stdout.split("\n")
    assert sorted(filter(None, kept)) == sorted(data)
