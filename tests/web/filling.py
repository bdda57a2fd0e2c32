"""A data folder for the page: settings with endpoints, and deliveries in each state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import a_scan, an_event, claim_one
from tests.filled import begin, end
from tests.stores import place_in

#: what a browser would run or load if it took text for HTML; each sets `owned` or makes an element
XSS = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script><svg onload="window.owned=1">'
    '"\'><iframe srcdoc="<script>parent.owned=1</script>"></iframe>{{7*7}}${7*7}\u202eevil\x00\x1b[31m'
)
SLACK = "https://hooks.slack.com/services/T0/B0/path-token"
SETTINGS = """\
[webhooks]
allow_private = true

[webhooks.siem]
url = {url}
events = high_risk_event, medium_risk_event, low_risk_event
secret = a-secret-of-siem

[webhooks.tickets]
url = {url}
events = high_risk_event

[webhooks.team]
url = {slack}
format = slack
events = high_risk_event
"""
KINDS = (
    ("high_risk_event", Severity.CRITICAL, "VULNERABILITY_CVE_CRITICAL", "CVE-2026-{:04d} on vpn.acme.example"),
    ("medium_risk_event", Severity.MEDIUM, "TCP_PORT_OPEN", "203.0.113.{}:8443"),
    ("high_risk_event", Severity.HIGH, "VULNERABILITY_CVE_HIGH", "CVE-2025-{:04d} on mail.acme.example"),
    ("low_risk_event", Severity.LOW, "INTERNET_NAME", "dev{}.acme.example"),
)


def a_folder(path: Path, url: str) -> Path:
    """Write the settings: `siem` and `tickets` at a URL, `team` at Slack."""
    (path / "webhooks.ini").write_text(SETTINGS.format(url=url, slack=SLACK))
    (path / "webhooks.ini").chmod(0o600)
    return path


@contextmanager
def opened(folder: Path) -> Iterator[Outbox]:
    """Open the outbox of a folder."""
    with closing(Outbox(place_in(folder))) as outbox:
        yield outbox


def a_kind_of_event(number: int, at: float, scan: Scan, **data: Any) -> WebhookEvent:
    """Return an event like those of scans."""
    name, severity, type, text = KINDS[number % len(KINDS)]
    found = {"event_type": type, "data": text.format(number % 250), "module": "sfp_example", **data}
    return an_event(number, type=name, severity=severity, at=at, data=found, scan=scan)


def accepted(
    outbox: Outbox, endpoint: str, numbers: Sequence[int], at: float, scan: Scan | None = None, **data: Any
) -> None:
    """Accept an event of each number for an endpoint, a second apart, the last one at that time."""
    for place, number in enumerate(reversed(numbers)):
        event = a_kind_of_event(number, at - place, scan or a_scan(), **data)
        outbox.accept([(event, [Wanted(endpoint, event.type)])], at - place)


def attempted(
    outbox: Outbox,
    endpoint: str,
    state: State = State.DELIVERED,
    reason: str = "http_200",
    at: float = 0.0,
    seconds: float = 0.125,
    excerpt: str = "",
    again_after: float = 60.0,
) -> str:
    """Let the next delivery of an endpoint be attempted, with that state afterwards; return its id."""
    batch = claim_one(outbox, Limits(endpoint), (), at)
    assert batch
    last = reason.rpartition(": ")[2]
    status = int(last[-3:]) if last[-3:].isdigit() else None
    settled = Settlement(state, "" if state is State.DELIVERED else reason, at + again_after, True)
    outbox.queue.settle([Result(batch, Attempt(at, seconds, status, last, excerpt), [settled])])
    return batch.id


def fill(folder: Path, now: float = 0.0) -> dict[str, str]:
    """Put deliveries in each state into the outbox; return ids by what they are."""
    now = now or time.time()
    ids: dict[str, str] = {}
    with opened(folder) as outbox:
        begin(outbox, a_scan())
        accepted(outbox, "siem", range(1, 39), now - 3600)
        for number in range(38):
            ids["delivered"] = attempted(outbox, "siem", at=now - 3500 + number, seconds=0.02 + number % 7 / 10)
        accepted(outbox, "siem", [39], now - 3450)
        refused = '{"error": "field severity: unknown value", "id": 17}'
        attempted(outbox, "siem", State.WAITING, "http_400", now - 3440, 0.3, refused, 300)
        attempted(outbox, "siem", State.WAITING, "http_400", now - 3130, 2.5, refused, 900)
        ids["refused"] = attempted(outbox, "siem", State.DEAD, "refused: http_400", now - 2220, 0.9, refused)
        accepted(outbox, "siem", [40], now - 300)
        ids["retried"] = attempted(
            outbox, "siem", State.WAITING, "http_503", now - 290, 2.5, "busy, come back later", 600
        )
        accepted(outbox, "tickets", range(101, 113), now - 7200)
        for number in range(12):
            ids["timeout"] = attempted(
                outbox, "tickets", State.DEAD, "retries_exhausted: timeout", now - 7000 + number, 15.0, ""
            )
        accepted(outbox, "team", range(201, 204), now - 600)
        ids["chat"] = attempted(outbox, "team", at=now - 590, seconds=0.21, excerpt="ok")
        end(outbox, a_scan())
    return ids
