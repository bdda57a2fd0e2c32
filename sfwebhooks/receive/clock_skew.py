"""Which clock is off: the time that a sender signed, the receiver's time and this machine's come in, words go out."""

from __future__ import annotations

import re

from sfwebhooks.signing import TOLERANCE_SECONDS
from sfwebhooks.text import duration, moment

#: what a whole number of this size or more is counted in, and how many of them are a second
UNITS = ((10**17, "nanoseconds", 10**9), (10**14, "microseconds", 10**6), (10**11, "milliseconds", 10**3))
HALF_HOUR = 1800
#: seconds beside a whole half hour that still look like a time zone
ZONE_SLACK = 60


def clock_words(stamp: str, at: float | None, now: float) -> tuple[bool, str]:
    """Say whether a timestamp is in the tolerance, and which clock is off if it is not.

    Args:
        stamp: as received.
        at: epoch seconds by the receiver's clock when it came, or None if nobody wrote it down.
        now: epoch seconds by this machine's clock.
    """
    if not (stamp.isascii() and stamp.isdigit()):
        return False, f"is not in whole seconds{_hint(stamp)}"
    if len(stamp) > 20:
        return False, "is no time: it has more than 20 digits"
    for least, unit, per_second in UNITS:
        if int(stamp) >= least:
            return False, f"is in {unit} ({moment(int(stamp) / per_second)}); it must be in whole seconds"
    sent_at = int(stamp)
    age = (now if at is None else at) - sent_at
    by = "this machine's clock" if at is None else "the receiver's clock"
    words = f"{moment(sent_at)}, {duration(abs(age))} {'before' if age >= 0 else 'after'} {by}"
    if abs(age) <= TOLERANCE_SECONDS:
        return True, words
    return False, f"{words} ({duration(TOLERANCE_SECONDS)} are allowed): {_cause(sent_at, at, now)}{_zone(age)}"


def _cause(sent_at: float, at: float | None, now: float) -> str:
    """Say whose clock it is, as far as the three times tell."""
    if at is None:
        if sent_at > now:
            return "the sender's clock is ahead, or this one is behind"
        return "if the request came then, say so with --now; else it is a replay, or the sender's clock is behind"
    if at > now + TOLERANCE_SECONDS:
        return (
            f"the receiver's clock is ahead, by at least {duration(at - now)}: it was later there than it is here now"
        )
    if sent_at > now + TOLERANCE_SECONDS:
        return f"the sender's clock is ahead, by at least {duration(sent_at - now)}: it was later there than now here"
    if sent_at > at:
        return "no delay explains this: the sender's clock is ahead, or the receiver's is behind"
    return (
        "the receiver's clock is ahead, the sender's is behind, or the request was held up or replayed on the way "
        "(sfwebhooks stamps each attempt anew)"
    )


def _zone(age: float) -> str:
    halves = round(abs(age) / HALF_HOUR)
    if not 1 <= halves <= 28 or abs(abs(age) - halves * HALF_HOUR) > ZONE_SLACK:
        return ""
    return f"; {duration(halves * HALF_HOUR)} almost exactly looks like a local time that was taken for UTC"


def _hint(stamp: str) -> str:
    if re.fullmatch(r"\d{1,12}\.\d+", stamp, re.ASCII):
        return ": it has a fraction"
    if re.match(r"\d{4}-\d\d-\d\d|[A-Z][a-z]{2}, \d", stamp, re.ASCII):
        return ": it is a date, not epoch seconds"
    return ""
