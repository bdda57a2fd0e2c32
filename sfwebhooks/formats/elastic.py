"""The elastic format: documents of the Elastic Common Schema for the bulk API of Elasticsearch.

POST /INDEX/_bulk. The action is `create`, which is the only one that data streams accept, and the id of a document is
that of its delivery: a document that is sent again is not stored twice, its second `create` is answered with 409.
https://www.elastic.co/guide/en/elasticsearch/reference/current/docs-bulk.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import ecs
from sfwebhooks.formats.content import NDJSON, Content, lines, sized
from sfwebhooks.formats.ecs import ecs_document
from sfwebhooks.formats.format import Format, Reading
from sfwebhooks.jsontext import written

#: the parts of a reply that are read; whole ones have some 250 bytes per document, and a Reply ends after 64 KiB
WANTED = "filter_path=errors,items.*.status,items.*.error.type"
#: bytes from which on a reply may be incomplete
REPLY_MAX = 65536
#: characters of an error's type
TYPE_MAX = 100


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the action and the document of a delivery, a line each."""
    action = written({"create": {"_id": delivery.id}}).encode() + b"\n"
    document = ecs_document(delivery, endpoint)
    return replace(sized(document, endpoint, "spiderfoot", before=action, after=b"\n"), headers=NDJSON)


def read(reply: Reply, batch: Batch) -> Reading:
    """Return a verdict on each document of a reply with status 200."""
    if reply.failure or reply.status != 200:
        return None
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError):
        if len(reply.body) >= REPLY_MAX and reply.body.startswith(b"{"):
            return Verdict(Outcome.REFUSED, "bulk_reply_too_long")  # a smaller request has a shorter one
        answer = None
    items = answer.get("items") if isinstance(answer, dict) else None
    verdicts = [_verdict(item) for item in items] if isinstance(items, list) else []
    found = [verdict for verdict in verdicts if verdict]
    return found if len(found) == len(batch.deliveries) else Verdict(Outcome.HOLD, "http_200_but_not_bulk")


def _verdict(item: Any) -> Verdict | None:
    """Return the verdict on a document, from {"create": {"status": 201}}; None: it is not an item of the bulk API."""
    result = item.get("create") if isinstance(item, Mapping) else None
    status = result.get("status") if isinstance(result, Mapping) else None
    if not isinstance(result, Mapping) or not isinstance(status, int):
        return None
    if 200 <= status < 300:
        return Verdict(Outcome.DELIVERED, "http_200")
    if status == 409:
        return Verdict(Outcome.DELIVERED, "stored_before")
    error = result.get("error")
    kind = error.get("type") if isinstance(error, Mapping) else error
    reason = kind[:TYPE_MAX] if isinstance(kind, str) and kind.replace("_", "").isalnum() else f"item_{status}"
    return Verdict(Outcome.RETRY if status == 429 or status >= 500 else Outcome.REFUSED, reason)


FORMAT = Format(
    render,
    join=lines,
    read=read,
    query=lambda endpoint, now: WANTED,
    scheme="ApiKey",
    surplus=ecs.FORMAT.surplus,
)
