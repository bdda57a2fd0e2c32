"""The cef format: lines of the Common Event Format, as ArcSight and many SIEMs read it.

CEF:0|vendor|product|version|class|name|severity|key=value key=value. The header and the values have different escapes:
a header escapes the backslash and the pipe, a value the backslash, the equals sign and the line break. Names and sizes
of keys are those of OpenText's implementation guide. There is no rule for CEF over HTTP: a line for each event, without
the prefix of syslog. Nothing is masked.
"""

from __future__ import annotations

from collections.abc import Iterator

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import FIRST_SECOND, LAST_SECOND, Delivery, WebhookEvent
from sfwebhooks.formats.content import Content, lines
from sfwebhooks.formats.cutting import fit
from sfwebhooks.formats.ecs import entity_of
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.log_line import (
    LEVEL,
    VALUE_MAX,
    class_name,
    cve_of,
    event_class,
    line_content,
    line_metadata,
    line_surplus,
    target_of,
    words_of,
)
from sfwebhooks.text import in_line, readable, text_of

#: characters of the header's version and name
VERSION_MAX = 31
NAME_MAX = 512


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the line of a delivery."""
    return line_content(lambda limit: cef_line(delivery, endpoint, limit))


def cef_line(delivery: Delivery, endpoint: Endpoint, limit: int = VALUE_MAX) -> str:
    """Return the line of a delivery without its line break.

    Args:
        limit: most characters of a value.
    """
    event = delivery.event
    version = in_line(readable(event.scan.version if event.scan else ""), VERSION_MAX)
    head = (
        "CEF:0",
        "SpiderFoot",
        "SpiderFoot",
        fit(version or "unknown", VERSION_MAX, escaped_header),
        event_class(event),
        fit(class_name(event), min(limit, NAME_MAX), escaped_header),
        str(LEVEL[event.severity]),
    )
    pairs = ((key, fit(_plain(text), limit, escaped_value)) for key, text in _pairs(delivery, endpoint))
    return "|".join((*head, " ".join(f"{key}={value}" for key, value in pairs if value)))


def escaped_header(text: str) -> str:
    """Return a text as a field of the header has it."""
    return text.replace("\\", "\\\\").replace("|", "\\|")


def escaped_value(text: str) -> str:
    """Return a text as a value of the extension has it."""
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n")


def _plain(text: str) -> str:
    """Return a text without invisible characters and without spaces at its ends, which would be lost."""
    return str(readable(text[: 4 * VALUE_MAX])).replace("\t", " ").strip()


def _pairs(delivery: Delivery, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of the extension."""
    event, scan = delivery.event, delivery.event.scan
    yield "rt", str(int(min(max(event.at, FIRST_SECOND), LAST_SECOND) * 1000))
    yield "externalId", event.id
    yield "cat", delivery.name
    yield "msg", words_of(event)
    yield from _subject(event)
    for number, (label, text) in enumerate(
        (
            ("Target", target_of(delivery)),
            ("Scan ID", scan.id if scan else ""),
            ("Scan name", scan.name if scan else ""),
            ("Module", text_of(event.data, "module")),
            ("CVE", cve_of(event)),
            ("Rule", text_of(event.data, "rule_id")),
        ),
        1,
    ):
        yield from _labelled(f"cs{number}", label, text)
    yield from _labelled("cn1", "Sequence", str(delivery.sequence))
    yield from _labelled("cn2", "Backfilled", "1" if delivery.backfilled else "")
    yield from _labelled("flexString1", "Delivery ID", delivery.id)
    yield from _labelled("flexString2", "Link", endpoint.link(scan))
    yield from line_metadata(endpoint).items()


def _labelled(key: str, label: str, text: str) -> Iterator[tuple[str, str]]:
    if _plain(text):
        yield f"{key}Label", label
        yield key, text


def _subject(event: WebhookEvent) -> Iterator[tuple[str, str]]:
    """Yield what a finding is about; `dst` is for IPv4 addresses only."""
    entity = entity_of(event.data)
    if not entity:
        return
    if entity.kind in ("ip", "port"):
        address, _, port = entity.value.partition(" ")
        if ":" in address:
            yield from _labelled("c6a3", "Destination IPv6 Address", address)
        else:
            yield "dst", address
        yield "dpt", port
        return
    yield {"host": "dhost", "email": "duser", "url": "request"}[entity.kind], entity.value


FORMAT = Format(render, join=lines, surplus=line_surplus)
