"""Webhooks for SpiderFoot: a scan's findings and its end are sent to other systems while it runs.

The path of an event. On the scan's side, in `host/plugin` and `scan/run`:

    event -> pipeline.accept -> endpoints (subscriptions) -> outbox (committed)

With a spool in front of an outbox on PostgreSQL, `pipeline.accept` comes after it, in `scan/forwarder`.

In background threads, from `delivery/send_queue`:

    outbox/claim -> pipeline.deliver -> formats -> signing -> network -> retry, health -> outbox (settled)

The rooms, from top to bottom; each imports only from those below it (`tests/test_rooms.py`):

    cli                 the command `sfwebhooks`: one file per command
    doctor              the checks of `sfwebhooks doctor`
    terminal, demo      what commands share: arguments, tables, progress; a real scan without internet
    web                 `sfwebhooks web`: the API and the page
    inspection          the state of settings and outbox, in words and as fields for JSON
    emission, service   `emit`, for other tools; `sfwebhooks run` and the delivery process
    host, receive       inside SpiderFoot; the receiving side
    scan                a scan's events, its start and its end
    delivery            queues, threads and locks of the sending side, alerts, maintenance
    pipeline            the path of an event, in order
    config              the settings
    network             HTTP: a request out, a reply in
    formats, outbox     one file per format; the SQLite file, or the tables on PostgreSQL
    catalogue           event types, their fields, JSON Schema

The modules outside the folders are nouns (`events`, `endpoints`, `attempts`, `severity`), decisions (`retry`,
`health`), texts (`text`, `jsontext`, `strict_json`, `own_secrets` with `decoding` and `searching`), `signing` with
`signatures`, `signing_keys` and `naming`, and access to the system (`files`, `text_file`, `system`).
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
    config: str | os.PathLike[str] | Mapping[str, object] | None = None,
) -> str:
    """Send an event from outside SpiderFoot, such as remediation.completed, to the endpoints; return its event id.

    When this returns, the event is on disk for each endpoint that subscribes to it. The next process that sends
    delivers it: a scan, `sfwebhooks drain` or `sfwebhooks run`. No other process knows the endpoints of a mapping, so
    with one this call also sends, and waits for at most drain_timeout and the timeout of the endpoints.

    Args:
        type: name or alias of an event type; `sfwebhooks events TYPE` shows its fields.
        data: the event's data in JSON types; or a whole message, an object with event_type, data and, unless it
            happened now, timestamp.
        id: unique id of the event; the same id of the same type is sent once. By default each call is a new event.
        severity: critical, high, medium, low or info; by default the one in the data, or the only one of the type,
            or info.
        config: the file with the [webhooks] settings, by default the one that SpiderFoot uses; or the settings
            themselves, a mapping of endpoint names to their keys. Relative file names in it start from the current
            folder. Its deliveries are bound to the receiver: no other mapping sends them, whatever its names.

    Raises:
        sfwebhooks.errors.WebhooksError: nothing was stored; the cause is the caller (EmitError), the settings
            (ConfigError) or an outbox that cannot be written (OutboxError).
    """
    from sfwebhooks.emission import keep, keep_and_send  # slow imports, which would delay every other caller
    from sfwebhooks.emitted_event import Emission

    emission = Emission(type, data, id, severity)
    if isinstance(config, Mapping):
        return keep_and_send(emission, config).id
    return keep(emission, str(config or "")).id
