"""What is in the body of a message, by its content type. A body that is not what its type says fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sfwebhooks.formats.content import Content

#: the keys that have an event's data
DATA = ("raw_data", "spiderfoot", "data", "Data")


def values(content: Content) -> list[Any]:
    """Return the JSON values in a body: one, or the lines of NDJSON; of plain text, its lines."""
    kind = content.headers["Content-Type"].partition(";")[0]
    if kind == "text/plain":
        assert content.headers["Content-Type"] == "text/plain; charset=utf-8"
        lines = content.body.decode().split("\n")
        assert lines.pop() == "" and lines == "\n".join(lines).splitlines() and all(lines)
        return list(lines)
    if kind == "application/x-ndjson":
        assert content.body.endswith(b"\n") and not content.body.startswith(b"\n")
        return [json.loads(line) for line in content.body.decode()[:-1].split("\n")]
    assert kind in ("application/json", "application/cloudevents+json", "application/cloudevents-batch+json")
    return [*_one_after_the_other(content.body.decode())]


def _one_after_the_other(text: str) -> Iterator[Any]:
    """Yield JSON values that follow each other, with at most a line break between two, as HEC takes them."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        at += text[at : at + 1] == "\n"


def messages(content: Content) -> list[Any]:
    """Return the messages in a body, without what is around them."""
    found = [one for value in values(content) for one in (value if isinstance(value, list) else [value])]
    return [one for one in found if not (isinstance(one, Mapping) and one.keys() == {"create"})]


def data_in(message: Any) -> Any:
    """Return the event's data in a message."""
    if "specversion" in message or "class_uid" in message:  # CloudEvents and OCSF have the message of generic in them
        return message["data" if "specversion" in message else "unmapped"]["data"]
    for key in ("event", "spiderfoot"):  # the envelopes of HEC and of Datadog, whose content is that of siem
        inner = message.get(key)
        if isinstance(inner, dict) and "raw_data" in inner:
            return inner["raw_data"]
    return next((message[key] for key in DATA if key in message), None)
