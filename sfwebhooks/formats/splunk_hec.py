"""The splunk_hec format: events for Splunk's HTTP Event Collector (HEC), POST /services/collector/event.

The event is that of the format `siem`, in HEC's envelope; several are written one after the other. An answer has a code
of its own, which counts more than its status: a proxy may have changed that. For the codes see
https://help.splunk.com (HTTP Event Collector REST API endpoints, and troubleshooting).

If HEC refuses an event, it names its position. Not all receivers have then stored the events in front of it, so all
other events go again: better a second copy with the same event_id than none.
"""

from __future__ import annotations

import json
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.content import Content, epoch_seconds, lines, sized
from sfwebhooks.formats.format import Format, Key, Reading
from sfwebhooks.formats.siem import siem_event
from sfwebhooks.jsontext import written

TEXT = (r"[^\x00-\x1f]{1,128}", "a text of up to 128 characters in one line")
INDEX = Key(
    "splunk_index",
    "index to write to, one that the token allows (the token's default)",
    r"[a-z0-9_-]{1,80}",
    "the name of an index: a-z, 0-9, _ and -",
)
SOURCETYPE = Key("splunk_sourcetype", "source type of the events (spiderfoot:event)", *TEXT)
SOURCE = Key("splunk_source", "source of the events (spiderfoot)", *TEXT)
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
    return sized(siem_event(delivery, endpoint), endpoint, "raw_data", before.encode(), after.encode())


def read(reply: Reply, batch: Batch) -> Reading:
    """Return the verdict of the code in an answer, or one on each event."""
    if reply.failure:
        return None
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError):
        answer = None
    code = answer.get("code") if isinstance(answer, dict) else None
    is_success = 200 <= (reply.status or 0) < 300
    if not isinstance(code, int) or isinstance(code, bool):
        return Verdict(Outcome.HOLD, "http_200_but_not_hec") if is_success else None
    if code in WRONG_SETTINGS:
        return Verdict(Outcome.HOLD, WRONG_SETTINGS[code])
    if code in WRONG_EVENT:
        return _refused(answer, WRONG_EVENT[code], batch)
    if not is_success:
        return None
    if code in LATER:
        return Verdict(Outcome.RETRY, LATER[code])
    return Verdict(Outcome.DELIVERED, "http_200") if code == 0 else Verdict(Outcome.HOLD, f"hec_{code}")


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
    keys=(INDEX, SOURCETYPE, SOURCE),
    scheme="Splunk",
    surplus=lambda common: SURPLUS,
)
