"""The splunk_hec format: events for Splunk's HTTP Event Collector (HEC), POST /services/collector/event.

The event is that of the format `siem`, in HEC's envelope; several are written one after the other. An answer has a code
of its own, which counts more than its status: a proxy may have changed that. For the codes see
https://help.splunk.com (HTTP Event Collector REST API endpoints, and troubleshooting).

With a channel (`splunk_channel`), events are delivered once Splunk says that they are on its disks: HEC gives a request
an id, and is then asked for it (acknowledgement). After minutes without one the events go again. If the
question is refused, the endpoint is held, and the events are kept.

If HEC refuses an event, it names its position. Not all receivers have then stored the events in front of it, so all
other events go again: better a second copy with the same event_id than none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.content import Content, epoch_seconds, lines, sized
from sfwebhooks.formats.format import Format, Key, Reading
from sfwebhooks.formats.replies import json_of
from sfwebhooks.formats.siem import siem_event
from sfwebhooks.jsontext import written
from sfwebhooks.retry import RETRY_STATUS

TEXT = (r"[^\x00-\x1f]{1,128}", "a text of up to 128 characters in one line")
INDEX = Key(
    "splunk_index",
    "index to write to, one that the token allows (the token's default)",
    r"[a-z0-9_-]{1,80}",
    "the name of an index: a-z, 0-9, _ and -",
)
SOURCETYPE = Key("splunk_sourcetype", "source type of the events (spiderfoot:event)", *TEXT)
SOURCE = Key("splunk_source", "source of the events (spiderfoot)", *TEXT)
CHANNEL = Key(
    "splunk_channel",
    "channel for acknowledgement by the indexers, any UUID of your own; only for tokens with useACK (none)",
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "a UUID such as 0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba",
)
CHANNEL_HEADER = "X-Splunk-Request-Channel"
COLLECTOR = "/services/collector"
#: seconds to wait before asking for an acknowledgement, each time; then the events go again
ACK_WAITS = (1.0, 2.0, 5.0, 10.0, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0)
#: upper bound of the bytes of the envelope and of the siem event beyond a generic message
SURPLUS = 2400
#: codes of answers that concern the token or the settings of the receiver -> reason
WRONG_SETTINGS = {
    1: "hec_token_disabled",
    2: "hec_token_missing",
    3: "hec_authorization_invalid",
    4: "hec_token_invalid",
    7: "hec_index_incorrect",
    10: "hec_channel_missing",
    11: "hec_channel_invalid",
    14: "hec_ack_disabled",
    16: "hec_query_token_disabled",
}
#: of answers that concern one event -> reason
WRONG_EVENT = {
    6: "hec_invalid_data",
    12: "hec_event_missing",
    13: "hec_event_blank",
    15: "hec_indexed_fields",
}
#: of answers after which it may work later -> reason
LATER = {8: "hec_internal_error", 9: "hec_busy"}
#: of a question for an acknowledgement that is refused, or answered by something else
NO_ANSWER = Verdict(Outcome.HOLD, "hec_ack_unavailable")


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the envelope of a delivery, in a line."""
    event = delivery.event
    about = {
        "time": epoch_seconds(event.at),
        "source": endpoint.key(SOURCE.name) or "spiderfoot",
        "sourcetype": endpoint.key(SOURCETYPE.name) or "spiderfoot:event",
        **({"index": endpoint.key(INDEX.name)} if endpoint.key(INDEX.name) else {}),
    }
    fields = {"event_type": delivery.name, "severity": event.severity.label, "event_id": event.id}
    if event.scan:
        fields["scan_id"] = event.scan.id
    before, after = f'{written(about)[:-1]},"event":', f',"fields":{written(fields)}}}\n'
    content = sized(siem_event(delivery, endpoint), endpoint, "raw_data", before.encode(), after.encode())
    return _in_channel(content, endpoint)


def follow(batch: Batch, endpoint: Endpoint, handle: str) -> Content:
    """Return the request that asks for the acknowledgement of an earlier one."""
    url, number = urlsplit(endpoint.url.reveal()), handle.partition("/")[0]
    before, found, _ = url.path.partition(COLLECTOR)
    path = f"{before}{found}/ack" if found else "ack"
    asked = Content(written({"acks": [int(number)]}).encode(), path=f"{path}?{url.query}" if url.query else path)
    return _in_channel(asked, endpoint)


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of a URL; receivers other than Splunk have paths of their own."""
    if path.strip("/") and not path.rstrip("/").endswith("/raw"):
        return ""
    return f"must end in {COLLECTOR}/event, such as https://HOST:8088{COLLECTOR}/event"


def _in_channel(content: Content, endpoint: Endpoint) -> Content:
    channel = endpoint.key(CHANNEL.name)
    return replace(content, headers={**content.headers, CHANNEL_HEADER: channel}) if channel else content


def read(reply: Reply, batch: Batch) -> Reading:
    """Return the verdict of the code in an answer, one on each event, or what is known of an acknowledgement."""
    if reply.failure:
        return None
    answer, is_success = json_of(reply), 200 <= (reply.status or 0) < 300
    handle, code = batch.deliveries[0].handle, answer.get("code")
    code = code if type(code) is int else None
    if code in WRONG_SETTINGS:
        return Verdict(Outcome.HOLD, WRONG_SETTINGS[code])
    if is_success and code in LATER:
        return Verdict(Outcome.RETRY, LATER[code])
    if handle:
        return _acknowledged(reply, answer.get("acks"), handle.value)
    if code is None:
        return Verdict(Outcome.HOLD, "http_200_but_not_hec") if is_success else None
    if code in WRONG_EVENT:
        return _refused(answer, WRONG_EVENT[code], batch)
    if not is_success:
        return None
    if code:
        return Verdict(Outcome.HOLD, f"hec_{code}")
    number = answer.get("ackId")
    return _pending(str(number), 0) if type(number) is int else Verdict(Outcome.DELIVERED, "http_200")


def _acknowledged(reply: Reply, acks: object, handle: str) -> Verdict | None:
    """Return the verdict of a reply to the question for an acknowledgement. A refusal is about the question: the events
    were accepted before.

    Args:
        acks: the answer: id -> whether it is acknowledged.
        handle: the id, and how often it was asked for so far.
    """
    if reply.status != 200 or not isinstance(acks, dict):
        return None if reply.status in RETRY_STATUS or (reply.status or 0) >= 500 else NO_ANSWER
    number, asked = handle.split("/")
    if acks.get(number) is True:  # HEC forgets an id once it has said so
        return Verdict(Outcome.DELIVERED, "hec_acknowledged", handle="")
    if int(asked) + 1 >= len(ACK_WAITS):
        return Verdict(Outcome.RETRY, "hec_not_acknowledged", handle="")
    return _pending(number, int(asked) + 1)


def _pending(number: str, asked: int) -> Verdict:
    return Verdict(Outcome.PENDING, "hec_pending", ACK_WAITS[asked], handle=f"{number}/{asked}")


def _refused(answer: dict[str, Any], reason: str, batch: Batch) -> Reading:
    """Return the verdicts if HEC refused one event.

    If it is the first one, all may be refused: the request is split as if its position was not known.
    """
    refused, number = Verdict(Outcome.REFUSED, reason), answer.get("invalid-event-number")
    if not isinstance(number, int) or not 0 < number < len(batch.deliveries):
        return refused
    return [refused if at == number else Verdict(Outcome.SKIPPED, reason) for at in range(len(batch.deliveries))]


FORMAT = Format(
    render,
    join=lines,
    read=read,
    follow=follow,
    keys=(INDEX, SOURCETYPE, SOURCE, CHANNEL),
    scheme="Splunk",
    wrong_path=wrong_path,
    surplus=lambda common: SURPLUS,
)
