"""The template format: the body is what the operator's own template, in Jinja2, makes of an event.

For receivers without a format of their own: automation tools, ticket systems. A template is tried out with the example
of each event type when the settings are read, so that a mistake holds the endpoint before it costs a message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import TemplateFailedError
from sfwebhooks.events import Delivery, clean_text
from sfwebhooks.examples import examples_for
from sfwebhooks.formats import generic
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Format, Key, Trial
from sfwebhooks.formats.size_limit import fitted
from sfwebhooks.formats.upload import METHOD
from sfwebhooks.jsontext import Stored, kept

KEYS = (
    Key(
        "template",
        "what is sent, in Jinja2: the text itself, or file:PATH",
        r"(?s).*\S.*",
        "a template in Jinja2, or file:PATH",
        needed=True,
        sourced=True,
    ),
    METHOD,
    Key(
        "content_type",
        "what the template writes (application/json)",
        r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(; ?charset=(?i:utf-8))?",
        "a media type such as application/json, text/plain or application/xml; the only charset is utf-8",
    ),
)
DEFAULT_TYPE = "application/json"
#: a variable's value if an event has none
VARIABLES: Mapping[str, Any] = {
    **dict.fromkeys(("event_type", "timestamp", "source", "version", "severity", "target", "link"), ""),
    **{"data": {}, "metadata": {}, "scan": {}, "backfilled": False, "replayed": False},
}
#: sizes in bytes to which the variables are cut, one after the other, as multiples of max_body
SHARES = (2, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
#: what a text may have that breaks JSON if the template writes it without |tojson
AWKWARD = '"\\\n'
#: seconds after which no more examples are tried out; usually they take less than a tenth of one in all
TRIAL_SECONDS = 10.0
SLOW = f"the examples take more than {TRIAL_SECONDS:.0f} s: its messages will delay others to the same URL"
ADVICE = "write values as {{ NAME | tojson }}, without quotes around them"


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the message of a delivery.

    Raises:
        TemplateFailedError: the template fails, or what it writes is too long or not JSON.
    """
    return _filled(_message(delivery, endpoint), endpoint)


def _message(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return the variables of a delivery, at their full length."""
    message, event = generic.message(delivery, endpoint), delivery.event
    data, scan = dict(Stored(kept(message["data"]))), event.scan
    named = {key: getattr(scan, key) for key in ("id", "name", "target", "target_type", "version")} if scan else {}
    return {
        **message,
        "data": data,
        "severity": event.severity.label,
        "target": named.get("target") or data.get("target") or "",
        "scan": named,
        "link": endpoint.link(scan),
        "backfilled": delivery.backfilled,
        "replayed": delivery.replayed,
    }


def _filled(message: dict[str, Any], endpoint: Endpoint) -> Content:
    from sfwebhooks.formats.sandbox import compiled, filled_in

    template = compiled(endpoint.key("template"), frozenset(VARIABLES))
    for share in SHARES:
        variables = {**VARIABLES, **fitted(message, "data", int(endpoint.max_body * share))}
        text = filled_in(template, variables, endpoint.max_body)
        if text is not None:
            break
    else:
        raise TemplateFailedError(f"it writes more than max_body ({endpoint.max_body:,} bytes), even of shortened data")
    body = clean_text(text)
    kind = endpoint.key("content_type") or DEFAULT_TYPE
    if _is_json(kind):
        try:
            json.loads(body)
        except (ValueError, RecursionError) as error:
            raise TemplateFailedError(f"it does not write JSON ({error} of the body); {ADVICE}") from error
    return Content(body.encode(), {"Content-Type": kind}, endpoint.key(METHOD.name) or "POST")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].lower()
    return kind == "application/json" or kind.endswith("+json")


def trial(endpoint: Endpoint) -> Trial | None:
    """Try a template out with the example of each event type that its endpoint subscribes to."""
    try:
        from sfwebhooks.formats.sandbox import compiled
    except ImportError:
        return Trial("format", "template requires another package: pip install 'sfwebhooks[template]'")
    examples, place, began = [*examples_for(endpoint)], "", time.monotonic()
    try:
        compiled(endpoint.key("template"), frozenset(VARIABLES))
        for delivery in examples:
            place = f" (with the example of {delivery.name})"
            render(delivery, endpoint)
            if time.monotonic() - began > TRIAL_SECONDS:
                return Trial("template", SLOW, holds=False)
    except TemplateFailedError as error:
        return Trial("template", f"{error}{place}")
    except MemoryError:
        return Trial("template", f"it takes more memory than there is{place}")
    try:
        for delivery in examples:
            _filled({**(message := _message(delivery, endpoint)), **_awkward(message)}, endpoint)
    except (TemplateFailedError, MemoryError) as error:
        return Trial("template", f"it fails if a text in {delivery.name} has a quote or a line break: {error}", False)
    return None


def _awkward(message: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a message that have texts from outside, with these as awkward as they can be."""

    def spoiled(value: Any) -> Any:
        if isinstance(value, str):
            return value + AWKWARD
        if isinstance(value, list):
            return [*map(spoiled, value)]
        return {key: spoiled(item) for key, item in value.items()} if isinstance(value, dict) else value

    return {key: spoiled(message[key]) for key in ("data", "target", "scan")}


FORMAT = Format(render, keys=KEYS, trial=trial, is_sized=True)
