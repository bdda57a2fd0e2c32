"""Who may do what: tokens, sessions, and what another site's page cannot make a browser do."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sfwebhooks import __version__
from sfwebhooks.web.logins import FAILURES_MAX
from tests.web.serving import OPERATOR, VIEWER, Web, served

ONE_STORE = "it is about who may do what"

SESSION = "/v1/session"


def logged_in(web: Web, token: str = OPERATOR) -> tuple[httpx.Client, str]:
    """Return a client with the cookie of a session, and the session's CSRF token."""
    client = web.anybody()
    reply = client.post(SESSION, json={"token": token})
    assert reply.status_code == 201, reply.text
    return client, reply.json()["csrf"]


@pytest.mark.parametrize(("token", "role"), [(OPERATOR, "operator"), (VIEWER, "viewer")])
def test_a_token_says_who_one_is(web: Web, token: str, role: str) -> None:
    reply = web.anybody().get(SESSION, headers={"Authorization": f"Bearer {token}"})
    assert reply.json() == {
        "role": role,
        "csrf": "",
        "version": __version__,
        "read_only": False,
        "delivers": False,
        "ui_url": "https://spiderfoot.example.com",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {OPERATOR}"},
        {"Authorization": OPERATOR},
        {"Cookie": "sfwebhooks=x"},
        {"Cookie": f"sfwebhooks={OPERATOR}"},
        {"Cookie": "sfwebhooks="},
        {"X-Forwarded-User": "operator"},
    ],
)
def test_without_a_token_nobody_is_let_in(web: Web, headers: dict[str, str]) -> None:
    reply = web.anybody().get(SESSION, headers=headers)
    assert (reply.status_code, reply.headers["Content-Type"]) == (401, "application/problem+json")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_a_wrong_token_with_a_right_cookie_is_wrong(web: Web) -> None:
    client, _ = logged_in(web)
    assert client.get(SESSION, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_browser_logs_in_and_out(web: Web) -> None:
    client, csrf = logged_in(web)
    assert client.get(SESSION).json()["csrf"] == csrf
    cookie = client.cookies["sfwebhooks"]
    assert client.delete(SESSION, headers={"X-CSRF-Token": csrf}).status_code == 204
    assert client.cookies.get("sfwebhooks") is None
    assert web.anybody(cookies={"sfwebhooks": cookie}).get(SESSION).status_code == 401


def test_scripts_and_other_sites_do_not_get_the_cookie(web: Web) -> None:
    header = web.anybody().post(SESSION, json={"token": OPERATOR}).headers["Set-Cookie"]
    parts = {part.strip().lower() for part in header.split(";")[1:]}
    assert parts == {"httponly", "samesite=strict", "path=/", "max-age=43200"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "x"},
        {"X-CSRF-Token": "\xe4"},
        {"right": "", "Origin": "https://attacker.example"},
        {"right": "", "Origin": "null"},
        {"right": "", "Origin": "http://127.0.0.1:1"},
        {"right": "", "Sec-Fetch-Site": "cross-site"},
        {"right": "", "Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_sites_page_cannot_use_the_session(web: Web, headers: dict[str, str]) -> None:
    client, csrf = logged_in(web)
    given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if name != "right"]
    given += [(b"X-CSRF-Token", csrf.encode())] if "right" in headers else []
    reply = client.delete(SESSION, headers=given)
    assert (reply.status_code, client.get(SESSION).status_code) == (403, 200)


def test_a_proxy_that_changes_the_host_is_named(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver", "--behind-tls", "--allow-host", "hooks.example.com") as web:
        given = {
            "Host": "hooks.example.com",
            "Origin": "https://hooks.example.com:8443",
            "Sec-Fetch-Site": "same-origin",
        }
        reply = web.anybody().post(SESSION, json={"token": OPERATOR}, headers=given)
        assert reply.status_code == 403
        assert "https://hooks.example.com:8443 sent this request" in reply.json()["detail"]
        assert "this server is https://hooks.example.com:" in reply.json()["detail"]
        assert "has to pass on the Host header" in reply.json()["detail"]


def test_our_own_page_can_use_the_session(web: Web) -> None:
    client, csrf = logged_in(web)
    own = {"X-CSRF-Token": csrf, "Origin": web.url, "Sec-Fetch-Site": "same-origin"}
    assert client.delete(SESSION, headers=own).status_code == 204


def test_the_csrf_token_of_another_session_is_wrong(web: Web) -> None:
    client, _ = logged_in(web)
    _, other = logged_in(web)
    assert client.delete(SESSION, headers={"X-CSRF-Token": other}).status_code == 403


def test_a_token_needs_no_csrf_token(web: Web) -> None:
    assert web.client.delete(SESSION, headers={"Origin": "https://attacker.example"}).status_code == 204


@pytest.mark.parametrize("headers", [{"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_sites_page_cannot_log_somebody_in(web: Web, headers: dict[str, str]) -> None:
    reply = web.anybody().post(SESSION, json={"token": OPERATOR}, headers=headers)
    assert (reply.status_code, "Set-Cookie" in reply.headers) == (403, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"token": null}',
        b'{"token": 1}',
        b'{"token": ["x"]}',
        b'{"token": "\\ud800"}',
        b'{"token": "x", "link": "y"}',
        b'{"token": "' + b"x" * 100_000 + b'"}',
        b"[" * 100_000,
        b"\xff",
    ],
    ids=lambda body: str(body[:20]),
)
def test_a_login_of_another_form_is_refused(web: Web, body: bytes) -> None:
    reply = web.anybody().post(SESSION, content=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code in (400, 422), reply.headers["Content-Type"]) == (True, "application/problem+json")
    assert len(reply.content) < 5000


def test_a_form_of_another_site_is_no_login(web: Web) -> None:
    reply = web.anybody().post(SESSION, data={"token": OPERATOR})
    assert reply.status_code == 422


def test_what_is_wrong_with_a_value_is_said_without_the_value(web: Web) -> None:
    reply = web.anybody().post(SESSION, json={"token": ["a-secret-in-the-wrong-place"]})
    assert reply.json()["errors"] == [{"where": "body.token", "message": "Input should be a valid string"}]
    assert "a-secret" not in reply.text


def test_the_link_that_is_printed_logs_in_once(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver", token="") as web:
        address, _, link = web.printed.partition("login#link=")
        assert address == f"{web.url}/"
        client = web.anybody()
        assert client.post(SESSION, json={"link": link}).json()["role"] == "operator"
        assert client.get(SESSION).json()["role"] == "operator"
        second = web.anybody().post(SESSION, json={"link": link})
        assert (second.status_code, "was used" in second.json()["detail"]) == (401, True)


def test_with_a_token_no_link_is_printed(web: Web) -> None:
    assert web.printed == f"{web.url}/"
    assert web.anybody().post(SESSION, json={"link": ""}).status_code == 401


def test_who_fails_often_has_to_wait(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver") as web:
        session, _ = logged_in(web)
        client = web.anybody(transport=httpx.HTTPTransport(local_address="127.0.0.2"))
        wrong, right = ({"Authorization": f"Bearer {token}"} for token in ("wrong", OPERATOR))
        assert {client.get(SESSION, headers=wrong).status_code for _ in range(FAILURES_MAX - 1)} == {401}
        assert client.post(SESSION, json={"token": "wrong"}).status_code == 401
        refused = [
            client.get(SESSION, headers=right),
            client.post(SESSION, json={"token": OPERATOR}),
            client.post(SESSION, json={"link": "x"}),
        ]
        assert [(reply.status_code, 0 < int(reply.headers["Retry-After"]) <= 60) for reply in refused] == [
            (429, True)
        ] * 3
        assert client.get("/").status_code == 200
        assert session.get(SESSION).status_code == 200
        assert web.client.get(SESSION).status_code == 200


def test_behind_a_proxy_the_address_is_the_one_that_it_adds(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver", "--behind-tls", "--allow-host", "hooks.example.com") as web:
        client = web.anybody(headers={"Host": "hooks.example.com", "Origin": "https://hooks.example.com"})
        for number in range(FAILURES_MAX):
            forwarded = {"X-Forwarded-For": f"192.0.2.{number}, 198.51.100.1"}
            assert client.post(SESSION, json={"token": "wrong"}, headers=forwarded).status_code == 401
        right = {"token": OPERATOR}
        addresses = [
            "198.51.100.1",
            "198.51.100.2, 198.51.100.1",
            "198.51.100.2 + 198.51.100.1",
            "198.51.100.2",
            "198.51.100.1 + 198.51.100.3",
        ]
        given = [[("X-Forwarded-For", line) for line in one.split(" + ")] for one in addresses]
        replies = [client.post(SESSION, json=right, headers=lines) for lines in given]
        assert [reply.status_code for reply in replies] == [429, 429, 429, 201, 201]
        assert "secure" in replies[-1].headers["Set-Cookie"].lower().split("; ")


def test_without_one_nobody_can_choose_an_address(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver") as web:
        client = web.anybody()
        for number in range(FAILURES_MAX):
            client.post(SESSION, json={"token": "wrong"}, headers={"X-Forwarded-For": f"192.0.2.{number}"})
        assert client.post(SESSION, json={"token": "x"}, headers={"X-Forwarded-For": "192.0.2.99"}).status_code == 429


def test_no_operation_is_open_that_should_not_be(web: Web) -> None:
    """Each operation of the document, asked without a token; those that need none are named here."""
    document = web.client.get("/v1/openapi.json").json()
    client, opened = web.anybody(), []
    for path, item in document["paths"].items():
        for method in item:
            reply = client.request(method, path.replace("{", "").replace("}", ""), json={})
            if reply.status_code != 401:
                opened.append((method, path))
    assert set(opened) <= {("post", "/v1/session"), ("get", "/v1/health")}


def test_a_viewer_changes_nothing(web: Web) -> None:
    """Each operation that is not a GET, asked with the viewer's token."""
    document = web.client.get("/v1/openapi.json").json()
    found = {
        (method, path): web.viewer.request(method, path.replace("{", "").replace("}", ""), json={}).status_code
        for path, item in document["paths"].items()
        for method in item
        if method != "get" and path != "/v1/session"
    }
    assert {asked: status for asked, status in found.items() if status != 403} == {}
