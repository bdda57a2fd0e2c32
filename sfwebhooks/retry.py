"""Decide, without doing anything: a Reply becomes a Verdict, and that, with what is known, a Settlement.

reply -> judge (what does it mean?) -> plan (what happens to the delivery?) -> outbox.settle
"""

from __future__ import annotations

import email.utils
import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from sfwebhooks.attempts import Failure, Outcome, Reply, Verdict

#: the longest wait that a receiver's Retry-After can ask for, in seconds
RETRY_AFTER_MAX = 3600.0
#: seconds to wait where a receiver asks for a wait in a way that cannot be read
CAUTIOUS_WAIT = 60.0
#: a number of seconds as receivers write it, in place of RFC 9110's whole one: 292.05, 120s, +120
SECONDS = re.compile(r"\+?(\d{1,15}|\d{1,15}\.\d{0,15}|\.\d{1,15})[ \t]*(?:s|secs?|seconds?)?", re.I | re.A)
#: of each wait, at most this part is added at random
JITTER = 0.2

RETRY_STATUS = frozenset({408, 409, 425, 429})
#: the endpoint is set up wrongly, here or there; the message is fine
HOLD_STATUS = frozenset({401, 403, 404, 405, 407, 411, 426, 431})
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
    Failure.PROXY_REFUSED: Outcome.HOLD,
}


class State(str, Enum):
    """Where a delivery is; the diagram stands in `outbox`."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    #: a dead letter
    DEAD = "dead"


@dataclass(frozen=True)
class Settlement:
    """What becomes of a delivery after an attempt."""

    state: State
    reason: str
    #: epoch seconds before which it is not tried again
    due_at: float
    #: whether the attempt uses up a retry
    counts: bool
    #: id of the batch in which it goes out from now on; empty: as before
    batch: str = ""


def judge(reply: Reply, now: float, longest: float = RETRY_AFTER_MAX) -> Verdict:
    """Return what a reply means where its format has no opinion: the table of every status and failure.

    Args:
        now: epoch seconds.
        longest: the longest wait in seconds that a receiver can ask for.
    """
    if reply.failure:
        wait = retry_after(reply.headers, now, longest)  # a proxy's
        return Verdict(OUTCOME_OF_FAILURE[reply.failure], reply.failure.value, wait)
    status = reply.status or 0
    reason = f"http_{status}"
    if 200 <= status < 300:
        return Verdict(Outcome.DELIVERED, reason)
    if status in RETRY_STATUS or status >= 500:
        return Verdict(Outcome.RETRY, reason, _asked_wait(reply, now, longest))
    if status == 410:
        return Verdict(Outcome.DISABLE, reason)
    if status in HOLD_STATUS or status < 400:
        return Verdict(Outcome.HOLD, reason, retry_after(reply.headers, now, longest))
    return Verdict(Outcome.DEAD, reason)


def _asked_wait(reply: Reply, now: float, longest: float) -> float | None:
    """Return the longer one of the waits that a reply asks for in its header and, with 429, in its body."""
    waits = [retry_after(reply.headers, now, longest)]
    if reply.status == 429:
        waits.append(_retry_after_in(reply.body, longest))
    return max((wait for wait in waits if wait is not None), default=None)


def _retry_after_in(body: bytes, longest: float) -> float | None:
    """Return the wait in seconds of Discord's form: {"retry_after": 0.65, ...}."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    wait = said.get("retry_after") if isinstance(said, dict) else None
    if isinstance(wait, str):
        wait = _seconds(wait)
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not wait >= 0:  # nor is NaN
        return None
    return float(min(wait, longest))


def retry_after(headers: Mapping[str, str], now: float, longest: float = RETRY_AFTER_MAX) -> float | None:
    """Return the wait in seconds that Retry-After asks for (RFC 9110 section 10.2.3), at most `longest`.

    Of several the longest counts, of a fraction the next whole number. The date form is read against the receiver's own
    clock (Date), where it sends one. A receiver whose form cannot be read asks for a wait all the same.
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
    """Return the longest of some numbers of seconds, rounded up, or None if it is not only them."""
    if text.isascii() and text.isdigit():
        return float(text)
    found = [SECONDS.fullmatch(part.strip()) for part in text.split(",")]
    numbers = [float(match[1]) for match in found if match]
    return float(math.ceil(max(numbers))) if len(numbers) == len(found) else None


def _moment(text: str) -> float | None:
    """Return the epoch seconds of a date of HTTP, or of ISO 8601."""
    text = re.sub(r"Z$", "+00:00", text.strip())  # which fromisoformat takes from Python 3.11 on
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
        except (TypeError, ValueError, IndexError, OverflowError):
            pass
    return None


def plan(
    verdict: Verdict, attempts: int, schedule: tuple[float, ...], healthy: bool, now: float, failures: int = 0
) -> Settlement:
    """Return what becomes of a delivery.

    Args:
        attempts: attempts that counted before this one.
        schedule: seconds before each retry; after the last one the delivery is dead.
        healthy: whether its endpoint is; failures of one that is not use up nobody's retries.
        now: epoch seconds.
        failures: of the endpoint in a row, this one included. If no other delivery succeeded since the first attempt at
            this one, it is the endpoint, and a short schedule is no reason to give up.
    """
    outcome, reason = verdict.outcome, verdict.reason
    if outcome is Outcome.DELIVERED:
        return Settlement(State.DELIVERED, reason, now, counts=True)
    if outcome is Outcome.DEAD:
        return Settlement(State.DEAD, reason, now, counts=True)
    if outcome in (Outcome.HOLD, Outcome.DISABLE) or not healthy:
        return Settlement(State.WAITING, reason, now, counts=False)
    alone = attempts >= len(schedule) and failures <= attempts
    if alone or not schedule:
        return Settlement(State.DEAD, f"retries_exhausted: {reason}", now, counts=True)
    wait = max(schedule[min(attempts, len(schedule) - 1)] * (1 + random.uniform(0, JITTER)), verdict.wait or 0.0)  # noqa: S311
    return Settlement(State.WAITING, reason, now + wait, counts=True)
