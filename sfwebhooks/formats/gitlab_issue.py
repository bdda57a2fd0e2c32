"""The gitlab_issue format: tickets are issues of a GitLab project (https://docs.gitlab.com/api/issues/).

All texts from outside are in code blocks, in which GitLab looks for neither mentions nor quick actions; in a title it
looks for mentions and for references to other issues. Its search is PostgreSQL's full-text search, which splits
descriptions into words and ignores comments of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.plain import in_lines
from sfwebhooks.formats.replies import NOT_OK
from sfwebhooks.formats.tickets import (
    DESCRIPTION_MAX,
    LABELS,
    STILL_OPEN,
    Comment,
    Issue,
    Talk,
    TicketDraft,
    Tracker,
    TrackerRefusedError,
    answered,
    fenced,
    get_request,
    has_comment,
    items_of,
    json_request,
    key_words,
    open_first,
    path_of,
    state_of_closed,
    texts_in,
    tracker_format,
    with_mark,
)
from sfwebhooks.ticketing import TicketState

PATH = re.compile(r".*/api/v4/projects/[^/]+/issues")
WONT_FIX_WORDS = "wontfix"
#: where a reference can begin in a title (https://docs.gitlab.com/user/markdown/#gitlab-specific-references)
REFERENCE = re.compile(r'(?:(?<!\w)@|[#!~%&$^\[])(?=[\w"])')


def find(mark: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return the issue whose description has a mark."""
    reply = yield get_request(f"issues?scope=all&in=description&per_page=5&search={quote(mark)}")
    found = [one for one in items_of(reply, 200) if mark in str(one.get("description"))]
    return open_first([_issue(one, endpoint) for one in found])


def fetch(key: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return an issue; None: it was deleted."""
    reply = yield get_request(path_of("issues", key))
    return None if reply.status == 404 else _issue(answered(reply, 200), endpoint)


def create(draft: TicketDraft, endpoint: Endpoint) -> Talk[Issue]:
    """Create an issue."""
    body = {
        "title": REFERENCE.sub("\\g<0>\N{WORD JOINER}", draft.title),
        "description": with_mark(in_lines(draft.notice, DESCRIPTION_MAX, headline=False), draft),
        "labels": ",".join(key_words(endpoint, LABELS, "spiderfoot")),
    }
    reply = yield json_request(body)
    return _issue(answered(reply, 201), endpoint)


def comment(issue: Issue, said: Comment, endpoint: Endpoint) -> Talk[None]:
    """Add a note unless it is there."""
    path = f"{path_of('issues', issue.key)}/notes"
    if not has_comment((yield get_request(f"{path}?sort=desc&order_by=created_at&per_page=20")), said):
        body = {"body": f"{fenced(said.words)}\n\n<!-- {said.id} -->"}
        answered((yield json_request(body, path)), 201)


def close(issue: Issue, endpoint: Endpoint) -> Talk[None]:
    """Close an issue."""
    if _issue(answered((yield _change(issue, "close")), 200), endpoint).state is TicketState.OPEN:
        raise TrackerRefusedError(STILL_OPEN)


def reopen(issue: Issue, endpoint: Endpoint) -> Talk[bool]:
    """Open an issue again."""
    return _issue(answered((yield _change(issue, "reopen")), 200), endpoint).state is TicketState.OPEN


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of the URL."""
    return "" if PATH.fullmatch(path) else "must be https://gitlab.com/api/v4/projects/<ID>/issues"


def _change(issue: Issue, event: str) -> Content:
    return json_request({"state_event": event}, path_of("issues", issue.key), "PUT")


def _issue(found: Mapping[str, Any], endpoint: Endpoint) -> Issue:
    """Return the issue in a reply.

    Raises:
        TrackerRefusedError: it has none.
    """
    number, link = found.get("iid"), found.get("web_url")
    if type(number) is not int or found.get("state") not in ("opened", "closed"):
        raise TrackerRefusedError(NOT_OK)
    labels = texts_in(found.get("labels"), "name")
    state = TicketState.OPEN if found["state"] == "opened" else state_of_closed(labels, endpoint, WONT_FIX_WORDS)
    return Issue(str(number), state, f"#{number}", link if isinstance(link, str) else "")


FORMAT = tracker_format(
    Tracker(find, fetch, create, comment, close, reopen), keys=(), interval=0.5, wrong_path=wrong_path
)
