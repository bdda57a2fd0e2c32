"""The cloudevents format: CloudEvents 1.0 over HTTP, structured, batched, or binary with `ce-` headers.

https://github.com/cloudevents/spec has the rules: `cloudevents/spec.md`, `bindings/http-protocol-binding.md` and
`http-webhook.md`. The data are the message of the format `generic`. An event's id and source are the same for each
endpoint and each attempt, so a broker that receives it twice recognises it. Nothing is masked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import ALIASES, Endpoint
from sfwebhooks.events import Batch, Delivery, printable, timestamp
from sfwebhooks.formats import generic
from sfwebhooks.formats.content import Content, array, sized
from sfwebhooks.formats.format import Consent, Format, Handshake, Key, Reading
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
#: says who we are in the handshake (`http-webhook.md` section 4) and in each message
ORIGIN = "WebHook-Request-Origin"
DEFAULT_SOURCE, DEFAULT_ORIGIN = "/spiderfoot", "spiderfoot"
HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
#: a rate in requests per minute
RATE = re.compile("[1-9][0-9]{0,8}")
#: characters of a receiver's header that are shown
HEADER_MAX = 100
#: the attribute that is the header Content-Type in a binary message
CONTENT_TYPE = "datacontenttype"
#: in front of an event's dotted name; the spec asks for the reverse name of a domain
TYPE_PREFIX = "net.spiderfoot."
STRUCTURED = "application/cloudevents+json; charset=utf-8"
BATCHED = "application/cloudevents-batch+json; charset=utf-8"
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
        headers |= {"Content-Type": named[CONTENT_TYPE], ORIGIN: origin_of(named["source"])}
        return replace(sized(message, endpoint), headers=headers)
    before = f'{written(named)[:-1]},"data":'
    headers = {"Content-Type": STRUCTURED, ORIGIN: origin_of(named["source"])}
    return replace(sized(message, endpoint, before=before.encode(), after=b"}"), headers=headers)


def attributes(delivery: Delivery, endpoint: Endpoint) -> dict[str, str]:
    """Return the attributes of a delivery's event; those after `datacontenttype` are extensions."""
    event, scan = delivery.event, delivery.event.scan
    found = {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": source_of(endpoint),
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


def source_of(endpoint: Endpoint) -> str:
    """Return the source of an endpoint's events."""
    return endpoint.key(SOURCE.name) or quote(endpoint.ui_url, safe=OF_URIS)[:SOURCE_MAX] or DEFAULT_SOURCE


@lru_cache(maxsize=64)
def origin_of(source: str) -> str:
    """Return the name by which receivers know a source: its host."""
    try:
        host = unquote(urlsplit(source).hostname or "").encode("idna").decode()
    except ValueError:  # such as http://[x/, or a label that is too long
        return DEFAULT_ORIGIN
    return host if HOST.fullmatch(host) else DEFAULT_ORIGIN


def _shown(text: str) -> str:
    """Return a text without the characters that the spec forbids in attributes, in one line."""
    return printable(in_line(text, ATTRIBUTE_MAX))


def join(messages: Sequence[Content]) -> Content:
    """Return several events as a batch, which the spec allows only to a receiver that asked for it."""
    return replace(array(messages), headers={**messages[0].headers, "Content-Type": BATCHED})


def read(reply: Reply, batch: Batch) -> Reading:
    """Return the verdict on a reply that says that the receiver does not know this way of writing events (415)."""
    return Verdict(Outcome.HOLD, "http_415") if reply.status == 415 else None


def ask(endpoint: Endpoint) -> Content:
    """Return the request for the receiver's permission, at the endpoint's rate."""
    headers = {ORIGIN: origin_of(source_of(endpoint))}
    if endpoint.interval:
        headers["WebHook-Request-Rate"] = str(math.ceil(60 / endpoint.interval))
    return Content(b"", headers, "OPTIONS")


def consent(reply: Reply, endpoint: Endpoint) -> Consent:
    """Return what a reply allows, whatever its status (section 4.2); not to answer is the receiver's choice."""
    ours, allowed = origin_of(source_of(endpoint)), in_line(reply.headers.get("WebHook-Allowed-Origin", ""), HEADER_MAX)
    if reply.failure:
        return Consent(f"no answer, {reply.failure.value}")
    if not allowed:
        return Consent(
            f"the receiver does not answer it (http_{reply.status}), which is its choice: messages are sent all the"
            f" same. If it is to allow senders, let it answer OPTIONS with WebHook-Allowed-Origin: {ours}"
        )
    if allowed != "*" and allowed.lower() != ours.lower():
        return Consent(
            f"the receiver allows messages from {allowed}, not from {ours}: allow {ours} there, or set"
            " cloudevents_source to a URI whose host is allowed",
            False,
        )
    return Consent(f"the receiver allows messages from {allowed}{_rate_in(reply, endpoint)}", True)


def _rate_in(reply: Reply, endpoint: Endpoint) -> str:
    """Return the rate that a receiver allows, in words to be put after its permission."""
    text = reply.headers.get("WebHook-Allowed-Rate", "").strip()
    ours = 60 / endpoint.interval if endpoint.interval else math.inf
    if text == "*":
        return " at any rate"
    if not RATE.fullmatch(text):
        return "" if math.isinf(ours) else ", but names no rate"
    slower = f": set rate = {text}/m, or it may answer 429" if int(text) < ours else ""
    return f", {text} requests a minute{slower}"


FORMAT = Format(
    render,
    join=join,
    read=read,
    handshake=Handshake(ask, consent),
    keys=(MODE, SOURCE),
    surplus=lambda common: SURPLUS,
    is_whole=True,
)
