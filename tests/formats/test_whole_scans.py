"""The contract of every format that sends a whole scan at once: one request for each, whatever happens to it; the same
bytes each time; and that what a scan finds does no harm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from sfwebhooks.events import Batch, Delivery, WebhookEvent, lifecycle_id
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.health import REFUSALS_MAX
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.cases import HOSTILE, UI, cve
from tests.formats.conftest import Sending, Served, Start
from tests.golden.recording import events as recorded
from tests.golden.rendering import endpoint_of
from tests.receivers.vendor import Vendor
from tests.receivers.vendors import VENDORS
from tests.tiers import slow

WHOLE = [name for name, one in FORMATS.items() if one.bundle]
#: their receivers share what they have, so that no secret is ever in them
SHARED = ("stix", "misp", "thehive")
EACH = pytest.mark.parametrize("name", WHOLE)
ENDED = lifecycle_id(a_scan().id, "ended")


def an_end() -> WebhookEvent:
    return an_event(id=ENDED, type="scan_completed", severity=Severity.INFO, data={})


@pytest.fixture
def started(served: Served, sending: Start) -> Any:
    """Start the service of a format, and an endpoint to which a scan with some findings goes."""

    def start(name: str, events: int | Iterable[WebhookEvent], **keys: Any) -> tuple[Vendor, Sending]:
        ours = served(VENDORS[name]())
        one = sending(ours, retry_schedule=(1.0,), ui_url=UI, events=("*",), **keys)
        one.accept(events)
        one.accept([an_end()])
        return ours, one

    return start


@EACH
def test_a_scan_is_one_request_with_all_its_findings(name: str, started: Any) -> None:
    ours, one = started(name, 30)
    assert one.step() and not one.step(60)
    assert (len(ours.got), len(ours.taken), {state for state, _ in one.states}) == (1, 1, {"delivered"})
    assert all(cve(number) in ours.got[0].text for number in range(1, 31))


@EACH
def test_a_scan_without_findings_is_one_too(name: str, started: Any) -> None:
    ours, one = started(name, 0)
    assert one.step() and len(ours.taken) == 1 and one.numbers("delivered") == [1]


@EACH
def test_a_busy_service_gets_the_same_bytes_once_the_wait_is_over(name: str, started: Any) -> None:
    ours, one = started(name, 5)
    ours.excess, wait = 1, ours.wait or 1.0
    assert one.step() and not one.step(wait - 0.5)
    assert one.step(0.8) and len(one.numbers("delivered")) == 6
    first, second = ours.got
    assert (first.body, first.path) == (second.body, second.path)


@EACH
def test_a_wrong_credential_holds_the_endpoint_and_loses_nothing(name: str, started: Any) -> None:
    ours, one = started(name, 5)
    ours.is_revoked = True
    for _ in range(REFUSALS_MAX):
        one.step(60)
    assert (one.condition, len(one.numbers("waiting")), len(ours.got)) == ("held", 6, REFUSALS_MAX)
    ours.is_revoked = False
    one.finish()
    assert len(one.numbers("delivered")) == 6 and len({asked.body for asked in ours.got}) == 1


@EACH
def test_hostile_texts_are_accepted_and_do_no_harm(name: str, started: Any) -> None:
    texts = [text for text in HOSTILE.values() if len(text) < 10**6]
    found = [event_of_finding(a_finding(hash=f"{at}", data=text), a_scan(), text) for at, text in enumerate(texts)]
    ours, one = started(name, found)
    one.finish()
    assert len(one.numbers("delivered")) == len(found) + 1
    assert [ours.mischief_in(file) for file in ours.taken] == [""]


@slow
@EACH
def test_five_megabytes_of_anything_are_rendered(name: str) -> None:
    text = "=<&>\ud800\0x," * 600_000
    data = {"event_type": text, "data": text, "description": text, "module": text, "sources": [{"data": text}]}
    assert rendered(name, [an_event(data=data, scan=a_scan(name=text, target=text)), an_end()])


@EACH
@pytest.mark.parametrize("data", [{}, {"data": None, "sources": 5}, {"event_type": [], "sources": [None]}, {"data": 1}])
def test_data_of_another_shape_are_rendered(name: str, data: dict[str, Any]) -> None:
    assert rendered(name, [an_event(data=data), an_event(2, type="correlation_found", data=data), an_end()])


@EACH
def test_the_same_deliveries_are_the_same_bytes(name: str) -> None:
    assert rendered(name, recorded()) == rendered(name, recorded())


@EACH
def test_what_is_redacted_is_not_in_it(name: str) -> None:
    event = event_of_finding(a_finding(type="PASSWORD_COMPROMISED", data="john@acme.example:hunter2"), a_scan(), "x")
    assert (b"hunter2" in rendered(name, [event, an_end()])) is (name not in SHARED)
    assert b"hunter2" not in rendered(name, [event, an_end()], redact=("default",))


def rendered(name: str, events: Iterable[WebhookEvent], **values: Any) -> bytes:
    endpoint = endpoint_of(name, **values)
    sent: list[Delivery] = [a_delivery(one, sequence=at) for at, one in enumerate(events, 1) if endpoint.name_for(one)]
    return render(Batch(tuple(sent)), endpoint).body


def test_a_format_is_for_single_events_or_for_whole_scans() -> None:
    assert all(not (one.join or one.digest or one.is_chat) for one in map(FORMATS.__getitem__, WHOLE))
    assert an_endpoint(format=WHOLE[0]).takes_scans and not an_endpoint().takes_scans


def test_a_put_without_a_secret_has_no_headers_of_ours(served: Served, sending: Start) -> None:
    ours = served(VENDORS["csv"]())
    one = sending(ours, events=("*",), method="PUT")
    one.accept([an_end()])
    assert one.step()
    (asked,) = ours.got
    assert asked.method == "PUT"
    assert {*map(str.lower, asked.headers)} == {
        "host", "user-agent", "accept", "accept-encoding", "authorization", "content-type", "content-length",
    }  # fmt: skip


@EACH
def test_a_form_has_the_file_in_its_field(name: str) -> None:
    if "multipart" not in {key.name for key in FORMATS[name].keys}:
        pytest.skip("its service takes another form")
    scan = a_scan("../../etc/passwd\r\nX: y")
    boundary = Batch(tuple(a_delivery(one) for one in [an_event(scan=scan), an_end()])).id
    # a page that knows the boundary cannot end the file
    events = [an_event(scan=scan, data={"data": f"--sfwebhooks-{boundary}-0--\r\n", "event_type": "X"}), an_end()]
    sent = Batch(tuple(map(a_delivery, events)))
    content = render(sent, endpoint_of(name, multipart="file"))
    found = re.fullmatch(r"multipart/form-data; boundary=(\S+)", content.headers["Content-Type"])
    assert found and content.body.count(found[1].encode()) == 2
    head, _, rest = content.body.partition(b"\r\n\r\n")
    assert b'name="file"; filename="spiderfoot-' in head and b"passwd\r\n" not in head
    assert rest.removesuffix(f"\r\n--{found[1]}--\r\n".encode()) == render(sent, endpoint_of(name)).body


def test_the_lines_are_messages_of_the_generic_format() -> None:
    delivery = a_delivery()
    generic = FORMATS["generic"].render(delivery, an_endpoint()).body
    assert rendered("jsonl", [delivery.event]).splitlines()[0] == generic
    assert json.loads(generic)["event_type"] == "high_risk_event"
