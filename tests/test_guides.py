"""The receivers of both guides take every event of the catalogue, as the engine sends it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.emitted_event import Emission, event_of
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import WebhookEvent
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import Condition
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity
from tests.builders import NOW, PATIENCE, a_finding, a_scan, an_endpoint, an_event
from tests.conftest import soon
from tests.receivers import GUIDES, NAMES, names_of
from tests.receivers.serving import Served
from tests.stores import BOTH

STORES = BOTH

SECRET = "the secret of the team"
GUIDE = pytest.mark.parametrize("naming", GUIDES)


def every_event() -> list[WebhookEvent]:
    """Return an event of each type and severity, with the data of the catalogue's example."""
    kinds = [(entry, severity) for entry in EVENT_TYPES for severity in names_of(entry)]
    return [example_of(entry, severity, number) for number, (entry, severity) in enumerate(kinds)]


def example_of(entry: EventType, severity: Severity, number: int) -> WebhookEvent:
    data = {**entry.example, "severity": severity.label} if "severity" in entry.example else entry.example
    scan = a_scan(data["scan_id"]) if "target_type" in data else None
    return an_event(number, type=entry.name, severity=severity, data=data, scan=scan)


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Start the receiver of a guide: `serve(naming, secret)`."""
    served: list[Served] = []

    def start(naming: str, secret: str = SECRET) -> Served:
        served.append(Served(GUIDES[naming], secret, {names[naming] for names in NAMES}))
        return served[-1]

    yield start
    for one in served:
        one.close()


@pytest.fixture
def send(outbox: Outbox, dispatch: Callable[..., Dispatcher]) -> Callable[..., Endpoint]:
    """Let the engine send events to a receiver until nothing can go: `send(receiver, naming, events, ...)`."""

    def accept_and_send(receiver: Served, naming: str, happened: list[WebhookEvent], **values: Any) -> Endpoint:
        settings = {"events": ("all",), "secrets": [SECRET], "timeout": PATIENCE, **values}
        endpoint = an_endpoint(url=receiver.url, format=naming, **settings)
        accept(happened, Screen((endpoint,)), outbox, time.time())
        dispatcher = dispatch(endpoint)
        dispatcher.wake()
        dispatcher.linger(soon())
        dispatcher.stop(PATIENCE)
        return endpoint

    return accept_and_send


def test_the_catalogue_has_every_event_of_both_guides() -> None:
    for naming, guide in GUIDES.items():
        assert guide.handlers.keys() <= {names[naming] for names in NAMES}


@GUIDE
def test_every_event_is_verified_and_given_to_its_handler(
    serve: Callable[..., Served], send: Callable[..., Endpoint], outbox: Outbox, naming: str
) -> None:
    receiver = serve(naming)
    send(receiver, naming, every_event())
    assert sorted(receiver.answered) == sorted((names[naming], 200) for names in NAMES)
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": len(NAMES), "dead": 0}


@GUIDE
def test_events_of_other_tools_are_given_to_the_handlers_too(
    serve: Callable[..., Served], send: Callable[..., Endpoint], outbox: Outbox, naming: str
) -> None:
    emitted = [entry for entry in EVENT_TYPES if entry.by_others]
    happened = [event_of(Emission(entry.name, whole_of(entry)), time.time()) for entry in emitted]
    receiver = serve(naming)
    send(receiver, naming, happened)
    assert [status for _, status in receiver.answered] == [200] * len(emitted)
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": len(emitted), "dead": 0}


def whole_of(entry: EventType) -> dict[str, Any]:
    """Return what another tool says of an event that it knows all of."""
    own = [field for field in entry.by_others if not field.added or field.instead]
    return {field.name: field.example for field in own if field.example is not None}


@GUIDE
def test_a_receiver_with_another_secret_answers_401_and_the_endpoint_is_held(
    serve: Callable[..., Served], send: Callable[..., Endpoint], outbox: Outbox, naming: str
) -> None:
    receiver = serve(naming, "another secret")
    endpoint = send(receiver, naming, every_event()[:3])
    assert (set(receiver.answered), outbox.scans.tallies()["waiting"]) == ({("", 401)}, 3)
    assert outbox.endpoints.health(endpoint.name).condition is Condition.HELD


@GUIDE
def test_a_receiver_of_the_other_guide_finds_no_signature(
    serve: Callable[..., Served], send: Callable[..., Endpoint], naming: str
) -> None:
    receiver = serve(naming)
    (other,) = GUIDES.keys() - {naming}
    send(receiver, other, every_event()[:1])
    assert set(receiver.answered) == {("", 401)}


@GUIDE
@pytest.mark.parametrize(
    ("host_type", "names"),
    [
        ("PASSWORD_COMPROMISED", ("high_risk_event", "finding.high")),
        ("VULNERABILITY_CVE_CRITICAL", ("high_risk_event", "finding.critical")),
        ("EMAILADDR_COMPROMISED", ("medium_risk_event", "finding.medium")),
        ("TCP_PORT_OPEN", ("low_risk_event", "finding.low")),
        ("IP_ADDRESS", ("info_event", "finding.info")),
    ],
)
def test_a_finding_of_a_scan_is_given_to_the_handler_of_its_severity(
    serve: Callable[..., Served], send: Callable[..., Endpoint], naming: str, host_type: str, names: tuple[str, str]
) -> None:
    receiver = serve(naming)
    send(receiver, naming, [event_of_finding(a_finding(type=host_type), a_scan(), host_type)])
    assert receiver.answered == [(dict(zip(GUIDES, names))[naming], 200)]


@GUIDE
@pytest.mark.parametrize("name", ["vulnerability_found", "finding.vulnerability"])
def test_a_finding_goes_by_the_name_that_was_asked_for(
    serve: Callable[..., Served], send: Callable[..., Endpoint], naming: str, name: str
) -> None:
    receiver = serve(naming)
    receiver.handlers[name] = receiver.guide.any_event
    send(receiver, naming, [event_of_finding(a_finding(), a_scan(), "a CVE")], events=(name,))
    assert receiver.answered == [("finding.vulnerability" if FORMATS[naming].naming.dotted else name, 200)]


#: high or critical, each with the name that the other guide has for it
URGENT = {
    "VULNERABILITY_CVE_CRITICAL": "finding.critical",
    "VULNERABILITY_CVE_HIGH": "finding.high",
    "DEFACED_INTERNET_NAME": "finding.critical",
    "MALICIOUS_INTERNET_NAME": "finding.high",
    "PASSWORD_COMPROMISED": "finding.high",
    "CLOUD_STORAGE_BUCKET_OPEN": "finding.high",
}


@GUIDE
def test_each_high_or_critical_finding_becomes_a_ticket_whatever_kinds_were_asked_for_too(
    serve: Callable[..., Served], send: Callable[..., Endpoint], naming: str
) -> None:
    receiver = serve(naming)
    found = [a_finding(f"{host_type}-{number}", type=host_type) for host_type in URGENT for number in (1, 2)]
    asked = ("high_risk_event", "vulnerability_found", "malware_detected")
    send(receiver, naming, [event_of_finding(one, a_scan(), one.type) for one in found], events=asked)
    names = [dict(zip(GUIDES, ("high_risk_event", URGENT[one.type])))[naming] for one in found]
    assert sorted(receiver.answered) == sorted((name, 200) for name in names)
    specials = [json.loads(body)["data"].get("special", "") for body in receiver.bodies]
    assert Counter(specials) == {"vulnerability_found": 4, "malware_detected": 4, "": 4}


VERIFY = """
const crypto = require("crypto");
const [secret, ...bodies] = JSON.parse(require("fs").readFileSync(0));
for (const body of bodies) {
  const hmac = crypto.createHmac("sha256", secret).update(JSON.stringify(JSON.parse(body)), "utf8");
  console.log("sha256=" + hmac.digest("hex"));
}
"""


@GUIDE
@pytest.mark.skipif(not shutil.which("node"), reason="no JavaScript here")
def test_a_receiver_in_javascript_that_serialises_the_body_again_gets_the_same_signature(
    serve: Callable[..., Served], send: Callable[..., Endpoint], naming: str
) -> None:
    receiver = serve(naming)
    whole = an_event(-1, type="resource_warning", data={"value": 360.5, "limit": 512.0}, scan=None)
    cve = a_finding(type="VULNERABILITY_CVE_HIGH", data="CVE-2026-0001\nScore: 10.0", generated=NOW)
    send(receiver, naming, [*every_event(), whole, event_of_finding(cve, a_scan(), "grüß \U0001f600")])
    given = json.dumps([SECRET, *receiver.bodies])
    done = subprocess.run(["node", "-e", VERIFY], input=given, capture_output=True, text=True, check=True)
    verified = [receiver.guide.verifies(body, line, SECRET) for body, line in zip(receiver.bodies, done.stdout.split())]
    assert verified == [True] * (len(NAMES) + 2)
