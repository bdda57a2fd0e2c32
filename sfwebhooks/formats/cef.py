"""The cef format: lines of the Common Event Format, as ArcSight and many SIEMs read it.

CEF:0|vendor|product|version|class|name|severity|key=value key=value. The header and the values have different escapes:
a header escapes the backslash and the pipe, a value the backslash, the equals sign and the line break. Names and sizes
of keys are those of OpenText's implementation guide. There is no rule for CEF over HTTP: a line for each event, without
the prefix of syslog. Nothing is masked.
"""

from __future__ import annotations

from collections.abc import Iterator

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, WebhookEvent
from sfwebhooks.formats import log_line
from sfwebhooks.formats.content import Content, epoch_milliseconds, lines
from sfwebhooks.formats.ecs import entity_of
from sfwebhooks.formats.exploitation import exploitation_of
from sfwebhooks.formats.format import Format
from sfwebhooks.text import epoch_of, in_line, text_of

#: characters of the header's version and name
VERSION_MAX = 31
NAME_MAX = 512


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the line of a delivery."""
    return log_line.line_content(lambda limit: cef_line(delivery, endpoint, limit))


def cef_line(delivery: Delivery, endpoint: Endpoint, limit: int = log_line.VALUE_MAX) -> str:
    """Return the line of a delivery without its line break.

    Args:
        limit: most characters of a value.
    """
    event = delivery.event
    version = in_line(log_line.value_of(event.scan.version if event.scan else ""), VERSION_MAX)
    head = (
        "CEF:0",
        "SpiderFoot",
        "SpiderFoot",
        log_line.cut_value(version or "unknown", VERSION_MAX, escaped_header),
        log_line.event_class(event),
        log_line.cut_value(log_line.class_name(event), min(limit, NAME_MAX), escaped_header),
        str(log_line.LEVEL[event.severity]),
    )
    extension = []
    for key, label, text in _extension(delivery, endpoint):
        value = log_line.cut_value(log_line.value_of(text).replace("\t", " "), limit, escaped_value)
        if value:
            extension += [f"{key}Label={label}", f"{key}={value}"] if label else [f"{key}={value}"]
    return "|".join((*head, " ".join(extension)))


def escaped_header(text: str) -> str:
    """Return a text as a field of the header has it."""
    return text.replace("\\", "\\\\").replace("|", "\\|")


def escaped_value(text: str) -> str:
    """Return a text as a value of the extension has it."""
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n")


def _extension(delivery: Delivery, endpoint: Endpoint) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of the extension, the labels of custom ones, and their values, which may be empty."""
    event, scan, exploitation = delivery.event, delivery.event.scan, exploitation_of(delivery.event.data)
    yield "rt", "", str(epoch_milliseconds(event.at))
    yield "externalId", "", event.id
    yield "cat", "", delivery.name
    yield "msg", "", log_line.words_of(event)
    yield from _subject(event)
    yield "cs1", "Target", log_line.target_of(delivery)
    yield "cs2", "Scan ID", scan.id if scan else ""
    yield "cs3", "Scan name", scan.name if scan else ""
    yield "cs4", "Module", text_of(event.data, "module")
    yield "cs5", "CVE", log_line.cve_of(event)
    yield "cs6", "Rule", text_of(event.data, "rule_id")
    yield "cn1", "Sequence", str(delivery.sequence)
    yield "cn2", "Backfilled", "1" if delivery.backfilled else ""
    yield "cn3", "Known exploited", "1" if exploitation.is_known else ""
    yield "deviceCustomDate1", "KEV due date", _midnight(exploitation.due)
    yield "cfp1", "EPSS score", exploitation.score
    yield "cfp2", "EPSS percentile", exploitation.percentile
    yield "flexString1", "Delivery ID", delivery.id
    yield "flexString2", "Link", endpoint.link(scan)
    yield from ((key, "", value) for key, value in log_line.line_metadata(endpoint).items())


def _midnight(day: str) -> str:
    """Return the beginning of a day in UTC in epoch milliseconds, or nothing."""
    return str(epoch_milliseconds(epoch_of(day))) if day else ""


def _subject(event: WebhookEvent) -> Iterator[tuple[str, str, str]]:
    """Yield what a finding is about; `dst` is for IPv4 addresses only."""
    entity = entity_of(event.data)
    if not entity:
        return
    if entity.kind in ("ip", "port"):
        address, _, port = entity.value.partition(" ")
        yield ("c6a3", "Destination IPv6 Address", address) if ":" in address else ("dst", "", address)
        yield "dpt", "", port
        return
    yield {"host": "dhost", "email": "duser", "url": "request"}[entity.kind], "", entity.value


FORMAT = Format(render, join=lines, surplus=log_line.line_surplus)
