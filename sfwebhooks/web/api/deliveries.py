"""Deliveries: filters or an id come in; a page of them, one in detail, its look in a chat, or its replay go out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.status import waiting_lines
from sfwebhooks.errors import ConfigError, SelectionError
from sfwebhooks.inspection.choosing import event_type, past_time
from sfwebhooks.inspection.delivery import detail_of, explained_fields
from sfwebhooks.inspection.drawing import page
from sfwebhooks.inspection.fields import fields_of
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.pipeline import EXCERPT
from sfwebhooks.retry import State
from sfwebhooks.web.access import Operator, Viewer
from sfwebhooks.web.answers import json_answer
from sfwebhooks.web.logins import Access
from sfwebhooks.web.problems import Problem, problems
from sfwebhooks.web.site import Site, TheSite

router = APIRouter(prefix="/v1", tags=["deliveries"])
#: deliveries in a page
LIMIT, LIMIT_MAX = 50, 500
#: characters of a filter, and most * in one: each more of them multiplies the time that a match takes
FILTER_MAX, STARS_MAX = 200, 2
#: what the look of a message may do in a browser: nothing. It is only text and style, in a frame of our own page
PREVIEW_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"


class AttemptBody(BaseModel):
    """An attempt to send a delivery."""

    at: str
    seconds: float
    status: int | None = Field(description="of HTTP; null: there was no reply")
    reason: str
    trigger: str = Field(description="schedule, probe or replay")
    excerpt: str = Field(description=f"the first {EXCERPT} characters of the reply, or why there was none")


class DeliveryBody(BaseModel):
    """A delivery: an event on its way to an endpoint."""

    delivery: str = Field(description="its id, which stays the same when it is sent again")
    event: str = Field(description="id of its event")
    endpoint: str
    name: str = Field(description="of the event, as the endpoint subscribed to it")
    type: str = Field(description="the event's own type")
    severity: str
    scan: str = Field(description="id of the scan; empty: it is not of a scan")
    target: str
    series: str
    sequence: int
    state: State
    reason: str = Field(description="why it is dead, or not delivered so far")
    attempts: int = Field(description="attempts that used up a retry")
    tries: int = Field(description="all attempts")
    replays: int
    batch: str = Field(description="id of the request that it shared with others; empty: it had its own, or none yet")
    accepted_at: str
    due_at: str | None = Field(description="when it is sent next; null: it does not wait")
    settled_at: str | None
    last_attempt: AttemptBody | None


class DeliveryPage(BaseModel):
    """Some deliveries of a list."""

    items: list[DeliveryBody]
    next: str | None = Field(
        description="cursor of the next page, which there can be though this one has few items, or none: a page looks"
        " at a limited number of deliveries. null: this is the last one"
    )
    damaged: list[str] = Field(description="ids of deliveries that cannot be shown, since their rows are damaged")


class RequestBody(BaseModel):
    """A request as it is sent, with its secrets masked."""

    method: str
    place: str = Field(description="scheme, host and port; path and query can be a credential")
    headers: list[tuple[str, str]]
    body: str


class DeliveryDetail(DeliveryBody):
    """A delivery with all that is known of it."""

    at: str | None = Field(description="when the event happened; null: its row is damaged")
    data: dict[str, Any] | None = Field(description="of the event; null: they cannot be read")
    log: list[AttemptBody] = Field(description="all attempts, in order")
    together: int = Field(description="number of other deliveries in its last request")
    fingerprint: str = Field(description="the beginning of the one by which its finding can be muted; empty: none")
    meaning: str = Field(description="of the reason for which it is dead")
    what_to_do: str
    why_waiting: str = Field(description="empty: it does not wait")
    why_endpoint: str = Field(description="why its endpoint is sent nothing now; empty: it is, or nothing is known")
    request: RequestBody | None = Field(description="as it would be sent now; null: it cannot be built")
    why_no_request: str = Field(description="why it cannot be built")
    is_drawn: bool = Field(
        description="whether its preview is a drawing as in a chat, and not only the body of the request"
    )
    explained: str = Field(description="what of its data is not shown here, by rule of `redact`; empty: all is")


class ReplayBody(BaseModel):
    """What a replay has done."""

    replayed: int
    already_waiting: int
    waiting: list[str] = Field(description="the endpoint's waiting deliveries, and why they wait")


def chosen_by(
    endpoint: Annotated[str, Query(max_length=FILTER_MAX)] = "",
    scan: Annotated[str, Query(max_length=FILTER_MAX, description="id of the scan")] = "",
    type: Annotated[str, Query(max_length=FILTER_MAX, description="name or type; * matches any characters")] = "",
    since: Annotated[str, Query(max_length=FILTER_MAX, description="accepted then or later: 2h, 7d or a time")] = "",
    until: Annotated[str, Query(max_length=FILTER_MAX, description="accepted before that")] = "",
    reason: Annotated[str, Query(max_length=FILTER_MAX, description="such as http_500 or retries_exhausted")] = "",
    q: Annotated[
        str,
        Query(
            max_length=FILTER_MAX,
            description="text in the endpoint's name, the event's name, the reason or the target; or the beginning of"
            " an id of a delivery or event, 8 characters or more",
        ),
    ] = "",
) -> Selection:
    """Return the filters of a request."""
    texts = {"endpoint": endpoint, "scan": scan, "type": type, "since": since, "until": until, "reason": reason}
    return replace(selected(texts), text=q.strip().lower())


Filters = Annotated[Selection, Depends(chosen_by)]
Id = Annotated[str, Path(max_length=FILTER_MAX, description="of the delivery or its event, or the start of one")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str, Query(max_length=FILTER_MAX, description="`next` of the page before; without: the first page")]


def selected(texts: Mapping[str, str]) -> Selection:
    """Return the selection by the texts of a request.

    Args:
        texts: endpoint, scan, type, since, until, reason; empty: any.

    Raises:
        Problem: one of them is wrong.
    """
    kind = texts["type"]
    if kind.count("*") > STARS_MAX:
        raise wrong_value("type", f"expected at most {STARS_MAX} *")
    since, until = (_time(name, texts[name]) for name in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise wrong_value("since", "expected a time before `until`: no delivery can match")
    of_type = event_type(kind) if kind else ""
    found = Selection(texts["endpoint"], texts["scan"], of_type, since=since, until=until)
    return replace(found, reason=texts["reason"])


def _time(name: str, text: str) -> float | None:
    try:
        return past_time(text) if text else None
    except (ValueError, OverflowError) as error:
        raise wrong_value(name, str(error)) from error


def wrong_value(name: str, words: str) -> Problem:
    """Return the problem of a wrong value in a request."""
    where = [{"where": name, "message": words}]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: {words}", errors=where)


@router.get(
    "/deliveries",
    operation_id="listDeliveries",
    summary="Deliveries, the last accepted first; with state=dead the last that died",
    response_model=DeliveryPage,
)
def list_deliveries(
    site: TheSite,
    access: Viewer,
    chosen: Filters,
    state: State | None = None,
    limit: Limit = LIMIT,
    cursor: Cursor = "",
) -> Response:
    """Return a page of deliveries. A viewer sees no replies in it: they can quote what was found."""
    return page_of(site, access, replace(chosen, states=(state,) if state else ()), limit, cursor)


def page_of(site: Site, access: Access, chosen: Selection, limit: int, cursor: str) -> Response:
    """Return the answer with a page."""
    with site.reading() as records:
        found = records.paging.page(chosen, limit, cursor)
    items = [listed_fields(record, access) for record in found.records]
    return json_answer({"items": items, "next": found.next or None, "damaged": found.damaged})


def listed_fields(record: Record, access: Access) -> dict[str, Any]:
    """Return the fields of a delivery in a list."""
    fields = fields_of(record)
    if access is not Access.OPERATOR and fields["last_attempt"]:
        fields["last_attempt"]["excerpt"] = ""
    return fields


@router.get(
    "/deliveries/{id}",
    operation_id="getDelivery",
    summary="A delivery with its attempts, its data and its request",
    response_model=DeliveryDetail,
    responses=problems(404, 409),
)
def show_delivery(site: TheSite, access: Viewer, id: Id) -> Response:
    """Return a delivery in detail: to an operator as its endpoint gets it, to a viewer redacted."""
    found = usable_settings(site)
    with site.reading() as records:
        detail = detail_of(record_of(records, id), records, found)
        return json_answer(explained_fields(detail, records, found, access is not Access.OPERATOR))


@router.get(
    "/deliveries/{id}/preview",
    operation_id="previewDelivery",
    summary="The message of a delivery about as its chat draws it",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **problems(404, 409)},
)
def preview_delivery(site: TheSite, access: Viewer, id: Id) -> Response:
    """Return a page with the message; what is not a chat's is indented JSON."""
    with site.reading() as records:
        detail = detail_of(record_of(records, id), records, usable_settings(site))
    drawn, why_not = detail.look(access is not Access.OPERATOR)
    if drawn is None or detail.endpoint is None:
        raise Problem(HTTPStatus.CONFLICT, f"its message cannot be built: {why_not}")
    html = page(f"{detail.endpoint.name}: {detail.endpoint.format}", [(detail.record.name, drawn)])
    headers = {"Content-Security-Policy": PREVIEW_POLICY}
    return Response(html.encode("utf-8", "replace"), headers=headers, media_type="text/html; charset=utf-8")


@router.post(
    "/deliveries/{id}/replay",
    operation_id="replayDelivery",
    summary="Send a delivery again, under the same id",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ReplayBody,
    responses=problems(404, 409),
)
def replay_delivery(site: TheSite, _: Operator, id: Id) -> Response:
    """Make a delivery due again; one that waits is left as it is."""
    site.demand_writable()
    with site.reading() as records:
        record = record_of(records, id)
    with site.changing() as records:
        number = records.retention.replay(Selection(ids=(record.id,)), time.time())
    waiting = [*waiting_lines(site.place, usable_settings(site), [record.endpoint])]
    fields = {"replayed": number, "already_waiting": int(not number), "waiting": waiting}
    return json_answer(fields, HTTPStatus.ACCEPTED)


def record_of(records: Outbox, id: str) -> Record:
    """Return the delivery with an id, or whose event has it.

    Raises:
        Problem: there is none, or several.
        DamagedRowError: its row is damaged.
    """
    try:
        return records.listing.find(id)
    except SelectionError as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error


def usable_settings(site: Site) -> Settings | None:
    """Return the settings; None: they cannot be read."""
    with suppress(ConfigError):
        return site.settings()
    return None
