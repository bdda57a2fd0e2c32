"""Webhooks for SpiderFoot: what a scan finds and how it ends, told to other systems while it happens.

The way of an event, one module a station:

    plugin -> pipeline.accept -> endpoints (who wants it) -> outbox (committed)                  scan's side
    lane -> outbox.claim -> pipeline.deliver -> formats -> signing -> sender -> retry -> pacing  background threads
               -> outbox.settle

Around it: `attach` puts the plugin into the scanner and wraps its scan start, `scans` tells beginning and
end of a scan exactly once (`lifecycle` says what is told), `dispatcher` has the lanes, `config` and `options`
read the INI file, `catalogue` has the event types, `cli` is the command `sfwebhooks`, `receiver` takes
deliveries as a team's receiver does, `diagnosis` says why one is not verified.
Start reading at `pipeline.py`.
"""

__version__ = "0.1.0"
