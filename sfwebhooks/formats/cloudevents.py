"""The cloudevents format: CloudEvents 1.0 over HTTP, structured, batched, or binary with `ce-` headers.

https://github.com/cloudevents/spec has the rules: `cloudevents/spec.md`, `bindings/http-protocol-binding.md` and
`http-webhook.md`. The data are the message of the format `generic`. An event's id and source are the same for each
endpoint and each attempt, so a broker that receives it twice recognises it. Nothing is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import ALIASES, Endpoint
from sfwebhooks.events import Batch, Delivery, printable, timestamp
from sfwebhooks.formats import generic
from sfwebhooks.formats.content import Content, array, sized
from sfwebhooks.formats.format import Format, Key, Reading
from sfwebhooks.jsontext import written
from sfwebhooks.text import in_line, text_of

MODE = Key(
    "cloudevents_mode",
    "structured: an event is a JSON object; binary: its attributes are headers, its data the body",
    r"structured|binary",
    "structured or binary",
)
SOURCE = Key(
    "cloudevents_source",
    "source of the events (`ui_url`, or /spiderfoot)",
    r"[!#-;=?-\[\]_a-z~]{1,200}",
    "a URI, such as https://spiderfoot.example.com or /spiderfoot",
)
SPEC_VERSION = "1.0"
#: the attribute that is the header Content-Type in a binary message
CONTENT_TYPE = "datacontenttype"
#: in front of an event's dotted name; the spec asks for the reverse name of a domain
TYPE_PREFIX = "net.spiderfoot."
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
BATCHED = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
#: characters of an attribute, and of a source from the settings
ATTRIBUTE_MAX = 128
SOURCE_MAX = 200
#: characters of headers that are not percent-encoded: U+0021 to U+007E without the quotation mark and the percent sign
PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
#: characters of a URI-reference, whose other ones are percent-encoded
OF_URIS = "!#$%&'()*+,/:;=?@[]~"
#: upper bound of the bytes of the attributes
SURPLUS = 1600


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the event of a delivery; only one that goes alone can be binary."""
    named, message = attributes(delivery, endpoint), generic.message(delivery, endpoint)
    if endpoint.key(MODE.name) == "binary" and endpoint.batch_size == 1:
        headers = {f"ce-{name}": quote(value, safe=PLAIN) for name, value in named.items() if name != CONTENT_TYPE}
        return replace(sized(message, endpoint), headers={**headers, "Content-Type": named[CONTENT_TYPE]})
    before = f'{written(named)[:-1]},"data":'
    return replace(sized(message, endpoint, before=before.encode(), after=b"}"), headers=STRUCTURED)


def attributes(delivery: Delivery, endpoint: Endpoint) -> dict[str, str]:
    """Return the attributes of a delivery's event; those after `datacontenttype` are extensions."""
    event, scan = delivery.event, delivery.event.scan
    found = {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": endpoint.key(SOURCE.name) or quote(endpoint.ui_url, safe=OF_URIS)[:SOURCE_MAX] or "/spiderfoot",
        "type": TYPE_PREFIX + ALIASES.get(delivery.name, delivery.name),
        "subject": _shown(scan.target if scan else text_of(event.data, "target")),
        "time": timestamp(event.at),
        CONTENT_TYPE: "application/json",
        "severity": event.severity.label,
        "scanid": _shown(scan.id if scan else ""),
        "deliveryid": delivery.id,
        "backfilled": "true" if delivery.backfilled else "",
    }
    return {name: value for name, value in found.items() if value}


def _shown(text: str) -> str:
    """Return a text without the characters that the spec forbids in attributes, in one line."""
    return printable(in_line(text, ATTRIBUTE_MAX))


def join(messages: Sequence[Content]) -> Content:
    """Return several events as a batch, which the spec allows only to a receiver that asked for it."""
    return replace(array(messages), headers=BATCHED)


def read(reply: Reply, batch: Batch) -> Reading:
    """Return the verdict on a reply that says that the receiver does not know this way of writing events (415)."""
    return Verdict(Outcome.HOLD, "http_415") if reply.status == 415 else None


FORMAT = Format(
    render,
    join=join,
    read=read,
    keys=(MODE, SOURCE),
    surplus=lambda common: SURPLUS,
)
