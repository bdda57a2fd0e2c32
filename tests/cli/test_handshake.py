"""`sfwebhooks test` with CloudEvents: the receiver is asked first whether it allows our messages (OPTIONS)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable

import pytest
from requests.structures import CaseInsensitiveDict

from tests.conftest import Result, Team
from tests.network.test_tokens import Provider

KEY = "a-bearer-token-of-the-team"


class Broker:
    """Answers OPTIONS as it is told, and takes messages."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.taken = 202
        #: method, path and headers of each request
        self.got: list[tuple[str, str, CaseInsensitiveDict[str]]] = []
        broker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_OPTIONS(self) -> None:
                self._answer(broker.status, broker.headers)

            def do_POST(self) -> None:
                self._answer(broker.taken, {})

            def _answer(self, status: int, headers: dict[str, str]) -> None:
                broker.got.append((self.command, self.path, CaseInsensitiveDict(self.headers.items())))
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/a-secret-path"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.close()


@pytest.fixture
def ask(cli: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    """Run `sfwebhooks test` for an endpoint with these keys."""

    def run(url: str, **keys: str) -> Result:
        path = tmp_path / "webhooks.ini"
        path.touch(0o600)
        settings = {"url": url, "format": "cloudevents", **keys}
        path.write_text("[webhooks.team]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        return cli("test", "team")

    return run


def test_the_receiver_is_asked_first_at_the_exact_address_with_our_credentials(
    broker: Broker, ask: Callable[..., Result]
) -> None:
    broker.headers = {"WebHook-Allowed-Origin": "osint.acme.example", "WebHook-Allowed-Rate": "120"}
    shown = ask(broker.url, rate="2/s", api_key=KEY, cloudevents_source="https://osint.acme.example/spiderfoot")
    (method, path, asked), (then, _, sent) = broker.got
    assert (shown.code, method, path, then) == (0, "OPTIONS", "/a-secret-path", "POST")
    assert (asked["WebHook-Request-Origin"], asked["WebHook-Request-Rate"]) == ("osint.acme.example", "120")
    assert (asked["Authorization"], asked["Content-Length"]) == (f"Bearer {KEY}", "0")
    assert "webhook-signature" not in asked and sent["WebHook-Request-Origin"] == "osint.acme.example"
    assert "reply handshake: the receiver allows messages from osint.acme.example, 120 requests" in shown.words


def test_a_lower_rate_is_named_with_the_key_to_set(broker: Broker, ask: Callable[..., Result]) -> None:
    broker.headers = {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "30"}
    shown = ask(broker.url, rate="2/s")
    assert (shown.code, "30 requests a minute: set rate = 30/m" in shown.words) == (0, True)


def test_a_receiver_that_allows_another_origin_is_a_failure_although_it_took_the_message(
    broker: Broker, ask: Callable[..., Result]
) -> None:
    broker.headers = {"WebHook-Allowed-Origin": "other.example", "WebHook-Allowed-Rate": "*"}
    shown = ask(broker.url)
    assert (shown.code, [method for method, *_ in broker.got]) == (1, ["OPTIONS", "POST"])
    assert "from other.example, not from spiderfoot: allow spiderfoot there" in shown.words


@pytest.mark.parametrize("status", [200, 401, 404, 405, 501])
def test_a_receiver_that_does_not_know_the_handshake_is_a_note(
    status: int, broker: Broker, ask: Callable[..., Result]
) -> None:
    broker.status, broker.headers = status, {"Allow": "POST"}
    shown = ask(broker.url)
    assert (shown.code, f"does not answer it (http_{status}), which is its choice" in shown.words) == (0, True)
    assert "delivered, http_202" in shown.words


def test_a_receiver_that_repeats_our_credentials_is_not_quoted_with_them(
    broker: Broker, ask: Callable[..., Result]
) -> None:
    broker.headers = {"WebHook-Allowed-Origin": f"Bearer {KEY} \x1b[2J a-secret-path"}
    shown = ask(broker.url, api_key=KEY)
    assert not [secret for secret in (KEY, "a-secret-path", "\x1b") if secret in shown.out + shown.err]


def test_a_receiver_that_is_down_is_named_once_more_by_the_message(ask: Callable[..., Result]) -> None:
    shown = ask("http://127.0.0.1:9/")
    assert (shown.code, "handshake: no answer, connection_failed" in shown.words) == (1, True)
    assert "not delivered, connection_failed" in shown.words


def test_the_handshake_is_under_the_rules_of_addresses(ask: Callable[..., Result]) -> None:
    shown = ask("http://169.254.169.254/")
    assert shown.code == 1 and "handshake" not in shown.words


def test_the_handshake_has_the_same_token_as_the_message(ask: Callable[..., Result]) -> None:
    provider, broker = Provider(), Broker()
    keys = {"auth": "oauth2", "token_url": f"{provider.url}/token", "client_id": "me", "client_secret": "c" * 32}
    ask(broker.url, **keys)
    provider.close()
    broker.close()
    assert [sent["Authorization"] for *_, sent in broker.got] == ["Bearer token-1", "Bearer token-1"]


def test_our_own_receiver_allows_whoever_asks(team: Team, ask: Callable[..., Result]) -> None:
    shown = ask(team.url)
    assert (shown.code, "handshake: the receiver allows messages from spiderfoot at any rate" in shown.words) == (
        0,
        True,
    )
    assert len(team.got) == 1, "a handshake is not a delivery"


def test_other_formats_ask_nothing(broker: Broker, ask: Callable[..., Result]) -> None:
    shown = ask(broker.url, format="generic")
    assert (shown.code, [method for method, *_ in broker.got]) == (0, ["POST"])
    assert "handshake" not in shown.words
