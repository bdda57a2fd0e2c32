"""Webhooks: the endpoints of the settings file, registered, changed, removed and tested."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Optional
from urllib.parse import quote

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from sfwebhooks.config.applying import Applied, MistakesError, apply_edit
from sfwebhooks.config.editing import Edit
from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import nearest, seconds_with_unit
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, NotEditableError, OutboxError, SelectionError
from sfwebhooks.events import printable
from sfwebhooks.inspection.endpoint_fields import fields_of_endpoint
from sfwebhooks.inspection.live_state import UNKNOWN, LiveState, live_state, unsettled
from sfwebhooks.inspection.pausing import (
    FOREVER,
    fields_of_pause,
    fields_of_resuming,
    pause_endpoint,
    resume_endpoint,
)
from sfwebhooks.inspection.status import without_reply
from sfwebhooks.inspection.testing import fields_of_test, pauses_of
from sfwebhooks.outbox.listing import LastResults
from sfwebhooks.own_secrets import shown_name
from sfwebhooks.web.access import Operator, Viewer
from sfwebhooks.web.idempotency import REPLAYED_HEADER, IdempotencyKey, MadeAnswer
from sfwebhooks.web.logins import Access
from sfwebhooks.web.problems import Problem, headers_of, problems
from sfwebhooks.web.registered import Registered
from sfwebhooks.web.site import Site, TheSite
from sfwebhooks.web.webhook_edit import (
    NewWebhook,
    WebhookChange,
    edit_for_change,
    edit_for_new,
    wrong_settings,
    wrong_values,
)

router = APIRouter(prefix="/v1", tags=["webhooks"])
#: tests at once, each of which has a thread; seconds after which another one may be tried
TESTS_MAX, TEST_RETRY_SECONDS = 3, 5
#: most seconds of a test's attempt, whatever the endpoint's timeout is
TEST_SECONDS = 30.0
_tests = threading.BoundedSemaphore(TESTS_MAX)

ETAG = ("ETag", True, "of its settings, for If-Match")
LOCATION = ("Location", True, "its path")
REPLAYED = (REPLAYED_HEADER, False, "true: this is the answer to an earlier request with the same Idempotency-Key")
IfMatch = Annotated[Optional[str], Header(alias="If-Match", description="the ETag that was seen; else 412")]


class Webhook(BaseModel):
    """An endpoint; secrets are ***."""

    id: str = Field(description="its name")
    url: str = Field(description="scheme, host and port; *** for the rest")
    events: list[str]
    description: str
    active: bool
    format: str
    secret_set: bool = Field(description="whether its messages are signed")
    settings: dict[str, str] = Field(description='its other keys with their texts, "***" for secrets')
    mistake: str | None = Field(description="the mistake in its settings because of which it is sent nothing")
    status: dict[str, Any] = Field(
        description="its live state, as sfwebhooks status --json shows it; a viewer sees no replies"
    )
    warnings: list[str] = Field(default_factory=list, description="doubts about what this request has set")


class WebhookList(BaseModel):
    """All webhooks."""

    items: list[Webhook]
    next: str | None = Field(None, description="always null: the list is whole")
    mistakes: list[str] = Field(description="all mistakes in the settings")


class TestRequest(BaseModel):
    """How to test."""

    model_config = ConfigDict(extra="forbid", strict=True)

    event: str | None = Field(
        None, max_length=200, description="send the example of this event type; by default a test alert"
    )


class TestStep(BaseModel):
    """A step of a test, with further fields of its own."""

    model_config = ConfigDict(extra="allow")

    step: str
    words: str
    failed: bool


class TestResult(BaseModel):
    """The result of a test."""

    endpoint: str
    place: str = Field(description="scheme, host and port of its URL")
    delivered: bool
    reason: str = Field(
        description="such as http_200 or timeout; config_mistake: nothing was sent, and only mistake is set"
    )
    mistake: str = ""
    event: str = ""
    paused: str = Field("", description="why its deliveries wait all the same; empty: they do not")
    handshake: str = Field("", description="what the receiver said to the question whether we may send")
    allowed: bool | None = None
    pending: bool = Field(False, description="whether it is accepted, but not confirmed yet")
    status: int | None = Field(None, description="of HTTP; null: there was no reply")
    seconds: float = 0.0
    reply: str = ""
    verdict: str = Field("", description="what would happen to a message that is not a test; empty: it was delivered")
    cure: str = ""
    steps: list[TestStep] = []


class PauseRequest(BaseModel):
    """How long to pause."""

    model_config = ConfigDict(extra="forbid", strict=True)

    span: str | None = Field(None, alias="for", max_length=50, description="such as 2h; by default until resume")


class PauseResult(BaseModel):
    """A pause."""

    endpoint: str
    until: str | None = Field(description="null: until resume")


class ResumeResult(BaseModel):
    """A resumption."""

    endpoint: str
    was_stopped: bool = Field(description="whether it was paused or not healthy")


@router.get("/webhooks", operation_id="listWebhooks", summary="List the webhooks", response_model=WebhookList)
def list_webhooks(site: TheSite, access: Viewer) -> dict[str, Any]:
    """Return all endpoints of the settings."""
    if site.file is None:
        return {"items": [], "mistakes": []}
    found = Registered.at(site.file)
    states = _states(found.settings, site, access)
    items = [{**found.fields(name), "status": states[name]} for name in found.names]
    return {"items": items, "mistakes": [*map(str, found.settings.mistakes)]}


@router.post(
    "/webhooks",
    operation_id="createWebhook",
    summary="Register a webhook",
    status_code=HTTPStatus.CREATED,
    response_model=Webhook,
    responses={201: headers_of(LOCATION, ETAG, REPLAYED), **problems(409)},
)
def create_webhook(given: NewWebhook, site: TheSite, access: Operator, key: IdempotencyKey = None) -> Response:
    """Add an endpoint to the settings; running senders and scans use it within seconds.

    One whose url or secret is still a placeholder, as in an example, is kept and sent nothing until that is replaced:
    its `mistake` says so.
    """

    def create() -> MadeAnswer:
        done = _applied(site, lambda present: edit_for_new(given, present), may_be_unfilled=True)
        body, tag = _shown(done.edit.name, _written(done, site), site, access)
        place = f"/v1/webhooks/{quote(done.edit.name)}"
        return MadeAnswer(HTTPStatus.CREATED, {**body, "warnings": done.warnings}, {"Location": place, "ETag": tag})

    made = site.idempotency.once(key, ("createWebhook", given.model_dump(exclude_unset=True)), create)
    return JSONResponse(Webhook(**made.body).model_dump(), made.status, {**made.headers})


@router.get(
    "/webhooks/{id}",
    operation_id="getWebhook",
    summary="Show a webhook",
    response_model=Webhook,
    responses={200: headers_of(ETAG), **problems(404)},
)
def show_webhook(id: str, site: TheSite, access: Viewer, response: Response) -> dict[str, Any]:
    """Return an endpoint; the ETag is that of its settings, not of its live state."""
    body, response.headers["ETag"] = _shown(id, Registered.at(_file(site)), site, access)
    return body


@router.put(
    "/webhooks/{id}",
    operation_id="updateWebhook",
    summary="Change a webhook",
    response_model=Webhook,
    responses={200: headers_of(ETAG), **problems(404, 409, 412)},
)
@router.patch(
    "/webhooks/{id}",
    operation_id="patchWebhook",
    summary="Change a webhook",
    response_model=Webhook,
    responses={200: headers_of(ETAG), **problems(404, 409, 412)},
)
def change_webhook(
    id: str, given: WebhookChange, site: TheSite, access: Operator, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Change what is given, and leave the rest: PUT does the same as PATCH."""

    def edit(present: Registered) -> Edit:
        _demand(id, present, if_match)
        return edit_for_change(id, given, present)

    done = _applied(site, edit)
    body, response.headers["ETag"] = _shown(id, _written(done, site), site, access)
    return {**body, "warnings": done.warnings}


@router.delete(
    "/webhooks/{id}",
    operation_id="deleteWebhook",
    summary="Remove a webhook",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(404, 409, 412),
)
def delete_webhook(id: str, site: TheSite, access: Operator, if_match: IfMatch = None) -> None:
    """Remove an endpoint from the settings; deliveries that wait for it become dead letters after a week."""

    def edit(present: Registered) -> Edit:
        _demand(id, present, if_match)
        return Edit(id, is_removed=True)

    _applied(site, edit)


@router.post(
    "/webhooks/{id}/test",
    operation_id="testWebhook",
    summary="Send a test message",
    response_model=TestResult,
    response_model_exclude_unset=True,
    responses=problems(404, 409),
)
def test_webhook(id: str, site: TheSite, access: Operator, given: TestRequest | None = None) -> dict[str, Any]:
    """Send a test message now, and return each step of that, as sfwebhooks test --json shows it."""
    site.demand_writable()
    endpoint = _usable(id, site)
    endpoint = replace(endpoint, timeout=min(endpoint.timeout, TEST_SECONDS))
    if not _tests.acquire(blocking=False):
        busy = {"Retry-After": str(TEST_RETRY_SECONDS)}
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{TESTS_MAX} tests are running: try again later", headers=busy)
    try:
        pause = pauses_of([endpoint], site.place).get(endpoint.name, "")
        return fields_of_test(endpoint, given.event if given else None, pause)
    except SelectionError as error:
        raise wrong_values({"event": str(error)}) from error
    finally:
        _tests.release()


@router.post(
    "/webhooks/{id}/pause",
    operation_id="pauseWebhook",
    summary="Send nothing for a while",
    response_model=PauseResult,
    responses=problems(404, 409),
)
def pause_webhook(id: str, site: TheSite, access: Operator, given: PauseRequest | None = None) -> dict[str, Any]:
    """Send nothing to an endpoint for a time; its deliveries are kept."""
    site.demand_writable()
    try:
        span = seconds_with_unit(given.span) if given and given.span is not None else FOREVER
    except (ValueError, OverflowError) as error:
        raise wrong_values({"for": str(error)}) from error
    name = _usable(id, site).name
    return fields_of_pause(name, pause_endpoint(site.place, name, span))


@router.post(
    "/webhooks/{id}/resume",
    operation_id="resumeWebhook",
    summary="Send again",
    response_model=ResumeResult,
    responses=problems(404, 409),
)
def resume_webhook(id: str, site: TheSite, access: Operator) -> dict[str, Any]:
    """Send to a paused, failing or held endpoint again, now."""
    site.demand_writable()
    name = _usable(id, site).name
    return fields_of_resuming(name, resume_endpoint(site.place, name))


def _applied(site: Site, edit: Callable[[Registered], Edit], may_be_unfilled: bool = False) -> Applied:
    """Write an edit that is made for the present settings; for `may_be_unfilled` see `apply_edit`.

    Raises:
        Problem: it is refused; nothing was changed.
        NotEditableError: the file cannot be edited.
    """
    site.demand_writable()
    path = _file(site)
    try:
        return apply_edit(path, lambda text: edit(Registered(path, text)), may_be_unfilled)
    except MistakesError as error:
        raise wrong_settings(error.mistakes, error.name) from error


def _file(site: Site) -> Path:
    if site.file is None:
        raise NotEditableError("there is no settings file: sfwebhooks init creates one")
    return site.file


def _written(done: Applied, site: Site) -> Registered:
    """Return the endpoints as an edit has left them, whatever happened to the file since."""
    return Registered(_file(site), done.text)


def _shown(name: str, found: Registered, site: Site, access: Access) -> tuple[dict[str, Any], str]:
    """Return an endpoint as it is shown, and its ETag."""
    _demand(name, found, None)
    return {**found.fields(name), "status": _states(found.settings, site, access)[name]}, found.tag(name)


def _states(found: Settings, site: Site, access: Access) -> dict[str, dict[str, Any]]:
    """Return the live states of the endpoints, unknown ones if the outbox cannot be read."""
    names = [*(one.name for one in found.known), *unsettled(found)]
    last: Mapping[str, LastResults] = {}
    state = LiveState(dict.fromkeys(names, UNKNOWN))
    with suppress(OutboxError):
        state = live_state(found, site.place)
        with site.reading() as outbox:
            last = outbox.listing.last_results(state.looks)
    states = {name: fields_of_endpoint(name, found, state, last.get(name)) for name in state.looks}
    return states if access is Access.OPERATOR else {name: without_reply(one) for name, one in states.items()}


def _demand(name: str, present: Registered, if_match: str | None) -> None:
    """Check that there is an endpoint, and that its settings are those that the client saw.

    Raises:
        Problem: there is none, or they are others.
    """
    if name not in present.names:
        there_are = ", ".join(present.names) or "none"
        shown = printable(shown_name(name[:100]))
        words = f'there is no webhook "{shown}"; there are: {there_are}.{nearest(name, present.names)}'
        raise Problem(HTTPStatus.NOT_FOUND, words)
    tags = [tag.strip() for tag in ("*" if if_match is None else if_match).split(",")]
    if "*" not in tags and present.tag(name) not in tags:
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            "it was changed since that ETag: GET shows what it is now; nothing was changed",
        )


def _usable(name: str, site: Site) -> Endpoint:
    """Return an endpoint that can be sent to.

    Raises:
        Problem: there is none of that name, or it is off, or has a mistake.
    """
    present = Registered.at(_file(site))
    _demand(name, present, None)
    try:
        return present.settings.usable(name)
    except ConfigError as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
