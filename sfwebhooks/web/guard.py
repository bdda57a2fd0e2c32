"""The guard: each request passes it before the application, and each answer after it.

It refuses a Host header that names another server (DNS rebinding), drops cookies of others, has bodies read (`bodies`),
adds the headers that restrict what a browser does with an answer, and logs mistakes of ours.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import traceback
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfwebhooks.log_once import Trouble
from sfwebhooks.web.access import COOKIE
from sfwebhooks.web.bodies import Bodies
from sfwebhooks.web.problems import Problem, answer
from sfwebhooks.web.site import Site

log = logging.getLogger("spiderfoot.webhooks")
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
#: of each answer
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
#: of each answer that does not set them itself
DEFAULTS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
#: a target that is a whole URL: its host and the rest
WHOLE = re.compile(b"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
#: a cookie that may be ours
OWN_COOKIE = re.compile(rf"{COOKIE}=[\w-]{{1,100}}".encode())
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """An ASGI application (asgi.readthedocs.io) around another one."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site
        self._bodies = Bodies()
        self._trouble = Trouble("web: ")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _restrict(MutableHeaders(scope=message))
            await send(message)

        _with_path_only(scope)
        _with_own_cookies(scope)
        headers = Headers(scope=scope)
        try:
            if not is_allowed_host(headers.get("Host", ""), self._site.listen, self._site.names):
                words = "the Host header names another server; sfwebhooks web --allow-host NAME allows a further name"
                raise Problem(HTTPStatus.MISDIRECTED_REQUEST, words)
            async with self._bodies.read(headers, receive) as body:
                if body is not None:
                    await self._app(scope, _again(body, receive), send_guarded)
        except Problem as problem:
            await answer(problem)(scope, receive, send_guarded)
        except Exception as error:  # a bug; raised further, each request could write a traceback to standard error
            trace = traceback.extract_tb(error.__traceback__)
            # not its text, which may quote what nobody may see
            self._trouble.met(f"a mistake in sfwebhooks: {type(error).__name__} {_places(trace[-1:])}")
            log.debug("webhooks: web: %s", _places(trace))
            if not begun:
                await answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log"))(scope, receive, send_guarded)


def _places(trace: Iterable[traceback.FrameSummary]) -> str:
    """Return the places in the code that a traceback names."""
    return ", ".join(f"at {frame.filename}:{frame.lineno}" for frame in trace)


def _with_path_only(scope: Scope) -> None:
    """Change a request whose target is a whole URL into that for its host and path (RFC 9112, section 3.2.2)."""
    found = WHOLE.match(scope["raw_path"])
    if found:
        scope["headers"] = [(b"host", found[1]), *(pair for pair in scope["headers"] if pair[0] != b"host")]
        scope["raw_path"] = found[2] or b"/"
        scope["path"] = unquote(scope["raw_path"].decode("latin-1"))


def _with_own_cookies(scope: Scope) -> None:
    """Drop the cookies that are not ours. Anybody can send one, and Python unquotes a long one in time that grows with
    the square of its length (CVE-2024-7592)."""
    given = b";".join(value for name, value in scope["headers"] if name == b"cookie").split(b";")
    own = [one.strip() for one in given if OWN_COOKIE.fullmatch(one.strip())]
    others = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
    scope["headers"] = [*others, (b"cookie", b"; ".join(own))] if own else others


def is_allowed_host(host: str, listen: tuple[str, int], names: tuple[str, ...]) -> bool:
    """Return whether a Host header names this server.

    Args:
        listen: address and port that it listens on.
        names: others by which it is known, with a port or for any.
    """
    host, (address, port) = host.lower(), listen
    name, _, given = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "80")
    if host in names or name in names:
        return True
    if given != str(port):
        return False
    found = ipaddress.ip_address(address)
    if found.is_unspecified:
        return name == "localhost" or _is_address(name)  # another site's page has a name of its own
    own = f"[{address}]" if found.version == 6 else address
    return name == own or (found.is_loopback and name in LOCAL_NAMES)


def _is_address(name: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(name[1:-1] if name[:1] + name[-1:] == "[]" else name)
    except ValueError:
        return False
    return True


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives an application a body that was read, and then whatever else comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _restrict(headers: MutableHeaders) -> None:
    """Add to an answer's headers what restricts a browser."""
    for name, value in HEADERS.items():
        headers[name] = value
    for name, value in DEFAULTS.items():
        headers.setdefault(name, value)
