"""Logins: tokens, one-time links and cookies come in; who it is and what they may do goes out, or that it failed.

Sessions are in memory: a restart ends them. All of it is called from the event loop only.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from sfwebhooks.own_secrets import is_plain
from sfwebhooks.system import Clock

#: characters of the shortest token
TOKEN_MIN = 16
#: seconds that a session lasts, and that the one-time link is valid
SESSION_SECONDS = 12 * 3600.0
LINK_SECONDS = 15 * 60.0
#: sessions of each access at once; a further one ends the oldest of them: a viewer ends no operator's session
SESSIONS_MAX = 1000
#: characters, and different ones, of a token that looks random and is not guessed however often that is tried
STRONG_MIN, DIFFERENT_MIN = 32, 16
#: failed logins within FAILURE_SECONDS, of one address and of all, after which none is tried
FAILURES_MAX, ALL_FAILURES_MAX = 10, 100
FAILURE_SECONDS = 60.0
#: an address as some reverse proxies write it, with the port of the connection
WITH_PORT = re.compile(r"\[(.*)\](?::\d+)?|([^:]*):\d+")
#: random bytes of a cookie, a link and a CSRF token
RANDOM_BYTES = 32


class Access(str, Enum):
    """What somebody may do."""

    #: see redacted data
    VIEWER = "viewer"
    #: see data as the endpoints get it, and change everything
    OPERATOR = "operator"


@dataclass(frozen=True)
class Session:
    """A browser that logged in."""

    access: Access
    #: value of the header that proves that our own page makes a request
    csrf: str
    #: seconds of the clock
    ends_at: float


class Logins:
    """The logins of one process.

    Args:
        tokens: the token of each access that has one.
        clock: monotonic.
    """

    def __init__(self, tokens: Mapping[Access, str], clock: Clock = time.monotonic) -> None:
        self._tokens = {access: _digest(token) for access, token in tokens.items()}
        self._strong = frozenset(_digest(token) for token in tokens.values() if _is_strong(token))
        self._clock = clock
        #: digest of the cookie -> session, the oldest first
        self._sessions: dict[bytes, Session] = {}
        #: digest of the one-time link, and until when it is valid
        self._link: tuple[bytes, float] | None = None
        #: failed logins, the oldest first: when, and from which address
        self._failures: deque[tuple[float, str]] = deque()

    def make_link(self) -> str:
        """Return the secret of a new one-time link for an operator; an earlier one is no longer valid."""
        link = secrets.token_urlsafe(RANDOM_BYTES)
        self._link = _digest(link), self._clock() + LINK_SECONDS
        return link

    def by_token(self, token: str, address: str) -> Access | None:
        """Return what the owner of a token may do, or None: it is wrong, which is counted."""
        given = _digest(token)
        found = [access for access, known in self._tokens.items() if hmac.compare_digest(known, given)]
        if not found:
            self._note_failure(address)
            return None
        return found[0]

    def by_link(self, link: str, address: str) -> Access | None:
        """Return what the user of the one-time link may do, or None: it is wrong, used or too old, which is counted."""
        known, given = self._link, _digest(link)
        if not known or not hmac.compare_digest(known[0], given) or known[1] < self._clock():
            self._note_failure(address)
            return None
        self._link = None
        return Access.OPERATOR

    def begin(self, access: Access) -> tuple[str, Session]:
        """Begin a session; return the value of its cookie, and the session."""
        cookie = secrets.token_urlsafe(RANDOM_BYTES)
        session = Session(access, secrets.token_urlsafe(RANDOM_BYTES), self._clock() + SESSION_SECONDS)
        self._sessions[_digest(cookie)] = session
        known = [digest for digest, one in self._sessions.items() if one.access is access]
        for digest in known[:-SESSIONS_MAX]:
            del self._sessions[digest]
        return cookie, session

    def session(self, cookie: str) -> Session | None:
        """Return the session of a cookie, or None: there is none, or it is over."""
        digest = _digest(cookie)
        found = self._sessions.get(digest)
        if found and found.ends_at < self._clock():
            del self._sessions[digest]
            return None
        return found

    def end(self, cookie: str) -> None:
        """End the session of a cookie."""
        self._sessions.pop(_digest(cookie), None)

    def blocked_seconds(self, address: str, given: str) -> float:
        """Return for how many seconds no login from an address is tried, after too many failed ones.

        Args:
            given: the token or link. A right one that cannot be guessed is always tried: failures of others, from the
                same address or many, do not keep its owner out.
        """
        digest = _digest(given)
        if digest in self._strong or (self._link and self._link[0] == digest):
            return 0.0
        now, source = self._clock(), _source(address)
        while self._failures and self._failures[0][0] <= now - FAILURE_SECONDS:
            self._failures.popleft()
        own = [at for at, known in self._failures if known == source]
        if len(self._failures) >= ALL_FAILURES_MAX:
            own = [self._failures[0][0]]
        elif len(own) < FAILURES_MAX:
            return 0.0
        return own[0] + FAILURE_SECONDS - now

    def _note_failure(self, address: str) -> None:
        self._failures.append((self._clock(), _source(address)))


def _digest(text: str) -> bytes:
    """Return a hash, since tables of hashes and comparisons of them show nothing about the secret by their time."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_strong(token: str) -> bool:
    """Return whether a token cannot be guessed, as one that `sfwebhooks keygen` has made."""
    return len(token) >= STRONG_MIN and len({*token}) >= DIFFERENT_MIN and not is_plain(token)


def _source(address: str) -> str:
    """Return the network whose failures are counted together: an IPv4 address, or the /64 that one IPv6 host has."""
    with_port = WITH_PORT.fullmatch(address)
    try:
        found = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
