"""The jira format: tickets are issues of a Jira project, in Jira Cloud (/rest/api/3) or Jira Data Center (/rest/api/2)
(https://developer.atlassian.com/cloud/jira/platform/rest/v3).

A ticket is found by a label of its own. Its texts are documents of Atlassian (ADF) in Jira Cloud, and wiki markup in
Jira Data Center.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from sfwebhooks.attempts import Outcome, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.plain import in_lines
from sfwebhooks.formats.replies import NOT_OK, json_of
from sfwebhooks.formats.tickets import (
    DESCRIPTION_MAX,
    LABELS,
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
    key_words,
    objects_in,
    open_first,
    path_of,
    state_of_closed,
    texts_in,
    tracker_format,
)
from sfwebhooks.ticketing import TicketState

PATH = re.compile(r".*/rest/api/([23])/issue")
NAME = re.compile(r"[A-Z][A-Z0-9_]{0,254}-[0-9]{1,20}")
FIELDS = "fields=status,resolution,labels"
WONT_FIX_WORDS = "wontfix, Won't Fix, Won't Do"
#: the category of the states of a closed issue, and of those of one that nobody has begun
DONE, NEW = "done", "new"
#: fields of an invalid issue for which the finding is to blame; for others the settings are, and all would be invalid
OURS = {"summary", "description"}
#: what would end a block of unformatted text in wiki markup
END = re.compile(r"\{(?=noformat)", re.IGNORECASE)
PROJECT = Key(
    "project",
    "the key of the project, such as SEC",
    r"[A-Z][A-Z0-9_]{1,99}",
    "a project's key such as SEC",
    needed=True,
)
ISSUE_TYPE = Key("issue_type", "the type of the issues (Task)", r"[^\n]{1,60}", "the name of a type of issues")
CLOSE_TRANSITION = Key(
    "close_transition",
    "the transition that closes an issue, or the state to which it leads (the first that leads to one that is done)",
    r"[^\n]{1,255}",
    "the name of a transition or a state",
)

Json = dict[str, Any]


def find(mark: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return the issue with a label."""
    query = f'project = "{endpoint.key(PROJECT.name)}" AND labels = "{mark}" ORDER BY created DESC'
    where = "search/jql" if _is_cloud(endpoint) else "search"
    reply = yield get_request(f"{where}?jql={quote(query)}&maxResults=5&{FIELDS}")
    if reply.status == 400:  # the project is not there, or may not be seen
        raise TrackerRefusedError(Verdict(Outcome.HOLD, "http_400"))
    issues = objects_in(answered(reply, 200).get("issues"))
    return open_first([_issue(one, endpoint) for one in issues])


def fetch(key: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return an issue; None: it was deleted."""
    reply = yield get_request(f"{path_of('issue', key)}?{FIELDS}")
    return None if reply.status == 404 else _issue(answered(reply, 200), endpoint)


def create(draft: TicketDraft, endpoint: Endpoint) -> Talk[Issue]:
    """Create an issue."""
    last = f"Replaces {draft.replaces}, which cannot be reopened." if draft.replaces else ""
    fields = {
        "project": {"key": endpoint.key(PROJECT.name)},
        "issuetype": {"name": endpoint.key(ISSUE_TYPE.name) or "Task"},
        "summary": draft.title,
        "description": _text(in_lines(draft.notice, DESCRIPTION_MAX, headline=False), last, endpoint),
        "labels": [*key_words(endpoint, LABELS, "spiderfoot"), draft.mark],
    }
    reply = yield json_request({"fields": fields})
    errors = json_of(reply).get("errors")
    if reply.status == 400 and isinstance(errors, dict) and errors.keys() - OURS:
        raise TrackerRefusedError(Verdict(Outcome.HOLD, "http_400"))
    key = _key(answered(reply, 201))
    return Issue(key, TicketState.OPEN, key, _link(key, endpoint))


def comment(issue: Issue, said: Comment, endpoint: Endpoint) -> Talk[None]:
    """Add a comment unless it is there."""
    path = f"{path_of('issue', issue.key)}/comment"
    if has_comment((yield get_request(f"{path}?orderBy=-created&maxResults=20")), said):
        return
    body = {"body": _text(said.words, f"sfwebhooks {said.id}", endpoint)}
    answered((yield json_request(body, path)), 201)


def close(issue: Issue, endpoint: Endpoint) -> Talk[None]:
    """Take the transition that closes an issue."""
    wanted = endpoint.key(CLOSE_TRANSITION.name).lower()
    known = yield from _transitions(issue)
    for one in known:
        names = (str(one.get("name")).lower(), str(_target(one).get("name")).lower())
        if wanted in names if wanted else _category(_target(one)) == DONE:
            yield from _take(issue, one, endpoint)
            return
    raise TrackerRefusedError(Verdict(Outcome.REFUSED, "no_such_transition"))


def reopen(issue: Issue, endpoint: Endpoint) -> Talk[bool]:
    """Take a transition that leads to a state that is not done; return whether there is one."""
    known = yield from _transitions(issue)
    known = [one for one in known if _category(_target(one)) not in (DONE, "")]
    for one in sorted(known, key=lambda one: _category(_target(one)) != NEW)[:1]:
        yield from _take(issue, one, endpoint)
    return bool(known)


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of the URL."""
    return "" if PATH.fullmatch(path) else "must end with /rest/api/3/issue (Jira Cloud) or /rest/api/2/issue"


def _transitions(issue: Issue) -> Talk[list[Json]]:
    """Return the transitions that an issue can take now."""
    reply = yield get_request(f"{path_of('issue', issue.key)}/transitions?expand=transitions.fields")
    found = answered(reply, 200).get("transitions")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _take(issue: Issue, transition: Json, endpoint: Endpoint) -> Talk[None]:
    """Take a transition; where it requires a resolution, with the first one that does not mean won't fix."""
    body: Json = {"transition": {"id": str(transition.get("id"))}}
    fields = transition.get("fields")
    resolution = fields.get("resolution") if isinstance(fields, dict) else None
    if isinstance(resolution, dict) and resolution.get("required"):
        names = texts_in(resolution.get("allowedValues"), "name")
        fitting = [one for one in names if state_of_closed([one], endpoint, WONT_FIX_WORDS) is TicketState.CLOSED]
        body["fields"] = {"resolution": {"name": next(iter(fitting), "Done")}}
    reply = yield json_request(body, f"{path_of('issue', issue.key)}/transitions")
    answered(reply, 204)


def _target(transition: Mapping[str, Any]) -> Json:
    found = transition.get("to")
    return found if isinstance(found, dict) else {}


def _category(status: Mapping[str, Any]) -> str:
    found = status.get("statusCategory")
    return str(found.get("key")) if isinstance(found, dict) else ""


def _text(text: str, last: str, endpoint: Endpoint) -> Any:
    """Return a text as it is, with a line of ours below it, in which nothing is markup."""
    if not _is_cloud(endpoint):
        block = "{noformat}\n" + END.sub("{ ", text) + "\n{noformat}"
        return f"{block}\n{last}" if last else block
    content: list[Json] = [{"type": "codeBlock", "content": [{"type": "text", "text": text or " "}]}]
    if last:
        content.append({"type": "paragraph", "content": [{"type": "text", "text": last}]})
    return {"version": 1, "type": "doc", "content": content}


def _is_cloud(endpoint: Endpoint) -> bool:
    found = PATH.fullmatch(urlsplit(endpoint.url.reveal()).path)
    return found is None or found[1] == "3"


def _link(key: str, endpoint: Endpoint) -> str:
    """Return the address of an issue for people."""
    return f"{endpoint.place}{urlsplit(endpoint.url.reveal()).path.partition('/rest/api/')[0]}/browse/{key}"


def _key(found: Mapping[str, Any]) -> str:
    """Return the key of the issue in a reply.

    Raises:
        TrackerRefusedError: it has none.
    """
    key = found.get("key")
    if not isinstance(key, str) or not NAME.fullmatch(key):
        raise TrackerRefusedError(NOT_OK)
    return key


def _issue(found: Mapping[str, Any], endpoint: Endpoint) -> Issue:
    """Return the issue in a reply.

    Raises:
        TrackerRefusedError: it has none.
    """
    key, fields = _key(found), found.get("fields")
    status = fields.get("status") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(status, dict):
        raise TrackerRefusedError(NOT_OK)
    names = [*texts_in(fields.get("labels"), "name"), *texts_in([fields.get("resolution")], "name")]
    is_open = _category(status) != DONE
    state = TicketState.OPEN if is_open else state_of_closed(names, endpoint, WONT_FIX_WORDS)
    return Issue(key, state, key, _link(key, endpoint))


FORMAT = tracker_format(
    Tracker(find, fetch, create, comment, close, reopen),
    keys=(PROJECT, ISSUE_TYPE, CLOSE_TRANSITION),
    interval=0.5,
    wrong_path=wrong_path,
)
