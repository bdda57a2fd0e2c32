"""Whole scans for the tests of formats that send one at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch, Scan, WebhookEvent, lifecycle_id
from sfwebhooks.formats import render
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.whole_scan import ScanFinding, scan_findings
from sfwebhooks.scan.correlations import event_of_correlation
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_correlation, a_delivery, a_finding, a_scan, an_endpoint, an_event

#: type and data of what a scan finds, as SpiderFoot's modules write them
FOUND = (
    ("IP_ADDRESS", "192.0.2.7"),
    ("IPV6_ADDRESS", "2001:db8::7"),
    ("INTERNET_NAME", "mail.acme.example"),
    ("DOMAIN_NAME", "acme.example"),
    ("MALICIOUS_IPADDR", "AbuseIPDB [198.51.100.7]\n<SFURL>https://abuse.example/check/198.51.100.7</SFURL>"),
    ("MALICIOUS_INTERNET_NAME", "OpenPhish [mail.acme.example]\n<SFURL>https://openphish.example</SFURL>"),
    ("MALICIOUS_SUBNET", "blocklist [203.0.113.0/24]"),
    ("NETBLOCK_OWNER", "203.0.113.0/24"),
    ("EMAILADDR", "Admin@Acme.example"),
    ("EMAILADDR_COMPROMISED", "ceo@acme.example [Breach 2024]"),
    ("LINKED_URL_INTERNAL", "https://acme.example/a?b=c"),
    ("SOCIAL_MEDIA", "Twitter: <SFURL>https://twitter.com/acme</SFURL>"),
    ("BGP_AS_OWNER", "64496"),
    ("PHONE_NUMBER", "+15551234567"),
    ("BITCOIN_ADDRESS", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("ETHEREUM_ADDRESS", "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe"),
    ("IBAN_NUMBER", "DE89370400440532013000"),
    ("HASH", "[MD5] d41d8cd98f00b204e9800998ecf8427e"),
    ("USERNAME", "acme_admin"),
    ("SOFTWARE_USED", "nginx/1.18"),
    ("TCP_PORT_OPEN", "192.0.2.7:443"),
    ("UDP_PORT_OPEN", "[2001:db8::7]:53"),
    ("VULNERABILITY_CVE_HIGH", "CVE-2021-44228\n<SFURL>https://nvd.example/CVE-2021-44228</SFURL>\nScore: 10"),
    ("VULNERABILITY_GENERAL", "the login form has no limit"),
    ("WEBSERVER_BANNER", "nginx"),
    ("TARGET_WEB_CONTENT", "<html><script>alert(1)</script>```</html>"),
)


def a_whole_scan(
    found: Sequence[tuple[str, str]] = FOUND,
    scan: Scan | None = None,
    end: str = "scan_completed",
    at: float = NOW,
    **receipt: Any,
) -> list[WebhookEvent]:
    """Return the events of a scan: start, findings, a correlation unless nothing was found, end."""
    scan = scan or a_scan()
    events = [an_event(id=lifecycle_id(scan.id, "started"), type="scan_started", data={}, scan=scan, at=at)]
    for number, (kind, data) in enumerate(found):
        finding = a_finding(f"{number}/{data}", type=kind, data=data, generated=at + number)
        events.append(event_of_finding(finding, scan, kind.capitalize()))
    if found:
        events.append(event_of_correlation(a_correlation(), (), scan, at))
    receipt = {"accepted": len(events) + 1, "withheld_by_reason": {}, **receipt}
    last: dict[str, Any] = {"id": lifecycle_id(scan.id, "ended"), "type": end, "at": at + 600, "scan": scan}
    return [*events, an_event(severity=Severity.INFO, data={"receipt": receipt}, **last)]


def batch_of(events: Sequence[WebhookEvent], **values: Any) -> Batch:
    return Batch(tuple(a_delivery(event, **values) for event in events))


def sent(format: str, batch: Batch, **keys: str) -> Content:
    """Return the request with a scan; the keys are those of the format."""
    own = {name: Secret(text) for name, text in keys.items()}
    return render(batch, an_endpoint(format=format, own=own))


def message_of(format: str, batch: Batch, **keys: str) -> Any:
    """Return the JSON of such a request."""
    return json.loads(sent(format, batch, **keys).body)


def finding_of(kind: str, data: str, **values: Any) -> ScanFinding:
    """Return a finding as formats see it."""
    event = event_of_finding(a_finding(type=kind, data=data, **values), a_scan(), "x")
    (found,) = scan_findings(batch_of([event]))
    return found
