"""Webhooks for SpiderFoot: what a scan finds and how it ends, told to other systems while it happens.

The way of an event, one module a station:

    plugin -> pipeline.accept -> endpoints (who wants it) -> outbox (committed)                  scan's side
    lane -> outbox.claim -> pipeline.deliver -> formats -> signing -> sender -> retry -> pacing  background threads
               -> outbox.settle

Around it: `attach` puts the plugin into the scanner and wraps its scan start (`risks` and `escapes` know habits of
the scanner, `install` and `hosts` which scanners have the plugin); `scans` tells beginning and end of a scan exactly
once (`lifecycle` and `progress` say what is told, `results`, `accepted` and `tally` what a scan came to, `receipts`
what of it an endpoint was sent, `recovery` does what a dead process could not, `parentage` says whose it was);
`dispatcher` has the lanes, `crew`, `tenure` and `ledger` are a lane's threads, its time as the URL's only sender, and
its book; `service` is `sfwebhooks run`; `upkeep` looks after age, size and certificates, and `alerts` tells of trouble.

    config -> configfile, assembly, options, values    the INI file
    textfile, sections, samples, doubts                its bytes, its names, what was never filled in, what to warn of
    outbox -> queues -> times, claims, rows            scan, senders
    records -> changes, selection                      the same file for people
    times, changes -> chunks -> database, schema       many rows at once; the file
    database -> owners, opening, series                whose it is, how it is opened, whether its numbers can go on
    sender -> connection, http_reader                  HTTP: a request out, a reply in
    connection -> route, proxies, addresses, streams, budget, tls, certificates
    emission -> jsonvalues, catalogue.checking         what other tools tell, with `emit`
    masking -> decoding, searching                     what others wrote, without secrets
    config, certificates, cli -> files                 what a name in the settings, or of a command, stands for
    outbox -> unwritable                               events that it cannot write

`catalogue` has the event types, `message_schema` says the same as JSON Schema, `naming` what headers and events are
called after one guide or the other. `cli` is the command `sfwebhooks`, `receiver` takes deliveries as a team's receiver
does, `books` says whether all came, `diagnosis` why one is not verified, `waiting` why some still wait, `cures` what
helps, `moving` lets what waits go to another endpoint.
Start reading at `pipeline.py`.
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
