"""Problems: exceptions of handlers come in, answers of type application/problem+json (RFC 9457) go out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from sfwebhooks.errors import (
    ConfigError,
    DamagedRowError,
    EmitError,
    NotEditableError,
    OutboxBusyError,
    OutboxError,
    SelectionError,
    WebhooksError,
)
from sfwebhooks.events import printable

MEDIA_TYPE = "application/problem+json"
#: seconds after which a request to a busy outbox may be repeated
RETRY_SECONDS = 1.0
#: characters of a value's name or of a message about it
SHOWN_MAX = 500
#: those of which a path has some
METHODS = re.findall(r"\w+", "GET HEAD POST PUT PATCH DELETE")
#: the problems that any request may meet
COMMON = (400, 401, 403, 408, 413, 421, 422, 429, 500, 503)
#: what a status means here, for the document of the API
MEANINGS = {
    400: "the request is malformed",
    401: "a token or a session is needed, or it is wrong",
    403: "this token or session may not do that, or the server is read-only",
    404: "there is no such thing",
    405: "the path has other methods",
    408: "the body did not arrive in time",
    409: "the request conflicts with the present state",
    412: "it has changed since the ETag in If-Match",
    413: "the body is too large",
    415: "the body has another type than application/json",
    421: "the Host header names another server",
    422: "a value is wrong; `detail` and `errors` say which, and what is expected",
    429: "too many failed sign-ins; Retry-After says when the next one is tried",
    500: "a mistake in this program; its log has more",
    501: "an optional package is not installed",
    503: "the outbox cannot be used now",
}
#: headers of some problems -> whether each such answer has it, and its meaning
HEADERS = {
    401: ("WWW-Authenticate", True, "Bearer"),
    429: ("Retry-After", True, "seconds after which the request may be repeated"),
    503: ("Retry-After", False, "seconds after which the request may succeed; without it, only after a repair"),
}
#: kind of our errors -> status; the first one that applies
STATUSES: tuple[tuple[type[WebhooksError], int], ...] = (
    (DamagedRowError, 409),  # waiting does not help
    (OutboxError, 503),
    (NotEditableError, 409),
    (ConfigError, 422),
    (SelectionError, 422),
    (EmitError, 422),
    (WebhooksError, 500),
)


class Problem(Exception):
    """An answer that is not a success.

    Args:
        status: of HTTP.
        detail: what is wrong, what is expected, and what helps.
        title: the kind of problem; empty: the status's own words.
        headers: further headers of the answer.
        extra: further members of its body.
    """

    def __init__(
        self, status: int, detail: str, title: str = "", headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = int(status)
        self.detail = detail
        self.title = title or HTTPStatus(status).phrase
        self.headers = dict(headers or {})
        self.extra = extra

    @property
    def body(self) -> dict[str, Any]:
        """The members of the answer's body."""
        shown = "\n".join(printable(line) for line in self.detail.split("\n"))
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": shown, **self.extra}


class WrongValue(BaseModel):
    """One wrong value of a request."""

    where: str = Field(description="its place in the request, such as body.url")
    message: str


class ProblemBody(BaseModel):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[WrongValue] = Field(default_factory=list, description="each wrong value of the request")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an operation, or of all, that answers with these problems as well."""
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {"description": MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        if status in HEADERS:
            found[status].update(headers_of(HEADERS[status]))
    return found


def headers_of(*headers: tuple[str, bool, str]) -> dict[str, Any]:
    """Return the part of a response in the document that has its headers: name, whether it is always there, meaning."""
    return {
        "headers": {
            name: {"required": required, "description": meaning, "schema": {"type": "string"}}
            for name, required, meaning in headers
        }
    }


def answer(problem: Problem) -> JSONResponse:
    """Return the answer for a problem."""
    return JSONResponse(problem.body, problem.status, problem.headers, MEDIA_TYPE)


def problem_of(error: WebhooksError) -> Problem:
    """Return the problem for an error of ours."""
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    headers = {"Retry-After": str(math.ceil(RETRY_SECONDS))} if isinstance(error, OutboxBusyError) else {}
    return Problem(status, str(error), headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Let an application answer with problems whatever happens."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> JSONResponse:
        return answer(error)

    @app.exception_handler(WebhooksError)
    async def _ours(_: Request, error: WebhooksError) -> JSONResponse:
        return answer(problem_of(error))

    @app.exception_handler(HTTPException)
    async def _theirs(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return answer(Problem(error.status_code, str(error.detail), headers=error.headers))
        allowed = ", ".join(_allowed(request))
        return answer(Problem(error.status_code, f"this path has only {allowed}", headers={"Allow": allowed}))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = [*_wrong_values(error.errors())]
        detail = "; ".join(f"{one['where']}: {one['message']}" for one in found[:5])
        return answer(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=found))

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, error: Exception) -> JSONResponse:
        return answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a mistake in sfwebhooks: its log has more"))


def _allowed(request: Request) -> Iterable[str]:
    """Yield the methods of a request's path; each of them may be that of a route of its own."""
    for method in METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            yield method


def _wrong_values(errors: Iterable[Any]) -> Iterable[dict[str, str]]:
    """Yield place and message of each wrong value, without the value: it may be a secret, or 1 MB."""
    for error in errors:
        where = ".".join(str(part) for part in error.get("loc", ()))
        yield {"where": printable(where)[:SHOWN_MAX], "message": printable(str(error.get("msg", "")))[:SHOWN_MAX]}
