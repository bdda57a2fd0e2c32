"""An endpoint's subscriptions, filters and form in words: an Endpoint comes in, pairs of a label and a text go out."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from sfwebhooks.delivery.pace import BURST, shared_pace
from sfwebhooks.delivery.status import pace
from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.endpoints import FINDINGS, SILENT, Endpoint
from sfwebhooks.events import WebhookEvent
from sfwebhooks.expressions import finder
from sfwebhooks.formats import redaction_of
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import RAW, is_chosen
from sfwebhooks.text import amount, duration, in_line, text_of

#: characters of the value of a key
VALUE = 100
#: filters on more of an event than its type and severity
CONTENTS = ("min_confidence", "modules", "targets", "data_match", "data_not_match")
#: filters on type and severity
KINDS = ("finding_types", "include_raw", "min_severity")


def filters_of(endpoint: Endpoint, *names: str) -> list[str]:
    """Return the filters of an endpoint as they are set, such as min_severity = high; of these keys only, if any are
    named."""
    return [
        f"{name} = {_value(getattr(endpoint, name))}"
        for name in names or (*KINDS, *CONTENTS, "only_if_changed")
        if getattr(endpoint, name) != getattr(Endpoint, name)
    ]


def newness_of(endpoint: Endpoint) -> str:
    """Return in words what an endpoint with only_new is sent; empty for another one."""
    if not endpoint.only_new:
        return ""
    first = "nothing" if endpoint.baseline == SILENT else "all"
    return f"only findings that no earlier scan of the target has; of a first scan {first}"


def profile_of(endpoint: Endpoint) -> dict[str, str]:
    """Return label -> text: what an endpoint is sent, and in which form. A text is empty if there is nothing to say."""
    cut = f"findings' data cut after {endpoint.max_data:,} bytes" if endpoint.max_data else ""
    return {
        "events": ", ".join(endpoint.events),
        "filters": "; ".join([*filters_of(endpoint), *filter(None, [newness_of(endpoint)])]) or "none",
        "messages": ", ".join([f"format {endpoint.format}", *form_of(endpoint)]),
        "redacted": "; ".join(filter(None, [redaction_words(endpoint), cut])),
        "mistake": endpoint.mistake,
    }


def form_of(endpoint: Endpoint) -> Iterator[str]:
    """Yield how messages reach an endpoint: one by one or together, and at which pace."""
    if endpoint.digest.is_on:
        yield digests(endpoint.digest)
    elif endpoint.batch_size > 1:
        yield f"up to {endpoint.batch_size} in one message"
    else:
        yield "one message each"
    paced = shared_pace([endpoint])
    if paced.interval:
        yield f"at most {pace(paced.interval)}"
    if paced.brake:
        yield f"after {BURST} at once one each {duration(paced.brake)}"


def digests(digest: Digesting) -> str:
    """Return in words when findings are sent together."""
    hours, minutes = divmod(digest.minute, 60)
    return {
        Rhythm.AUTO: "single messages, digests in a storm",
        Rhythm.INTERVAL: f"a digest {duration(digest.seconds)} after its first finding",
        Rhythm.SCAN: "a digest at the end of a scan",
        Rhythm.BUNDLE: "one request for each scan, at its end",
        Rhythm.DAILY: f"a digest each day at {hours:02}:{minutes:02} (local time)",
    }.get(digest.rhythm, "one message each")


def redaction_words(endpoint: Endpoint, host_type: str = "") -> str:
    """Return what an endpoint is not shown: of findings of one type, or of all.

    Args:
        host_type: empty: any.
    """
    rules = redaction_of(endpoint)
    if rules.are_empty:
        return "nothing"
    if host_type:
        rule = rules.rule_for(host_type)
        also = [one.words for one in rules.expressions]
        others = ["what looks like a secret"] if rules.has_default else []
        return "; ".join([*([rule.words] if rule else others), *also]) or "nothing"
    own = [rule.words for rule in rules.own]
    default = ["secrets, what may contain some, and personal data (default)"] if rules.has_default else []
    return in_line("; ".join([*own, *default]), 2 * VALUE)


def why_withheld(endpoint: Endpoint, event: WebhookEvent, reason: Withheld) -> str:
    """Return the filter that withholds an event, as it is set, and what the event has; empty for another reason."""
    data = event.data
    kind, has = text_of(data, "event_type"), ""
    key = {
        Withheld.SEVERITY: "min_severity",
        Withheld.CONFIDENCE: "min_confidence",
        Withheld.MODULE: "modules",
        Withheld.TARGET: "targets",
        Withheld.UNCHANGED: "only_if_changed",
        Withheld.NOT_COMPARABLE: "only_if_changed",
    }.get(reason, "")
    if reason is Withheld.FINDING_TYPE:
        is_chosen_type = is_chosen(endpoint.finding_types, kind)
        key, has = ("include_raw", f"{kind} is one of {', '.join(_raw(kind))}") if is_chosen_type else (
            "finding_types", f"this is {kind}")  # fmt: skip
    if reason is Withheld.DATA:
        return _data_filter(endpoint, event)
    has = has or {
        Withheld.SEVERITY: f"this is {event.severity.label}",
        Withheld.CONFIDENCE: f"this has {text_of(data, 'confidence')}",
        Withheld.MODULE: f"this is of {text_of(data, 'module')}",
        Withheld.TARGET: f"the scan is of {event.scan.target if event.scan else text_of(data, 'target')}",
        Withheld.UNCHANGED: "nothing is new or gone",
        Withheld.NOT_COMPARABLE: f"this has not_comparable = {text_of(data, 'not_comparable')}",
    }.get(reason, "")
    return f"{key} = {_value(getattr(endpoint, key))}; {in_line(has, VALUE)}" if key else ""


def _data_filter(endpoint: Endpoint, event: WebhookEvent) -> str:
    text = event.data.get("data" if event.type in FINDINGS else "title")
    if endpoint.data_match and isinstance(text, str) and not finder(endpoint.data_match)(text):
        return f"data_match = {_value(endpoint.data_match)}; nothing in its data matches"
    found = [one for one in endpoint.data_not_match if isinstance(text, str) and finder((one,))(text)]
    return f"data_not_match = {_value(tuple(found))}; its data matches"


def _raw(kind: str) -> list[str]:
    return [pattern for pattern in RAW if fnmatchcase(kind, pattern)]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return in_line(", ".join(value), VALUE)
    return str(getattr(value, "label", value))


def messages_in(number: int, seconds: float) -> str:
    """Return a number of messages with the time that their pace takes."""
    return f"{amount(number, 'message')}{f', about {duration(seconds)}' if seconds >= 1 else ''}"
