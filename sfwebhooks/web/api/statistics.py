"""What is going on: the status, statistics, metrics; and what an endpoint's settings can be."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from sfwebhooks.errors import ConfigError, WebhooksError
from sfwebhooks.events import clean_text
from sfwebhooks.inspection.counting import Counting, fields_of_row, since_of
from sfwebhooks.inspection.status import full_status, without_replies
from sfwebhooks.inspection.type_fields import endpoint_options, known_formats
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.web.access import viewer
from sfwebhooks.web.logins import Access
from sfwebhooks.web.problems import Problem, problems
from sfwebhooks.web.site import Site, TheSite

router = APIRouter(prefix="/v1", tags=["statistics"])
#: seconds for which the answer of `health`, for which anybody may ask, is repeated
HEALTH_SECONDS = 5.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Quantile(BaseModel):
    """Seconds within which half and 95 % of something were done; null: nothing was done."""

    p50: float | None
    p95: float | None


class StatisticsRow(BaseModel):
    """An endpoint's numbers in a period."""

    at: str
    since: str
    endpoint: str
    total: int
    delivered: int
    failed: int = Field(description="attempts that failed")
    dead: int
    waiting: int = Field(description="now")
    oldest_at: str | None = Field(description="when the oldest waiting delivery was accepted")
    latency_seconds: Quantile = Field(description="from acceptance to delivery")
    attempt_seconds: Quantile
    withheld: dict[str, int] = Field(description="events that it was not sent, by reason")
    per_second: float | None = Field(description="always null here: the event stream has deliveries as they happen")


class StatisticsList(BaseModel):
    """The numbers of all endpoints."""

    items: list[StatisticsRow]
    next: None = None


class SenderBody(BaseModel):
    """A process that sends."""

    pid: int
    role: str


class SpoolBody(BaseModel):
    """The spool of this machine, whose events wait to be forwarded to the outbox."""

    spool: str = Field(description="its file")
    waiting: int
    oldest: str | None = Field(description="when the oldest waiting event was stored")
    forwarded_by: int | None = Field(description="id of the process that forwards; null: none does")
    forwarded: int = Field(description="events so far")
    last_forwarded_at: str | None
    trouble: str = Field(description="what keeps events from being forwarded; empty: nothing that is known")
    last_error: str = Field(description="the last trouble, also one that is over")
    last_error_at: str | None
    set_aside: int = Field(description="events that cannot be forwarded because of an error of sfwebhooks")
    needs_attention: bool


class StatusBody(BaseModel):
    """What is going on now."""

    needs_attention: bool
    endpoints: list[dict[str, Any]] = Field(description="as `sfwebhooks status --json` prints them")
    senders: list[SenderBody]
    sees_senders: bool = Field(description="whether this process may see which processes send")
    sending: str = Field(description="the same in words, or what makes one send")
    watch: dict[str, Any] = Field(description="the watch over scans: `watch`, `expected`, `looked_at`")
    spool: SpoolBody | None = Field(description="null: scans of this machine have none")


class HealthBody(BaseModel):
    """Whether all is well."""

    status: str = Field(description="ok, attention or unavailable")


class OptionBody(BaseModel):
    """A key of an endpoint."""

    name: str = Field(description="one that ends in a dot takes a name of your own after it")
    meaning: str
    default: str | None
    accepted: str = Field(description="what its value may be; empty: any text")
    secret: bool = Field(description="whether it is never shown")
    inherited: bool = Field(description="whether [webhooks] may have it for all endpoints")
    formats: list[str] = Field(description="the only formats that have it; empty: all have")
    needed_by: list[str] = Field(description="the formats that do not work without it")


class OptionList(BaseModel):
    """The keys of an endpoint."""

    items: list[OptionBody]
    next: None = None


class FormatBody(BaseModel):
    """A format."""

    name: str
    is_chat: bool = Field(description="whether people read its messages")
    hosts: list[str] = Field(description="hosts that accept no other format")
    batches: bool = Field(description="whether one request can have several messages")
    keys: list[str] = Field(description="keys that only this format has, or a few")
    needed: list[str] = Field(description="those without which it does not work")


class FormatList(BaseModel):
    """The formats."""

    items: list[FormatBody]
    next: None = None


class Healths:
    """The last answer of each outbox, so that strangers cannot make this process count all the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: place -> monotonic seconds of the answer, and its status
        self._known: dict[Place, tuple[float, str]] = {}

    def of(self, site: Site) -> str:
        """Return ok, attention or unavailable."""
        with self._lock:
            at, found = self._known.get(site.place, (-HEALTH_SECONDS, ""))
            if time.monotonic() - at >= HEALTH_SECONDS:
                found = _health(site)
                self._known[site.place] = time.monotonic(), found
            return found


def _health(site: Site) -> str:
    try:
        return "attention" if full_status(site.settings(), site.place).needs_attention else "ok"
    except ConfigError:
        return "attention"
    except WebhooksError:
        return "unavailable"


healths = Healths()


@router.get(
    "/health",
    operation_id="getHealth",
    summary="Whether all is well; without a token",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "the outbox cannot be read"}},
)
def show_health(response: Response, site: TheSite) -> dict[str, str]:
    """Return one word, for a monitor: it may be up to five seconds old."""
    found = healths.of(site)
    response.status_code = HTTPStatus.SERVICE_UNAVAILABLE if found == "unavailable" else HTTPStatus.OK
    return {"status": found}


@router.get(
    "/status",
    operation_id="getStatus",
    summary="The live state of each endpoint, and what sends",
    response_model=StatusBody,
)
def show_status(access: Annotated[Access, Depends(viewer)], site: TheSite) -> dict[str, Any]:
    """Return what `sfwebhooks status` shows. A viewer sees no replies of receivers."""
    found = full_status(site.settings(), site.place).fields
    return found if access is Access.OPERATOR else without_replies(found)


@router.get(
    "/stats",
    operation_id="getStatistics",
    summary="Deliveries, failures and delays of each endpoint in a period",
    response_model=StatisticsList,
    dependencies=[Depends(viewer)],
)
def show_statistics(
    site: TheSite,
    since: Annotated[str, Query(max_length=100, description="such as 2h or 7d (ago), or a time (RFC 3339)")] = "24h",
    endpoint: Annotated[str, Query(max_length=500, description="only this endpoint")] = "",
) -> dict[str, Any]:
    """Return what `sfwebhooks stats` shows."""
    try:
        begin = since_of(since)
    except (ValueError, OverflowError) as error:
        wrong = {"where": "query.since", "message": str(error)}
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"since: {error}", errors=[wrong]) from error
    with site.reading() as outbox:
        found = Counting(outbox, site.settings(), begin, clean_text(endpoint)).round(time.time())
    return {"items": [fields_of_row(row, found) for row in found.rows], "next": None}


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="The metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(501)},
    dependencies=[Depends(viewer)],
)
def show_metrics(site: TheSite) -> Response:
    """Return the metrics in Prometheus' text format."""
    if find_spec("prometheus_client") is None:
        text = "metrics require another package: pip install 'sfwebhooks[metrics]'"
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, text)
    from prometheus_client import generate_latest

    from sfwebhooks.metrics import OutboxMetrics

    metrics = OutboxMetrics(site.place, site.settings)
    try:
        return Response(generate_latest(metrics.registry()), media_type=METRICS_TYPE)
    finally:
        metrics.close()


@router.get(
    "/options",
    operation_id="listOptions",
    summary="The keys that an endpoint can have",
    response_model=OptionList,
    dependencies=[Depends(viewer)],
)
def list_options() -> dict[str, Any]:
    """Return the keys of an endpoint's settings."""
    return {"items": endpoint_options(), "next": None}


@router.get(
    "/formats",
    operation_id="listFormats",
    summary="The formats that messages can have",
    response_model=FormatList,
    dependencies=[Depends(viewer)],
)
def list_formats() -> dict[str, Any]:
    """Return the formats."""
    return {"items": known_formats(), "next": None}
