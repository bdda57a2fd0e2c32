"""Event types, and events of other tools: what `sfwebhooks events` and `sfwebhooks emit` do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from sfwebhooks.catalogue import EVENT_TYPES, EventType, Origin, type_named
from sfwebhooks.catalogue.json_schema import document
from sfwebhooks.config.values import nearest
from sfwebhooks.emission import keep
from sfwebhooks.emitted_event import Emission
from sfwebhooks.endpoints import EVENT_NAMES
from sfwebhooks.events import printable
from sfwebhooks.inspection.type_fields import fields_of_type, type_in_detail
from sfwebhooks.web.access import operator, viewer
from sfwebhooks.web.problems import Problem, problems
from sfwebhooks.web.site import TheSite

router = APIRouter(prefix="/v1", tags=["events"])
SCHEMA_TYPE = "application/schema+json"
#: characters of a wrong name that are repeated
NAME_MAX = 100
EXAMPLE = next(entry for entry in EVENT_TYPES if entry.sender is Origin.EMIT)


class EventTypeBody(BaseModel):
    """An event type."""

    name: str
    alias: str = Field(description="the same in the dotted notation of other products")
    meaning: str
    severities: list[str] = Field(description="those that it can have; empty: any")
    sent_by: str


class EventTypeList(BaseModel):
    """All event types."""

    items: list[EventTypeBody]
    next: None = None


class DataField(BaseModel):
    """A key of an event's data."""

    name: str
    type: str = Field(description="string, integer, number, boolean, array or object")
    of: str | None = Field(description="type of an array's items, or of the values of an object with any keys")
    nullable: bool
    always: bool = Field(description="whether each event of the type has it")
    added: bool = Field(description="whether it is added if another tool does not provide it")
    when: str | None = Field(description="the condition on which it is there")
    meaning: str
    choices: list[str] = Field(description="its values; empty: any")
    parts: list[DataField] = Field(description="keys of an object, or of each object of an array")


class EventTypeDetail(EventTypeBody):
    """An event type with its fields."""

    fields: list[DataField]
    by_others: list[DataField] = Field(description="the fields if another tool reports it; empty: none may")
    example: dict[str, Any] = Field(description="a message in the generic format")


class NewEvent(BaseModel):
    """An event of another tool."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": EXAMPLE.name, "data": EXAMPLE.example}]})

    type: str = Field(max_length=200, description="name or alias of an event type")
    data: dict[str, Any] = Field(description="its data, or a whole message with event_type and data")
    severity: str | None = Field(None, max_length=20, description="critical, high, medium, low or info")
    id: str | None = Field(
        None, min_length=1, max_length=1024, description="its unique id: the same type and id are sent once"
    )


class EmittedEvent(BaseModel):
    """What became of an event."""

    id: str
    endpoints: list[str] = Field(description="those that subscribe to it; empty: nothing was stored")
    new: int = Field(description="number of endpoints for which it had not been stored before")


@router.get(
    "/events",
    operation_id="listEventTypes",
    summary="The event types",
    response_model=EventTypeList,
    dependencies=[Depends(viewer)],
)
def list_event_types() -> dict[str, Any]:
    """Return all event types."""
    return {"items": [fields_of_type(entry) for entry in EVENT_TYPES], "next": None}


@router.get(
    "/events/{type}",
    operation_id="getEventType",
    summary="An event type with the fields of its data, and an example",
    response_model=EventTypeDetail,
    responses=problems(404),
    dependencies=[Depends(viewer)],
)
def show_event_type(type: str) -> dict[str, Any]:
    """Return an event type, by its name or alias."""
    return type_in_detail(_entry(type))


@router.get(
    "/events/{type}/schema",
    operation_id="getEventSchema",
    summary="The JSON Schema (2020-12) of its messages in the generic format",
    response_class=JSONResponse,
    responses={200: {"content": {SCHEMA_TYPE: {"schema": {"type": "object"}}}}, **problems(404)},
    dependencies=[Depends(viewer)],
)
def show_event_schema(type: str) -> JSONResponse:
    """Return the schema of an event type, by its name or alias."""
    return JSONResponse(document([_entry(type)]), media_type=SCHEMA_TYPE)


@router.post(
    "/events",
    operation_id="emitEvent",
    summary="Send an event of another tool to the endpoints that subscribe to it",
    status_code=HTTPStatus.ACCEPTED,
    response_model=EmittedEvent,
    responses=problems(400),
    dependencies=[Depends(operator)],
)
def emit_event(
    event: NewEvent,
    site: TheSite,
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", min_length=1, max_length=1024, description="the event's id if it has none"),
    ] = None,
) -> dict[str, Any]:
    """Store an event for each endpoint that subscribes to it, as `sfwebhooks emit` does; the next process that sends
    delivers it."""
    site.demand_writable()
    emission = Emission(event.type, event.data, key if event.id is None else event.id, event.severity)
    emitted = keep(emission, str(site.file or ""), site.folder)
    return {"id": emitted.id, "endpoints": [*emitted.endpoints], "new": emitted.new}


def _entry(word: str) -> EventType:
    """Return the event type of a name or alias.

    Raises:
        Problem: there is none.
    """
    entry = type_named(word)
    if entry is None:
        hint = nearest(word[:NAME_MAX].lower(), EVENT_NAMES)
        raise Problem(HTTPStatus.NOT_FOUND, f'no event type is called "{printable(word[:NAME_MAX])}".{hint}')
    return entry
