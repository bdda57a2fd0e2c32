"""The page's files over HTTP: what is served, what the browser may keep, and that nothing else can be read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sfwebhooks.web.page_files import FOLDER, TYPES
from tests.builders import PATIENCE
from tests.web.serving import Web

CSS = (FOLDER / "app.css").read_bytes()
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_served(web: Web, name: str) -> None:
    reply = web.anybody().get(f"/page/{name}")
    assert (reply.status_code, reply.content) == (200, (FOLDER / name).read_bytes())
    assert reply.headers["Content-Type"] == TYPES[Path(name).suffix]


@pytest.mark.parametrize(
    "path", ["/", "/login", "/deliveries", "/deliveries/a%2Fb", "/dead", "/endpoints/+new", "/scans", "/scans/1/2"]
)
def test_each_address_of_the_page_has_the_page(web: Web, path: str) -> None:
    reply = web.anybody().get(path)
    assert (reply.status_code, reply.content) == (200, (FOLDER / "index.html").read_bytes())


def test_a_file_that_the_browser_has_is_not_sent_again(web: Web) -> None:
    client = web.anybody()
    etag = client.get("/").headers["ETag"]
    for given in (etag, f'"x", W/{etag}'):
        reply = client.get("/", headers={"If-None-Match": given})
        assert (reply.status_code, reply.content, reply.headers["ETag"]) == (304, b"", etag)
    assert client.get("/", headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_file_is_sent_compressed_to_who_accepts_that(web: Web) -> None:
    client = web.anybody()
    sizes: dict[str, int] = {}
    tags: dict[int, set[str]] = {}
    for accepted in ("gzip, br", "br;q=1, GZIP ; q=0.5", "identity", "gzip;q=0", "gzip; q=0.000", ""):
        with client.stream("GET", "/page/app.css", headers={"Accept-Encoding": accepted}) as reply:
            sizes[accepted] = len(b"".join(reply.iter_raw()))
            assert (reply.headers.get("Content-Encoding") == "gzip") is (sizes[accepted] < len(CSS)), accepted
            assert reply.headers["Vary"] == "Accept-Encoding"
            tags.setdefault(sizes[accepted], set()).add(reply.headers["ETag"])
    assert [size < len(CSS) for size in sizes.values()] == [True, True, False, False, False, False]
    assert [len(found) for found in tags.values()] == [1, 1] and len(set().union(*tags.values())) == 2


def test_a_head_has_no_body(web: Web) -> None:
    reply = web.anybody().head("/page/app.css", headers={"Accept-Encoding": "identity"})
    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["Content-Length"]) == (FOLDER / "app.css").stat().st_size


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "%2e%2e%2fapp.py",
        "..%5capp.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "../../../../../../etc/passwd",
        "app.css/../../app.py",
        "app.css%00.js",
        "./app.css",
        "APP.CSS",
        "",
        ".",
        "..",
    ],
)
def test_no_other_file_can_be_read(web: Web, path: str) -> None:
    """The path as it is: clients would resolve it before they send it."""
    request = f"GET /page/{path} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as client, client.makefile("rb") as reply:
        client.sendall(request.encode())
        got = reply.read()
    assert got.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in got and b"root:" not in got and b"import" not in got


@pytest.mark.parametrize("path", ["/dead-letters", "/nothing/here", "/v1/nothing", "/%00"])
def test_a_browser_gets_the_page_for_an_unknown_address_and_a_program_a_problem(web: Web, path: str) -> None:
    client = web.anybody()
    browser = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (browser.status_code, browser.text) == (404, client.get("/").text)
    program = client.get(path)
    assert (program.status_code, program.headers["Content-Type"]) == (404, "application/problem+json")
    assert program.json()["detail"] == "there is no such path: GET /v1/openapi.json describes the API"


def test_the_methods_of_a_path_are_named(web: Web) -> None:
    other = web.client.put("/v1/status")
    assert (other.status_code, other.json()["detail"]) == (405, "this path has only GET")
