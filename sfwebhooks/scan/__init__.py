"""A scan: SpiderFoot's events come in, a WebhookEvent for each of them and for the scan's start and end goes out.

`run` is the scan as its own process sees it, `lifecycle` decides how it ended, `recovery` reports the end of scans
whose process died, and `backfill` sends past scans. `host_database` and `host_log` read SpiderFoot's data.
"""
