"""`GET /v1/stream` of a real server: who gets what, and when a stream ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from sfwebhooks.sensitive import WITHHELD
from tests import filled
from tests.builders import PATIENCE, a_scan, an_event
from tests.conftest import Team
from tests.stores import BOTH, place_in
from tests.threads import until
from tests.web.listening import Listener, connected
from tests.web.serving import OPERATOR, VIEWER, Web, served
from tests.web.watching import SPARE, descriptors, settings

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")


def without_signs(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without what differs each time: when a sender was last seen."""
    for endpoint in status["endpoints"]:
        endpoint["sender"].pop("seen_at")
    return status


def logged_in(web: Web) -> str:
    """Return the cookie of a new session."""
    reply = web.anybody().post("/v1/session", json={"token": OPERATOR})
    assert reply.status_code == 201, reply.text
    return str(reply.cookies["sfwebhooks"])


@pytest.fixture
def web(tmp_path: Path, team: Team) -> Iterator[Web]:
    settings(tmp_path, team.url)
    with served(tmp_path) as web:
        yield web


def put(web: Web, folder: Path, *numbers: int) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        filled.put(outbox, *numbers)


def test_a_stream_begins_with_the_status_and_goes_on_with_attempts(web: Web, tmp_path: Path) -> None:
    with Listener(connected(web.port, OPERATOR)) as stream:
        assert (stream.status, "text/event-stream" in stream.head) == (200, True)
        assert without_signs(stream.next("status")) == without_signs(web.client.get("/v1/status").json())
        put(web, tmp_path, 1)
        attempts = stream.next("attempts")
        (item,) = attempts["items"]
        assert (attempts["missed"], item["endpoint"], item["state"]) == (0, "team", "delivered")
        assert (item["attempt"]["status"], item["attempt"]["reason"]) == (200, "http_200")
        while not stream.last["status"]["endpoints"][0]["last_success_at"]:
            stream.next("status")


def test_a_scan_that_changes_is_reported(web: Web, tmp_path: Path) -> None:
    with Listener(connected(web.port, OPERATOR)) as stream:
        stream.next("status")
        with closing(Outbox(place_in(tmp_path))) as outbox:
            filled.begin(outbox, a_scan())
        (item,) = stream.next("scans")["items"]
        assert (item["scan"], item["target"]) == (a_scan().id, a_scan().target)


def test_a_viewer_sees_no_secret_that_a_reply_quotes(tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    found = {"event_type": "PASSWORD_COMPROMISED", "data": f"bob@acme.example:{secret} [Example leak]"}
    settings(tmp_path, "http://127.0.0.1:1/")
    with served(tmp_path, "--no-deliver") as web:
        viewer, operator = (Listener(connected(web.port, token)) for token in (VIEWER, OPERATOR))
        with viewer, operator, closing(Outbox(place_in(tmp_path))) as outbox:
            viewer.next("status")
            operator.next("status")
            filled.put_event(outbox, an_event(data=found))
            filled.send(outbox, State.WAITING, "http_400", f"this is no key: {secret}")
            assert secret in str(operator.next("attempts"))
            (item,) = viewer.next("attempts")["items"]
            assert item["attempt"]["excerpt"].startswith("this is no key: ")
            assert secret not in str(item)
            for one in (viewer, operator):
                while not one.last["status"]["endpoints"][0]["last_error"]:
                    one.next("status")
            last = [one.last["status"]["endpoints"][0]["last_error"]["excerpt"] for one in (viewer, operator)]
            assert last == [WITHHELD, f"this is no key: {secret}"]
            assert web.viewer.get("/v1/status").json()["endpoints"] == viewer.last["status"]["endpoints"]


@pytest.mark.parametrize("proof", [{}, {"token": "a-token-of-nobody"}, {"cookie": "of-nobody"}])
def test_nobody_else_gets_the_stream(web: Web, proof: dict[str, str]) -> None:
    with Listener(connected(web.port, **proof)) as stream:
        assert stream.status == 401


def test_a_stream_ends_with_its_session_and_no_other_one(web: Web) -> None:
    cookies = logged_in(web), logged_in(web)
    one, other = (Listener(connected(web.port, cookie=cookie)) for cookie in cookies)
    with one, other:
        one.next("status")
        other.next("status")
        browser = web.anybody(cookies={"sfwebhooks": cookies[0]})
        csrf = browser.get("/v1/session").json()["csrf"]
        assert browser.delete("/v1/session", headers={"X-CSRF-Token": csrf}).status_code == 204
        assert one.rest().endswith(b"0\r\n\r\n")
        other.socket.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            while other.socket.recv(1 << 16):
                pass


def test_sigterm_ends_open_streams_within_the_grace(web: Web) -> None:
    with Listener(connected(web.port, OPERATOR)) as stream, connected(web.port, OPERATOR):
        stream.next("status")
        web.process.send_signal(signal.SIGTERM)
        assert stream.rest().endswith(b"0\r\n\r\n")
        assert web.process.wait(PATIENCE) == 0


def test_streams_that_clients_close_leave_no_descriptor(web: Web) -> None:
    before = descriptors(web)
    for _ in range(3):
        clients = [Listener(connected(web.port, OPERATOR)) for _ in range(30)]
        for client in clients:
            client.next("status")
        assert descriptors(web) >= before + len(clients)
        for client in clients:
            client.socket.close()
        until(lambda: descriptors(web) <= before + SPARE)


def test_a_stream_needs_an_own_connection_of_http_1_1_but_1_0_will_do(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as client:
        head = f"GET /v1/stream HTTP/1.0\r\nHost: 127.0.0.1:{web.port}\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n"
        client.sendall(head.encode())
        stream = Listener(client)
        assert (stream.status, "chunked" in stream.head.lower()) == (200, False)
        assert stream.next("status")["endpoints"]
