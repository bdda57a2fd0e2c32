"""`max_data`: how much of a finding's data an endpoint is sent."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.scan.findings import DATA_MAX, event_of_finding
from tests.builders import a_delivery, a_finding, a_scan, an_endpoint, an_event

LIMIT = 1000


def sent(data: Any, limit: int = LIMIT, stored: bool = True) -> dict[str, Any]:
    event = event_of_finding(a_finding(data=data), a_scan(), "words")
    its = Stored(kept(event.data)) if stored else event.data
    delivery = a_delivery(an_event(data=its))
    body = render(Batch((delivery,)), an_endpoint(max_data=limit)).body
    message: dict[str, Any] = json.loads(body)
    return message


@pytest.mark.parametrize("stored", [True, False])
def test_longer_data_is_cut_with_length_and_digest_of_the_whole(stored: bool) -> None:
    text = "abc" * 1000
    data = sent(text, stored=stored)["data"]
    assert data["data"] == text[:LIMIT]
    assert (data["data_length"], data["data_sha256"]) == (3000, hashlib.sha256(text.encode()).hexdigest())
    assert (data["event_type"], data["module"]) == ("VULNERABILITY_CVE_HIGH", "sfp_example"), "and no other field"


def test_data_that_fits_are_sent_as_they_are() -> None:
    assert sent("a" * LIMIT) == sent("a" * LIMIT, 0)
    assert "data_length" not in sent("a" * LIMIT)["data"]


def test_data_that_were_cut_before_keep_length_and_digest_of_the_whole() -> None:
    text = "y" * (DATA_MAX + 5)
    data = sent(text)["data"]
    assert (len(data["data"]), data["data_length"]) == (LIMIT, DATA_MAX + 5)
    assert data["data_sha256"] == hashlib.sha256(text.encode()).hexdigest()


@given(st.text(min_size=20, max_size=60), st.integers(100, 140))
def test_bytes_count_and_no_character_is_parted(text: str, limit: int) -> None:
    data = sent(text * 3, limit)["data"]["data"]
    assert (text * 3).startswith(data)
    assert len(data.encode()) <= limit
    assert data == text * 3 or len(data.encode()) > limit - 4


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "template"])
def test_each_format_sends_no_more(name: str) -> None:
    event = event_of_finding(a_finding(type="INTERNET_NAME", data=f"{'a' * 300}NEEDLE"), a_scan(), "words")
    assert b"NEEDLE" not in render(Batch((a_delivery(event),)), an_endpoint(format=name, max_data=100)).body


def test_data_of_other_events_stay() -> None:
    event = an_event(type="scan_completed", data={"data": "z" * 5000})
    body = render(Batch((a_delivery(event),)), an_endpoint(max_data=LIMIT)).body
    assert json.loads(body)["data"]["data"] == "z" * 5000


@pytest.mark.parametrize("data", [None, 5, ["x" * 5000], {}])
def test_data_that_are_no_text_stay(data: Any) -> None:
    event = an_event(data={"data": data})
    assert json.loads(render(Batch((a_delivery(event),)), an_endpoint(max_data=100)).body)["data"]["data"] == data
