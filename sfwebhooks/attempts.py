"""The nouns of an attempt: the receiver's Reply or the Failure instead of one, its Verdict, the recorded Attempt."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sfwebhooks.reasons import Failure

#: the start of an HTML page and of its title; all repetitions are bounded, since a receiver writes the text
HTML = re.compile(r"\s{0,100}<(?:!doctype html|\?xml|html|head|title)\b", re.IGNORECASE)
TITLE = re.compile(r"<title[^>]{0,100}>", re.IGNORECASE)
TITLE_MAX = 300


class Outcome(str, Enum):
    """The meaning of an attempt for its delivery."""

    #: the receiver has it
    DELIVERED = "delivered"
    #: the receiver did what was asked, and another request has to follow before it has the message for good
    PENDING = "pending"
    #: try again, later
    RETRY = "retry"
    #: the receiver refuses the request: later attempts show whether this message or the endpoint is at fault
    REFUSED = "refused"
    #: the receiver did not process it, since it refused another one of the same request: it goes again, uncounted
    SKIPPED = "skipped"
    #: the endpoint is configured wrongly: keep its deliveries, try rarely
    HOLD = "hold"
    #: the endpoint is gone (410): keep its deliveries, do not try
    DISABLE = "disable"
    #: nothing was sent, and nothing can be: the message cannot be written, and is dead
    UNSENDABLE = "unsendable"
    #: this process lacks a resource: neither the message nor the endpoint is at fault
    SHORTAGE = "shortage"


#: the receiver did what was asked
SUCCESSES = (Outcome.DELIVERED, Outcome.PENDING)


@dataclass(frozen=True)
class Reply:
    """The reply to a request, or why there is none."""

    status: int | None = None
    failure: Failure | None = None
    #: the failure in words; may include a proxy's words, which, like a receiver's, can repeat parts of the request
    detail: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: at most 64 KiB, decoded
    body: bytes = field(default=b"", repr=False)
    #: what the request had that no setting has, such as a token, to be masked in the receiver's words
    secret: str = field(default="", repr=False)

    @property
    def words(self) -> str:
        """The readable text of the body: the title of an HTML page, else all of it."""
        text = self.body.decode("utf-8", "replace")
        title = TITLE.search(text) if HTML.match(text) else None
        if not title:
            return text
        return html.unescape(text[title.end() : title.end() + TITLE_MAX].partition("<")[0]).strip() or text


class NoReplyError(Exception):
    """An attempt ended without a reply from the receiver.

    Args:
        reply: the Failure, with its words.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.detail)
        self.reply = reply


@dataclass(frozen=True)
class Verdict:
    """The meaning of a reply. `retry.decide` knows the schedule and the endpoint's health, and decides what to do."""

    outcome: Outcome
    #: short and stable, such as http_503 or timeout
    reason: str
    #: seconds that the receiver asked to wait (Retry-After)
    wait: float | None = None
    #: most retries of a message after this reply, if a retry has a price; None: as the schedule allows
    retries: int | None = None
    #: what the receiver calls the message, or what it is about, from now on (`events.Handle`); empty: it has forgotten
    #: it; None: nothing new
    handle: str | None = None
    #: whether the receiver may have done what it was asked, although it did not say so: it is not asked again until it
    #: would show that
    is_uncertain: bool = False
    #: whether the endpoint is not to be sent again what the message is about
    mutes: bool = False


@dataclass(frozen=True)
class Attempt:
    """One attempt in the delivery log."""

    #: epoch seconds at its start
    at: float
    #: duration
    seconds: float
    status: int | None
    reason: str
    #: first bytes of the reply, or the failure in words
    excerpt: str
    #: cause: schedule, probe, replay
    trigger: str = "schedule"

    @property
    def answer(self) -> str:
        """The receiver's answer, or why there is none, to be put after the reason."""
        words = self.excerpt[:200]
        return "" if not words else f', it said "{words}"' if self.status else f" ({words})"
