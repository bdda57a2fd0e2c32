"""Clocks that are off: the times of a sender, its receiver and this machine come in, an explanation goes out."""

from __future__ import annotations

import re

from sfwebhooks.receive.verification import TOLERANCE_SECONDS
from sfwebhooks.text import duration, moment

#: smallest whole number that is taken for a unit, the unit, and how many of it are a second
UNITS = ((10**17, "nanoseconds", 10**9), (10**14, "microseconds", 10**6), (10**11, "milliseconds", 10**3))
HALF_HOUR = 1800
#: seconds off a whole half hour that still look like a time zone
ZONE_SLACK = 60


def clock_words(stamp: str, at: float | None, now: float) -> tuple[bool, str]:
    """Return whether a timestamp is within the tolerance, and an explanation of which clock is off if it is not.

    Args:
        stamp: as received.
        at: epoch seconds by the receiver's clock when it arrived, or None if it was not recorded.
        now: epoch seconds by this machine's clock.
    """
    if not (stamp.isascii() and stamp.isdigit()):
        return False, f"is not in whole seconds{_hint(stamp)}"
    if len(stamp) > 20:
        return False, "is not a time: it has more than 20 digits"
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
    """Return whose clock is off, as far as the three times show."""
    if at is None:
        if sent_at > now:
            return "the sender's clock is ahead, or this one is behind"
        return (
            "if the request arrived then, pass that time with --now; otherwise it is a replay, or the sender's clock is"
            " behind"
        )
    if at > now + TOLERANCE_SECONDS:
        return f"the receiver's clock is ahead, by at least {duration(at - now)}: its time is still in the future here"
    if sent_at > now + TOLERANCE_SECONDS:
        return (
            f"the sender's clock is ahead, by at least {duration(sent_at - now)}: its time is still in the future here"
        )
    if sent_at > at:
        return "no delay explains this: the sender's clock is ahead, or the receiver's is behind"
    return (
        "the receiver's clock is ahead, the sender's is behind, or the request was held up or replayed on the way "
        "(sfwebhooks gives each attempt a new timestamp)"
    )


def _zone(age: float) -> str:
    halves = round(abs(age) / HALF_HOUR)
    if not 1 <= halves <= 28 or abs(abs(age) - halves * HALF_HOUR) > ZONE_SLACK:
        return ""
    return f"; almost exactly {duration(halves * HALF_HOUR)}, as if a local time was taken for UTC"


def _hint(stamp: str) -> str:
    if re.fullmatch(r"\d{1,12}\.\d+", stamp, re.ASCII):
        return ": it has a fraction"
    if re.match(r"\d{4}-\d\d-\d\d|[A-Z][a-z]{2}, \d", stamp, re.ASCII):
        return ": it is a date, not epoch seconds"
    return ""
