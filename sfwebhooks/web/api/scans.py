"""Scans, and what their endpoints were sent of them, or would be sent."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import HostDatabaseError, SelectionError
from sfwebhooks.events import clean_text, printable
from sfwebhooks.inspection.forecast_fields import fields_of_forecast
from sfwebhooks.inspection.scan_fields import ScanStatus, fields_of_scan, scan_in_detail
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.scan_list import ListedScan, ScanList
from sfwebhooks.scan.backfill import any_scan, past_scan
from sfwebhooks.scan.forecast import forecast
from sfwebhooks.web.access import Viewer, viewer
from sfwebhooks.web.logins import Access
from sfwebhooks.web.problems import Problem, problems
from sfwebhooks.web.site import Site, TheSite

router = APIRouter(prefix="/v1", tags=["scans"])
#: scans in an answer: their deliveries are counted one by one
LIMIT, LIMIT_MAX = 50, 500
#: characters of an id that is repeated
ID_MAX = 100


class DeliveryCounts(BaseModel):
    """Numbers of deliveries by state."""

    waiting: int
    delivered: int
    dead: int


class ScanBody(BaseModel):
    """A scan."""

    scan: str = Field(description="SpiderFoot's id of it")
    name: str
    target: str
    target_type: str
    began_at: str
    ended_at: str | None = Field(description="null: it has not ended, or when is no longer known")
    status: ScanStatus
    deliveries: DeliveryCounts = Field(description="those that the outbox still has")


class ScanPage(BaseModel):
    """Scans, the newest first."""

    items: list[ScanBody]
    next: str | None = Field(description="the cursor of the next page; null: there is none")


class ScanStep(BaseModel):
    """An event of a scan that is not a finding."""

    at: str
    type: str
    severity: str
    words: str
    event: str = Field(description="its id, by which its deliveries are found")


class ScanDetail(ScanBody):
    """A scan with all that is known of it."""

    version: str = Field(description="of SpiderFoot")
    timeline: list[ScanStep] = Field(description="in order; of its progress some steps")
    missing_steps: int = Field(description="number of further steps, which the timeline omits")
    findings: dict[str, int] = Field(description="by severity: as its end or progress reported, else those accepted")
    endpoints: dict[str, dict[str, int]] = Field(description="of each endpoint, the number of deliveries by state")
    withheld: dict[str, dict[str, int]] = Field(description="of each endpoint, the events it was not sent, by reason")
    surface: dict[str, Any] | None = Field(description="data of its surface_changed, if an endpoint gets that")
    report: dict[str, Any] | None = Field(description="data of the event that reported its end, without receipts")


class RouteBody(BaseModel):
    """What a backfill of a scan would send to an endpoint now."""

    endpoint: str
    scan: str
    deliveries: int
    names: dict[str, int] = Field(description="the same by event name")
    withheld: dict[str, int] = Field(description="the events that would not be sent, by reason")
    redacted: dict[str, int] = Field(description="the deliveries that a rule of `redact` changes, by rule")
    messages: int = Field(description="about the number of requests")
    seconds: float = Field(description="that its pace takes for them")
    has: int = Field(description="deliveries of the scan that it has already")
    deleted: int = Field(description="those that it had and that were deleted")
    mistake: str | None = Field(description="the mistake in its settings, for which they would wait")


@router.get(
    "/scans",
    operation_id="listScans",
    summary="Scans, the newest first",
    response_model=ScanPage,
    dependencies=[Depends(viewer)],
)
def list_scans(
    site: TheSite,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT,
    cursor: Annotated[str, Query(max_length=500, description="`next` of the page before")] = "",
) -> dict[str, Any]:
    """Return a page of the scans that the outbox knows."""
    with site.reading() as outbox:
        found = ScanList(outbox.database, site.counts).scans(limit + 1, clean_text(cursor))
    items = [fields_of_scan(one) for one in found[:limit]]
    return {"items": items, "next": items[-1]["scan"] if len(found) > limit else None}


@router.get(
    "/scans/{id}",
    operation_id="getScan",
    summary="A scan: what happened, what was found, and what its endpoints were sent",
    response_model=ScanDetail,
    responses=problems(404),
)
def show_scan(id: str, access: Viewer, site: TheSite) -> dict[str, Any]:
    """Return a scan with all that the outbox has of it. A viewer sees redacted data."""
    with site.reading() as outbox:
        one, listed = _scan(id, outbox, site)
        parts = (listed, outbox.scans, outbox.listing)
        return scan_in_detail(one, parts, redact=access is not Access.OPERATOR)


@router.get(
    "/scans/{id}/receipt",
    operation_id="getReceipts",
    summary="The receipts of its endpoints",
    response_model=dict[str, dict[str, Any]],
    responses=problems(404),
    dependencies=[Depends(viewer)],
)
def show_receipts(id: str, site: TheSite) -> Mapping[str, Any]:
    """Return the receipt that each endpoint got with a scan's end; there is none before the end."""
    with site.reading() as outbox:
        one, listed = _scan(id, outbox, site)
        return listed.receipts(one.scan.id)


@router.get(
    "/webhooks/{id}/route",
    operation_id="routeScan",
    summary="What a backfill of a past scan would send to this endpoint",
    tags=["webhooks"],
    response_model=RouteBody,
    responses=problems(404, 409),
    dependencies=[Depends(viewer)],
)
def route_scan(
    id: str,
    site: TheSite,
    scan: Annotated[str, Query(max_length=500, description="SpiderFoot's id of a scan that is over")],
    dead: Annotated[bool, Query(description="its process has ended, although SpiderFoot lists it as running")] = False,
) -> dict[str, Any]:
    """Return what would be sent of a scan by today's settings, and what not; nothing is sent or written."""
    found = site.settings()
    endpoint, scan = _endpoint(id, found), clean_text(scan)
    with site.reading() as outbox:
        try:
            any_scan(outbox, scan, found.enrichment)
        except SelectionError as error:
            raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
        try:
            past = past_scan(outbox, scan, dead, found.enrichment)
            return fields_of_forecast(endpoint, forecast(outbox, endpoint, past), past)
        except SelectionError as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from error
        except HostDatabaseError as error:
            text = f"SpiderFoot's database cannot be read: {error}"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, text) from error


def _scan(id: str, outbox: Outbox, site: Site) -> tuple[ListedScan, ScanList]:
    """Return a scan, and the list that has it.

    Raises:
        Problem: it is not known.
    """
    listed = ScanList(outbox.database, site.counts)
    one = listed.scan(clean_text(id))
    if one is None:
        raise Problem(HTTPStatus.NOT_FOUND, f'the outbox has no scan "{printable(id[:ID_MAX])}"')
    return one, listed


def _endpoint(name: str, found: Settings) -> Endpoint:
    """Return an endpoint of the settings.

    Raises:
        Problem: there is none of that name that can be used.
    """
    known = {one.name: one for one in found.known}
    if name in found.unused and name not in known:
        raise Problem(HTTPStatus.CONFLICT, f'endpoint "{name}" has a mistake in its settings: sfwebhooks check')
    if name not in known:
        hint = nearest(name[:ID_MAX], known)
        raise Problem(HTTPStatus.NOT_FOUND, f'there is no endpoint "{printable(name[:ID_MAX])}".{hint}')
    return known[name]
