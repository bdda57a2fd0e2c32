"""The example of each event type: an entry of the catalogue comes in, a delivery as an endpoint would get it goes out.

The commands show them, and a format tries them out on settings that can be wrong in ways that only an event shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any

from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.catalogue.scan import SERIES
from sfwebhooks.endpoints import RISK_NAMES, Endpoint, Secret
from sfwebhooks.events import Delivery, Scan, WebhookEvent, delivery_id, id_of
from sfwebhooks.severity import Severities, Severity, special_of

ENDPOINT = Endpoint("security_team", Secret("https://hooks.acme.test/webhook"))
#: time of the examples whose data has no time, in epoch seconds (2026-11-20T09:40:00Z)
MOMENT = datetime(2026, 11, 20, 9, 40, tzinfo=timezone.utc).timestamp()
#: keys of the examples that are about what was found there
ABOUT_OTHERS = {"special", "known_exploited", "kev_due_date", "epss_score", "epss_percentile", "data_source"}
#: pattern of the host's types -> data as the host's modules write them; the first one that matches counts
DATA_OF_TYPES = (
    ("PASSWORD_COMPROMISED", "jane.roe@acme.test:Tr0ub4dor&3 [Example Forum]"),
    ("HASH_COMPROMISED", "jane.roe@acme.test:5f4dcc3b5aa765d61d8327deb882cf99 [Example Forum]"),
    ("EMAILADDR_COMPROMISED", "jane.roe@acme.test [Example Forum]"),
    ("PHONE_NUMBER_COMPROMISED", "+12025550143 [Example Forum]"),
    ("ACCOUNT_EXTERNAL_*COMPROMISED", "janeroe [Example Forum]"),
    ("CREDIT_CARD_NUMBER", "4111111111111111"),
    ("IBAN_NUMBER", "DE89370400440532013000"),
    ("HUMAN_NAME", "Jane Roe"),
    ("DATE_HUMAN_DOB", "1980-04-01"),
    ("PHYSICAL_ADDRESS", "1 Example Street, 10115 Berlin, Germany"),
    ("PHYSICAL_COORDINATES", "52.520008,13.404954"),
    ("*EMAILADDR*", "jane.roe@acme.test"),
    ("*PHONE_NUMBER*", "+12025550143"),
    (
        "VULNERABILITY_CVE_*",
        "CVE-2023-44487\n<SFURL>https://nvd.nist.gov/vuln/detail/CVE-2023-44487</SFURL>\nScore: 7.5",
    ),
    ("*CLOUD_STORAGE_BUCKET*", "acme-backup.s3.amazonaws.com"),
    ("*_PORT_OPEN_BANNER", "SSH-2.0-OpenSSH_9.6"),
    ("*_PORT_OPEN*", "203.0.113.10:22"),
    ("*IPV6*", "2001:db8::10"),
    ("*NETBLOCKV6*", "2001:db8::/32"),
    ("*NETBLOCK*", "203.0.113.0/24"),
    ("*SUBNET*", "203.0.113.0/24"),
    ("*IP*ADDR*", "203.0.113.10"),
    ("*INTERNET_NAME*", "www.acme.test"),
    ("*CO_HOSTED_SITE*", "shop.example.com"),
    ("*DOMAIN*WHOIS", "Domain Name: ACME.TEST\nRegistrant Email: jane.roe@acme.test"),
    ("*DOMAIN*", "acme.test"),
    ("*URL*", "https://www.acme.test/login"),
    ("PGP_KEY", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZexample\n-----END PGP PUBLIC KEY BLOCK-----"),
)
#: data of any other type
ANY_DATA = "an example"


def examples_for(endpoint: Endpoint) -> Iterator[Delivery]:
    """Yield the examples of all event types that an endpoint subscribes to, of findings one for each severity."""
    for entry in EVENT_TYPES:
        made = example(entry, entry.name)
        severities = [one for one, name in RISK_NAMES.items() if name == entry.name] or [made.event.severity]
        for severity in severities:
            event = replace(made.event, severity=severity)
            name = endpoint.name_for(event)
            if name:
                yield replace(readdressed(made, endpoint), event=event, name=name)


def readdressed(delivery: Delivery, endpoint: Endpoint) -> Delivery:
    """Return a delivery as it would be to another endpoint."""
    its_id = delivery_id(delivery.event.id, endpoint.name)
    return replace(delivery, id=its_id, endpoint=endpoint.name)


def example(entry: EventType, name: str) -> Delivery:
    """Return the delivery of a type's example to an endpoint that subscribes to it under `name`."""
    data = entry.example
    scan = None
    if "target_type" in data:
        scan = Scan(data["scan_id"], "Weekly scan of acme.test", data["target"], data["target_type"], "4.0.0")
    event = WebhookEvent(
        id=id_of(f"example/{entry.name}"),
        type=entry.name,
        severity=_severity(entry, data),
        at=_moment(data),
        data=data,
        scan=scan,
    )
    return Delivery(delivery_id(event.id, ENDPOINT.name), event, ENDPOINT.name, name, series=SERIES, sequence=1)


def example_of_type(host_type: str, severities: Severities) -> Delivery:
    """Return the delivery of an example finding of a type of the host; its data are made up, and fit the type where its
    name says enough."""
    severity, special = severities.of(host_type), special_of(host_type)
    entry = next(entry for entry in EVENT_TYPES if entry.name == RISK_NAMES[severity])
    made = example(entry, entry.name)
    given = {key: value for key, value in made.event.data.items() if key not in ABOUT_OTHERS}
    own = {
        "event_type": host_type,
        "description": host_type.replace("_", " ").capitalize(),
        "severity": severity.label,
        "data": next((data for pattern, data in DATA_OF_TYPES if fnmatchcase(host_type, pattern)), ANY_DATA),
    }
    event = replace(
        made.event,
        id=id_of(f"example/{host_type}"),
        severity=severity,
        data={**given, **own, **({"special": special} if special else {})},
        special=special,
    )
    return replace(made, id=delivery_id(event.id, ENDPOINT.name), event=event)


def _severity(entry: EventType, data: dict[str, Any]) -> Severity:
    if "severity" in data:
        return Severity.parse(data["severity"])
    return entry.shown or next(iter(entry.severities), Severity.INFO)


def _moment(data: dict[str, Any]) -> float:
    """Return the example's time in epoch seconds."""
    if "elapsed" in data or not data.keys() & {"generated", "ended", "started"}:
        return MOMENT
    text = data.get("generated") or data.get("ended") or data["started"]
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
