"""Tokens of OAuth 2.0 (RFC 6749 section 4.4, client credentials): a Request comes in and goes out with a token.

A token is fetched when one is needed and kept until it ends. The token endpoint is under the same network policy, TLS
settings, proxy and time limit as the receiver. Tokens are in memory only.
"""

from __future__ import annotations

import importlib
import json
import re
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, cast

from sfwebhooks.attempts import Reply
from sfwebhooks.authentication import basic_of_client
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.network.sender import Sender
from sfwebhooks.network.steps import TokenFetched, TokenWanted, Watch
from sfwebhooks.reasons import Failure
from sfwebhooks.signing import Request

#: seconds for which a token is used if its reply does not say how long it is valid
VALID_SECONDS = 300.0
#: seconds before its end at which a token is not used any more, or half of its time if that is shorter
MARGIN_SECONDS = 30.0
#: statuses and errors of a token endpoint that does not blame the client: it is busy or broken. The errors are those of
#: RFC 6749 section 4.1.2.1, which token endpoints use too
BUSY = (408, 425, 429)
BROKEN = ("temporarily_unavailable", "server_error")
#: a token (RFC 6750 section 2.1 allows fewer signs)
VISIBLE = re.compile("[!-~]+")


@dataclass(frozen=True)
class Token:
    """An access token."""

    value: Secret
    #: monotonic seconds until which it is used
    ends_at: float


class TokenSender:
    """A Sender to an endpoint with `auth = oauth2`. Thread-safe."""

    def __init__(self, endpoint: Endpoint, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._monotonic = monotonic
        self._sender = Sender(endpoint)
        self._issuer = replace(endpoint, url=endpoint.token_url or endpoint.url)
        self._tokens = Sender(self._issuer)
        self._token: Token | None = None
        #: held while a token is fetched, so that only one is
        self._guard = threading.Lock()

    @property
    def until(self) -> float:
        """Monotonic seconds at which every attempt ends, whatever the endpoint's `timeout`."""
        return self._sender.until

    @until.setter
    def until(self, value: float) -> None:
        self._sender.until = value

    @property
    def watch(self) -> Watch | None:
        """Gets each step of the attempts, also of those to fetch a token; None in normal sending."""
        return self._sender.watch

    @watch.setter
    def watch(self, value: Watch | None) -> None:
        self._sender.watch = self._tokens.watch = value

    def send(self, request: Request, ends_at: float = float("inf")) -> Reply:
        """Make one attempt with a token; with a new one if the receiver does not accept a kept one (401).

        Args:
            ends_at: monotonic seconds at which it ends even before.
        """
        ends_at = min(time.monotonic() + self._endpoint.timeout, self.until, ends_at)
        reply, was_kept = self._with_token(request, ends_at)
        if reply.status == 401 and was_kept:
            reply, _ = self._with_token(request, ends_at)
        return reply

    def close(self) -> None:
        """Close the kept connections; attempts in flight finish first."""
        self._sender.close()
        self._tokens.close()

    def _with_token(self, request: Request, ends_at: float) -> tuple[Reply, bool]:
        """Return the reply, or why there is no token, and whether the token was a kept one."""
        with self._guard:
            token = self._token
            was_kept = token is not None and self._monotonic() < token.ends_at
            if token is None or not was_kept:
                fetched = self._fetched(ends_at)
                if isinstance(fetched, Reply):
                    return fetched, False
                token = self._token = fetched
        headers = {**request.headers, "Authorization": f"Bearer {token.value.reveal()}"}
        reply = self._sender.send(replace(request, headers=headers), ends_at)
        if reply.status == 401:
            with self._guard:
                self._token = None if self._token is token else self._token
        return replace(reply, secret=token.value.reveal()), was_kept

    def _fetched(self, ends_at: float) -> Token | Reply:
        """Return a new token, or why there is none."""
        endpoint, client = self._endpoint, _client(self._endpoint)
        secret = endpoint.client_secret.reveal() if endpoint.client_secret else ""
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": basic_of_client(endpoint.client_id, secret),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        scope = endpoint.scope.split()
        body = client.prepare_request_body(**({"scope": scope} if scope else {}))
        if self.watch:
            self.watch(TokenWanted(self._issuer.place))
        asked_at = self._monotonic()
        reply = self._tokens.send(Request(self._tokens.url, headers, body.encode()), ends_at)
        if reply.failure:
            return replace(reply, detail=f"token endpoint: {reply.detail}")
        found = _token_in(reply, client, asked_at)
        if self.watch and isinstance(found, Token):
            self.watch(TokenFetched(found.ends_at - asked_at))
        return found


def sender_of(endpoint: Endpoint) -> Sender | TokenSender:
    """Return what sends to an endpoint."""
    return TokenSender(endpoint) if endpoint.token_url else Sender(endpoint)


def _client(endpoint: Endpoint) -> Any:
    """Return what writes a token request and reads its reply; `config` has checked that the library is there."""
    return importlib.import_module("oauthlib.oauth2").BackendApplicationClient(endpoint.client_id)


def _token_in(reply: Reply, client: Any, asked_at: float) -> Token | Reply:
    """Return the token in a reply, or why there is none.

    Only what the token endpoint itself says is a refusal. A reply that is not JSON says nothing: it was cut off, or a
    gateway wrote it.

    Args:
        asked_at: monotonic seconds at which it was asked for.
    """
    status, is_json, found = reply.status or 0, True, cast(Any, None)
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        is_json = False
    error = found.get("error") if isinstance(found, dict) else None
    if status >= 500 or status in BUSY or error in BROKEN:
        return _failed(Failure.TOKEN_UNAVAILABLE, reply, f"http_{status}")
    if status != 200:
        return _failed(Failure.TOKEN_REFUSED, reply, f"http_{status}")
    if not is_json:
        return _failed(Failure.TOKEN_UNAVAILABLE, reply, "its reply is not JSON")
    try:
        lasts = _seconds(found.pop("expires_in", None))
        read = client.parse_request_body_response(json.dumps(found))
        value, kind = read["access_token"], str(read.get("token_type", "bearer"))
        if kind.lower() != "bearer" or not isinstance(value, str) or not VISIBLE.fullmatch(value):
            raise ValueError("the token is not a bearer token (RFC 6750)")
    except MemoryError:
        raise
    except Exception:  # of any kind, since the reply may have any form
        return _failed(Failure.TOKEN_REFUSED, reply, "no token in the reply")
    return Token(Secret(value), asked_at + max(lasts - MARGIN_SECONDS, lasts / 2))


def _seconds(given: object) -> float:
    """Return for how long a token is valid, by the reply that had it."""
    try:
        lasts = float(str(given))
    except ValueError:
        return VALID_SECONDS
    return lasts if 0 < lasts < float("inf") else VALID_SECONDS


def _failed(failure: Failure, reply: Reply, what: str) -> Reply:
    """Return why there is no token, with what the token endpoint says of it."""
    said = _said(reply)
    return Reply(
        failure=failure, detail=f"token endpoint: {what}{f', it said {said}' if said else ''}", headers=reply.headers
    )


def _said(reply: Reply) -> str:
    """Return the error of a token endpoint's reply (RFC 6749 section 5.2), or a text; never what may be a token."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        is_token = (reply.status or 0) < 300 or "token" in reply.words.lower()
        return "" if is_token else " ".join(reply.words.split())
    texts = [found.get(key) for key in ("error", "error_description")] if isinstance(found, dict) else []
    return ": ".join(text for text in texts if isinstance(text, str))
