"""The leef format: lines of the Log Event Extended Format 2.0, as IBM QRadar reads it.

LEEF:2.0|vendor|product|version|event|x09|key=value<TAB>key=value. Nothing can be escaped, so that a character that
separates is replaced where it does not: the pipe in the header, the tab and the line break in values. A key that occurs
twice would lose a value. The keys that QRadar knows are those of IBM's guide of LEEF. Nothing is masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import FIRST_SECOND, LAST_SECOND, Delivery, WebhookEvent
from sfwebhooks.formats import log_line
from sfwebhooks.formats.content import Content, lines
from sfwebhooks.formats.ecs import entity_of
from sfwebhooks.formats.exploitation import exploitation_of
from sfwebhooks.formats.format import Format
from sfwebhooks.text import in_line, text_of

#: characters of the header's version
VERSION_MAX = 31
#: characters of usrName; a longer address, host or URL is cut and is whole in msg
SUBJECT_MAX = 255
#: names of months, which strftime writes in the language of the machine
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: the form of devTime, in the words of Java's SimpleDateFormat
TIME_FORMAT = "MMM dd yyyy HH:mm:ss.SSS z"


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the line of a delivery."""
    return log_line.line_content(lambda limit: leef_line(delivery, endpoint, limit))


def leef_line(delivery: Delivery, endpoint: Endpoint, limit: int = log_line.VALUE_MAX) -> str:
    """Return the line of a delivery without its line break.

    Args:
        limit: most characters of a value.
    """
    event = delivery.event
    version = _plain(event.scan.version if event.scan else "").replace("|", "/")
    head = (
        "LEEF:2.0",
        "SpiderFoot",
        "SpiderFoot",
        in_line(version, VERSION_MAX) or "unknown",
        log_line.event_class(event),
    )
    pairs = ((key, log_line.cut_value(_plain(text), limit)) for key, text in _pairs(delivery, endpoint))
    return "|".join((*head, "x09", "\t".join(f"{key}={value}" for key, value in pairs if value)))


def _plain(text: str) -> str:
    """Return a text in one line, without tabs and invisible characters."""
    return " ".join(log_line.value_of(text).split())


def _pairs(delivery: Delivery, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """Yield the keys and values, each key once."""
    event, scan, exploitation = delivery.event, delivery.event.scan, exploitation_of(delivery.event.data)
    yield "devTime", dev_time(event.at)
    yield "devTimeFormat", TIME_FORMAT
    yield "sev", str(log_line.LEVEL[event.severity])
    yield "cat", delivery.name
    yield "name", log_line.class_name(event)
    yield "msg", log_line.words_of(event)
    yield from _subject(event)
    yield "resource", log_line.target_of(delivery)
    yield "severity", event.severity.label
    yield "eventId", event.id
    yield "deliveryId", delivery.id
    yield "sequence", str(delivery.sequence)
    yield "backfilled", "true" if delivery.backfilled else ""
    yield "scanId", scan.id if scan else ""
    yield "scanName", scan.name if scan else ""
    yield "link", endpoint.link(scan)
    yield "module", text_of(event.data, "module")
    yield "cve", log_line.cve_of(event)
    yield "knownExploited", "true" if exploitation.is_known else ""
    yield "kevDueDate", exploitation.due
    yield "epssScore", exploitation.score
    yield "epssPercentile", exploitation.percentile
    yield "ruleId", text_of(event.data, "rule_id")
    yield from log_line.line_metadata(endpoint).items()


def dev_time(at: float) -> str:
    """Return epoch seconds in the form of TIME_FORMAT, in UTC."""
    time = datetime.fromtimestamp(min(max(at, FIRST_SECOND), LAST_SECOND), timezone.utc)
    milliseconds = time.microsecond // 1000
    return f"{MONTHS[time.month - 1]} {time.day:02d} {time.year:04d} {time:%H:%M:%S}.{milliseconds:03d} UTC"


def _subject(event: WebhookEvent) -> Iterator[tuple[str, str]]:
    """Yield what a finding is about."""
    entity = entity_of(event.data)
    if not entity:
        return
    if entity.kind in ("ip", "port"):
        address, _, port = entity.value.partition(" ")
        yield "dst", address
        yield "dstPort", port
        return
    yield {"host": "domain", "email": "usrName", "url": "url"}[entity.kind], entity.value[:SUBJECT_MAX]


FORMAT = Format(render, join=lines, surplus=log_line.line_surplus)
