"""The Proxy of an endpoint: its URL comes in; its address, protocol and the meaning of its refusals go out.

Only the endpoint's own option counts, never the proxy of the environment or of the scan. A proxy answers for itself or
for the receiver that it did not reach; both keep the delivery, and the text says which.
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Union
from urllib.parse import unquote, urlsplit

from sfwebhooks.attempts import NoReplyError, Reply
from sfwebhooks.endpoints import Secret
from sfwebhooks.network.addresses import literal
from sfwebhooks.network.http_reader import NotHTTPError
from sfwebhooks.reasons import Failure

DEFAULT_PORTS = {"http": 80, "https": 443, "socks5h": 1080}
REFUSED = "the proxy requires a user name and password, or different ones: proxy = SCHEME://USER:PASSWORD@HOST:PORT"
#: most bytes of a user name, and of a password, for SOCKS (RFC 1929 section 2)
LOGIN_MAX = 255
#: replies of SOCKS 5 (RFC 1928 section 6)
SOCKS_REPLIES = {
    1: "general failure",
    2: "not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
#: replies about the receiver
UNREACHED = (3, 4, 5, 6)
#: names of errors about the receiver: squid's (X-Squid-Error), and those of Proxy-Status (RFC 9209 section 2.3)
RECEIVERS_ERRORS = {
    "ERR_CONNECT_FAIL": Failure.CONNECTION,
    "ERR_SECURE_CONNECT_FAIL": Failure.CONNECTION,
    "ERR_READ_ERROR": Failure.CONNECTION,
    "ERR_WRITE_ERROR": Failure.CONNECTION,
    "ERR_ZERO_SIZE_OBJECT": Failure.CONNECTION,
    "ERR_READ_TIMEOUT": Failure.TIMEOUT,
    "ERR_DNS_FAIL": Failure.DNS,
    "dns_error": Failure.DNS,
    "dns_timeout": Failure.DNS,
    "destination_not_found": Failure.CONNECTION,
    "destination_unavailable": Failure.CONNECTION,
    "destination_ip_unroutable": Failure.CONNECTION,
    "connection_refused": Failure.CONNECTION,
    "connection_terminated": Failure.CONNECTION,
    "connection_timeout": Failure.TIMEOUT,
    "connection_read_timeout": Failure.TIMEOUT,
    "connection_write_timeout": Failure.TIMEOUT,
    "http_response_timeout": Failure.TIMEOUT,
}
#: words about the receiver from a proxy without error names; beyond the standard phrases of 502, 503 and 504
RECEIVERS_WORDS = re.compile(
    r"refused|unreachable|no route|timed out|reset by peer|unknown host|no such host|host not found|name not known"
    r"|(?:not|n't|unable to|failed to|cannot) (?:be )?(?:connect|resolve)|connect(?:ion)? fail|dns|upstream",
    re.IGNORECASE,
)
PROXY_ERROR = re.compile(r"[;,]\s*error\s*=\s*\"?(\w+)")
#: programs whose name in Server shows that a proxy answers instead of the receiver
FORWARD_PROXIES = re.compile(r"squid|tinyproxy|privoxy|mitmproxy|polipo|ccproxy|wingate|zscaler|bluecoat|mcafee")
#: authentication schemes in Proxy-Authenticate, without the parameters, which are followed by =
SCHEMES = re.compile(r"(?:^|,)[ \t]*([A-Za-z][\w-]{0,40})(?=[ \t,]|$)")


def proxy_url(text: str) -> Secret:
    """Read the option `proxy`: an http, https or socks5h URL, with user:password if the proxy requires them.

    Raises:
        ValueError: it is not such a URL; the text says what is accepted.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", text) or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("expected http://, https:// or socks5h:// and HOST:PORT or USER:PASSWORD@HOST:PORT")
    proxy = Proxy.of(Secret(text))
    if proxy.scheme == "socks5h" and max(len(proxy.user.encode()), len(proxy.password.encode())) > LOGIN_MAX:
        raise ValueError(f"a SOCKS proxy accepts a user name and a password of at most {LOGIN_MAX} bytes each")
    return Secret(text)


@dataclass(frozen=True)
class Proxy:
    """A proxy's URL in parts."""

    #: http, https or socks5h
    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: Secret) -> Proxy:
        """Return the proxy of a URL that `config/options` has checked."""
        parts = urlsplit(url.reveal())
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], user, password)

    @property
    def place(self) -> str:
        """Its URL without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """The header with our credentials (RFC 7617, in UTF-8)."""
        if not self.user:
            return {}
        return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()}


#: bytes to send, or number of bytes to receive
Turn = Union[bytes, int]


def socks_talk(proxy: Proxy, host: str, port: int) -> Generator[Turn, bytes, None]:
    """Ask a SOCKS proxy for a connection to a host and port; it resolves the host itself (RFC 1928, RFC 1929).

    Yields bytes to send, or the number of bytes to receive, which are sent into the generator.

    Raises:
        NoReplyError: it refuses, or cannot reach the host.
        NotHTTPError: it does not speak SOCKS 5.
    """
    methods = b"\x00\x02" if proxy.user else b"\x00"
    yield bytes([5, len(methods)]) + methods
    version, method = yield 2
    if version != 5:
        raise NotHTTPError("the answer is not SOCKS 5")
    if method == 2 and proxy.user:
        user, password = proxy.user.encode(), proxy.password.encode()
        yield bytes([1, len(user)]) + user + bytes([len(password)]) + password
        _, method = yield 2
    if method:  # neither "no authentication" nor "success"
        raise NoReplyError(Reply(failure=Failure.PROXY_REFUSED, detail=REFUSED))
    yield b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big")
    _, code, _, kind = yield 4
    if code:
        raise NoReplyError(_socks_refusal(code))
    size = {1: 4, 4: 16}.get(kind) or (yield 1)[0]
    yield size + 2


def _socks_address(host: str) -> bytes:
    numbers = literal(host)
    if not numbers:
        name = host.encode("idna")
        return bytes([3, len(name)]) + name
    if ":" in numbers:
        return b"\x04" + socket.inet_pton(socket.AF_INET6, numbers)
    return b"\x01" + socket.inet_pton(socket.AF_INET, numbers)


def _socks_refusal(code: int) -> Reply:
    words = SOCKS_REPLIES.get(code, f"unknown error {code}")
    if code in UNREACHED:
        return Reply(failure=Failure.CONNECTION, detail=f"the proxy did not reach the receiver: {words}")
    return Reply(failure=Failure.PROXY, detail=f"the proxy: {words}")


def is_proxys(reply: Reply) -> bool:
    """Return whether a reply through a forwarding proxy is the proxy's own rather than the receiver's."""
    headers = reply.headers
    if reply.status == 407 or "X-Squid-Error" in headers or PROXY_ERROR.search(headers.get("Proxy-Status", "")):
        return True
    if (reply.status or 0) < 300:
        return False
    if "Proxy-Authenticate" in headers:
        return True
    server = headers.get("Server", "").partition("/")[0].strip().lower()
    nearest = headers.get("Via", "").rpartition(",")[2].lower()  # each hop adds itself (RFC 9110 section 7.6.3)
    return bool(FORWARD_PROXIES.search(server) or (server and f"({server}" in nearest))


def proxys_refusal(reply: Reply, phrase: str) -> Reply:
    """Return the meaning of a proxy's refusal: its own failure, or the receiver's.

    Args:
        reply: its answer to CONNECT, or instead of the receiver's.
        phrase: the text after the status.
    """
    if reply.status == 407:
        return Reply(failure=Failure.PROXY_REFUSED, detail=_login_problem(reply), headers=reply.headers)
    headers = reply.headers
    named = PROXY_ERROR.search(headers.get("Proxy-Status", ""))
    error = headers.get("X-Squid-Error", "").partition(" ")[0] or (named[1] if named else "")
    said = f"{reply.status} {phrase}".rstrip() + (f" ({error})" if error else "")
    said += f": {reply.words[:200]}" if reply.body else ""
    failure = RECEIVERS_ERRORS.get(error)
    if not failure and not error and reply.status in (502, 503, 504) and RECEIVERS_WORDS.search(said):
        failure = Failure.CONNECTION
    who = "the proxy did not reach the receiver: it" if failure else "the proxy: it"
    return Reply(failure=failure or Failure.PROXY, detail=f"{who} answered {said}", headers=headers)


def _login_problem(reply: Reply) -> str:
    schemes = dict.fromkeys(SCHEMES.findall(reply.headers.get("Proxy-Authenticate", "")))
    if not schemes or any(scheme.lower() == "basic" for scheme in schemes):
        return REFUSED
    names = " or ".join(list(schemes)[:5])
    return (
        f"the proxy requires {names} authentication, and sfwebhooks supports only Basic: let the proxy accept Basic, or"
        " this machine's address; or set proxy = to a local one that logs in to it, such as cntlm or px"
    )
