"""Values as people read them: names, durations, texts from outside in a form that cannot mislead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sfwebhooks.events import clean_text, printable

#: lines and columns, of which a chat has some
LAYOUT = re.compile("([\n\t])")
ABBREVIATIONS = {"id": "ID", "ids": "IDs", "url": "URL", "pr": "PR", "cti": "CTI"}


def duration(value: Any) -> str:
    """Return seconds in the two largest units, such as 1 h 5 min."""
    if not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return ""
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((at for at, (number, _) in enumerate(units) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number) or "0 s"


def numbers(value: Any) -> dict[str, int]:
    """Return what of a value is names with numbers."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {key: number for key, number in pairs if isinstance(number, int)}


def counted(value: Any) -> str:
    """Return names with numbers as 1 critical, 4 high; without those of which there are none."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers(value).items() if number)


def simple(value: Any) -> str:
    """Return a text, a number or a truth value for people; nothing for anything else, which might hold a secret."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, (str, int, float)) else ""


def text_of(data: Mapping[str, Any], key: str) -> str:
    """Return a value as text, nothing if it is absent or no simple one."""
    return simple(data.get(key))


def people(name: str) -> str:
    """Return the name of an event or of a key in people's words: high_risk_event is "High risk event"."""
    text = " ".join(ABBREVIATIONS.get(word, word) for word in re.split(r"[_.\s]+", name) if word)
    return text[:1].upper() + text[1:]


def in_line(text: str, limit: int) -> str:
    """Return a text in one line of at most `limit` characters."""
    start = text.strip()[: 4 * limit]
    line = " ".join(start.split())
    return line if len(line) <= limit and len(start) < 4 * limit else line[: limit - 1] + "…"


def readable(value: Any) -> Any:
    """Return data with nothing in its texts that a person cannot see or a JSON reader refuses, without host's marks."""
    if isinstance(value, str):
        lines = clean_text(value).replace("\r\n", "\n").replace("\r", "\n")
        text = "".join(part if part in "\n\t" else printable(part) for part in LAYOUT.split(lines))
        return text.replace("<SFURL>", "").replace("</SFURL>", "")
    if isinstance(value, Mapping):
        return {readable(str(key)): readable(item) for key, item in value.items()}
    return [readable(item) for item in value] if isinstance(value, (list, tuple)) else value
