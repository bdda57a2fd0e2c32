"""OAuth 2.0: tokens are fetched, kept, renewed, and never shown."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Callable
from urllib.parse import parse_qs, quote

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.formats.content import Content
from sfwebhooks.health import Condition
from sfwebhooks.network.tokens import MARGIN_SECONDS, VALID_SECONDS, TokenSender
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.own_secrets import Mask
from sfwebhooks.pipeline import excerpt
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import judge
from sfwebhooks.signing import Request, sign
from tests.builders import NOW, PATIENCE, a_batch
from tests.conftest import Clock, put
from tests.hostile import Hostile, silent
from tests.tiers import quick_first

ONE_STORE = "it is about connections to receivers"

SECRET = "s3cret:of/the+client"


class Provider:
    """A token endpoint and the API that takes its tokens, in one server."""

    def __init__(self) -> None:
        self.lasts: Any = 3600
        #: the answer instead of a token: status and body
        self.instead: tuple[int, bytes] | None = None
        #: headers of all answers, in addition or instead
        self.headers: dict[str, str] = {}
        #: what the API accepts; None: the last token
        self.accepted: str | None = None
        self.asked: list[tuple[dict[str, str], dict[str, list[str]]]] = []
        self.got: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                name = f"answer_{self.path.strip('/')}"
                status, reply = getattr(provider, name)({k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(reply)), **provider.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply)
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = Thread(target=self.server.serve_forever)
        self._thread.start()

    def answer_token(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.asked.append((headers, parse_qs(body.decode())))
        if self.instead:
            return self.instead
        lasts = {} if self.lasts is None else {"expires_in": self.lasts}
        return 200, json.dumps({"access_token": f"token-{len(self.asked)}", "token_type": "Bearer", **lasts}).encode()

    def answer_api(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.got.append(headers.get("authorization", ""))
        right = f"Bearer {self.accepted or f'token-{len(self.asked)}'}"
        return (200, b"ok") if self.got[-1] == right else (401, f"what is {self.got[-1]}?".encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(PATIENCE)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


def keys(provider: Provider, **more: str) -> dict[str, str]:
    return {
        "url": f"{provider.url}/api",
        "auth": "oauth2",
        "token_url": f"{provider.url}/token",
        "client_id": "id of/it",
        "client_secret": SECRET,
        "secret": "a signing secret",
        **more,
    }


def endpoint_of(provider: Provider, **more: str) -> Endpoint:
    found = load_mapping({"team": keys(provider, **more)})
    assert found.mistakes == ()
    return found.endpoints[0]


@pytest.fixture
def new(provider: Provider) -> Iterator[Callable[..., TokenSender]]:
    made: list[TokenSender] = []

    def make(monotonic: Callable[[], float] = lambda: NOW, **more: str) -> TokenSender:
        made.append(TokenSender(endpoint_of(provider, **more), monotonic))
        return made[-1]

    yield make
    for one in made:
        one.close()


def request_to(provider: Provider) -> Request:
    endpoint = endpoint_of(provider)
    return Request(endpoint.url, {"Content-Type": "application/json"}, b"{}")


def test_a_token_is_asked_for_as_the_rfc_has_it(provider: Provider, new: Callable[..., TokenSender]) -> None:
    assert new(scope="a b").send(request_to(provider)).status == 200
    ((headers, form),) = provider.asked
    encoded = base64.b64decode(headers["authorization"].partition(" ")[2]).decode()
    assert encoded == "id+of%2Fit:s3cret%3Aof%2Fthe%2Bclient"
    assert form == {"grant_type": ["client_credentials"], "scope": ["a b"]}
    assert headers["content-type"] == "application/x-www-form-urlencoded"


def test_a_token_is_kept_until_shortly_before_it_ends(provider: Provider, new: Callable[..., TokenSender]) -> None:
    now = [NOW]
    sender = new(lambda: now[0])
    for _ in range(3):
        sender.send(request_to(provider))
    now[0] += 3600 - MARGIN_SECONDS - 1
    sender.send(request_to(provider))
    assert len(provider.asked) == 1
    now[0] += 2
    assert sender.send(request_to(provider)).status == 200
    assert provider.got[-1] == "Bearer token-2"


@pytest.mark.parametrize(
    ("lasts", "used"),
    [
        *((None, VALID_SECONDS - MARGIN_SECONDS), (20, 10), ("3600", 3570), (0, 270)),
        *(("3600.0", 3570), ("never", 270), ("", 270), (-5, 270), (1e400, 270), (float("nan"), 270), ([], 270)),
        *((10**400, 270), (True, 270), ("3600 ", 3570), ({"s": 1}, 270)),
    ],
)
def test_how_long_it_is_used_follows_from_the_reply(
    provider: Provider, new: Callable[..., TokenSender], lasts: Any, used: float
) -> None:
    provider.lasts, now = lasts, [NOW]
    sender = new(lambda: now[0])
    sender.send(request_to(provider))
    now[0] += used - 1
    sender.send(request_to(provider))
    assert len(provider.asked) == 1
    now[0] += 2
    sender.send(request_to(provider))
    assert len(provider.asked) == 2


def test_a_kept_token_that_is_not_accepted_is_renewed_once(provider: Provider, new: Callable[..., TokenSender]) -> None:
    sender = new()
    sender.send(request_to(provider))
    provider.accepted = "token-2"
    assert sender.send(request_to(provider)).status == 200
    assert provider.got == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]
    provider.accepted = "none"
    assert sender.send(request_to(provider)).status == 401
    assert (len(provider.asked), len(provider.got)) == (3, 5)


def test_a_fresh_token_that_is_not_accepted_is_the_answer(provider: Provider, new: Callable[..., TokenSender]) -> None:
    provider.accepted = "none"
    reply = new().send(request_to(provider))
    assert (reply.status, len(provider.got)) == (401, 1)
    assert excerpt(reply, Mask([])) == "what is Bearer ***?"


@pytest.mark.parametrize(
    "written",
    [
        str,
        lambda token: quote(token, safe=""),
        lambda token: base64.b64encode(token.encode()).decode(),
        lambda token: json.dumps(token).replace("/", "\\/"),
        str.upper,
        lambda token: token[:-3],
    ],
)
def test_a_receiver_that_repeats_a_token_in_any_form_is_not_quoted_with_it(written: Callable[[str], str]) -> None:
    token = "eyJhbGciOi/JIUzI1+NiIsInR5cCI6IkpXVCJ9.abcdefgh_ijkl"
    said = excerpt(Reply(401, body=f"what is {written(token)} for?".encode(), secret=token), Mask([]))
    assert "***" in said
    assert written(token)[:12] not in said and written(token)[-12:] not in said


@pytest.mark.parametrize(
    ("status", "body", "failure", "outcome"),
    quick_first(
        [
            pytest.param(400, b'{"error":"invalid_client"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(401, b"", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(404, b"<html>nothing here</html>", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(302, b"", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(403, b"<html>blocked</html>", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(400, b'{"error":"unauthorized_client"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(400, b'{"error":"invalid_scope"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(400, b'{"error":["temporarily_unavailable"]}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(400, b'{"error":"inval', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b"[]", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b"null", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b"{}", Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"token":"x"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"access_token":5}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"access_token":"a\\r\\nX-Evil: 1"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"access_token":"x\\n"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"access_token":"x","token_type":"mac"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"access_token":"x","token_type":5}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"access_token":""}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(201, b'{"access_token":"token-0"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b'{"error":"invalid_scope"}', Failure.TOKEN_REFUSED, Outcome.HOLD),
            pytest.param(200, b"", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(200, b'{"access_token":"token-0","tok', Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(200, b"<html>sign in</html>", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(200, b"\xff" * 99, Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(200, b"[" * 60000, Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(200, b'{"error":"temporarily_unavailable"}', Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(400, b'{"error":"temporarily_unavailable"}', Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(400, b'{"error":"server_error"}', Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(408, b"", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(429, b"slowly", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(502, b"<html><title>Bad Gateway</title></html>", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(503, b"", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
            pytest.param(504, b"<html>", Failure.TOKEN_UNAVAILABLE, Outcome.RETRY),
        ],
        10,
    ),
)
def test_where_there_is_no_token_nothing_is_sent(
    provider: Provider,
    new: Callable[..., TokenSender],
    status: int,
    body: bytes,
    failure: Failure,
    outcome: Outcome,
) -> None:
    provider.instead = (status, body)
    reply = new().send(request_to(provider))
    assert (reply.failure, provider.got) == (failure, [])
    assert reply.detail.startswith("token endpoint: ")
    assert judge(reply, NOW).outcome is outcome


def test_a_token_endpoint_can_ask_to_wait(provider: Provider, new: Callable[..., TokenSender]) -> None:
    provider.instead, provider.headers = (429, b""), {"Retry-After": "120"}
    assert judge(new().send(request_to(provider)), NOW).wait == 120


def test_a_reply_that_is_shorter_than_it_says_is_retried(provider: Provider, new: Callable[..., TokenSender]) -> None:
    provider.instead, provider.headers = (200, b'{"access_token":"token-0",'), {"Content-Length": "500"}
    reply = new().send(request_to(provider))
    assert (judge(reply, NOW).outcome, provider.got) == (Outcome.RETRY, [])
    assert reply.detail.startswith("token endpoint: ") and "token-0" not in reply.detail


def test_a_token_for_fewer_scopes_is_used(provider: Provider, new: Callable[..., TokenSender]) -> None:
    body = {"access_token": "token-1", "token_type": "Bearer", "scope": "a", "expires_at": "never", "expires_on": "x"}
    provider.instead = (200, json.dumps(body).encode())
    assert new(scope="a b").send(request_to(provider)).status == 200


def test_messages_wait_while_the_reply_of_a_token_endpoint_is_cut_off(
    provider: Provider, outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = endpoint_of(provider, events="all")
    queue = new_queue(endpoint)
    put(outbox, endpoint)
    provider.instead = (200, b'{"access_token":"tok')
    queue.step()
    assert (queue.states[0].health.condition, provider.got) == (Condition.HEALTHY, [])
    provider.instead, clock.now = None, clock.now + 10
    queue.step()
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 1, "dead": 0}


def test_a_token_endpoint_that_is_down_is_retried(provider: Provider, new: Callable[..., TokenSender]) -> None:
    reply = new(token_url="http://127.0.0.1:9/token").send(request_to(provider))
    assert (reply.failure, reply.detail) == (Failure.CONNECTION, "token endpoint: Connection refused")


def test_a_token_endpoint_is_under_the_address_rules(provider: Provider, new: Callable[..., TokenSender]) -> None:
    reply = new(token_url="http://169.254.169.254/token").send(request_to(provider))
    assert (reply.failure, provider.got) == (Failure.ADDRESS, [])


def test_a_token_endpoint_that_hangs_takes_no_longer_than_an_attempt(new: Callable[..., TokenSender]) -> None:
    hanging = Hostile(silent)
    sender = new(token_url=hanging.url, timeout="0.3s")
    begin = time.monotonic()
    reply = sender.send(Request(Secret("http://127.0.0.1:9/"), {}, b"{}"))
    hanging.close()
    assert reply.failure is Failure.TIMEOUT
    assert time.monotonic() - begin < PATIENCE


def test_deliveries_go_out_with_a_token_and_wait_for_one(
    provider: Provider,
    outbox: Outbox,
    clock: Clock,
    new_queue: Callable[..., SendQueue],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = endpoint_of(provider, events="all")
    queue = new_queue(endpoint)
    put(outbox, endpoint, events=3)
    provider.instead = (401, f"you said {SECRET}".encode())
    queue.step()
    assert queue.states[0].health.condition is Condition.HELD
    assert queue.states[0].health.reason == "token_refused"
    provider.instead = None
    clock.now += 3600
    while queue.step():
        clock.now += 3600
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 3, "dead": 0}
    shown = [*caplog.messages, *(str(one.last) for one in outbox.listing.deliveries(Selection(), 9))]
    assert not [text for text in shown for secret in ("token-1", SECRET) if secret in text]


def test_a_password_is_sent_and_masked_in_any_form(outbox: Outbox) -> None:
    keys = {"url": "https://a.example", "auth": "basic", "username": "me", "password": SECRET}
    endpoint = load_mapping({"team": keys}).endpoints[0]
    sent = sign(Content(b"{}"), a_batch(), endpoint, NOW).headers["Authorization"]
    assert base64.b64decode(sent.partition(" ")[2]) == f"me:{SECRET}".encode()
    assert Mask.of(endpoint).over(f"you sent {sent} for {SECRET}", 200) == "you sent *** for ***"


def test_an_api_key_goes_into_the_header_that_is_named() -> None:
    keys = {"url": "https://a.example", "auth": "header", "auth_header": "X-API-Key", "api_key": "a-key-of-the-team"}
    headers = sign(Content(b"{}"), a_batch(), load_mapping({"team": keys}).endpoints[0], NOW).headers
    assert headers["X-API-Key"] == "a-key-of-the-team"
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"access_token":"token-0","token_type":"mac"}'),
        (200, b'{"access_token":"token-0","error":"none","refresh_token":"token-0"}'),
        (201, b'{"access_token":"token-0"}'),
        (200, b'{"access_token":"token-0","tok'),
        (200, b'{"access_token":"token-0'),
        (500, b'{"access_token":"token-0","error":"oops"}'),
        (500, b"<p>access_token=token-0</p>"),
        (400, b'{"error":{"token":"token-0"},"error_description":["token-0"]}'),
    ],
)
def test_nothing_that_may_be_a_token_is_quoted(
    provider: Provider, new: Callable[..., TokenSender], status: int, body: bytes
) -> None:
    provider.instead = (status, body)
    assert "token-0" not in new().send(request_to(provider)).detail


@pytest.mark.parametrize(("status", "what"), [(400, "http_400"), (200, "no token in the reply")])
def test_the_error_of_a_token_endpoint_is_quoted(
    provider: Provider, new: Callable[..., TokenSender], status: int, what: str
) -> None:
    provider.instead = (status, b'{"error":"invalid_scope","error_description":"no such scope","hint":"token-0"}')
    detail = new().send(request_to(provider)).detail
    assert detail == f"token endpoint: {what}, it said invalid_scope: no such scope"


# --- settings


def mistakes(**given: str) -> list[str]:
    found: Settings = load_mapping({"team": {"url": "https://a.example", "events": "all", **given}})
    return [one.problem for one in found.mistakes]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"auth": "basic", "username": "me"}, "auth = basic requires password"),
        ({"auth": "header", "api_key": "a-long-enough-key"}, "auth = header requires auth_header"),
        ({"auth": "oauth2", "client_id": "me"}, "auth = oauth2 requires token_url and client_secret"),
        ({"username": "me"}, "username requires auth = basic"),
        ({"auth": "basic", "username": "me", "password": SECRET, "api_key": "k" * 20},
         "api_key requires auth = bearer or header"),
        ({"auth": "header", "auth_header": "X Y", "api_key": "k" * 20}, "a header's name may contain only"),
        ({"auth": "header", "auth_header": "Host", "api_key": "k" * 20}, "is set by sfwebhooks itself"),
        ({"auth": "basic", "username": "me", "password": ""}, "auth = basic requires password"),
        ({"auth": "basic", "username": " ", "password": SECRET}, "auth = basic requires username"),
        ({"auth": "oauth2", "client_id": "me", "token_url": "https://b.example", "client_secret": ""},
         "auth = oauth2 requires client_secret"),
        ({"auth": "basic", "username": "a:b", "password": SECRET}, "username has a colon"),
        ({"header.X-A": "one", "header.x-a": "other"}, "header.x-a is given twice"),
        ({"auth": "basic", "username": "me", "password": SECRET, "header.authorization": "Basic eDp5"},
         "remove header.Authorization"),
        ({"auth": "digest"}, "expected one of bearer, basic, header, oauth2"),
    ],
)  # fmt: skip
def test_what_is_missing_or_too_much_is_a_mistake(given: dict[str, str], said: str) -> None:
    assert any(said in problem for problem in mistakes(**given)), mistakes(**given)


def test_without_the_library_the_mistake_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.config.contradictions.find_spec", lambda name: None)
    given = {"auth": "oauth2", "token_url": "https://b.example", "client_id": "me", "client_secret": SECRET}
    assert mistakes(**given) == ["auth = oauth2 requires another package: pip install 'sfwebhooks[oauth2]'"]


def test_an_inherited_key_of_another_way_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.ini"
    path.write_text(
        "[webhooks]\napi_key = kkkkkkkkkkkkkkkkkkkkkk\n[webhooks.one]\nurl = https://a.example\n"
        f"[webhooks.two]\nurl = https://b.example\nauth = basic\nusername = me\npassword = {SECRET}\n"
    )
    found = load(path)
    assert found.mistakes == ()
    assert [bool(one.api_key) for one in found.endpoints] == [True, False]
