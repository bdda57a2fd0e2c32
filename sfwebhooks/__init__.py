"""Webhooks for SpiderFoot: a scan's findings, and how it ended, are sent to other systems while it runs.

The way of an event. On the scan's side, in `host/plugin` and `scan/run`:

    event -> pipeline.accept -> endpoints (who wants it) -> outbox (committed)

In background threads, from `delivery/queue`:

    outbox/claim -> pipeline.deliver -> formats -> signing -> network -> retry, health -> outbox (settled)

The rooms, from top to bottom; each imports only what is below it (`tests/test_rooms.py`):

    cli, demo           the command `sfwebhooks`; a real scan without internet
    emission, service   `emit`, for other tools; `sfwebhooks run`
    host, receive       inside SpiderFoot; the receiving side
    scan                a scan's events, its begin and its end
    delivery            queues, threads and locks of the sending side, alerts, upkeep
    pipeline            the way of an event, in order
    config              the settings
    network             HTTP: a request out, a reply in
    formats, outbox     one file per format; the SQLite file
    catalogue           event types, their fields, JSON Schema

Beside the folders stand nouns (`events`, `endpoints`, `attempts`, `severity`), decisions (`retry`, `health`), texts
(`text`, `jsontext`, `strict_json`, `masking` with `decoding` and `searching`), `signing`, and what touches the system
(`files`, `text_file`, `system`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

__version__ = "0.1.0"
__all__ = ["emit"]


def emit(
    type: str,
    data: Mapping[str, object],
    *,
    id: str | None = None,
    severity: str | None = None,
    config: str | os.PathLike[str] | None = None,
) -> str:
    """Tell the endpoints something that SpiderFoot does not know, such as remediation.completed; return its event id.

    When this returns it is on disk for each endpoint that wants it. It is delivered by the next process that sends:
    a scan, `sfwebhooks drain` or `sfwebhooks run`.

    Args:
        type: name or alias of an event type; `sfwebhooks events TYPE` shows its fields.
        data: the event's data, as JSON has them; or a whole message, an object with event_type, data and, if it did
            not happen now, timestamp.
        id: what makes it unique; the same id of the same type is told once. By default each call is another event.
        severity: critical, high, medium, low or info; by default the one in the data, or the only one of the type,
            or info.
        config: the file with the [webhooks] settings; by default the one that SpiderFoot uses.

    Raises:
        sfwebhooks.errors.WebhooksError: nothing was kept; it is a mistake of the caller (EmitError), of the settings
            (ConfigError), or the outbox cannot be written (OutboxError).
    """
    from sfwebhooks.emission import Emission, keep  # they need much, for which no other caller should wait

    return keep(Emission(type, data, id, severity), str(config or "")).id
