"""The servicenow format: tickets are incidents, or records of another table, by ServiceNow's Table API
(https://www.servicenow.com/docs, REST Table API).

A record is found by its correlation_id. An instance that does not know a field in a query ignores it and returns other
records, so each one found is compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.plain import in_lines
from sfwebhooks.formats.replies import NOT_OK
from sfwebhooks.formats.tickets import (
    DESCRIPTION_MAX,
    STILL_OPEN,
    Comment,
    Issue,
    Talk,
    TicketDraft,
    Tracker,
    TrackerRefusedError,
    answered,
    get_request,
    has_comment,
    json_request,
    objects_in,
    open_first,
    path_of,
    state_of_closed,
    tracker_format,
)
from sfwebhooks.ticketing import TicketState

PATH = re.compile(r"/api/now(?:/v[12])?/table/(\w+)")
SYS_ID = re.compile("[0-9A-Za-z]{1,32}")
FIELDS = "sysparm_fields=sys_id,number,state,close_code,correlation_id"
#: states of an incident that is being worked at, resolved, closed and cancelled
IN_PROGRESS, RESOLVED, CLOSED, CANCELLED = "2", "6", "7", "8"
#: a word that stands for the last one
CANCELLED_WORD = "cancelled"
WONT_FIX_WORDS = CANCELLED_WORD
CLOSE_CODE = Key(
    "close_code",
    "the resolution code of a record that is resolved (Solution provided)",
    r"[^\n]{1,100}",
    "a resolution code of your instance",
)


def find(mark: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return the record with a correlation_id."""
    query = quote(f"correlation_id={mark}^ORDERBYDESCsys_created_on")
    reply = yield get_request(f"{_table(endpoint)}?sysparm_query={query}&sysparm_limit=5&{FIELDS}")
    records = objects_in(answered(reply, 200).get("result"))
    return open_first([_issue(one, endpoint) for one in records if one.get("correlation_id") == mark])


def fetch(key: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return a record; None: it was deleted."""
    reply = yield get_request(f"{_path(key, endpoint)}?{FIELDS}")
    return None if reply.status == 404 else _issue(_result(answered(reply, 200)), endpoint)


def create(draft: TicketDraft, endpoint: Endpoint) -> Talk[Issue]:
    """Create a record."""
    text = in_lines(draft.notice, DESCRIPTION_MAX, headline=False)
    body = {
        "short_description": draft.title,
        "description": f"Replaces {draft.replaces}.\n{text}" if draft.replaces else text,
        "correlation_id": draft.mark,
        "correlation_display": "SpiderFoot",
    }
    reply = yield json_request(body)
    return _issue(_result(answered(reply, 201)), endpoint)


def comment(issue: Issue, said: Comment, endpoint: Endpoint) -> Talk[None]:
    """Add a work note unless it is there."""
    path = _path(issue.key, endpoint)
    if not has_comment((yield get_request(f"{path}?sysparm_fields=work_notes&sysparm_display_value=true")), said):
        notes = {"work_notes": f"{said.words}\nsfwebhooks {said.id}"}
        answered((yield json_request(notes, path, "PATCH")), 200)


def close(issue: Issue, endpoint: Endpoint) -> Talk[None]:
    """Resolve a record."""
    code = endpoint.key(CLOSE_CODE.name) or "Solution provided"
    changes = {"state": RESOLVED, "close_code": code, "close_notes": "SpiderFoot does not find it any more."}
    if _issue(_result(answered((yield _change(issue, changes, endpoint)), 200)), endpoint).state is TicketState.OPEN:
        raise TrackerRefusedError(STILL_OPEN)


def reopen(issue: Issue, endpoint: Endpoint) -> Talk[bool]:
    """Open a resolved record again; a closed one stays closed."""
    reply = yield get_request(f"{_path(issue.key, endpoint)}?{FIELDS}")
    if _result(answered(reply, 200)).get("state") != RESOLVED:
        return False
    changed = _result(answered((yield _change(issue, {"state": IN_PROGRESS}, endpoint)), 200))
    return _issue(changed, endpoint).state is TicketState.OPEN


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of the URL."""
    return "" if PATH.fullmatch(path) else "must be https://<INSTANCE>.service-now.com/api/now/table/incident"


def _table(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.url.reveal()).path.rpartition("/")[2]


def _path(key: str, endpoint: Endpoint) -> str:
    return path_of(_table(endpoint), key)


def _change(issue: Issue, changes: Mapping[str, str], endpoint: Endpoint) -> Content:
    return json_request(changes, _path(issue.key, endpoint), "PATCH")


def _result(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a reply.

    Raises:
        TrackerRefusedError: it has none: an instance that sleeps answers 200 with a page.
    """
    result = found.get("result")
    if not isinstance(result, dict):
        raise TrackerRefusedError(NOT_OK)
    return result


def _issue(found: Mapping[str, Any], endpoint: Endpoint) -> Issue:
    """Return the record as a ticket.

    Raises:
        TrackerRefusedError: it is not one.
    """
    key, name, state = (found.get(field) for field in ("sys_id", "number", "state"))
    if not isinstance(key, str) or not SYS_ID.fullmatch(key) or not isinstance(state, str):
        raise TrackerRefusedError(NOT_OK)
    names = [str(found.get("close_code")), *([CANCELLED_WORD] if state == CANCELLED else [])]
    is_closed = state in (RESOLVED, CLOSED, CANCELLED)
    standing = state_of_closed(names, endpoint, WONT_FIX_WORDS) if is_closed else TicketState.OPEN
    link = f"{endpoint.place}/nav_to.do?uri={_table(endpoint)}.do%3Fsys_id%3D{quote(key, safe='')}"
    return Issue(key, standing, str(name or key), link)


FORMAT = tracker_format(
    Tracker(find, fetch, create, comment, close, reopen), keys=(CLOSE_CODE,), labels=False, wrong_path=wrong_path
)
