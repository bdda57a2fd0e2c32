"""What formats of one line for each event have in common: the class of an event, its words, and a limit for the line.

Such lines go to SIEMs that know them from syslog, so that a line must have no line break, and a long one is cut.
"""

from __future__ import annotations

import re
from typing import Callable

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, WebhookEvent
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import fit
from sfwebhooks.formats.ecs import CVE, failure, one_line
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line, people, readable, text_of

#: keys that say what happened, in order of preference
WORDS = ("data", "message", "error", "reason", "name")
PLAIN_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
#: bytes of a line with its line break; receivers of syslog often cut longer ones
LINE_MAX = 8000
#: characters of a value; all are cut shorter until the line fits
VALUE_MAX = 1000
#: characters of the class of an event, and of a key that comes from `metadata.NAME`
CLASS_MAX = 64
KEY_MAX = 32
#: keys from `metadata.NAME`
METADATA_MAX = 20
#: on the scale of both formats, which ends at 10
LEVEL = {Severity.CRITICAL: 10, Severity.HIGH: 8, Severity.MEDIUM: 5, Severity.LOW: 3, Severity.INFO: 1}


def line_content(line: Callable[[int], str]) -> Content:
    """Return a line with its line break as the message.

    Args:
        line: makes it with values of at most that many characters.
    """
    limit = VALUE_MAX
    while True:
        body = line(limit).encode() + b"\n"
        if len(body) <= LINE_MAX or limit < 8:
            return Content(body, PLAIN_TEXT)
        limit //= 2


def value_of(text: str) -> str:
    """Return a text without invisible characters and without blanks at its ends, which readers of lines drop."""
    if text.isascii() and text.isprintable() and "<" not in text:  # as most values are
        return text.strip()
    return str(readable(text[: 4 * VALUE_MAX])).strip()


def cut_value(text: str, limit: int, escaped: Callable[[str], str] = str) -> str:
    """Return a value as it is sent, within a limit of characters for what is sent; escaping at most doubles it."""
    return escaped(text) if 2 * len(text) <= limit else fit(text, limit, escaped)


def line_surplus(common: int) -> int:
    """Return what a line can have in addition to the bytes of an event; escaping at most doubles those."""
    return min(common + 1500, LINE_MAX - common)


def event_class(event: WebhookEvent) -> str:
    """Return the class of an event, such as VULNERABILITY_CVE_HIGH or SCAN_COMPLETED: A-Z, 0-9 and _ only."""
    for name in (text_of(event.data, "event_type")[: 4 * CLASS_MAX], event.type):
        found = re.sub("[^A-Z0-9]+", "_", name.upper()).strip("_")[:CLASS_MAX]
        if found:
            return found
    return "EVENT"


def class_name(event: WebhookEvent) -> str:
    """Return the name of the class for people, which is the same for all events of the class."""
    host_type = text_of(event.data, "event_type")
    name = text_of(event.data, "description") or host_type if host_type else people(event.type)
    return in_line(value_of(name), VALUE_MAX) or event_class(event)


def words_of(event: WebhookEvent) -> str:
    """Return what was found, or what happened."""
    title = value_of(text_of(event.data, "title"))
    texts = (failure(event.data) if key == "error" else text_of(event.data, key) for key in WORDS)
    words = next(filter(None, map(value_of, texts)), "")
    return ": ".join(filter(None, (title, words))) or one_line(event)


def line_metadata(endpoint: Endpoint) -> dict[str, str]:
    """Return the endpoint's metadata, with keys of letters and digits such as metaTeam."""
    found = {}
    for key, value in [*endpoint.metadata.items()][:METADATA_MAX]:
        name = "".join(part[:1].upper() + part[1:] for part in re.split("[^A-Za-z0-9]+", key))[:KEY_MAX]
        if name:
            found[f"meta{name}"] = value
    return found


def target_of(delivery: Delivery) -> str:
    """Return the target of the scan, or the one in the event's data."""
    scan = delivery.event.scan
    return scan.target if scan else text_of(delivery.event.data, "target")


def cve_of(event: WebhookEvent) -> str:
    """Return the CVE of a vulnerability, or nothing."""
    if not event_class(event).startswith("VULNERABILITY"):
        return ""
    found = CVE.search(text_of(event.data, "data")[:4096])
    return found[0] if found else ""
