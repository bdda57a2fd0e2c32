"""The Proxy of an endpoint: its URL comes in; where it is, how to name us to it, and a SOCKS connection go out.

Only what the endpoint's own option says: never the proxy of the environment, nor that of the scan.
"""

from __future__ import annotations

import base64
import errno
import re
import socket
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from sfwebhooks.budget import Socket
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import ProxyRefusalError

try:
    import socks
except ImportError:  # the extra "socks" is not installed: `options` takes no socks5h:// then
    pass
else:

    class SocksSocket(Socket, socks.socksocket):  # type: ignore[misc]
        """A socket that asks a SOCKS proxy for its connection, within the budget."""


DEFAULT_PORTS = {"http": 80, "https": 443, "socks5h": 1080}
REFUSED = "the proxy wants a user name and password, or other ones: proxy = SCHEME://USER:PASSWORD@HOST:PORT"


def proxy_url(text: str) -> Secret:
    """Read the option `proxy`: an http, https or socks5h URL, with user:password if the proxy wants them.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", text) or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("accepted: http://, https:// or socks5h:// and HOST:PORT or USER:PASSWORD@HOST:PORT")
    if parts.scheme == "socks5h" and not find_spec("socks"):
        raise ValueError("socks5h:// needs PySocks beside sfwebhooks: pip install PySocks")
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
        """Return the proxy of a URL that `options` has checked."""
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
        """What names us to it (RFC 7617, in UTF-8)."""
        if not self.user:
            return {}
        return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()}


def connect_through(proxy: Proxy, goal: tuple[str, int], family: int, address: Any, seconds: float) -> Socket:
    """Return a connection to a host and port, which a SOCKS proxy looks up and opens (RFC 1928, RFC 1929).

    Args:
        address: one of the proxy's own addresses, as `family` writes it.
        seconds: for the TCP connection to the proxy; what follows keeps to the budget.

    Raises:
        ProxyRefusalError: it wants a user name and password, or other ones.
        OSError: any other failure.
    """
    sock = SocksSocket(family, socket.SOCK_STREAM)
    sock.set_proxy(socks.SOCKS5, address[0], address[1], True, proxy.user, proxy.password)
    try:
        sock.settimeout(seconds)
        sock.connect(goal)
    except OSError as error:
        sock.close()
        cause = getattr(error, "socket_err", None) or error  # PySocks takes its own errors for those of the socket
        if isinstance(cause, socks.SOCKS5AuthError):
            raise ProxyRefusalError(REFUSED) from error
        raise OSError(errno.EPROTO, str(cause)) from error
    return sock
