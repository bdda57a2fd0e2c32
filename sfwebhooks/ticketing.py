"""Ticketing: what a tracker has about a subject, and what scans have seen of it, come in; the Step to take goes out.

A subject is what one ticket is about: a finding, all findings of a type, or everything at a target. The formats of
trackers take the step (`formats/tickets`), and `outbox/tickets` knows which subjects are gone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, fields
from enum import Enum

from sfwebhooks.events import WebhookEvent
from sfwebhooks.fingerprints import canonical, fingerprint, of_event
from sfwebhooks.jsontext import written
from sfwebhooks.text import text_of

#: values of `ticket_per`
FINDING, TYPE, SCAN = UNITS = ("finding", "type", "scan")
#: the event that closes a ticket: its subject is gone
GONE = "ticket_update"
#: begins the subject of deliveries that are about a ticket
PREFIX = "ticket/"
#: seconds after which a tracker's search finds a ticket whose creation it has not confirmed: a new one is not created
#: earlier. Jira's search shows most changes "within seconds", some only after minutes
#: (https://developer.atlassian.com/cloud/jira/platform/search-and-reconcile)
SETTLING_SECONDS = 300.0
#: begins the id of a subject in a tracker, which is one word of letters and digits: a search takes a hyphen for the
#: end of a word
MARK = "sf"
MARK_DIGITS = 24
#: fields of a Ticket that are numbers; the others are texts
TIMES = ("said_at", "seen_at")


class TicketState(Enum):
    """The state of a subject's ticket, as its tracker has it."""

    #: there is no ticket, or it was deleted
    MISSING = "missing"
    OPEN = "open"
    #: closed, by us or by a person
    CLOSED = "closed"
    #: closed by a person who does not want it: won't fix
    DISMISSED = "dismissed"


class Step(Enum):
    """What to do about a ticket."""

    CREATE = "create"
    COMMENT = "comment"
    CLOSE = "close"
    #: open it again; where the tracker cannot, create another one that names it
    REOPEN = "reopen"
    #: leave it closed, and the finding alone
    MUTE = "mute"
    LEAVE = "leave"


@dataclass(frozen=True)
class Ticket:
    """What is known of a subject's ticket since the last conversation about it."""

    #: URL of the project in which it is, or what else distinguishes that from others
    place: str
    #: the tracker's name for it in requests
    key: str
    state: TicketState
    #: how people know it, such as SEC-12, its address, and its title
    name: str = ""
    link: str = ""
    title: str = ""
    #: epoch seconds of the event of which it says last that the subject was seen
    said_at: float = 0.0
    #: epoch seconds of the last event about it, and the id of its scan
    seen_at: float = 0.0
    scan_id: str = ""

    @property
    def text(self) -> str:
        """What `ticket_of` reads."""
        return json.dumps({**asdict(self), "state": self.state.value})


def ticket_of(text: str) -> Ticket | None:
    """Return the ticket that a text describes; None: it is damaged."""
    try:
        found = json.loads(text)
        its = {one.name: found[one.name] for one in fields(Ticket)}
        if any(not isinstance(value, (int, float) if name in TIMES else str) for name, value in its.items()):
            return None
        return Ticket(**{**its, "state": TicketState(its["state"])})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def next_step(state: TicketState, is_gone: bool, is_comment_due: bool) -> Step:
    """Return what to do about a ticket.

    Args:
        state: as the tracker has it now.
        is_gone: whether enough scans did not see the subject; else one has just seen it.
        is_comment_due: whether the last comment is long enough ago.
    """
    if is_gone:
        return Step.CLOSE if state is TicketState.OPEN else Step.LEAVE
    if state is TicketState.MISSING:
        return Step.CREATE
    if state is TicketState.CLOSED:
        return Step.REOPEN
    if state is TicketState.DISMISSED:
        return Step.MUTE
    return Step.COMMENT if is_comment_due else Step.LEAVE


def subject_of(event: WebhookEvent, unit: str) -> str:
    """Return the subject of the ticket to which an event belongs.

    Args:
        unit: what one ticket is about, of UNITS.
    """
    data = event.data
    target = event.scan.target if event.scan else text_of(data, "target")
    kind = str(data.get("event_type", event.type))
    what: object = [unit]
    if unit == TYPE:
        what = [unit, kind]
    elif unit == FINDING:
        found = of_event(event)
        identity = {name: data[name] for name in ("finding_id", "title", "type") if name in data}
        what = [unit, found.hex() if found else fingerprint(event.type, identity or dict(data))]
    digest = hashlib.sha256(written([canonical(target), what]).encode("utf-8", "replace")).hexdigest()
    return f"{PREFIX}{digest[:32]}"


def is_about_ticket(subject: str | None) -> bool:
    """Return whether a delivery with this subject is about a ticket."""
    return subject is not None and subject.startswith(PREFIX)


def mark_of(subject: str, secret: str) -> str:
    """Return the id by which a tracker's search finds the ticket of a subject: a subject alone would confirm a guess of
    what the ticket masks.

    Args:
        secret: what readers of the tracker do not know.
    """
    return MARK + hmac.digest(secret.encode(), subject.encode(), "sha256").hex()[:MARK_DIGITS]
