"""The proof of scans: captured messages and public keys come in; what is missing, altered, added or out of chain goes
out.

Nothing but the messages and the keys is needed. A statement counts if one of the keys has signed it, wherever it was
found; its place among the messages means nothing, nor does theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sfwebhooks.naming import naming_of
from sfwebhooks.receive.capture import Captured
from sfwebhooks.receive.received import VALUES_MAX
from sfwebhooks.receive.verification import ID
from sfwebhooks.statements import PREDICATE_TYPE, PROOF, STATEMENT_TYPE, unsealed

#: names of the events that carry a statement. What else is in such a message, or an envelope in another one, does not
#: count: a forged message must not pass for one
CARRIERS = (PROOF, "scan.proof")
_ALTERED = "its body is not the one that was sent"


class Flaw(Enum):
    """What is wrong with a message, or with a statement; the value is its description."""

    MISSING = "missing"
    ALTERED = "altered"
    ADDED = "added"
    CHAIN = "out of chain"
    KEY = "wrong key"
    #: delivered after the statement, and in no later one
    PENDING = "not proven yet"
    #: of a scan without a statement, or of none
    UNPROVEN = "not proven"
    #: numbered before a message that was captured earlier: it may have been repeated, or overtaken on the way
    ORDER = "out of order"


#: flaws that an honest capture can have
MILD = frozenset({Flaw.PENDING, Flaw.UNPROVEN})


@dataclass(frozen=True)
class Fault:
    """A flaw of one message."""

    flaw: Flaw
    #: id of the message, or its place if it has none
    id: str
    words: str


@dataclass(frozen=True)
class Message:
    """What is remembered of a captured message."""

    id: str
    sha256: str
    #: ids of its scans and of its deliveries, as its body says
    scans: frozenset[str]
    deliveries: frozenset[str]
    #: endpoint, series and number of its only delivery, if it says so
    order: tuple[str, str, int] | None


@dataclass(frozen=True)
class Claim:
    """A statement about a scan that one of the keys has signed."""

    #: id of the message that carried it
    id: str
    sha256: str
    #: (id, SHA-256) -> whether the receiver accepted it
    subjects: Mapping[tuple[str, str], bool]
    #: number of the scan's messages that the accepted ones have
    messages: int
    predicate: Mapping[str, Any] = field(repr=False)

    @property
    def scan(self) -> tuple[str, str]:
        """The endpoint and the scan that it is about."""
        return str(self.predicate.get("endpoint")), str(_object(self.predicate.get("scan")).get("id"))

    @property
    def link(self) -> tuple[str, int, str]:
        """The id of its chain, its number there, and the SHA-256 of the one before it, or nothing."""
        chain = _object(self.predicate.get("chain"))
        number = chain.get("number")
        return str(chain.get("id")), number if isinstance(number, int) else 0, str(chain.get("previous") or "")

    def listed(self, name: str) -> list[str]:
        """Return the ids in one of its lists: pending or dead."""
        found = self.predicate.get(name)
        return [str(one) for one in found] if isinstance(found, list) else []


class Examination:
    """The examination of captured messages: `add` each, then read `problems`.

    Args:
        keys: whpk_ keys.
        after: SHA-256 of statements that need not be here: those with which an earlier examination ended.
    """

    def __init__(self, keys: Iterable[str], after: Iterable[str] = ()) -> None:
        self._keys = tuple(keys)
        self._after = frozenset(after)
        self.messages: list[Message] = []
        #: SHA-256 -> statement
        self.claims: dict[str, Claim] = {}
        self._rejected: list[Fault] = []

    def add(self, captured: Captured) -> None:
        """Take a message, or a file that is nothing but the envelope of a statement (without headers)."""
        naming = naming_of(captured.headers)
        given = captured.headers.get("webhook-id") or captured.headers.get(naming.delivery, "")
        id = given if ID.fullmatch(given) else captured.name  # what is not an id may be anything, and is not shown
        items = _items(captured.body)
        envelopes = [one for one in map(_envelope, items) if one]
        for envelope in envelopes:
            self._judge(id, envelope)
        if len(envelopes) < len(items) or not items:  # else it is nothing but statements
            self.messages.append(_message(id, captured.body, items))

    def _judge(self, id: str, envelope: Mapping[str, Any]) -> None:
        try:
            payload, is_signed = unsealed(envelope, self._keys)
            if not is_signed:
                self._rejected.append(Fault(Flaw.KEY, id, "this statement is signed with another key, or changed"))
                return
            claim = _claim(id, payload)
        except (ValueError, RecursionError) as error:
            self._rejected.append(Fault(Flaw.KEY, id, f"this is not a statement about a scan: {error}"))
            return
        self.claims.setdefault(claim.sha256, claim)

    def problems(self) -> Iterator[Fault]:
        """Yield what is wrong, by kind."""
        yield from self._rejected
        yield from self._broken_chains()
        stated: dict[str, dict[str, bool]] = {}
        for claim in self.claims.values():
            for (id, sha256), accepted in claim.subjects.items():
                its = stated.setdefault(id, {})
                its[sha256] = its.get(sha256, False) or accepted
        bodies = {sha256: id for id, its in stated.items() for sha256 in its}
        left = {id for claim in self.claims.values() for id in (*claim.listed("pending"), *claim.listed("dead"))}
        scans = {claim.scan[1] for claim in self.claims.values()}
        for message in self.messages:
            if message.id in stated:
                if message.sha256 not in stated[message.id]:
                    other = bodies.get(message.sha256)
                    yield Fault(Flaw.ALTERED, message.id, f"it has the body of {other}" if other else _ALTERED)
            elif message.id in left or (message.deliveries and message.deliveries <= left):
                yield Fault(
                    Flaw.PENDING, message.id, "its statement lists it as not delivered, and no later one has it"
                )
            elif message.scans & scans:
                yield Fault(Flaw.ADDED, message.id, "no statement about its scan has it")
            else:
                yield Fault(Flaw.UNPROVEN, message.id, "there is no statement about its scan, or it has none")
        there = {message.id for message in self.messages}
        for id in sorted(stated.keys() - there):
            if any(stated[id].values()):
                yield Fault(Flaw.MISSING, id, "the receiver accepted it, and it is not here")
        yield from self._disorder()

    def _broken_chains(self) -> Iterator[Fault]:
        """Yield the statements without the one before, and those that continue the same one."""
        continued: dict[tuple[str, str], str] = {}
        numbers = {claim.sha256: claim.link[1] for claim in self.claims.values()}
        for claim in sorted(self.claims.values(), key=lambda one: (*one.link, one.sha256)):
            chain, number, previous = claim.link
            if previous and previous not in self._after and numbers.get(previous) != number - 1:
                yield Fault(Flaw.CHAIN, claim.id, f"statement {number} follows {previous}, which is not here")
            elif (not previous) != (number == 1):
                yield Fault(Flaw.CHAIN, claim.id, f"statement {number} does not say which one it follows")
            elif (chain, previous) in continued:
                yield Fault(Flaw.CHAIN, claim.id, f"it follows the same statement as {continued[chain, previous]}")
            continued.setdefault((chain, previous), claim.id)
        followed = {claim.link[2] for claim in self.claims.values()}
        for claim in self.claims.values():
            part, parts = (claim.predicate.get(name) for name in ("part", "parts"))
            if isinstance(part, int) and isinstance(parts, int) and part < parts and claim.sha256 not in followed:
                yield Fault(Flaw.CHAIN, claim.id, f"part {part + 1} of {parts} of this statement is not here")

    def _disorder(self) -> Iterator[Fault]:
        greatest: dict[tuple[str, str, str], int] = {}
        seen: set[str] = set()
        for message in self.messages:
            if message.order is None or message.id in seen:
                continue
            seen.add(message.id)
            endpoint, series, number = message.order
            key = (min(message.scans, default=""), endpoint, series)
            if number < greatest.get(key, 0):
                yield Fault(Flaw.ORDER, message.id, f"its number is {number}, after {greatest[key]}")
            greatest[key] = max(number, greatest.get(key, 0))


def _claim(id: str, payload: bytes) -> Claim:
    """Return a signed statement.

    Raises:
        ValueError: it is not one about a scan.
    """
    found = _object(json.loads(payload))
    if (found.get("_type"), found.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ValueError(f"expected {STATEMENT_TYPE} with {PREDICATE_TYPE}")
    subjects: dict[tuple[str, str], bool] = {}
    messages = 0
    given = found.get("subject")
    for one in given if isinstance(given, list) else []:
        noted = _object(_object(one).get("annotations"))
        accepted = noted.get("accepted") is not False
        subjects[str(_object(one).get("name")), str(_object(_object(one).get("digest")).get("sha256"))] = accepted
        number = noted.get("messages", 1)
        messages += number if accepted and isinstance(number, int) else 0
    sha256 = hashlib.sha256(payload).hexdigest()
    return Claim(id, sha256, subjects, messages, _object(found.get("predicate")))


def _message(id: str, body: bytes, items: list[dict[str, Any]]) -> Message:
    scans = {str(_data(item).get("scan_id") or _object(item.get("scan")).get("id") or "") for item in items}
    noted = [{**_object(item.get("metadata")), **item} for item in items]
    deliveries = [str(one["delivery_id"]) for one in noted if "delivery_id" in one]
    order = None
    if len(noted) == 1 and isinstance(noted[0].get("sequence"), int):
        order = (str(noted[0].get("endpoint")), str(noted[0].get("series")), int(noted[0]["sequence"]))
    sha256 = hashlib.sha256(body).hexdigest()
    return Message(id, sha256, frozenset(scans - {""}), frozenset(deliveries), order)


def _items(body: bytes) -> list[dict[str, Any]]:
    """Return the messages in a body: one, or those of a batch, which may be lines; none if it is not JSON, or has more
    values than are read. Of CloudEvents the data is returned."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > VALUES_MAX:
        return []
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        try:
            found = [json.loads(line) for line in body.split(b"\n") if line.strip()]
        except (ValueError, RecursionError):
            return []
    items = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    return [dict(_object(one.get("data"))) if "specversion" in one else one for one in items]


def _data(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(item.get("data")) or _object(item.get("raw_data"))


def _envelope(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the envelope that an item is or carries; nothing if it is another message."""
    if item.keys() == {"payloadType", "payload", "signatures"}:
        return item
    return _data(item) if item.get("event_type") in CARRIERS else {}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
