"""Texts for people: values come in; readable names, durations and texts that cannot mislead go out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sfwebhooks.events import clean_text, printable

#: line breaks and tabs, which chats support
LAYOUT = re.compile("([\n\t])")
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
#: seconds; a longer duration is garbage
DURATION_MAX = 1e12
ABBREVIATIONS = {"id": "ID", "ids": "IDs", "url": "URL", "pr": "PR", "cti": "CTI", "kev": "KEV", "epss": "EPSS"}


def duration(value: Any) -> str:
    """Return seconds in the two largest units, such as 1 h 5 min; empty for a value that is not a duration."""
    if not isinstance(value, (int, float)) or not 0 <= value < DURATION_MAX:
        return ""
    left, parts = round(value), []
    for unit, size in UNITS:
        count, left = divmod(left, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next((at for at, part in enumerate(parts) if part), len(parts) - 1)
    return " ".join(filter(None, parts[first : first + 2])) or "0 s"


def age(seconds: float) -> str:
    """Return seconds in the largest unit, rounded down, such as 2 h; a time in the future is 0 s."""
    return " ".join(duration(max(seconds, 0.0)).split(" ")[:2])


def brief_duration(seconds: float | None) -> str:
    """Return seconds in at most six characters, such as 41 ms, 0.41 s, 35 min or 9 d; empty for None."""
    if seconds is None or not seconds < DURATION_MAX:
        return ""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    for below, unit, size in ((120, "s", 1), (5970, "min", 60), (172800, "h", 3600)):
        if seconds < below:
            return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def epoch_of(text: str) -> float:
    """Return the epoch seconds of an ISO 8601 time, which is UTC unless it has an offset.

    Raises:
        ValueError: it is not an ISO 8601 time.
    """
    try:
        read = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))  # Z is accepted only from Python 3.11 on
        return (read if read.tzinfo else read.replace(tzinfo=timezone.utc)).timestamp()
    except OverflowError as error:
        raise ValueError(str(error)) from error


def moment(seconds: float) -> str:
    """Return epoch seconds as a date, or as a number if they are outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"


def numbers(value: Any) -> dict[str, int]:
    """Return the integer entries of a value that is a mapping; else empty."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {key: number for key, number in pairs if isinstance(number, int)}


def amount(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as 1 finding or 2,000 findings; the plural adds an s unless it is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def counted(value: Any) -> str:
    """Return names with their numbers, such as 1 critical, 4 high, without zeros."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers(value).items() if number)


def simple(value: Any) -> str:
    """Return a text, number or boolean for people; empty for other types, which might contain a secret."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, (str, int, float)) else ""


def text_of(data: Mapping[str, Any], key: str) -> str:
    """Return a value as text, empty if it is missing or not a simple one."""
    return simple(data.get(key))


def people(name: str) -> str:
    """Return the name of an event or of a key in plain words: high_risk_event is "High risk event"."""
    text = " ".join(ABBREVIATIONS.get(word, word) for word in re.split(r"[_.\s]+", name) if word)
    return text[:1].upper() + text[1:]


def in_line(text: str, limit: int) -> str:
    """Return a text in one line of at most `limit` characters."""
    start = text.strip()[: 4 * limit]
    line = " ".join(start.split())
    return line if len(line) <= limit and len(start) < 4 * limit else line[: limit - 1] + "…"


def readable(value: Any) -> Any:
    """Return data whose texts have no invisible characters, none that JSON readers refuse, and no marks of the host."""
    if isinstance(value, str):
        lines = clean_text(value).replace("\r\n", "\n").replace("\r", "\n")
        text = "".join(part if part in "\n\t" else printable(part) for part in LAYOUT.split(lines))
        return text.replace("<SFURL>", "").replace("</SFURL>", "")
    if isinstance(value, Mapping):
        return {readable(str(key)): readable(item) for key, item in value.items()}
    return [readable(item) for item in value] if isinstance(value, (list, tuple)) else value
