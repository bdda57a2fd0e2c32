"""Dead letters: filters come in, they go out, in groups too; a choice of them is replayed, dropped, or counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from sfwebhooks.config.values import rate
from sfwebhooks.delivery.troubleshooting import cure, meaning
from sfwebhooks.events import timestamp
from sfwebhooks.inspection.fields import Counts, total
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.web.access import Operator, Viewer
from sfwebhooks.web.answers import json_answer
from sfwebhooks.web.api.deliveries import (
    FILTER_MAX,
    LIMIT,
    Cursor,
    DeliveryPage,
    Filters,
    Limit,
    page_of,
    selected,
    wrong_value,
)
from sfwebhooks.web.site import Site, TheSite

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
#: most ids in a choice
IDS_MAX = 1000
ID_FORM = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
Text = Annotated[str, Field(max_length=FILTER_MAX)]
FullId = Annotated[str, Field(pattern=ID_FORM, max_length=36)]


class DeadGroup(BaseModel):
    """The dead letters of an endpoint with the same reason."""

    endpoint: str
    reason: str
    deliveries: int
    newest_at: str = Field(description="when the last of them died")
    meaning: str
    what_to_do: str


class DeadGroups(BaseModel):
    """Dead letters in groups, the largest first."""

    items: list[DeadGroup]


class DeadChoice(BaseModel):
    """Which dead letters: those that pass all filters. At least one is required, or `all`."""

    model_config = ConfigDict(extra="forbid")  # a misspelled filter would choose all

    ids: Annotated[list[FullId], Field(min_length=1, max_length=IDS_MAX)] | None = Field(
        None, description="full ids of deliveries; those that are not dead are left as they are"
    )
    endpoint: Text = ""
    scan: Text = ""
    type: Text = ""
    since: Text = Field("", description="accepted then or later: 2h, 7d or a time")
    until: Text = Field("", description="accepted before that")
    reason: Text = ""
    all: bool = Field(False, description="all of them; required if there is no filter")
    dry_run: bool = Field(False, description="change nothing, and return what would be done")

    @property
    def selection(self) -> Selection:
        """The choice.

        Raises:
            Problem: one of the filters is wrong, or there is none.
        """
        texts = {name: getattr(self, name) for name in ("endpoint", "scan", "type", "since", "until", "reason")}
        chosen = replace(dead_among(selected(texts)), ids=tuple(self.ids or ()))
        if chosen.is_all and not self.all:
            raise wrong_value("all", "expected true where there are no ids and no filter")
        return chosen


class ReplayChoice(DeadChoice):
    """Which dead letters are sent again, and how fast."""

    rate: Text = Field("", description="at most this rate: 10/s, 30/m, 100/h")

    @property
    def interval(self) -> float:
        """Seconds between two due times.

        Raises:
            Problem: the rate is wrong.
        """
        try:
            return rate(self.rate) if self.rate else 0.0
        except ValueError as error:
            raise wrong_value("rate", str(error)) from error


class Effect(BaseModel):
    """What was done, or what would be."""

    dry_run: bool
    deliveries: int
    endpoints: dict[str, dict[str, int]] = Field(description="of each endpoint, the number of dead letters")


class ReplayEffect(Effect):
    """What a replay does."""

    seconds: float = Field(description="from the first due time to the last, by the rate")


class DropEffect(Effect):
    """What a drop does."""

    left: int = Field(description="number of those that stay: the end of their scan is not reported yet")
    erased: bool = Field(description="whether nothing of them is left in the file; else that follows within an hour")


@router.get(
    "",
    operation_id="listDeadLetters",
    summary="Dead letters, the last that died first",
    response_model=DeliveryPage,
)
def list_dead_letters(
    site: TheSite, access: Viewer, chosen: Filters, limit: Limit = LIMIT, cursor: Cursor = ""
) -> Response:
    """Return a page of dead letters, as that of deliveries."""
    return page_of(site, access, dead_among(chosen), limit, cursor)


@router.get(
    "/groups",
    operation_id="groupDeadLetters",
    summary="Dead letters by endpoint and reason, with what to do",
    response_model=DeadGroups,
)
def group_dead_letters(site: TheSite, _: Viewer, chosen: Filters) -> Response:
    """Return the number of dead letters for each endpoint and reason."""
    with site.reading() as records:
        groups = records.paging.dead_letters(dead_among(chosen))
    items = [
        {
            "endpoint": one.endpoint,
            "reason": one.reason,
            "deliveries": one.number,
            "newest_at": timestamp(one.last_at),
            "meaning": meaning(one.reason),
            "what_to_do": cure(one.reason, "", one.endpoint),
        }
        for one in groups
    ]
    return json_answer({"items": items})


@router.post(
    "/replay",
    operation_id="replayDeadLetters",
    summary="Send dead letters again, under the same ids, or count them",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ReplayEffect,
)
def replay_dead_letters(site: TheSite, _: Operator, choice: ReplayChoice) -> Response:
    """Make dead letters due again, in the order of acceptance."""
    chosen, interval = choice.selection, choice.interval

    def work(records: Outbox) -> int:
        return records.retention.replay(chosen, time.time(), interval)

    number, counts = _done(site, chosen, choice.dry_run, work)
    return _answer(choice, number, counts, seconds=max(number - 1, 0) * interval)


@router.post(
    "/drop",
    operation_id="dropDeadLetters",
    summary="Delete dead letters permanently, or count them",
    status_code=HTTPStatus.ACCEPTED,
    response_model=DropEffect,
)
def drop_dead_letters(site: TheSite, _: Operator, choice: DeadChoice) -> Response:
    """Delete dead letters."""
    chosen, erased = choice.selection, True

    def work(records: Outbox) -> int:
        nonlocal erased
        dropped = records.retention.drop(chosen)
        erased = not records.retention.erasure.is_needed()
        return dropped

    number, counts = _done(site, chosen, choice.dry_run, work, over=True)
    with site.reading() as records:
        left = total(records.listing.counts(chosen)) - (number if choice.dry_run else 0)
    return _answer(choice, number, counts, left=left, erased=erased)


def dead_among(chosen: Selection) -> Selection:
    """Return those of a selection that are dead."""
    return replace(chosen, states=(State.DEAD,))


def _done(
    site: Site, chosen: Selection, dry_run: bool, work: Callable[[Outbox], int], over: bool = False
) -> tuple[int, Counts]:
    """Do some work on the chosen dead letters, or only count them; return how many, and these by endpoint before it.

    Args:
        over: whether those of a running scan are left as they are.
    """
    if not dry_run:
        site.demand_writable()
    with site.reading() as records:
        counts = records.listing.counts(chosen, over=over)
    if dry_run or is_missing(site.place):
        return total(counts), counts
    with site.changing() as records:
        return work(records), counts


def _answer(choice: DeadChoice, number: int, counts: Counts, **others: Any) -> Response:
    fields = {"dry_run": choice.dry_run, "deliveries": number, "endpoints": counts, **others}
    return json_answer(fields, HTTPStatus.ACCEPTED)
