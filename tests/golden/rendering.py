"""What a format makes of the recorded events: a title, the request line, headers and body of each request.

The headers are those that the format makes and the one with its credential; those of every message (`signing`) have
tests of their own. Keys, tokens and the URL are those of the fake of its service. `showing` has the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sfwebhooks.authentication import credentials
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.network.route import elsewhere
from sfwebhooks.signing import Request, sign
from tests.builders import NOW, a_delivery, an_endpoint
from tests.formats.cases import UI
from tests.golden.recording import FOLDER
from tests.golden.showing import shown
from tests.receivers.vendors import VENDORS

#: how many events the batch has with which each file ends, if the format knows batches
BATCH_SIZE = 3
#: template of the format template
TEMPLATE = '{"text":{{ (severity ~ ": " ~ (data.description or event_type)) | tojson }},"data":{{ data | tojson }}}'


def file_of(name: str) -> Path:
    """Return the file of a format."""
    return FOLDER / f"{name}.txt"


def endpoint_of(name: str, **values: Any) -> Endpoint:
    """Return the endpoint of a format whose requests are shown, with the keys that its service wants."""
    service = VENDORS[name]()
    service.root = "https://receiver.example"
    keys = {**service.keys, **({"template": TEMPLATE} if name == "template" else {})}
    api_key = Secret(keys.pop("api_key")) if "api_key" in keys else None
    own = {key: Secret(text) for key, text in keys.items()}
    return an_endpoint(url=service.url, format=name, own=own, api_key=api_key, ui_url=UI, **values)


def deliveries(events: Sequence[WebhookEvent]) -> list[Delivery]:
    return [a_delivery(event, sequence=number) for number, event in enumerate(events, 1)]


def requests(name: str, events: Sequence[WebhookEvent]) -> Iterator[tuple[str, Request, Endpoint]]:
    """Yield title, request and endpoint of each event, and of a batch."""
    alone, together = endpoint_of(name), endpoint_of(name, batch_size=BATCH_SIZE)
    sent = deliveries(events)
    for delivery in sent:
        batch = Batch((delivery,))
        yield _title(delivery), sign(render(batch, alone), batch, alone, NOW), alone
    if FORMATS[name].join:
        batch = Batch(tuple(sent[-BATCH_SIZE:]))
        title = f"{BATCH_SIZE} in a request: " + ", ".join(one.name for one in batch.deliveries)
        yield title, sign(render(batch, together), batch, together, NOW), together


def _title(delivery: Delivery) -> str:
    event = delivery.event
    kind = event.data.get("event_type") or event.data.get("rule_id") or event.data.get("alert") or ""
    return f"{delivery.sequence}. {delivery.name}{kind and f', {kind}'} ({event.severity.label})"


def golden(name: str, events: Sequence[WebhookEvent]) -> str:
    """Return the content of a format's file."""
    parts = []
    for title, request, endpoint in requests(name, events):
        url = elsewhere(request.url.reveal(), request.path, request.query)
        form = FORMATS[name]
        ours = {*render(Batch(tuple(deliveries(events[:1]))), endpoint).headers, *_own(request)}
        names = {*ours, *credentials(endpoint, form.key_header, form.scheme)}
        headers = [f"{key}: {value}" for key, value in request.headers.items() if key in names]
        body = request.body.decode()
        parts.append("\n".join([f"=== {title}", f"{request.method} {url}", *headers, "", shown(body)]))
    return "\n\n".join(parts) + "\n"


def _own(request: Request) -> set[str]:
    """Return the names of the headers that only some messages of a format have."""
    return {name for name in request.headers if name.startswith("ce-")}
