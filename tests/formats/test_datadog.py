"""Datadog's intake of logs: what is sent, its limits, and an end-to-end run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats import render
from sfwebhooks.formats.datadog import FORMAT, LOG_MAX, REQUEST_MAX
from sfwebhooks.formats.siem import siem_event
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from sfwebhooks.signing import sign
from tests.builders import NOW, a_batch, a_delivery, an_endpoint, an_event
from tests.formats.conftest import Served, Start
from tests.receivers.collectors import Datadog
from tests.rows import in_one

KEY = Datadog.key


def log(endpoint: Endpoint | None = None, **event: Any) -> dict[str, Any]:
    content = render(Batch((a_delivery(an_event(**event)),)), endpoint or an_endpoint(format="datadog"))
    found: dict[str, Any] = json.loads(content.body)
    return found


def test_logs_arrive_in_requests_within_datadogs_limits(served: Served, sending: Start) -> None:
    datadog = served(Datadog())
    one = sending(datadog, batch_size=1000, batch_max_bytes=100_000_000, max_body=100_000_000)
    one.accept(an_event(number, data={"event_type": "X", "data": "x" * 900_000}) for number in range(8))
    one.finish()
    assert (len(datadog.taken), len(datadog.got)) == (8, 2)
    assert max(len(asked.body) for asked in datadog.got) <= REQUEST_MAX
    assert {*one.states} == {("delivered", "http_202")}


def test_a_log_has_its_message_and_the_event_of_siem() -> None:
    assert log() == {
        "message": "VULNERABILITY_CVE_HIGH: CVE-2026-0001",
        "ddsource": "spiderfoot",
        "service": "spiderfoot",
        "status": "error",
        "spiderfoot": json.loads(json.dumps(siem_event(a_delivery(), an_endpoint()))),
    }


@in_one("entry", EVENT_TYPES)
def test_every_event_of_the_catalogue_has_a_message_in_one_line(entry: Any) -> None:
    message = log(type=entry.name, data=entry.example)["message"]
    assert 0 < len(message) <= 160 and message.isprintable()


def test_the_time_is_not_where_datadog_would_drop_an_old_log_for_it() -> None:
    assert not log().keys() & {"timestamp", "date", "@timestamp", "_timestamp", "eventTime", "published_date"}
    assert log()["spiderfoot"]["timestamp"] == "2026-11-21T10:00:00.000Z"


@pytest.mark.parametrize(
    ("severity", "status"),
    [
        (Severity.CRITICAL, "critical"),
        (Severity.HIGH, "error"),
        (Severity.MEDIUM, "warning"),
        (Severity.LOW, "notice"),
        (Severity.INFO, "info"),
    ],
)
def test_the_status_is_the_severity(severity: Severity, status: str) -> None:
    assert log(severity=severity)["status"] == status


def test_a_log_has_at_most_one_megabyte_whatever_the_settings() -> None:
    endpoint = an_endpoint(format="datadog", max_body=10**8)
    for size in (LOG_MAX - 5000, LOG_MAX, 5 * LOG_MAX):
        event = an_event(data=Stored(kept({"event_type": "X", "data": "x" * size})))
        body = render(Batch((a_delivery(event),)), endpoint).body
        assert len(body) <= LOG_MAX and json.loads(body)["spiderfoot"]["raw_data"]["data"].startswith("xxx")


def test_service_and_tags_come_from_the_settings() -> None:
    section = {
        "url": "https://x.example/",
        "format": "datadog",
        "datadog_service": "osint",
        "datadog_tags": "env:a,b:c",
    }
    found = load_mapping({"dd": section})
    assert found.mistakes == ()
    made = log(found.endpoints[0])
    assert (made["service"], made["ddtags"]) == ("osint", "env:a,b:c")


@pytest.mark.parametrize("tags", ["a, b", ",", "a,,b", "a" * 201])
def test_malformed_tags_are_a_mistake(tags: str) -> None:
    section = {"url": "https://x.example/", "format": "datadog", "datadog_tags": tags}
    assert "expected NAME:VALUE" in str(load_mapping({"dd": section}).mistakes[0])


def test_the_key_goes_out_in_datadogs_header() -> None:
    endpoint = an_endpoint(format="datadog", api_key=Secret(KEY))
    request = sign(render(a_batch(), endpoint), a_batch(), endpoint, NOW)
    assert (request.headers["DD-API-KEY"], "Authorization" in request.headers) == (KEY, False)
    assert KEY.encode() not in request.body


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (202, Outcome.DELIVERED),
        (400, Outcome.REFUSED),
        (401, Outcome.REFUSED),
        (403, Outcome.REFUSED),
        (408, Outcome.RETRY),
        (413, Outcome.REFUSED),
        (429, Outcome.RETRY),
        (500, Outcome.RETRY),
        (503, Outcome.RETRY),
    ],
)
def test_the_table_knows_datadogs_answers(status: int, outcome: Outcome) -> None:
    assert FORMAT.read is None
    assert judge(Reply(status, body=b"{}"), NOW).outcome is outcome
