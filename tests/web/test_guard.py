"""The guard: hosts, bodies and the headers of answers, at a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from sfwebhooks.web import guard
from sfwebhooks.web.bodies import BODY_MAX
from sfwebhooks.web.guard import HEADERS, POLICY, is_allowed_host
from tests.builders import PATIENCE
from tests.rows import in_one
from tests.web.serving import Web

JSON = {"Content-Type": "application/json"}
LOOPBACK, ALL, OUTSIDE = ("127.0.0.1", 8900), ("0.0.0.0", 8900), ("192.0.2.7", 8900)


@in_one(
    ("listen", "host", "allowed"),
    [
        (LOOPBACK, "127.0.0.1:8900", True),
        (LOOPBACK, "localhost:8900", True),
        (LOOPBACK, "LOCALHOST:8900", True),
        (LOOPBACK, "[::1]:8900", True),
        (LOOPBACK, "localhost", False),
        (LOOPBACK, "localhost:8901", False),
        (LOOPBACK, "attacker.example:8900", False),
        (LOOPBACK, "localhost.attacker.example:8900", False),
        (LOOPBACK, "127.0.0.1.attacker.example:8900", False),
        (LOOPBACK, "192.0.2.7:8900", False),
        (LOOPBACK, "hooks.example.com", True),
        (LOOPBACK, "hooks.example.com:443", True),
        (LOOPBACK, "hooks.example.com.attacker.example", False),
        (LOOPBACK, "xhooks.example.com", False),
        (LOOPBACK, "other.example.com:8443", True),
        (LOOPBACK, "other.example.com:443", False),
        (LOOPBACK, "", False),
        (LOOPBACK, ":8900", False),
        (LOOPBACK, "127.0.0.1:8900@attacker.example", False),
        (LOOPBACK, "127.0.0.1:8900\ud800", False),
        (("127.0.0.1", 80), "localhost", True),
        (("127.0.0.1", 80), "[::1]", True),
        (("::1", 8900), "[::1]:8900", True),
        (("::1", 8900), "localhost:8900", True),
        (ALL, "192.0.2.7:8900", True),
        (ALL, "[2001:db8::1]:8900", True),
        (ALL, "192.0.2.7:80", False),
        (ALL, "localhost:8900", True),
        (ALL, "attacker.example:8900", False),
        (ALL, "2130706433:8900", False),
        (("::", 8900), "192.0.2.7:8900", True),
        (OUTSIDE, "192.0.2.7:8900", True),
        (OUTSIDE, "localhost:8900", False),
    ],
)
def test_a_host_is_ours_or_another(listen: tuple[str, int], host: str, allowed: bool) -> None:
    assert is_allowed_host(host, listen, ("hooks.example.com", "other.example.com:8443")) is allowed


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["sfwebhooks=a-b_1"], b"sfwebhooks=a-b_1"),
        (["x=1; sfwebhooks=a; y=2", "z=3;sfwebhooks=b "], b"sfwebhooks=a; sfwebhooks=b"),
        (["session=of-another-program"], None),
        (['sfwebhooks="a"'], None),
        (["sfwebhooks=", "xsfwebhooks=a", f"sfwebhooks={'a' * 101}"], None),
        (['sfwebhooks="' + '\\"' * 30_000 + '"'], None),
        ([";" * 60_000], None),
    ],
    ids=lambda one: str(one)[:30],
)
def test_only_our_cookies_are_read(given: list[str], read: bytes | None) -> None:
    scope = {"headers": [(b"host", b"x"), *((b"cookie", one.encode()) for one in given)]}
    guard._with_own_cookies(scope)
    assert dict(scope["headers"]) == {b"host": b"x", **({b"cookie": read} if read else {})}


@pytest.mark.parametrize("path", ["/", "/v1/session", "/page/app.css", "/nothing"])
def test_a_page_of_another_site_does_not_reach_us_by_a_name_of_its_own(web: Web, path: str) -> None:
    reply = web.client.get(path, headers={"Host": f"attacker.example:{web.port}"})
    assert (reply.status_code, reply.json()["status"]) == (421, 421)
    assert "--allow-host" in reply.json()["detail"]


def test_each_answer_restricts_what_a_browser_does_with_it(web: Web) -> None:
    replies = [
        web.client.get("/"),
        web.client.get("/v1/session"),
        web.client.get("/nothing"),
        web.anybody().get("/v1/session"),
        web.client.get("/", headers={"Host": "x"}),
        web.client.post("/v1/session", content=b"{"),
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 404, 401, 421, 422]
    for reply in replies:
        assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
        assert reply.headers["Content-Security-Policy"] == POLICY
        assert "server" not in reply.headers
    assert "unsafe" not in POLICY


def test_only_the_page_may_be_kept(web: Web) -> None:
    found = [
        web.client.get(path).headers["Cache-Control"] for path in ("/v1/session", "/v1/openapi.json", "/nothing", "/")
    ]
    assert found == ["no-store", "no-store", "no-store", "no-cache"]


@pytest.mark.parametrize("size", [BODY_MAX + 1, 10_000_000])
@pytest.mark.parametrize("path", ["/v1/session", "/", "/nothing"])
def test_a_large_body_is_refused(web: Web, size: int, path: str) -> None:
    reply = web.client.post(path, content=b"x" * size)
    assert (reply.status_code, reply.headers["Content-Type"]) == (413, "application/problem+json")


def test_a_large_body_in_chunks_is_refused(web: Web) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * 1_000_000

    assert web.client.post("/v1/session", content=parts()).status_code == 413


def test_the_largest_body_is_read(web: Web) -> None:
    reply = web.client.post("/v1/session", content=b'{"token": "x"}'.ljust(BODY_MAX), headers=JSON)
    assert reply.status_code == 401


def answer_to(web: Web, request: bytes) -> bytes:
    """Return what the server answers to a request before it closes."""
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as client, client.makefile("rb") as reply:
        client.sendall(request)
        return reply.read()


@pytest.mark.parametrize("length", ["99999999999", "9" * 5000])
def test_a_body_of_which_the_head_says_that_it_is_huge_is_not_awaited(web: Web, length: str) -> None:
    head = f"POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nContent-Length: {length}\r\n\r\n"
    assert answer_to(web, head.encode())[:13] in (b"HTTP/1.1 413 ", b"HTTP/1.1 400 ")


def test_a_client_that_asks_before_it_sends_a_large_body_gets_the_answer_at_once(web: Web) -> None:
    head = f"POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nContent-Length: 2000000\r\n"
    assert answer_to(web, f"{head}Expect: 100-continue\r\n\r\n".encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "request_line",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
     b"G" * 100_000],
    ids=["no host", "rubbish", "version", "not ascii", "endless"],
)  # fmt: skip
def test_garbage_gets_400(web: Web, request_line: bytes) -> None:
    assert answer_to(web, request_line).startswith(b"HTTP/1.1 400 ")
    assert web.client.get("/v1/session").status_code == 200


def test_a_path_may_have_any_bytes(web: Web) -> None:
    client = web.anybody()
    for path in ("/%00", "/%ff%fe", "/v1/%ed%a0%80", "/" + "a" * 10_000):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "PATCH"])
def test_an_unknown_method_is_refused(web: Web, method: str) -> None:
    reply = httpx.request(method, f"{web.url}/v1/session", timeout=PATIENCE, trust_env=False)
    assert (reply.status_code, reply.json()["status"]) == (405, 405)
