"""Received requests for the terminal: a request comes in, lines for people or an object for programs go out."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.naming import naming_of
from sfwebhooks.receive.completeness import Account
from sfwebhooks.receive.received import Received
from sfwebhooks.terminal.output import plain
from sfwebhooks.text import in_line

#: characters of a value in a line
WORD = 200
#: characters of a chat's text, and values of an event, that are shown
TEXT_MAX = 2000
VALUES_SHOWN = 50
#: messages of a request that are shown: as many as a batch can have
MESSAGES_MAX = 1000


def print_request(received: Received, full: bool, out: Console) -> None:
    """Print a request by its body: the headers that repeat it are not signed."""
    naming, messages = naming_of(received.headers), received.messages
    again = f"  ({naming.replay}, not signed: sent again)" if naming.replay in received.headers else ""
    if len(messages) != 1:
        out.print(plain(f"{time_of_day(received.at)}  {len(messages)} messages{again}", "bold"))
    if received.is_crowded:
        out.print("  It has too many values to be shown.")
    for message in messages[:MESSAGES_MAX]:
        only = len(messages) == 1
        name = _word(message.get("event_type", "a message"))
        head = f"{time_of_day(received.at)}  {name}" if only else f"  {name}"
        _print_message(message, head, again if only else "", full, out)


def verdict_of(received: Received, checked: bool, repeat_of: float | None) -> Text:
    """Return the line about a request's signatures and its answer.

    Args:
        checked: whether a secret is known.
        repeat_of: when a delivery with this id was accepted before, or None.
    """
    client = f", client certificate of {received.client}" if received.client else ""
    guide = naming_of(received.headers).signature
    if received.problems:
        return plain("  NOT VERIFIED: " + "; ".join(received.problems) + client, "red")
    signed = any(name in received.headers for name in ("webhook-signature", guide))
    unknown = "signed, not verified: no secret given" if signed else "not signed"
    timeless = "" if "webhook-signature" in received.headers else f" by {guide} alone, which does not cover the time"
    answer = "" if received.taken else f", answered {received.answer} as asked"
    repeat = "" if repeat_of is None else f", repeat of {time_of_day(repeat_of)}"
    words = f"verified{timeless}" if checked else unknown
    return plain(f"  {words}{client}, {len(received.body)} bytes{repeat}{answer}", "green")


def as_object(
    received: Received, checked: bool, repeat_of: float | None, accounts: Sequence[Account]
) -> dict[str, Any]:
    """Return a request for programs; without its path and its other headers, which may be secrets.

    Args:
        checked: as for `verdict_of`.
        repeat_of: likewise.
        accounts: of the scans whose completeness the request changed.
    """
    name = received.message.get("event_type")
    return {
        "at": received.at,
        "source_ip": received.source,
        "status": received.answer,
        "verified": False if received.problems else True if checked else None,
        "problems": list(received.problems),
        "id": received.id,
        "repeat": repeat_of is not None,
        "event_type": name if isinstance(name, str) else None,
        "messages": len(received.messages),
        "client": received.client,
        "scans": [{"scan": one.scan, "complete": one.complete, "summary": str(one)} for one in accounts],
        **body_of(received),
    }


def body_of(received: Received) -> dict[str, str]:
    """Return a body as JSON can have it: as text, and exactly if it is not text."""
    text = received.body.decode("utf-8", "replace")
    if text.encode() == received.body:
        return {"body": text}
    return {"body": text, "body_base64": base64.b64encode(received.body).decode()}


def time_of_day(at: float) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _print_message(message: dict[str, Any], head: str, tail: str, full: bool, out: Console) -> None:
    data = message.get("raw_data", message.get("data"))
    data, metadata = (part if isinstance(part, dict) else {} for part in (data, message.get("metadata")))
    number = metadata.get("sequence", message.get("sequence"))
    severity = metadata.get("severity", message.get("severity_exact"))
    out.print(plain(head + (f" #{number}" if number else "") + f"  {_word(data.get('target', ''))}{tail}", "bold"))
    if full:
        for line in json.dumps(message, indent=2, ensure_ascii=False).split("\n"):
            out.print(plain(line), soft_wrap=True)
    elif "data" in data:
        words = [_word(value) for value in (severity, data.get("event_type"), data["data"]) if value not in (None, "")]
        out.print(plain(f"  {': '.join(words)}"))
    elif isinstance(message.get("text"), str):  # of a chat
        out.print(plain("  " + html.unescape(message["text"][:TEXT_MAX]).strip().partition("\n")[0]))
    elif data:
        shown = (item for item in data.items() if isinstance(item[1], (int, float, str)) and item[0] != "target")
        out.print(plain("  " + ", ".join(f"{_word(key)} {_word(value)}" for key, value in islice(shown, VALUES_SHOWN))))


def _word(value: Any) -> str:
    """Return a value as JSON, a text without its quotation marks, in one line."""
    start = value if isinstance(value, str) else "".join(islice(json.JSONEncoder().iterencode(value), 4 * WORD))
    return in_line(start, WORD)
