"""Reasons: why a delivery waits or is dead, why an event is not sent, why an attempt failed, each in words."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from sfwebhooks.reasons import DeadReason, Failure, Reason, Unsent, WaitingReason, Withheld
from sfwebhooks.web.access import viewer

router = APIRouter(prefix="/v1", tags=["statistics"])
#: what a reason is about -> the reasons
KINDS: dict[str, type[Reason]] = {
    "waiting": WaitingReason,
    "dead": DeadReason,
    "withheld": Withheld,
    "unsent": Unsent,
    "failed": Failure,
}
#: what is filled in where a cure is about one endpoint, event or process
BLANKS = {"name": "NAME", "pid": "PID", "scan": "SCAN_ID", "type": "TYPE"}


class ReasonBody(BaseModel):
    """A reason."""

    reason: str = Field(description="the word for programs")
    about: str = Field(description=f"what it is a reason for: {', '.join(KINDS)}")
    meaning: str
    what_to_do: str = Field(description="empty: nothing needs to be done, or nothing can be")


class ReasonList(BaseModel):
    """All reasons that have a word of their own; an HTTP status is one too, such as http_503."""

    items: list[ReasonBody]
    next: None = None


@router.get(
    "/reasons",
    operation_id="listReasons",
    summary="The reasons in words",
    response_model=ReasonList,
    dependencies=[Depends(viewer)],
)
def list_reasons() -> dict[str, Any]:
    """Return what the page docs/reasons.md has."""
    items = [
        {"reason": one.value, "about": about, "meaning": one.meaning, "what_to_do": one.cure.format(**BLANKS)}
        for about, kind in KINDS.items()
        for one in kind
    ]
    return {"items": items, "next": None}
