"""The outbox's views: the deliveries and the attempts as people query them with SQLite alone, ids and times as text.

Their names and first columns are those of the guides: the query of a dashboard that was written for them runs here.
A delivery's own id is not among the columns, since SQLite cannot compute it; `sfwebhooks show` finds a delivery by its
event's id too.
"""

from __future__ import annotations

from sfwebhooks.severity import Severity

#: whether an attempt (a) delivered its delivery, and not only others of the same request
DELIVERED_IT = "a.waited IS NOT NULL"
#: whether the receiver did what was asked
SUCCEEDED = f"({DELIVERED_IT} OR coalesce(a.outcome, '') = 'pending')"
_ID = " || '-' || ".join(f"substr(lower(hex(e.id)), {at}, {size})" for at, size in
                         ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12)))  # fmt: skip
_SEVERITIES = " ".join(f"WHEN {int(severity)} THEN '{severity.label}'" for severity in Severity)
VIEWS = f"""
    CREATE VIEW webhook_deliveries AS       -- one row per delivery; all times are UTC
    SELECT d.endpoint AS webhook_id,
           CASE d.state WHEN 'delivered' THEN 'success' WHEN 'dead' THEN 'failed' ELSE d.state END AS status,
           round(a.seconds * 1000, 1) AS delivery_time_ms, -- of the last attempt
           datetime(coalesce(d.settled_at, d.accepted_at), 'unixepoch') AS timestamp,
           {_ID} AS event_id,
           d.name AS event_type,
           CASE e.severity {_SEVERITIES} END AS severity,
           s.id AS scan_id,
           s.target AS target,
           d.sequence AS sequence,
           (SELECT count(*) FROM delivery_attempt WHERE number = d.number) AS attempts,
           a.status AS http_status,
           nullif(d.reason, '') AS reason,
           datetime(d.accepted_at, 'unixepoch') AS accepted_at,
           CASE d.state WHEN 'waiting' THEN datetime(d.due_at, 'unixepoch') END AS due_at,
           CASE d.state WHEN 'delivered' THEN round(d.settled_at - d.accepted_at, 3) END AS latency_seconds
    FROM delivery d JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.number = e.scan
         LEFT JOIN delivery_attempt a ON a.id = (SELECT max(id) FROM delivery_attempt WHERE number = d.number);
    CREATE VIEW webhook_logs AS             -- one row per attempt at a delivery
    SELECT a.id AS id,
           strftime('%Y-%m-%dT%H:%M:%f', a.at, 'unixepoch') AS timestamp,
           d.name AS event_type,
           NULL AS source_ip,               -- a receiver sees it, a sender does not
           e.data AS payload,               -- the event's data; the message has more, in the endpoint's format
           CASE WHEN {SUCCEEDED} THEN 1 ELSE 0 END AS processed,
           CASE WHEN NOT {SUCCEEDED} THEN a.reason || coalesce(': ' || nullif(a.excerpt, ''), '') END AS error_message,
           d.endpoint AS webhook_id,
           {_ID} AS event_id,
           a.status AS http_status,
           round(a.seconds * 1000, 1) AS delivery_time_ms,
           a.cause AS cause
    FROM delivery_attempt a JOIN delivery d ON d.number = a.number JOIN event e ON e.number = d.event;
"""
