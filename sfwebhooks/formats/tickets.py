"""Conversations with trackers: a delivery comes in; requests that search, create, comment, close and reopen go out.

Each step is safe to repeat, since a killed process or a lost answer repeats the conversation from the start: a ticket
is searched by the mark of its subject before it is created, a comment by the delivery's id before it is added, and all
else depends on what the tracker says of the ticket now. What a tracker's requests look like is a Tracker, in its own
file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable, TypeVar
from urllib.parse import quote

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, timestamp
from sfwebhooks.formats.chat import notice
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Conversation, Format, Key
from sfwebhooks.formats.notice import Notice
from sfwebhooks.formats.replies import NOT_OK, json_of
from sfwebhooks.jsontext import written
from sfwebhooks.text import in_line, people, readable
from sfwebhooks.ticketing import (
    FINDING,
    GONE,
    SCAN,
    TYPE,
    Step,
    Ticket,
    TicketState,
    mark_of,
    next_step,
    subject_of,
    ticket_of,
)

T = TypeVar("T")
#: part of a conversation: requests, and its result
Talk = Generator[Content, Reply, T]
#: headers of a request to most trackers
JSON = {"Accept": "application/json", "Content-Type": "application/json"}
#: characters of a title: Jira accepts fewer than 255, ServiceNow 160; of the name and the address of a ticket
TITLE_MAX = 150
NAME_MAX = 100
LINK_MAX = 2_000
#: bytes of a description: the reply with a ticket must be within the 64 KiB that are read of it
DESCRIPTION_MAX = 8_000
#: seconds by which a tracker's clock may be behind ours
CLOCK_SECONDS = 86400.0
#: keys whose value is part of a ticket's place, besides the URL
PLACE_KEYS = ("project",)
WONT_FIX = Key(
    "wont_fix",
    "labels or resolutions of a closed ticket that is not wanted, separated by commas: its finding is muted",
    r"[^\n]{1,1000}",
    "names separated by commas, such as wontfix, Won't Do",
)
LABELS = Key(
    "labels", "labels of the tickets, separated by commas (spiderfoot)", r"[^\s,]{1,100}(?:\s*,\s*[^\s,]{1,100}){0,19}",
    "up to 20 labels without spaces, separated by commas",
)  # fmt: skip
#: statuses that blame the project or the rights there: no other message would fare better
PROJECT_IS_WRONG = (301, 302, 307, 308, 401, 403, 404, 410)
#: bytes that are read of a reply, and the verdict on a longer one: people can make a ticket so long
REPLY_MAX = 64 * 1024
TOO_LONG = Verdict(Outcome.REFUSED, "ticket_too_long")
#: the verdict on a tracker that says that it has closed a ticket, and shows it open
STILL_OPEN = Verdict(Outcome.REFUSED, "ticket_still_open")
#: the reason of a verdict on each step
REASONS = {
    Step.CREATE: "ticket_created",
    Step.COMMENT: "ticket_commented",
    Step.CLOSE: "ticket_closed",
    Step.REOPEN: "ticket_reopened",
    Step.MUTE: "ticket_not_wanted",
    Step.LEAVE: "ticket_unchanged",
}


class TrackerRefusedError(Exception):
    """A reply that ends a conversation.

    Args:
        verdict: on it; None: its status decides.
    """

    def __init__(self, verdict: Verdict | None = None) -> None:
        super().__init__()
        self.verdict = verdict


@dataclass(frozen=True)
class Issue:
    """A ticket as its tracker has it."""

    #: for requests
    key: str
    state: TicketState
    #: for people
    name: str
    link: str = ""


@dataclass(frozen=True)
class TicketDraft:
    """A ticket to be created."""

    title: str
    notice: Notice
    #: by which it is found
    mark: str
    #: the name of the closed one that it replaces; empty: of none
    replaces: str = ""


@dataclass(frozen=True)
class Comment:
    """A comment on a ticket."""

    words: str
    #: by which it is found
    id: str
    #: epoch seconds before which it cannot have been added
    since: float


@dataclass(frozen=True)
class Tracker:
    """The requests of a kind of tracker."""

    #: returns the ticket with a mark, perhaps as it was a while ago; of several an open one, else the latest; or None
    find: Callable[[str, Endpoint], Talk[Issue | None]]
    #: returns the ticket with a key; None: it was deleted
    fetch: Callable[[str, Endpoint], Talk[Issue | None]]
    create: Callable[[TicketDraft, Endpoint], Talk[Issue]]
    #: adds a comment unless it is there
    comment: Callable[[Issue, Comment, Endpoint], Talk[None]]
    close: Callable[[Issue, Endpoint], Talk[None]]
    #: returns whether the ticket could be opened again
    reopen: Callable[[Issue, Endpoint], Talk[bool]]


def tracker_format(tracker: Tracker, keys: tuple[Key, ...], labels: bool = True, **others: Any) -> Format:
    """Return the format of a tracker.

    Args:
        keys: those that only it has.
        labels: whether its tickets have labels.
        others: other fields of Format.
    """

    def creating(delivery: Delivery, endpoint: Endpoint) -> Content:
        return next(tracker.create(ticket_draft(delivery, endpoint), endpoint))

    def converse(delivery: Delivery, endpoint: Endpoint) -> Conversation:
        return conversation(tracker, delivery, endpoint)

    return Format(creating, converse=converse, keys=(*keys, *([LABELS] if labels else []), WONT_FIX), **others)


def conversation(tracker: Tracker, delivery: Delivery, endpoint: Endpoint) -> Conversation:
    """Have the conversation about a delivery: the tracker is asked for the ticket, and what follows is done."""
    event, known = delivery.event, ticket_of(delivery.handle.value) if delivery.handle else None
    place, is_gone = ticket_place(endpoint), event.type == GONE
    if known and known.place != place:
        return Verdict(Outcome.HOLD, "ticket_elsewhere")
    is_in_it = known and known.state is TicketState.OPEN and known.scan_id == event.scan_id != ""
    if known and is_in_it and not (is_gone or delivery.is_late):  # another one of the same scan
        return Verdict(Outcome.DELIVERED, "ticket_known", handle=known.text)
    draft = ticket_draft(delivery, endpoint)
    try:
        issue = (yield from tracker.fetch(known.key, endpoint)) if known else None
        issue = issue or (yield from sought(tracker, draft.mark, endpoint))
        said_at = known.said_at if known else event.at  # when a ticket that is unknown here was last commented is too
        step = next_step(
            issue.state if issue else TicketState.MISSING, is_gone, event.at - said_at >= endpoint.comment_every
        )
        if delivery.is_late and _is_outdated(step, known, event.at):
            step = Step.LEAVE
        issue = yield from taken(step, tracker, issue, (draft, delivery), endpoint)
    except TrackerRefusedError as refused:
        return refused.verdict
    if issue is None:
        missing = replace(known, state=TicketState.MISSING) if known else None
        return Verdict(Outcome.DELIVERED, REASONS[step], handle=missing.text if missing else None)
    if issue.state is TicketState.DISMISSED and not is_gone:
        step = Step.MUTE
    ticket = Ticket(place, issue.key, issue.state, *_shown(issue), draft.title)
    ticket = replace(ticket, said_at=event.at if step in (Step.CREATE, Step.COMMENT, Step.REOPEN) else said_at)
    if known and (is_gone or known.seen_at > event.at):
        ticket = replace(ticket, title=known.title, seen_at=known.seen_at, scan_id=known.scan_id)
    else:
        ticket = replace(ticket, seen_at=event.at, scan_id=event.scan_id)
    mutes = step is Step.MUTE and endpoint.ticket_per == FINDING
    return Verdict(Outcome.DELIVERED, REASONS[step], handle=ticket.text, mutes=mutes)


def taken(
    step: Step, tracker: Tracker, issue: Issue | None, about: tuple[TicketDraft, Delivery], endpoint: Endpoint
) -> Talk[Issue | None]:
    """Take a step; return the ticket that there is then, as it is then."""
    draft, delivery = about
    if step is Step.CREATE:
        return (yield from tracker.create(draft, endpoint))
    if issue is None or step in (Step.MUTE, Step.LEAVE):
        return issue
    if step is Step.REOPEN and not (yield from tracker.reopen(issue, endpoint)):
        latest = (yield from sought(tracker, draft.mark, endpoint)) or issue
        if latest.key != issue.key and latest.state is not TicketState.CLOSED:  # a lost answer was about it
            return latest
        return (yield from tracker.create(replace(draft, replaces=latest.name), endpoint))
    yield from tracker.comment(issue, ticket_comment(step, delivery), endpoint)
    if step is Step.CLOSE:
        yield from tracker.close(issue, endpoint)
    return replace(issue, state=TicketState.CLOSED if step is Step.CLOSE else TicketState.OPEN)


def sought(tracker: Tracker, mark: str, endpoint: Endpoint) -> Talk[Issue | None]:
    """Return the ticket with a mark as it is now: a search can return one that was deleted or changed meanwhile."""
    found = yield from tracker.find(mark, endpoint)
    return (yield from tracker.fetch(found.key, endpoint)) if found else None


def _is_outdated(step: Step, known: Ticket | None, at: float) -> bool:
    """Return whether a step that follows from a scan of some past epoch seconds need not be right now."""
    is_back = known is None or known.seen_at > at
    return step in (Step.COMMENT, Step.REOPEN) or (step is Step.CLOSE and is_back)


def _shown(issue: Issue) -> tuple[str, str]:
    """Return name and address of a ticket, which its tracker has written, as people may see them."""
    link = in_line(readable(issue.link), LINK_MAX)
    return in_line(readable(issue.name), NAME_MAX), link if link.startswith(("https://", "http://")) else ""


def ticket_comment(step: Step, delivery: Delivery) -> Comment:
    """Return the comment on a step."""
    event = delivery.event
    scan = f"scan {event.scan.name} ({event.scan.id})" if event.scan else "an event"
    at = timestamp(event.at)[:16].replace("T", " ") + " UTC"
    words = {
        Step.COMMENT: f"Seen again by {scan}, {at}.",
        Step.REOPEN: f"Found again by {scan}, {at}.",
        Step.CLOSE: f"Gone: {_why_gone(event.data.get('missed'))}; {scan}, {at}.",
    }[step]
    return Comment(in_line(words, 500), delivery.id, event.at - CLOCK_SECONDS)


def _why_gone(missed: object) -> str:
    if not isinstance(missed, int) or not missed:
        return "it is a false positive, or muted"
    scans = "comparable scan" if missed == 1 else f"{missed} comparable scans"
    return f"the last {scans} did not see it"


def ticket_draft(delivery: Delivery, endpoint: Endpoint) -> TicketDraft:
    """Return the ticket that would be created for a delivery."""
    shown, event = notice(delivery, endpoint), delivery.event
    kind = str(event.data.get("event_type", event.type))
    subject = event.subject or subject_of(event.whole or event, endpoint.ticket_per or FINDING)
    title = {
        TYPE: f"{people(kind)} at {shown.target}",
        SCAN: f"SpiderFoot findings at {shown.target}",
    }.get(endpoint.ticket_per, shown.summary)
    return TicketDraft(in_line(title, TITLE_MAX) or "SpiderFoot finding", shown, mark_of(subject, secret_of(endpoint)))


def ticket_place(endpoint: Endpoint) -> str:
    """Return an id of the project in which an endpoint's tickets are, which reveals nothing."""
    chosen = [endpoint.url.reveal(), *(endpoint.key(name) for name in PLACE_KEYS)]
    return hashlib.sha256(repr(chosen).encode("utf-8", "replace")).hexdigest()[:32]


def secret_of(endpoint: Endpoint) -> str:
    """Return what the marks of an endpoint's tickets are made with."""
    return endpoint.redact_key.reveal() if endpoint.redact_key else endpoint.url.reveal()


def key_words(endpoint: Endpoint, key: Key, default: str) -> list[str]:
    """Return the words of a key that has several."""
    return [word.strip() for word in (endpoint.key(key.name) or default).split(",") if word.strip()]


def state_of_closed(names: list[str], endpoint: Endpoint, default: str) -> TicketState:
    """Return the state of a closed ticket with some labels and resolutions."""
    unwanted = {word.lower() for word in key_words(endpoint, WONT_FIX, default)}
    is_unwanted = any(name.lower() in unwanted for name in names)
    return TicketState.DISMISSED if is_unwanted else TicketState.CLOSED


def get_request(path: str, headers: dict[str, str] = JSON) -> Content:
    """Return a request for what a tracker has at a path."""
    return Content(b"", headers, "GET", path)


def json_request(
    body: Mapping[str, Any], path: str = "", method: str = "POST", headers: dict[str, str] = JSON
) -> Content:
    """Return a request that gives a tracker JSON; without a path to the place where tickets are created."""
    return Content(written(body).encode(), headers, method, path)


def path_of(folder: str, key: str) -> str:
    """Return the path of a ticket."""
    return f"{folder}/{quote(key, safe='')}"


def open_first(issues: list[Issue]) -> Issue | None:
    """Return an open one of these tickets; if there is none, the first."""
    return min(issues, key=lambda one: one.state is not TicketState.OPEN, default=None)


def answered(reply: Reply, *expected: int) -> dict[str, Any]:
    """Return the JSON of a reply with an expected status; empty if it is not an object.

    Raises:
        TrackerRefusedError: it has another status. One that blames project or rights holds the endpoint, and so does
            a success that is not a tracker's.
    """
    status = reply.status
    if status in expected:
        found = json_of(reply)
        if not found and len(reply.body) >= REPLY_MAX:
            raise TrackerRefusedError(TOO_LONG)
        return found
    if status in PROJECT_IS_WRONG:
        raise TrackerRefusedError(Verdict(Outcome.HOLD, f"http_{status}"))
    raise TrackerRefusedError(NOT_OK if status is not None and 200 <= status < 300 else None)


def has_comment(reply: Reply, said: Comment) -> bool:
    """Return whether a list of comments has one. It may be longer than what is read of it.

    Raises:
        TrackerRefusedError: as `answered`; or it is not a list of a tracker's.
    """
    if reply.status != 200:
        answered(reply, 200)
    if reply.body.lstrip()[:1] not in (b"{", b"["):
        raise TrackerRefusedError(NOT_OK)
    return said.id.encode() in reply.body


def items_of(reply: Reply, *expected: int) -> list[dict[str, Any]]:
    """Return the objects in the JSON array of a reply with an expected status.

    Raises:
        TrackerRefusedError: as `answered`; or it is not an array.
    """
    answered(reply, *expected)
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        found = None
    return objects_in(found)


def objects_in(found: object) -> list[dict[str, Any]]:
    """Return the objects in an array of a reply.

    Raises:
        TrackerRefusedError: it is not an array.
    """
    if not isinstance(found, list):
        raise TrackerRefusedError(NOT_OK)
    return [one for one in found if isinstance(one, dict)]


def with_mark(text: str, draft: TicketDraft) -> str:
    """Return a text in Markdown with the mark of a ticket below it: in plain sight, since searches ignore what is
    hidden (GitHub Enterprise, GitLab)."""
    last = f"Replaces {draft.replaces}, which cannot be reopened." if draft.replaces else ""
    return "\n\n".join(part for part in (fenced(text), last, f"sfwebhooks {draft.mark}") if part)


def fenced(text: str) -> str:
    """Return a text as a code block, in which nothing is a mention, a link or markup."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def texts_in(found: object, key: str) -> list[str]:
    """Return the texts in a list of a reply, whose items are texts, or objects that have them at a key."""
    items = found if isinstance(found, list) else []
    texts = [item.get(key) if isinstance(item, dict) else item for item in items]
    return [text for text in texts if isinstance(text, str)]
