"""Access: a request comes in; what its sender may do goes out, or a problem: 401, 403, 429.

A program sends a token as `Authorization: Bearer`. A browser has a cookie, which it would also send for a page of
somebody else; so a request with it that changes anything needs the header that only our own page knows.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from sfwebhooks.web.logins import Access, Session
from sfwebhooks.web.problems import Problem
from sfwebhooks.web.site import Site, TheSite

COOKIE = "sfwebhooks"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
#: values of Sec-Fetch-Site for a request of our own page, or of the user
OURS = ("same-origin", "none")

_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="SFWEBHOOKS_WEB_TOKEN or the viewer's")
_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="session", description="of a browser that signed in")


@dataclass(frozen=True)
class Caller:
    """The sender of a request."""

    access: Access
    #: of a browser
    session: Session | None = None


async def caller(
    request: Request,
    site: TheSite,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    cookie: Annotated[str | None, Security(_COOKIE)],
) -> Caller:
    """Return the sender of a request.

    Raises:
        Problem: it has no valid token or session, or another site's page made the browser send it.
    """
    if bearer:
        demand_tries(request, site, bearer.credentials)
        access = site.logins.by_token(bearer.credentials, address_of(request, site))
        if access is None:
            raise unauthorized("this token is wrong")
        return Caller(access)
    session = site.logins.session(cookie) if cookie else None
    if session is None:
        raise unauthorized("a token is needed, or a browser that has signed in")
    if request.method not in SAFE_METHODS:
        demand_own_page(request, site)
        if not hmac.compare_digest(request.headers.get(CSRF_HEADER, "").encode(), session.csrf.encode()):
            raise Problem(
                HTTPStatus.FORBIDDEN, f"the header {CSRF_HEADER} needs the value of `csrf` in GET /v1/session"
            )
    return Caller(session.access, session)


#: argument of a handler that anybody with a token or session may call
Known = Annotated[Caller, Depends(caller)]


async def viewer(known: Known) -> Access:
    """Return what the sender of a request may do: at least see redacted data."""
    return known.access


async def operator(known: Known) -> Access:
    """Return what the sender of a request may do, if that is everything.

    Raises:
        Problem: it may only look.
    """
    if known.access is not Access.OPERATOR:
        raise Problem(HTTPStatus.FORBIDDEN, "a viewer may only look: this needs the operator's token")
    return known.access


#: arguments of a handler; a viewer gets redacted data
Viewer = Annotated[Access, Depends(viewer)]
Operator = Annotated[Access, Depends(operator)]


def demand_own_page(request: Request, site: Site) -> None:
    """Check that no page of another site made the browser send a request.

    Raises:
        Problem: one did.
    """
    origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
    own = f"{'https' if site.behind_tls else 'http'}://{host}"
    if request.headers.get("Sec-Fetch-Site", "none") not in OURS:
        raise Problem(HTTPStatus.FORBIDDEN, "another site's page sent this request")
    if origin is not None and origin.lower() != own.lower():
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"a page at {origin} sent this request, and this server is {own}: if both are the same, the reverse proxy"
            " has to pass on the Host header with its port, and --behind-tls has to be given if it ends TLS",
        )


def demand_tries(request: Request, site: Site, given: str) -> None:
    """Check that a further login may be tried, with this token or link.

    Raises:
        Problem: too many have failed.
    """
    seconds = site.logins.blocked_seconds(address_of(request, site), given)
    if seconds > 0:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too many failed sign-ins: try again later",
            headers={"Retry-After": str(math.ceil(seconds))},
        )


def address_of(request: Request, site: Site) -> str:
    """Return the address that a request comes from: behind a reverse proxy, the one that it names last."""
    # some proxies add to the client's own header, others a line of their own below it
    forwarded = request.headers.getlist("X-Forwarded-For") if site.behind_tls else []
    direct = request.client.host if request.client else ""
    return ",".join(forwarded).rpartition(",")[2].strip() or direct


def unauthorized(detail: str) -> Problem:
    """Return the problem of a request without valid token or session."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
