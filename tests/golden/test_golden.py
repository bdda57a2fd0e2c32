"""What each format makes of the events of a real scan is what its golden file says, and its service takes it."""

from __future__ import annotations

import importlib.util
import json
from difflib import unified_diff
from urllib.parse import parse_qs, urlsplit

import pytest

from sfwebhooks.formats import FORMATS
from sfwebhooks.network.route import elsewhere
from sfwebhooks.severity import Severity
from tests.golden.recording import EXAMPLES, FOLDER, SCAN, Json, events, record
from tests.golden.rendering import FOLLOWS, file_of, golden, requests
from tests.golden.showing import bytes_of, shown
from tests.receivers.vendor import Asked
from tests.receivers.vendors import VENDORS

FORMAT = pytest.mark.parametrize("name", FORMATS)
#: most lines of a difference that are shown
DIFFERENCE_MAX = 60
HINT = "\nIf this is what you meant, write the files again with: python -m tests.golden"


@FORMAT
def test_a_format_makes_what_its_golden_file_says(name: str) -> None:
    path = file_of(name)
    assert path.exists(), f"{path} is missing; write it with: python -m tests.golden"
    before, now = path.read_bytes().decode(), golden(name, events())
    lines = [*unified_diff(before.splitlines(), now.splitlines(), f"{path.name} (golden)", f"{path.name} (now)", n=2)]
    more = [f"... and {len(lines) - DIFFERENCE_MAX} more lines"] if len(lines) > DIFFERENCE_MAX else []
    assert before == now, "\n".join(["it differs:", *lines[:DIFFERENCE_MAX], *more, HINT])


def test_no_golden_file_is_of_a_format_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} <= FORMATS.keys()


@FORMAT
def test_a_golden_file_has_every_byte_of_the_bodies(name: str) -> None:
    bodies = [request.body for _, request, _ in requests(name, events())]
    assert [bytes_of(shown(body.decode())) for body in bodies] == bodies


@FORMAT
def test_its_service_takes_every_request(name: str) -> None:
    service = VENDORS[name]()
    for title, request, _ in requests(name, events()):
        if title.startswith(FOLLOWS):
            continue  # it needs the earlier one: see tests/formats/test_edits.py and test_acknowledgement.py
        parts = urlsplit(elsewhere(request.url.reveal(), request.path, request.query))
        taken = len(service.taken)
        service(Asked(request.method, parts.path, parse_qs(parts.query), request.headers, request.body))
        # they know the documents of the batch, and the event of the target, already
        assert len(service.taken) > taken or name in ("elastic", "misp"), title
        assert [service.mischief_in(message) for message in service.taken[taken:]] == [""] * (
            len(service.taken) - taken
        ), title


def test_the_recorded_scan_has_every_kind_of_event_that_it_makes() -> None:
    kinds = {event.type for event in events()}
    assert kinds >= {
        "scan_started",
        "scan_progress",
        "high_risk_event",
        "medium_risk_event",
        "low_risk_event",
        "info_event",
        "correlation_found",
        "correlation_completed",
        "scan_completed",
    }
    assert {event.special for event in events()} == {None, "malware_detected", "vulnerability_found"}
    assert {event.severity for event in events() if "risk" in event.type or event.type == "info_event"} == {*Severity}


def test_no_event_is_filled_in_that_the_scan_makes() -> None:
    recorded = {event.type for event in events()[: -len(EXAMPLES)]}
    assert recorded.isdisjoint(EXAMPLES)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sfscan") is None, reason="the scanner is not installed")
def test_a_recording_of_today_has_the_same_events() -> None:
    assert kinds_of(record()) == kinds_of(json.loads(SCAN.read_text(encoding="utf-8")))


def kinds_of(recorded: Json) -> list[Json]:
    """Return the recorded events without what another version of the scanner may find."""
    return [{**event, "data": sorted(event["data"])} for event in recorded["events"]]
