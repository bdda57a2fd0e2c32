"""The gelf format: messages in the Graylog Extended Log Format 1.1 for an HTTP input, POST /gelf, one in a request.

https://go2docs.graylog.org (GELF) has its rules: seconds with decimals, additional fields that begin with an underscore
and are texts or numbers, never `_id`. Graylog answers 202 before it reads a message, so each one must be right. Nothing
is masked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery
from sfwebhooks.formats.content import Content, epoch_seconds
from sfwebhooks.formats.ecs import one_line
from sfwebhooks.formats.format import Format
from sfwebhooks.jsontext import Stored, json_number, kept, written
from sfwebhooks.severity import Severity
from sfwebhooks.text import text_of

Json = dict[str, Any]

#: bytes of a text: Lucene, which stores them, takes at most 32,766 of a field that is not analysed
TEXT_MAX = 8000
#: characters of the name of a field, and fields of an event's data
NAME_MAX = 64
FIELDS_MAX = 100
#: bytes of a message; the texts are cut shorter until it fits
MESSAGE_MAX = 60_000
#: the levels of syslog (RFC 5424 section 6.2.1); without one Graylog takes 1, an alert
LEVEL = {Severity.CRITICAL: 2, Severity.HIGH: 3, Severity.MEDIUM: 4, Severity.LOW: 5, Severity.INFO: 6}


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the GELF message of a delivery."""
    limit = TEXT_MAX
    while True:
        body = written(gelf_message(delivery, endpoint, limit)).encode()
        if len(body) <= MESSAGE_MAX or limit < 8:
            return Content(body)
        limit //= 2


def gelf_message(delivery: Delivery, endpoint: Endpoint, limit: int = TEXT_MAX) -> Json:
    """Return the fields of a message.

    Args:
        limit: most bytes of a text.
    """
    event = delivery.event
    whole = dict(Stored(kept(event.data)))  # without NaN, as the outbox has them
    full = cut_bytes(text_of(whole, "data"), limit)
    scan = event.scan
    ours = {
        "_event_type": delivery.name,
        "_event_id": event.id,
        "_delivery_id": delivery.id,
        "_series": delivery.series,
        "_sequence": delivery.sequence,
        "_endpoint": cut_bytes(endpoint.name, limit),
        "_severity": event.severity.label,
        **(
            {"_scan_name": cut_bytes(scan.name, limit), "_scanner_version": cut_bytes(scan.version, limit)}
            if scan
            else {}
        ),
        **({"_link": endpoint.link(scan)} if endpoint.link(scan) else {}),
        **({"_backfilled": "true"} if delivery.backfilled else {}),
    }
    metadata = ((f"metadata_{key}", value) for key, value in endpoint.metadata.items())
    others = dict(_fields([*metadata, *((_renamed(key), value) for key, value in whole.items())], limit))
    return {
        "version": "1.1",
        "host": "spiderfoot",
        "short_message": one_line(event),
        **({"full_message": full} if full.strip() else {}),
        "timestamp": epoch_seconds(event.at),
        "level": LEVEL[event.severity],
        **others,
        **{key: value for key, value in ours.items() if value != ""},
    }


def _renamed(key: str) -> str:
    """Return the name of a field for a key of the data: the fields of these two have what the message is and where it
    goes."""
    return {"event_type": "finding_type", "endpoint": "about_endpoint"}.get(key, key)


def _fields(pairs: list[tuple[str, Any]], limit: int) -> Iterator[tuple[str, Any]]:
    """Yield additional fields; lists and objects are JSON."""
    for key, value in pairs[:FIELDS_MAX]:
        name = "".join(one if one.isascii() and (one.isalnum() or one in "_.-") else "_" for one in key[:NAME_MAX])
        if value is None or value == "" or name in ("", "id", "data"):
            continue
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and abs(value) < 2**63
        ):
            yield f"_{name}", json_number(str(value)) if isinstance(value, float) else value
        else:
            yield f"_{name}", cut_bytes(value if isinstance(value, str) else _as_json(value), limit)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cut_bytes(text: str, limit: int) -> str:
    """Return the beginning of a text that has at most `limit` bytes in UTF-8."""
    start = text[:limit].encode("utf-8", "replace")
    return start[:limit].decode("utf-8", "ignore") if len(start) > limit else text[:limit]


FORMAT = Format(render)
