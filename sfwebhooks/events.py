"""The nouns that travel: Scan, WebhookEvent, Delivery. Pure data, and the ids that make repeats recognisable.

An id is a UUIDv5 over the identity of an object, so the same object seen twice (restart, recovery, two processes) has
the same id, and the outbox keeps one of them. A delivery's id is made from its event's, and leads back to it.
"""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from typing import Any, Callable, overload
from unicodedata import category

from sfwebhooks.severity import Severity

#: the end of the year 9999: a later time cannot be written
LAST_SECOND = 253402300799.0
#: the beginning of the year 1
FIRST_SECOND = -62135596800.0
#: replaces a character that cannot be shown or written
REPLACED = "\N{REPLACEMENT CHARACTER}"
#: category of unprintable characters -> replacement other than REPLACED
UNPRINTABLE = {"Zs": " "}
#: characters that Python considers printable but that are invisible (Unicode's Default_Ignorable_Code_Point, and the
#: Braille blank). The last two of FE00 to FE0F are allowed: they select whether a symbol is shown in colour.
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]")
#: a surrogate without the other half
LONE = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
ID_FORM = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
#: the UUID without any bits
NO_ID = "00000000-0000-0000-0000-000000000000"
#: types of events of which several can go in one message to people; all others are messages of their own
GATHERED = frozenset(
    ("high_risk_event", "medium_risk_event", "low_risk_event", "info_event", "finding.critical", "finding.high",
     "vulnerability_found", "malware_detected", "correlation_found", "module_error")
)  # fmt: skip
NAMESPACE = uuid.UUID("9b0f4a52-5a2e-5d2c-8c58-3d1a4f6f2f10")
_NAMESPACE_BYTES = NAMESPACE.bytes
#: hexadecimal digit -> the same with the two bits of the variant set (RFC 9562 section 4.1)
VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


@dataclass(frozen=True)
class Scan:
    """A scan of the host, with the data that each of its events needs."""

    #: the host's id of the scan
    id: str
    name: str
    target: str
    #: the host's type of the target, such as INTERNET_NAME
    target_type: str
    #: the scanner's version
    version: str = ""
    #: path of the host's database that has the scan
    database: str = ""

    @cached_property
    def about(self) -> dict[str, str]:
        """The first fields of the data of each of the scan's events."""
        return {"scan_id": self.id, "target": self.target, "target_type": self.target_type}


@dataclass(frozen=True)
class WebhookEvent:
    """An event to send: a finding, a correlation, a step of a scan, an alert."""

    id: str
    #: name in the catalogue; a finding's is its risk name, such as high_risk_event
    type: str
    severity: Severity
    #: epoch seconds at which it happened
    at: float
    data: Mapping[str, Any]
    scan: Scan | None = None
    #: vulnerability_found or malware_detected, in addition to a finding's risk name
    special: str | None = None
    #: subject, if several events about it must arrive in order: one at a time is in flight
    subject: str | None = None
    #: why its data could not be built, so that it cannot be written; empty: no problem
    problem: str = ""
    #: what it was before `redaction`, for ids that are made from its data and reveal nothing; None: it is whole
    whole: WebhookEvent | None = field(default=None, repr=False, compare=False)

    @property
    def goes_alone(self) -> bool:
        """Whether it is a message of its own, while it is live, also for an endpoint with digests."""
        return self.type not in GATHERED or self.subject is not None

    @property
    def is_named(self) -> bool:
        """Whether a digest names it, rather than count it among others."""
        return self.severity >= Severity.HIGH or self.goes_alone

    @property
    def scan_id(self) -> str:
        """The id of its scan; empty for an event outside of scans."""
        return self.scan.id if self.scan else ""


@dataclass(frozen=True)
class Handle:
    """What a receiver called a thing of ours, such as the id of a message, so that a later request can be about it."""

    #: `Endpoint.address_id` of the endpoint as it was then: another receiver does not know it
    address: str
    value: str


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint."""

    #: sent as X-SpiderFoot-Delivery (`naming`) and webhook-id; the same over retries, restarts and recovery
    id: str
    event: WebhookEvent
    #: name of the endpoint in the configuration
    endpoint: str
    #: the event name that the endpoint subscribed to
    name: str
    #: series of its number; opaque
    series: str
    #: 1, 2, 3 ... without gaps per scan, endpoint and series
    sequence: int
    #: attempts that counted so far
    attempts: int = 0
    #: whether an operator replayed it
    replayed: bool = False
    #: whether it was accepted by `scan/backfill`, after its scan was over
    backfilled: bool = False
    #: refusals that counted so far
    refusals: int = 0
    #: the endpoint's era (`Health.era`) in which it was first refused; None: never
    refused_in: int | None = None
    #: what the receiver called its batch while that is pending, else its event's subject; None: nothing
    handle: Handle | None = None

    @property
    def is_late(self) -> bool:
        """Whether it is a replay or a backfill."""
        return self.replayed or self.backfilled

    @property
    def goes_alone(self) -> bool:
        """Whether no digest may have it."""
        return self.event.goes_alone and not self.is_late


@dataclass(frozen=True)
class Batch:
    """The content of one request: one delivery, or several to an endpoint that takes batches.

    A retry of several has the same members and so the same bytes.
    """

    deliveries: Sequence[Delivery]
    #: number of this digest among those that a scan's findings need, and how many these are; zeros: it is the only one
    part: tuple[int, int] = (0, 0)

    @cached_property
    def id(self) -> str:
        """The id of its only delivery, or one over those of its members."""
        if len(self.deliveries) == 1:
            return self.deliveries[0].id
        return id_of("batch/" + "/".join([delivery.id for delivery in self.deliveries]))

    @property
    def name(self) -> str:
        """The subscribed event name, or "batch"."""
        return self.deliveries[0].name if len(self.deliveries) == 1 else "batch"

    @property
    def is_late(self) -> bool:
        """Whether it has replays or backfills; live deliveries do not go in one request with those."""
        return any(delivery.is_late for delivery in self.deliveries)

    @property
    def attempts(self) -> int:
        """Attempts that counted so far."""
        return max(delivery.attempts for delivery in self.deliveries)

    @property
    def halves(self) -> tuple[Batch, Batch]:
        """The two batches into which it is split."""
        middle = (len(self.deliveries) + 1) // 2
        return Batch(self.deliveries[:middle]), Batch(self.deliveries[middle:])

    def changed(self, change: Callable[[Delivery], Delivery]) -> Batch:
        """Return it with changed deliveries, whose ids stay the same."""
        return replace(self, deliveries=tuple(map(change, self.deliveries)))


@dataclass(frozen=True)
class Summary:
    """What is known of the deliveries of a Bundle without reading them."""

    ids: tuple[str, ...]
    attempts: int = 0
    is_replayed: bool = False
    is_late: bool = False


@dataclass(frozen=True)
class Bundle(Batch):
    """A whole scan in one request. Its deliveries are read from the outbox each time they are needed: they may be too
    many for the memory."""

    summary: Summary = Summary(())
    #: whether it is one request, whatever its size: its receiver takes what is not in it for gone
    is_whole: bool = True

    @cached_property
    def id(self) -> str:
        """The id of its only delivery, or one over those of its members."""
        ids = self.summary.ids
        return ids[0] if len(ids) == 1 else id_of("batch/" + "/".join(ids))

    @property
    def is_replayed(self) -> bool:
        """Whether it has replays."""
        return self.summary.is_replayed

    @property
    def is_late(self) -> bool:
        """Whether it has replays or backfills."""
        return self.summary.is_late

    @property
    def attempts(self) -> int:
        """Attempts that counted so far."""
        return self.summary.attempts

    @property
    def halves(self) -> tuple[Batch, Batch]:
        """The two bundles into which it is split."""
        middle = (len(self.deliveries) + 1) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def changed(self, change: Callable[[Delivery], Delivery]) -> Batch:
        """Return it with deliveries that are changed each time they are read."""
        return replace(self, deliveries=Changed(self.deliveries, change))

    def _part(self, which: slice) -> Bundle:
        ids = self.summary.ids[which]
        return replace(self, deliveries=self.deliveries[which], summary=replace(self.summary, ids=ids))


class Changed(Sequence[Delivery]):
    """Deliveries, each of which is changed when it is read."""

    def __init__(self, deliveries: Sequence[Delivery], change: Callable[[Delivery], Delivery]) -> None:
        self._deliveries, self._change = deliveries, change

    def __len__(self) -> int:
        return len(self._deliveries)

    @overload
    def __getitem__(self, place: int) -> Delivery: ...
    @overload
    def __getitem__(self, place: slice) -> Changed: ...
    def __getitem__(self, place: int | slice) -> Delivery | Changed:
        if isinstance(place, slice):
            return Changed(self._deliveries[place], self._change)
        return self._change(self._deliveries[place])

    def __iter__(self) -> Iterator[Delivery]:
        return map(self._change, self._deliveries)


def id_of(name: str) -> str:
    """Return the UUIDv5 of a name in our namespace (RFC 9562 section 5.5).

    Equals `uuid.uuid5` in a fifth of its time: each event of a scan needs several.
    """
    digest = hashlib.sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    variant = VARIANTS[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def finding_id(scan_id: str, event_hash: str) -> str:
    """Return the id of a scanner event; `event_hash` is the host's own hash of it, unique per event."""
    return id_of(f"finding/{scan_id}/{event_hash}")


def correlation_id(scan_id: str, rule_id: str, title: str) -> str:
    """Return the id of a correlation, which stays the same if the host's rules are run again.

    A rule's id with a slash could be confused with the start of a title, so it has its own form.
    """
    if "/" in rule_id:
        return id_of(f"correlation of a rule/{scan_id}/{len(rule_id)}/{rule_id}/{title}")
    return id_of(f"correlation/{scan_id}/{rule_id}/{title}")


def lifecycle_id(scan_id: str, step: str) -> str:
    """Return the id of a scan's start (`step` "started"), its end ("ended", for any end), or its counted
    "correlations"."""
    return id_of(f"scan/{scan_id}/{step}")


def delivery_id(event_id: str, endpoint: str) -> str:
    """Return the id of the delivery of an event to the endpoint of that name: a UUIDv8 (RFC 9562 section 5.8), the
    event's id with the bits inverted that the endpoint's name gives."""
    return dashed(f"{int(event_id.replace('-', ''), 16) ^ mask_of(endpoint):032x}")


def key_of(id: str) -> bytes:
    """Return the 16 bytes of an id.

    Raises:
        ValueError: it is not a UUID.
    """
    if not ID_FORM.fullmatch(id):
        raise ValueError(f"id {id!r}: expected a UUID")
    return bytes.fromhex(id.replace("-", ""))


def id_of_key(key: bytes) -> str:
    """Return the id with these 16 bytes."""
    return dashed(key.hex())


def dashed(digits: str) -> str:
    """Return the id with these 32 hexadecimal digits."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def event_key_of(text: str, endpoint: str | None = None, rest: str = "0") -> bytes | None:
    """Return the key of the event with an id, or the first or last possible one with the beginning of an id; None for a
    text that is neither.

    Args:
        text: id of the event, or of its delivery to the endpoint of that name.
        rest: digit in place of those that are missing: 0 or f.
    """
    whole = f"{text}{NO_ID[len(text) :]}"
    if not ID_FORM.fullmatch(whole):
        return None
    its = whole if endpoint is None else delivery_id(whole, endpoint)
    return key_of(f"{its[: len(text)]}{NO_ID[len(text) :].replace('0', rest)}")


@lru_cache(maxsize=1024)
def mask_of(endpoint: str) -> int:
    """Return the bits by which the ids of an endpoint's deliveries differ from those of their events: of the version
    those that make it 8, of the variant none."""
    found = int(id_of(f"endpoint/{endpoint}").replace("-", ""), 16)
    return found & ~(0xF << 76 | 0b11 << 62) | (5 ^ 8) << 76


def timestamp(at: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC with milliseconds, such as 2026-11-21T10:00:00.000Z."""
    at = min(max(at, FIRST_SECOND), LAST_SECOND)
    second = math.floor(at)
    micros = round((at - second) * 1_000_000)
    if micros == 1_000_000:
        second, micros = second + 1, 0
    return f"{_second(second)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=256)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat()[:-6]


def printable(text: str) -> str:
    """Return text with visible characters only, none of which moves a cursor, breaks a line or reverses the reading
    order: these can make a text look like another one in a terminal, a log or a chat. Every kind of space becomes a
    plain space."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else UNPRINTABLE.get(category(char), REPLACED) for char in text)
    return text if text.isascii() else UNSEEN.sub(REPLACED, text)


def clean_text(text: str) -> str:
    """Return text without lone surrogates, which neither UTF-8 nor a strict JSON reader accepts."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a pair of surrogates is one character
        return LONE.sub(REPLACED, text).encode("utf-16", "surrogatepass").decode("utf-16")
    return text
