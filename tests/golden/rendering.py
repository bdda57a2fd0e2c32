"""What a format makes of the recorded events: a title, the request line, headers and body of each request.

The headers are those that the format makes and the one with its credential; those of every message (`signing`) have
tests of their own. Keys, tokens and the URL are those of the fake of its service. `showing` has the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfwebhooks.authentication import credentials
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, Handle, WebhookEvent
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
#: format -> what its receiver called an earlier message or request, and keys without which it would not
HANDLES: dict[str, tuple[str, dict[str, str]]] = {
    "discord": ("1310000000000000001", {}),
    "splunk_hec": ("0/0", {"splunk_channel": "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba"}),
    "telegram": ("7", {}),
}
#: beginning of the title of what follows it
FOLLOWS = "about an earlier one: "
#: template of the format template
TEMPLATE = '{"text":{{ (severity ~ ": " ~ (data.description or event_type)) | tojson }},"data":{{ data | tojson }}}'


def file_of(name: str) -> Path:
    """Return the file of a format."""
    return FOLDER / f"{name}.txt"


def endpoint_of(name: str, **values: Any) -> Endpoint:
    """Return the endpoint of a format whose requests are shown, with the keys that its service wants."""
    service = VENDORS[name]()
    service.root = "https://receiver.example"
    keys = {**service.keys, **service.fields, **({"template": TEMPLATE} if name == "template" else {}), **values}
    own = {key.name: Secret(keys.pop(key.name)) for key in FORMATS[name].keys if key.name in keys}
    keys |= {key: Secret(keys[key]) for key in ("api_key", "client_secret", "token_url") if key in keys}
    return an_endpoint(url=service.url, format=name, own=own, ui_url=UI, **keys)


def deliveries(events: Sequence[WebhookEvent]) -> list[Delivery]:
    return [a_delivery(event, sequence=number) for number, event in enumerate(events, 1)]


def requests(name: str, events: Sequence[WebhookEvent]) -> Iterator[tuple[str, Request, Endpoint]]:
    """Yield title, request and endpoint of each event, of a batch, of a digest, and of what follows an earlier one."""
    alone, together = endpoint_of(name), endpoint_of(name, batch_size=BATCH_SIZE)
    sent, form = deliveries(events), FORMATS[name]
    if form.bundle:
        everything = replace(alone, events=("all",))
        its = [one for one in sent if everything.name_for(one.event)]
        ends = its[0], _end(its)
        shorter = {"a scan with one finding": [ends[0], its[1], ends[1]], "a scan without findings": [*ends]}
        for title, members in {"a whole scan": its, **shorter}.items():
            batch = Batch(tuple(members))
            yield f"{title}: {_names(batch)}", _request(batch, alone), alone
        return
    for delivery in sent:
        yield _title(delivery), _request(Batch((delivery,)), alone), alone
    if form.join:
        batch = Batch(tuple(sent[-BATCH_SIZE:]))
        yield f"{BATCH_SIZE} in a request: {_names(batch)}", _request(batch, together), together
    if form.digest:
        if form.is_chat:
            found = Batch(tuple(one for one in sent if not one.goes_alone), part=(1, 2))
            yield f"a digest: {_names(found)}", _request(found, alone), alone
        batch = Batch(tuple(replace(one, backfilled=True) for one in sent[1 : 1 + BATCH_SIZE]))
        yield f"{BATCH_SIZE} backfilled: {_names(batch)}", _request(batch, alone), alone
    if form.follow:
        handle, keys = HANDLES[name]
        endpoint = endpoint_of(name, **keys)
        (progress,) = (one for one in sent if one.name == "scan_progress")
        batch = Batch((replace(progress, handle=Handle(endpoint.address_id, handle)),))
        yield f"{FOLLOWS}{_names(batch)}", _request(batch, endpoint), endpoint


def _end(sent: Sequence[Delivery]) -> Delivery:
    return next(one for one in sent if one.name == "scan_completed")


def _request(batch: Batch, endpoint: Endpoint) -> Request:
    """Return the request, with a token if one would be fetched for it."""
    request = sign(render(batch, endpoint), batch, endpoint, NOW)
    if not endpoint.token_url:
        return request
    return replace(request, headers={**request.headers, "Authorization": "Bearer token-0"})


def _names(batch: Batch) -> str:
    return ", ".join(one.name for one in batch.deliveries)


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
        names = {*ours, *credentials(endpoint, form.key_header, form.scheme), "Authorization"}
        headers = [f"{key}: {value}" for key, value in request.headers.items() if key in names]
        body = request.body.decode()
        parts.append("\n".join([f"=== {title}", f"{request.method} {url}", *headers, "", shown(body)]))
    return "\n\n".join(parts) + "\n"


def _own(request: Request) -> set[str]:
    """Return the names of the headers that only some messages of a format have."""
    return {name for name in request.headers if name.startswith("ce-")}
