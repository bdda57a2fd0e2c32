"""The session of a browser: a token or one-time link comes in, a cookie goes out."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from sfwebhooks import __version__
from sfwebhooks.errors import ConfigError
from sfwebhooks.web.access import (
    COOKIE,
    Caller,
    Known,
    address_of,
    demand_own_page,
    demand_tries,
    unauthorized,
)
from sfwebhooks.web.logins import SESSION_SECONDS, Access
from sfwebhooks.web.problems import Problem
from sfwebhooks.web.site import Site, TheSite

router = APIRouter(prefix="/v1", tags=["session"])


class Login(BaseModel):
    """What proves who logs in: exactly one of the two."""

    token: str | None = Field(None, max_length=1000, description="SFWEBHOOKS_WEB_TOKEN or the viewer's")
    link: str | None = Field(None, max_length=1000, description="the secret of the one-time link")


class SessionBody(BaseModel):
    """Who somebody is, and what this server does."""

    role: Access
    csrf: str = Field(description="value for the header X-CSRF-Token; empty for a token, which needs none")
    version: str = Field(description="of sfwebhooks")
    read_only: bool = Field(description="whether this server changes nothing")
    delivers: bool = Field(description="whether this process also delivers")
    ui_url: str = Field(description="address of SpiderFoot's web UI; empty: not known")


def ui_url_of(site: TheSite) -> str:
    """Return the address of SpiderFoot's web UI, if the settings have one."""
    with suppress(ConfigError):
        return next((one.ui_url for one in site.settings().known if one.ui_url), "")
    return ""


@router.get("/session", operation_id="getSession", summary="Who I am", response_model=SessionBody)
async def show_session(known: Known, site: TheSite, ui_url: Annotated[str, Depends(ui_url_of)]) -> SessionBody:
    """Return what the sender of the request may do."""
    return _body(known, site, ui_url)


@router.post(
    "/session",
    operation_id="login",
    summary="Log in with a browser",
    status_code=HTTPStatus.CREATED,
    response_model=SessionBody,
)
async def begin_session(
    login: Login,
    request: Request,
    response: Response,
    site: TheSite,
    ui_url: Annotated[str, Depends(ui_url_of)],
) -> SessionBody:
    """Begin a session; its cookie comes with the answer."""
    demand_own_page(request, site)
    if (login.token is None) == (login.link is None):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, 'expected either "token" or "link"')
    demand_tries(request, site, login.token or login.link or "")
    address = address_of(request, site)
    if login.token is not None:
        access, words = site.logins.by_token(login.token, address), "this token is wrong"
    else:
        access = site.logins.by_link(login.link or "", address)
        words = "this link was used, is too old or wrong; a restart of sfwebhooks web prints a new one"
    if access is None:
        raise unauthorized(words)
    cookie, session = site.logins.begin(access)
    response.set_cookie(
        COOKIE, cookie, max_age=int(SESSION_SECONDS), httponly=True, samesite="strict", secure=site.behind_tls
    )
    return _body(Caller(access, session), site, ui_url)


@router.delete("/session", operation_id="logout", summary="Log out", status_code=HTTPStatus.NO_CONTENT)
async def end_session(request: Request, response: Response, known: Known, site: TheSite) -> None:
    """End the session of the browser; a token has none."""
    if known.session:
        site.logins.end(request.cookies[COOKIE])
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=site.behind_tls)


def _body(known: Caller, site: Site, ui_url: str) -> SessionBody:
    return SessionBody(
        role=known.access,
        csrf=known.session.csrf if known.session else "",
        version=__version__,
        read_only=site.read_only,
        delivers=site.delivers,
        ui_url=ui_url,
    )
