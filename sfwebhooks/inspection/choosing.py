"""The choice of deliveries: the texts of a command line or of a request come in, times and event types go out."""

from __future__ import annotations

import re
import time

from sfwebhooks.catalogue import type_named
from sfwebhooks.config.values import seconds
from sfwebhooks.events import clean_text
from sfwebhooks.text import epoch_of


def parsed_time(text: str) -> float:
    """Read a time: epoch seconds, or ISO 8601, in UTC unless it has an offset."""
    if re.fullmatch(r"\d{1,11}(\.\d+)?", text, re.ASCII):
        return float(text)
    try:
        return epoch_of(text)
    except ValueError as error:
        raise ValueError("expected epoch seconds, or a time such as 2026-11-21T10:00 (UTC)") from error


def past_time(text: str) -> float:
    """Read a time in the past as epoch seconds: a duration ago, or as `parsed_time` does."""
    try:
        return time.time() - seconds(text)
    except ValueError:
        pass
    try:
        return parsed_time(text)
    except ValueError as error:
        raise ValueError("expected a duration such as 2h or 7d, or a time such as 2026-11-21T10:00 (UTC)") from error


def event_type(text: str) -> str:
    """Read an event type; an alias becomes its name, under which deliveries are stored."""
    entry = type_named(text)
    return entry.name if entry else clean_text(text)
