"""The steps of an attempt: the network reports them one at a time while it makes them, to a Watch if there is one.

Only `sfwebhooks test` watches. In normal sending `Budget.watch` is not set, and no step is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, NamedTuple, Union


class Begun(NamedTuple):
    """The request is written, and the files for TLS are loaded: the connection is next."""


class TokenWanted(NamedTuple):
    """A token is fetched before the request; the next steps are about that."""

    #: scheme and host of the token endpoint
    place: str


class TokenFetched(NamedTuple):
    """There is a token, and the next steps are about the request again."""

    #: seconds for which it is used
    seconds: float


class Resolved(NamedTuple):
    """The addresses of the receiver, or of its proxy, are known."""

    host: str
    #: those that may be connected to, in the order in which they are tried
    addresses: tuple[str, ...]
    #: address -> why it is not tried
    refused: Mapping[str, str]


class Unreached(NamedTuple):
    """One of the addresses could not be connected to; another one may be."""

    address: str
    why: str


class Connected(NamedTuple):
    """There is a connection to one of the addresses."""

    address: str
    port: int
    #: address of this machine
    source: str
    #: addresses that were tried before and have not answered so far
    silent: tuple[str, ...]


class Secured(NamedTuple):
    """A TLS handshake is over, with the proxy or with the receiver."""

    #: whether it was with the proxy
    is_proxys: bool
    #: the name that their certificate must be valid for
    host: str
    #: such as TLSv1.3; empty: it failed
    version: str
    cipher: str
    #: whether their certificate was verified
    verified: bool
    #: their certificates as they sent them, in DER, their own first; empty: none arrived, or it was not seen
    theirs: tuple[bytes, ...]
    #: the CA that verifies it, in DER; empty: not verified, or not known (before Python 3.10)
    anchor: bytes
    #: whether they asked for our certificate
    asked: bool
    #: ours as we sent them, in DER
    ours: tuple[bytes, ...]


class Asked(NamedTuple):
    """The receiver asked for our certificate after the handshake (RFC 8446 section 4.6.2), and got these, in DER."""

    ours: tuple[bytes, ...]


class Tunnelled(NamedTuple):
    """The proxy has connected to the receiver."""

    host: str
    port: int


class Sent(NamedTuple):
    """The whole request was handed to the system."""

    size: int


class Arrived(NamedTuple):
    """A part of a reply has arrived; a proxy's reply to CONNECT counts too."""

    size: int


class Ended(NamedTuple):
    """The reply was read, to its end or as far as it matters; or there will be none."""

    #: 0: there is no reply
    status: int


Step = Union[
    Begun, TokenWanted, TokenFetched, Resolved, Unreached, Connected, Secured, Asked, Tunnelled, Sent, Arrived, Ended
]
#: gets each step of an attempt, in the thread that makes it
Watch = Callable[[Step], None]
