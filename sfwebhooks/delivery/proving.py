"""Proof of scans: the evidence of what an endpoint was sent of a scan comes in, a signed statement goes out, as a
delivery to that endpoint.

Whichever process looks first after everything is settled makes it (`maintenance`, `drain`, a scan's own process); the
outbox sees to it that it is made once. What is settled later, such as a replay with other settings, is in a further
statement about the same scan.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import sfwebhooks
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import NO_ID, Delivery, Scan, WebhookEvent, id_of, timestamp
from sfwebhooks.fingerprints import canonical
from sfwebhooks.formats import redaction_of
from sfwebhooks.jsontext import written
from sfwebhooks.outbox.evidence import Ground
from sfwebhooks.outbox.scan_receipt import SENT
from sfwebhooks.outbox.store import Store
from sfwebhooks.redaction import explained
from sfwebhooks.severity import Severity
from sfwebhooks.statements import PROOF, Subject, sealed, statement

log = logging.getLogger("spiderfoot.webhooks")
#: bytes of a message without the payload of its statement
AROUND_BYTES = 4000
#: bytes of a message that are left for the messages of the scan, however long the rest is
LIST_BYTES_LEAST = 8000
#: characters of a scan's name and of its target, of which each can take six bytes
NAME_MAX = 256
#: keys of the data of a scan's end that a statement repeats
SAID = ("started", SENT, "modules_used")

#: an entry of a statement, with the name of the list to which it belongs
Entry = tuple[str, Any]


def prove(outbox: Store, endpoints: Iterable[Endpoint], now: float) -> int:
    """Make the statements that are due; return how many there are.

    Raises:
        OutboxError: the outbox cannot be used.
    """
    made = 0
    for endpoint in endpoints:
        if endpoint.proof and not endpoint.mistake:
            for number in outbox.evidence.ripe(endpoint.name, now, endpoint.proof_after):
                ground = outbox.evidence.ground(endpoint.name, number)
                if ground.subjects:  # else another process was first
                    found = _statements(ground, endpoint, endpoint.proof.reveal(), now)
                    count = outbox.evidence.state(endpoint.name, ground, found, now)
                    for _, sha256 in found[:count]:
                        words = "webhooks: endpoint %s: statement about scan %s, SHA-256 %s"
                        log.info(words, endpoint.name, ground.scan.id, sha256)
                    made += count
    return made


def _statements(ground: Ground, endpoint: Endpoint, key: str, now: float) -> list[tuple[WebhookEvent, str]]:
    """Return the statements about a scan: several if one would exceed the endpoint's `max_body`."""
    scan = ground.scan
    shown, common = _common(ground, endpoint, now)
    about = replace(scan, name="", target=shown.target[:NAME_MAX]).about
    # of the key too: who knows the target's hash alone could find it by trying
    chain_id = hmac.digest(key.encode(), f"chain/{endpoint.name}/{canonical(scan.target)}".encode(), "sha256").hex()
    space = (endpoint.max_body - AROUND_BYTES) * 3 // 4 - len(written(common).encode())
    parts = [*_parts(_entries(ground), max(space, LIST_BYTES_LEAST))]
    made: list[tuple[WebhookEvent, str]] = []
    previous = ground.previous
    for place, entries in enumerate(parts):
        lists: dict[str, list[Any]] = {"subject": [], "pending": [], "dead": []}
        for name, entry in entries:
            lists[name].append(entry)
        chain = {"id": chain_id[:32], "number": ground.number + place, "previous": previous or None}
        its = {"pending": lists["pending"], "dead": lists["dead"], "part": place + 1, "parts": len(parts)}
        payload = statement(lists["subject"], {**common, **its, "chain": chain})
        previous = hashlib.sha256(payload).hexdigest()
        event = WebhookEvent(
            id_of(f"proof/{previous}"), PROOF, Severity.INFO, now, {**about, **sealed(payload, key)}, scan
        )
        made.append((event, previous))
    return made


def _common(ground: Ground, endpoint: Endpoint, now: float) -> tuple[Scan, dict[str, Any]]:
    """Return the scan as the endpoint may see it (`redaction`), and what each part of a statement says."""
    scan, end = ground.scan, ground.end
    data = {key: end.data[key] for key in SAID if key in end.data} if end else {}
    event = WebhookEvent(NO_ID, "", Severity.INFO, now, data, scan)
    if endpoint.redact:
        one = Delivery(NO_ID, event, endpoint.name, "", "", 0)
        event = explained(one, redaction_of(endpoint))[0].event
    its = event.scan or scan
    return its, {
        "endpoint": endpoint.name,
        "made": timestamp(now),
        "scan": {
            "id": scan.id,
            "name": its.name[:NAME_MAX],
            "target": its.target[:NAME_MAX],
            "target_type": scan.target_type,
            "result": end.type if end else None,
            "started": event.data.get("started"),
            "ended": timestamp(end.at) if end else None,
        },
        "receipt": event.data.get(SENT),
        "modules": event.data.get("modules_used"),
        "versions": {"scanner": scan.version, "sfwebhooks": sfwebhooks.__version__},
        "delivered": ground.delivered,
    }


def _entries(ground: Ground) -> Iterator[Entry]:
    yield from (("subject", one) for one in ground.subjects)
    yield from (("pending", one) for one in ground.pending)
    yield from (("dead", one) for one in ground.dead)


def _parts(entries: Iterable[Entry], space: int) -> Iterator[Sequence[Entry]]:
    """Yield the entries in parts of at most `space` bytes."""
    part: list[Entry] = []
    size = 0
    for name, entry in entries:
        own = len(written(entry.resource if isinstance(entry, Subject) else entry)) + 1
        if part and size + own > space:
            yield part
            part, size = [], 0
        part.append((name, entry))
        size += own
    yield part
