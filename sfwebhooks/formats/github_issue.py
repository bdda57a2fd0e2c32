"""The github_issue format: tickets are issues of a repository (https://docs.github.com/en/rest/issues/issues).

GitHub's search lags behind the creation of an issue; so does a retry whose request got no answer
(`ticketing.SETTLING_SECONDS`). It splits texts into words, and that of GitHub Enterprise does not find what is in a
comment of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import timestamp
from sfwebhooks.formats.plain import in_lines
from sfwebhooks.formats.replies import NOT_OK
from sfwebhooks.formats.tickets import (
    DESCRIPTION_MAX,
    LABELS,
    REPLY_MAX,
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
    objects_in,
    open_first,
    path_of,
    state_of_closed,
    texts_in,
    tracker_format,
    with_mark,
)
from sfwebhooks.retry import retry_after
from sfwebhooks.ticketing import TicketState

HEADERS = {
    "Accept": "application/vnd.github+json",
    "Content-Type": "application/json",
    "X-GitHub-Api-Version": "2022-11-28",
}
PATH = re.compile(r"((?:/api/v3)?)/repos/([\w.-]+)/([\w.-]+)/issues")
#: labels, and the reason of a closed issue (https://docs.github.com/en/rest/issues/issues#update-an-issue)
WONT_FIX_WORDS = "wontfix, not_planned"
#: seconds to wait if GitHub does not say how long
LIMITED_SECONDS = 60.0
#: most comments in a reply
COMMENTS_MAX = 100
#: the verdict on a search that ran out of time before it found the issue, or that there is none
INCOMPLETE = Verdict(Outcome.RETRY, "search_incomplete")
#: from the place of a repository's issues to that of the API
UP = "../../../"
#: epoch seconds
EPOCH = re.compile("[0-9]{1,11}")


def find(mark: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return the issue whose body has a mark."""
    found = PATH.search(endpoint.url.reveal())
    words = f'"{mark}" in:body is:issue' + (f" repo:{found[2]}/{found[3]}" if found else "")
    reply = yield get_request(f"{UP}search/issues?per_page=5&sort=created&order=desc&q={quote(words)}", HEADERS)
    if reply.status == 422:  # the repository is not there, or may not be seen
        raise TrackerRefusedError(Verdict(Outcome.HOLD, "http_422"))
    answer = _answer(reply, 200)
    issues = [_issue(one, endpoint) for one in objects_in(answer.get("items")) if mark in str(one.get("body"))]
    if not issues and answer.get("incomplete_results"):
        raise TrackerRefusedError(INCOMPLETE)
    return open_first(issues)


def fetch(key: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return an issue; None: it was deleted, or transferred to another repository."""
    reply = yield get_request(path_of("issues", key), HEADERS)
    return None if reply.status in (301, 404, 410) else _issue(_answer(reply, 200), endpoint)


def create(draft: TicketDraft, endpoint: Endpoint) -> Talk[Issue]:
    """Create an issue."""
    body = {
        "title": draft.title,
        "body": with_mark(in_lines(draft.notice, DESCRIPTION_MAX, headline=False), draft),
        "labels": key_words(endpoint, LABELS, "spiderfoot"),
    }
    reply = yield json_request(body, headers=HEADERS)
    if reply.status == 410:
        raise TrackerRefusedError(Verdict(Outcome.HOLD, "issues_disabled"))
    return _issue(_answer(reply, 201), endpoint)


def comment(issue: Issue, said: Comment, endpoint: Endpoint) -> Talk[None]:
    """Add a comment unless it is there."""
    path = f"{path_of('issues', issue.key)}/comments"
    reply = yield get_request(f"{path}?per_page={COMMENTS_MAX}&since={timestamp(said.since)[:19]}Z", HEADERS)
    if reply.status != 200:
        _answer(reply, 200)
    # the oldest ones come first: if there are too many to be read, it may be among them
    if has_comment(reply, said) or len(reply.body) >= REPLY_MAX or len(items_of(reply, 200)) >= COMMENTS_MAX:
        return
    body = {"body": f"{fenced(said.words)}\n\n<!-- {said.id} -->"}
    _answer((yield json_request(body, path, headers=HEADERS)), 201)


def close(issue: Issue, endpoint: Endpoint) -> Talk[None]:
    """Close an issue."""
    if (yield from _change(issue, {"state": "closed", "state_reason": "completed"}, endpoint)) is TicketState.OPEN:
        raise TrackerRefusedError(STILL_OPEN)


def reopen(issue: Issue, endpoint: Endpoint) -> Talk[bool]:
    """Open an issue again."""
    return (yield from _change(issue, {"state": "open"}, endpoint)) is TicketState.OPEN


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of the URL."""
    return "" if PATH.fullmatch(path) else "must be https://api.github.com/repos/<OWNER>/<REPOSITORY>/issues"


def _change(issue: Issue, changes: Mapping[str, str], endpoint: Endpoint) -> Talk[TicketState]:
    """Change an issue; return its state then."""
    reply = yield json_request(changes, path_of("issues", issue.key), "PATCH", HEADERS)
    return _issue(_answer(reply, 200), endpoint).state


def _answer(reply: Reply, expected: int) -> dict[str, Any]:
    """Return the JSON of a reply with the expected status.

    Raises:
        TrackerRefusedError: it has another one.
    """
    if reply.status in (403, 429) and _is_limited(reply):
        raise TrackerRefusedError(Verdict(Outcome.RETRY, f"http_{reply.status}", _wait(reply)))
    return answered(reply, expected)


def _is_limited(reply: Reply) -> bool:
    """Return whether a refusal is about the rate (https://docs.github.com/en/rest/using-the-rest-api), rather than
    about rights."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or b"rate limit" in reply.body


def _wait(reply: Reply) -> float:
    """Return the seconds that a refusal about the rate asks to wait: by Retry-After, or until the limit is reset."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    reset, until = headers.get("x-ratelimit-reset", ""), headers.get("retry-after")
    if until is None and headers.get("x-ratelimit-remaining") == "0" and EPOCH.fullmatch(reset):
        until = formatdate(int(reset), usegmt=True)
    wait = None if until is None else retry_after({"Retry-After": until, "Date": headers.get("date", "")}, 0.0)
    return LIMITED_SECONDS if wait is None else wait


def _issue(found: Mapping[str, Any], endpoint: Endpoint) -> Issue:
    """Return the issue in a reply.

    Raises:
        TrackerRefusedError: it has none.
    """
    number, link = found.get("number"), found.get("html_url")
    if type(number) is not int or found.get("state") not in ("open", "closed"):
        raise TrackerRefusedError(NOT_OK)
    names = [*texts_in(found.get("labels"), "name"), str(found.get("state_reason"))]
    state = TicketState.OPEN if found["state"] == "open" else state_of_closed(names, endpoint, WONT_FIX_WORDS)
    return Issue(str(number), state, f"#{number}", link if isinstance(link, str) else "")


TRACKER = Tracker(find, fetch, create, comment, close, reopen)
FORMAT = tracker_format(TRACKER, keys=(), interval=2.0, wrong_path=wrong_path)
