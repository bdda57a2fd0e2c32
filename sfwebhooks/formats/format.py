"""What a Format is: all that is known of a kind of receiver, each in a file of its own.

Values and functions of their own only: `pipeline` calls them, `config` checks the keys.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.content import Content
from sfwebhooks.naming import SPIDERFOOT, Naming

#: what only a format knows of a reply: a verdict on the request, one on each of its deliveries, or nothing
Reading = Union[Verdict, Sequence[Verdict], None]
#: requests about a delivery, of which each is made after the reply to the one before; in the end the verdict, or None:
#: the last reply has it
Conversation = Generator[Content, Reply, Optional[Verdict]]


@dataclass(frozen=True)
class Key:
    """A key of the settings that only endpoints of this format have."""

    name: str
    #: what it means, for people
    meaning: str
    #: regular expression of all its values, and the same in words after "expected"
    pattern: str = r"[^\n]+"
    expected: str = "a text in one line"
    #: whether an endpoint needs it
    needed: bool = False
    #: whether it must not be shown
    secret: bool = False
    #: whether it may be env:NAME or file:PATH although it is not a secret; it may have several lines then
    sourced: bool = False


@dataclass(frozen=True)
class Trial:
    """What is wrong with an endpoint's settings, as trying them out has shown."""

    #: the key that is wrong
    key: str
    problem: str
    #: whether nothing may be sent; else it is a warning
    holds: bool = True


@dataclass(frozen=True)
class Consent:
    """What a receiver says to a handshake."""

    #: what it allows, what that means, and what to do
    words: str
    #: whether it allows our messages; None: it does not say
    allowed: bool | None = None


@dataclass(frozen=True)
class Handshake:
    """A request without a message that asks a receiver whether we may send."""

    #: returns what the receiver is asked
    ask: Callable[[Endpoint], Content]
    #: returns what its reply means
    read: Callable[[Reply, Endpoint], Consent]


def _none(common: int) -> int:
    return 0


def _never(endpoint: Endpoint) -> bool:
    return False


@dataclass(frozen=True)
class Format:
    """A way of writing messages, and of reading the replies to them."""

    #: returns the message for a delivery; the same bytes each time
    render: Callable[[Delivery, Endpoint], Content]
    #: makes one message of several; None: each delivery goes alone
    join: Callable[[Sequence[Content]], Content] | None = None
    #: returns one message for people about several deliveries; None: none is made
    digest: Callable[[Batch, Endpoint], Content] | None = None
    #: returns one message about all deliveries of a scan, or a part of them (`whole_scan`); its endpoints get nothing
    #: else. None: messages are sent while the scan runs
    bundle: Callable[[Batch, Endpoint], Content] | None = None
    #: returns whether a bundle may go in parts if it is too large; else one that is refused for its size is dead: the
    #: receiver would take the second part for all that there is
    splits: Callable[[Endpoint], bool] = _never
    #: returns what its receivers make of bundles without what earlier scans have found (`Endpoint.only_new`), as words
    #: after a colon; None: nothing that is worth a warning
    lacking: Callable[[Endpoint], str] | None = None
    #: most deliveries of a bundle that may go in parts
    bundle_max: int = 100_000
    #: most deliveries that a digest can name, whatever their texts; 0: it names what fits
    named_max: int = 0
    #: seconds between two messages of a channel of which much is asked (`delivery/pace`)
    brake: float = 0.0
    #: returns what only this format knows of a reply; None: only the table of `retry.judge` knows replies
    read: Callable[[Reply, Batch], Reading] | None = None
    #: returns the request about what the receiver has called a thing of ours (`Verdict.handle`): that of a message that
    #: is pending, or about the same subject as an earlier one; None: a format that knows no such requests
    follow: Callable[[Batch, Endpoint, str], Content] | None = None
    #: has a conversation about a delivery, in place of one request with its message: a tracker is asked for a ticket
    #: before one is created. A killed process repeats it from the start; None: one request is enough
    converse: Callable[[Delivery, Endpoint], Conversation] | None = None
    #: whether an endpoint with `ticket_per` is sent at a scan's end what is gone (`ticketing.GONE`), by the name that
    #: its receiver gave to it (`Delivery.handle`), although one request is enough
    resolves: bool = False
    #: returns what is added to the query of the URL for an attempt at some epoch seconds; None: nothing
    query: Callable[[Endpoint, float], str] | None = None
    #: what is asked before a test message; None: nothing
    handshake: Handshake | None = None
    keys: tuple[Key, ...] = ()
    #: names of a message's own headers, and of its event
    naming: Naming = SPIDERFOOT
    #: header that has the endpoint's `api_key`, and what is in front of the key there
    key_header: str = "Authorization"
    scheme: str = "Bearer"
    #: the value of `auth` without which its receivers accept nothing; empty: any will do
    auth: str = ""
    #: returns values of keys that the settings of an endpoint do not have, from those that they have; None: none
    implied: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    #: tries an endpoint's settings out, and returns what is wrong with them; None: there is nothing to try out
    trial: Callable[[Endpoint], Trial | None] | None = None
    #: whether its messages have the data of an event whole, so that they can carry a signed statement (`proof`)
    is_whole: bool = False
    #: whether `max_body` limits a message although each one goes alone
    is_sized: bool = False
    #: most bytes of a request of several messages that its receivers accept
    request_max: int = 100_000_000
    #: returns an upper bound of the bytes that a message has in addition to those that `content.measure` knows of
    surplus: Callable[[int], int] = _none
    #: whether people read it as a conversation: one attempt at a time, so that it keeps its order
    is_chat: bool = False
    #: seconds between two messages unless `rate` is set
    interval: float = 0.0
    #: returns what is wrong with the path of a URL, to be put after "url", or nothing; None: any path will do
    wrong_path: Callable[[str], str] | None = None

    @property
    def is_for_people(self) -> bool:
        """Whether people read its messages, so that secrets are masked in them unless `redact` says otherwise."""
        return self.is_chat or self.converse is not None
