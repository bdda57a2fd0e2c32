"""Pure decisions: a Reply comes in and becomes a Verdict, which with the delivery's history becomes a Settlement.

reply -> judge (what does it mean?) -> decide (what happens to each delivery?) -> outbox.settle

A refusal (4xx, 3xx) does not show whether the message or its endpoint is at fault. The endpoint's other messages do:
once one of them was delivered after the first refusal, the refused message is at fault, and its third refusal makes it
dead.
"""

from __future__ import annotations

import email.utils
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from enum import Enum

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Bundle, Delivery
from sfwebhooks.health import Change
from sfwebhooks.reasons import DeadReason, Failure
from sfwebhooks.ticketing import SETTLING_SECONDS

#: the longest wait that a receiver's Retry-After can ask for, in seconds
RETRY_AFTER_MAX = 3600.0
#: seconds to wait if a receiver's Retry-After cannot be read
CAUTIOUS_WAIT = 60.0
#: a number of seconds as receivers write it instead of RFC 9110's integer: 292.05, 120s, +120
SECONDS = re.compile(r"\+?(\d{1,15}|\d{1,15}\.\d{0,15}|\.\d{1,15})[ \t]*(?:s|secs?|seconds?)?", re.I | re.A)
#: largest random addition to a wait, as a fraction of it
JITTER = 0.2
#: refusals after which a message that is at fault is dead
REFUSALS_MAX = 3
#: seconds before a refused message is tried again if the schedule is empty
REFUSED_WAITS = (5.0, 60.0)
#: seconds before a message is tried again after this process lacked a resource
SHORTAGE_SECONDS = 5.0
#: prefix of the reason of a delivery whose request was split and that was not sent since
SPLIT = "split: "
#: the reason of a refusal for the size
TOO_LARGE = "http_413"

RETRY_STATUS = frozenset({408, 409, 425, 429})
OUTCOME_OF_FAILURE = {
    Failure.CONNECTION: Outcome.RETRY,
    Failure.DNS: Outcome.RETRY,
    Failure.TIMEOUT: Outcome.RETRY,
    Failure.TLS: Outcome.RETRY,
    Failure.PROTOCOL: Outcome.RETRY,
    Failure.PROXY: Outcome.RETRY,
    Failure.TLS_UNVERIFIED: Outcome.HOLD,
    Failure.TLS_REFUSED: Outcome.HOLD,
    Failure.CERTIFICATE: Outcome.HOLD,
    Failure.ADDRESS: Outcome.HOLD,
    Failure.SOURCE: Outcome.HOLD,
    Failure.PROXY_REFUSED: Outcome.HOLD,
    Failure.TOKEN_UNAVAILABLE: Outcome.RETRY,
    Failure.TOKEN_REFUSED: Outcome.HOLD,
    Failure.TEMPLATE: Outcome.UNSENDABLE,
    Failure.SHORTAGE: Outcome.SHORTAGE,
}


class State(str, Enum):
    """The state of a delivery; for the diagram see `outbox/outbox`."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    #: a dead letter
    DEAD = "dead"


@dataclass(frozen=True)
class Settlement:
    """The new state of a delivery after an attempt."""

    state: State
    reason: str
    #: epoch seconds before which it is not tried again
    due_at: float
    #: whether the attempt uses up a retry
    counts: bool
    #: id of its batch from now on; empty: as before; None: it has left its batch
    batch: str | None = ""
    #: whether the request continues in two halves
    split: bool = False
    #: whether the receiver did what was asked, and another request follows
    pending: bool = False
    #: whether the attempt counts as a refusal of this message
    refused: bool = False
    #: the endpoint's era of its first refusal, alone or with others; None: not refused, or refused before
    refused_in: int | None = None


def judge(reply: Reply, now: float, longest: float = RETRY_AFTER_MAX) -> Verdict:
    """Return the meaning of a reply unless its format decides: the table of all statuses and failures.

    Args:
        now: epoch seconds.
        longest: the longest wait in seconds that a receiver can ask for.
    """
    if reply.failure:
        outcome = OUTCOME_OF_FAILURE[reply.failure]
        wait = retry_after(reply.headers, now, longest)  # from a proxy
        return Verdict(outcome, reply.failure.value, SHORTAGE_SECONDS if outcome is Outcome.SHORTAGE else wait)
    status = reply.status or 0
    reason = f"http_{status}"
    if 200 <= status < 300:
        return Verdict(Outcome.DELIVERED, reason)
    if status in RETRY_STATUS or status >= 500:
        return Verdict(Outcome.RETRY, reason, _asked_wait(reply, now, longest))
    if status == 410:
        return Verdict(Outcome.DISABLE, reason)
    return Verdict(Outcome.REFUSED, reason, retry_after(reply.headers, now, longest))


def _asked_wait(reply: Reply, now: float, longest: float) -> float | None:
    """Return the longer one of the waits in a reply's header and, with 429, in its body."""
    waits = [retry_after(reply.headers, now, longest)]
    if reply.status == 429:
        waits.append(_retry_after_in(reply.body, longest))
    return max((wait for wait in waits if wait is not None), default=None)


def _retry_after_in(body: bytes, longest: float) -> float | None:
    """Return the wait in seconds in the form of Discord, {"retry_after": 0.65, ...}, or of Telegram,
    {"parameters": {"retry_after": 5}, ...}."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    places = (said, said.get("parameters")) if isinstance(said, dict) else ()
    wait = next((place["retry_after"] for place in places if isinstance(place, dict) and "retry_after" in place), None)
    if isinstance(wait, str):
        wait = _seconds(wait)
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not wait >= 0:  # excludes NaN too
        return None
    return float(min(wait, longest))


def retry_after(headers: Mapping[str, str], now: float, longest: float = RETRY_AFTER_MAX) -> float | None:
    """Return the wait in seconds that Retry-After asks for (RFC 9110 section 10.2.3), at most `longest`.

    The longest of several counts, and fractions are rounded up. A date is compared with the receiver's own clock (Date)
    if it sends one. An unreadable value asks for a default wait.
    """
    text = headers.get("Retry-After")
    if text is None:
        return None
    wait = _seconds(text)
    if wait is None:
        until, there = _moment(text), _moment(headers.get("Date", ""))
        wait = CAUTIOUS_WAIT if until is None else max(until - (now if there is None else there), 0.0)
    return min(wait, longest)


def _seconds(text: str) -> float | None:
    """Return the largest of some numbers of seconds, rounded up, or None if the text has anything else."""
    if text.isascii() and text.isdigit():
        return float(text)
    found = [SECONDS.fullmatch(part.strip()) for part in text.split(",")]
    numbers = [float(match[1]) for match in found if match]
    return float(math.ceil(max(numbers))) if len(numbers) == len(found) else None


def _moment(text: str) -> float | None:
    """Return the epoch seconds of an HTTP or ISO 8601 date."""
    text = re.sub(r"Z$", "+00:00", text.strip())  # fromisoformat accepts Z only from Python 3.11 on
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
        except (TypeError, ValueError, IndexError, OverflowError):
            pass
    return None


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return what the verdicts on the deliveries of a request say of their endpoint: that it works if it took any."""
    order = (Outcome.DELIVERED, Outcome.PENDING, Outcome.HOLD, Outcome.DISABLE, Outcome.RETRY, Outcome.REFUSED)
    ranks = {outcome: rank for rank, outcome in enumerate(order)}
    return min(verdicts, key=lambda verdict: ranks.get(verdict.outcome, len(order)))


def decide(
    batch: Batch, verdicts: Sequence[Verdict], endpoint: Endpoint, change: Change, now: float
) -> list[Settlement]:
    """Return the settlement of each delivery of a request.

    Args:
        verdicts: one on all deliveries, or one on each of them.
        change: of the endpoint's health by this attempt.
        now: epoch seconds.
    """
    schedule, size, verdict = endpoint.retry_schedule, len(batch.deliveries), verdicts[0]
    if any(other != verdict for other in verdicts):
        took_some = any(one.outcome is Outcome.DELIVERED for one in verdicts)
        items = [_item(*one, took_some, schedule, change, now) for one in zip(batch.deliveries, verdicts)]
        # sent together, those that wait would be refused with the others, without end
        return [replace(one, batch=None) if one.state is State.WAITING else one for one in items]
    if verdict.outcome is Outcome.DELIVERED:
        its = batch.id if size > 1 and endpoint.batch_size == 1 else ""  # `show` names the digest
        return [Settlement(State.DELIVERED, verdict.reason, now, counts=True, batch=its)] * size
    if verdict.outcome is Outcome.PENDING:  # its next request is about the same deliveries
        next_at, tried = now + (verdict.wait or 0.0), batch.attempts > 0
        # counted once, as tried: the end of a scan does not wait for it
        return [Settlement(State.WAITING, verdict.reason, next_at, not tried, batch.id, pending=True)] * size
    if is_too_large(batch, verdict):
        reason = f"{DeadReason.REFUSED.value}: {verdict.reason}"
        return [Settlement(State.DEAD, reason, now, counts=True, batch=batch.id, refused=True)] * size
    if is_split(batch, verdict, schedule, change.before.healthy):
        return _halves(batch, verdict, schedule, change.after.era, now)
    first = batch.deliveries[0]
    is_frozen = endpoint.batch_size > 1 or batch.is_late or endpoint.takes_scans
    is_frozen = is_frozen or (endpoint.digest.is_on and not first.goes_alone)
    one = _settlement(first, batch.attempts, verdict, schedule, change, now)
    if (one.state is State.WAITING or endpoint.takes_scans) and (is_frozen or verdict.is_uncertain):
        one = replace(one, batch=batch.id)  # it is repeated with the same members, and is not fresh again
    if verdict.is_uncertain and one.state is State.WAITING:
        one = replace(one, due_at=max(one.due_at, now + SETTLING_SECONDS))
    return [one] * size


def _item(
    delivery: Delivery, verdict: Verdict, took_some: bool, schedule: Sequence[float], change: Change, now: float
) -> Settlement:
    """Return the settlement of a delivery whose receiver judged each one of a request by itself: only those to be
    retried are sent again.

    Args:
        took_some: whether it accepted others, so that one that it refused is itself at fault.
    """
    if verdict.outcome is Outcome.DELIVERED:
        return Settlement(State.DELIVERED, verdict.reason, now, counts=True)
    if verdict.outcome is Outcome.REFUSED and took_some:
        return Settlement(State.DEAD, f"{DeadReason.REFUSED.value}: {verdict.reason}", now, counts=True, refused=True)
    return _settlement(delivery, delivery.attempts, verdict, schedule, change, now)


def is_split(batch: Batch, verdict: Verdict, schedule: Sequence[float], healthy: bool) -> bool:
    """Return whether a request of several continues in two halves, to find the message at fault.

    Its members stay together until they are refused or their retries run out, so no message dies for another one. The
    halves get the last retry. A whole scan is one message, and divided only if it is too large.
    """
    if len(batch.deliveries) == 1:
        return False
    if isinstance(batch, Bundle):
        return _is_too_large(verdict) and not batch.is_whole
    if verdict.outcome is Outcome.REFUSED:
        return True
    if verdict.outcome is not Outcome.RETRY:
        return False
    return batch.attempts + 1 >= len(schedule) if healthy else verdict.reason.startswith("http_5")


def is_too_large(batch: Batch, verdict: Verdict) -> bool:
    """Return whether a request that is not split is larger than its receiver accepts: it is dead at once."""
    return isinstance(batch, Bundle) and batch.is_whole and _is_too_large(verdict)


def _is_too_large(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.REFUSED and verdict.reason == TOO_LARGE


def is_at_fault(batch: Batch, verdict: Verdict, era: int) -> bool:
    """Return whether a refused message is itself at fault: its endpoint accepted another one after its first refusal.

    Args:
        era: current era of the endpoint (`Health.era`).
    """
    refused_in = batch.deliveries[0].refused_in
    return verdict.outcome is Outcome.REFUSED and refused_in is not None and era > refused_in


def _halves(batch: Batch, verdict: Verdict, schedule: Sequence[float], era: int, now: float) -> list[Settlement]:
    """Return the settlements of a split request: refused deliveries are tried at once, other failures wait."""
    counts = verdict.outcome is Outcome.RETRY and batch.attempts < len(schedule)
    wait = _wait(schedule, batch.attempts, verdict) if counts else 0.0
    refused_in = era if verdict.outcome is Outcome.REFUSED else None
    return [
        Settlement(State.WAITING, f"{SPLIT}{verdict.reason}", now + wait, counts, half.id, True, refused_in=refused_in)
        for half in batch.halves
        for _ in range(len(half.deliveries))
    ]


def _settlement(
    first: Delivery, attempts: int, verdict: Verdict, schedule: Sequence[float], change: Change, now: float
) -> Settlement:
    """Return the settlement of the deliveries of a request that failed and is not split.

    Args:
        first: the first delivery; the only one if the request was refused.
        attempts: attempts that counted before this one.
    """
    outcome, reason, health = verdict.outcome, verdict.reason, change.after
    if outcome is Outcome.SHORTAGE:
        return Settlement(State.WAITING, reason, now + SHORTAGE_SECONDS, counts=False)
    if outcome is Outcome.UNSENDABLE:
        return Settlement(State.DEAD, DeadReason.TEMPLATE.value, now, counts=True)
    if outcome is Outcome.REFUSED:
        return _refused(first, verdict, schedule, change, now)
    if verdict.retries is not None and attempts >= verdict.retries:
        return Settlement(State.DEAD, f"{DeadReason.RETRIES.value}: {reason}", now, counts=True)
    if outcome is not Outcome.RETRY or not health.healthy:
        return Settlement(State.WAITING, reason, now, counts=verdict.retries is not None)
    # if nothing else was delivered since the first attempt at this one, the endpoint is at fault, and a short schedule
    # must not end the retries
    alone = attempts >= len(schedule) and health.failures <= attempts
    if alone or not schedule:
        return Settlement(State.DEAD, f"{DeadReason.RETRIES.value}: {reason}", now, counts=True)
    return Settlement(State.WAITING, reason, now + _wait(schedule, attempts, verdict), counts=True)


def _refused(delivery: Delivery, verdict: Verdict, schedule: Sequence[float], change: Change, now: float) -> Settlement:
    """Return the settlement of a refused message: set aside, or dead if it is at fault and has been refused enough."""
    before, after = change
    first = delivery.refused_in is None
    counts = not delivery.refusals or before.healthy  # a refused probe says more about the endpoint
    refusals = delivery.refusals + counts
    reason = f"{DeadReason.REFUSED.value}: {verdict.reason}"
    if is_at_fault(Batch((delivery,)), verdict, after.era) and refusals >= REFUSALS_MAX:
        return Settlement(State.DEAD, reason, now, counts=True, refused=True)
    due_at = now + _wait(schedule or REFUSED_WAITS, delivery.refusals, verdict)
    return Settlement(
        State.WAITING, reason, due_at, counts=False, refused=counts, refused_in=after.era if first else None
    )


def _wait(schedule: Sequence[float], tries: int, verdict: Verdict) -> float:
    """Return the seconds until the next try after `tries`; jitter only adds, and a receiver's wait is respected."""
    wait = schedule[min(tries, len(schedule) - 1)] if schedule else 0.0
    return max(wait * (1 + random.uniform(0, JITTER)), verdict.wait or 0.0)  # noqa: S311
