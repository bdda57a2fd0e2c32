from __future__ import annotations

import time
import uuid

import pytest

from sfwebhooks.events import (
    NO_ID,
    clean_text,
    correlation_id,
    delivery_id,
    event_key_of,
    finding_id,
    id_of_key,
    key_of,
    lifecycle_id,
    printable,
    timestamp,
)
from tests.rows import in_one

# Ids are what receivers recognise a repeat by, also across versions of ours: these values must never change.


def test_the_id_of_a_finding_never_changes() -> None:
    assert finding_id("5C4A0001", "f00d") == "c771e9c3-a032-59e1-8059-820451deb6b2"


def test_the_id_of_a_scans_step_never_changes() -> None:
    assert lifecycle_id("5C4A0001", "started") == "ad86e7ce-4886-5d9d-a48b-7926d5196a50"


def test_the_id_of_a_delivery_never_changes() -> None:
    event_id = "c771e9c3-a032-59e1-8059-820451deb6b2"
    assert delivery_id(event_id, "team") == "ee2a07ee-e8b2-8b2b-8ecf-2b210f10394d"
    assert uuid.UUID(delivery_id(event_id, "team")).version == 8


@in_one("endpoint", ["team", "siem", "", "\N{BUG}", "a\0b"])
@in_one("length", [36, 24, 20, 19, 15, 14, 13, 9, 8, 4, 0])
def test_the_beginning_of_a_deliverys_id_leads_to_the_one_of_its_events(endpoint: str, length: int) -> None:
    for number in range(20):
        event_id = finding_id("5C4A0001", str(number))
        for text, its in ((delivery_id(event_id, endpoint), endpoint), (event_id, None)):
            for digit in "0f":
                expected = event_id[:length] + NO_ID[length:].replace("0", digit)
                assert event_key_of(text[:length], its, digit) == key_of(expected)


def test_an_id_comes_back_from_its_bytes() -> None:
    event_id = finding_id("5C4A0001", "f00d")
    assert (id_of_key(key_of(event_id)), len(key_of(event_id))) == (event_id, 16)


@pytest.mark.parametrize(
    "text", ["", "c771e9c3", "c771e9c3a03259e18059820451deb6b2", " 771e9c3-a032-59e1-8059-820451deb6b2"]
)
def test_what_is_not_an_id_has_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a UUID"):
        key_of(text)


def test_the_ids_of_an_events_deliveries_differ_from_the_beginning() -> None:
    event_id = finding_id("5C4A0001", "f00d")
    ids = {event_id, *(delivery_id(event_id, f"team{number}") for number in range(50))}
    assert len({found[:8] for found in ids}) == 51


def test_an_id_of_another_form_leads_nowhere() -> None:
    texts = ("zz", "\udcff", "1 2", " 12", "1_2", "\u0661", "0" * 37, "-" * 36, "0123-", "0123456789")
    assert [event_key_of(text, "team") for text in texts] == [None] * len(texts)


def test_the_id_of_a_correlation_never_changes() -> None:
    assert correlation_id("5C4A0001", "cloud_bucket_open", "Open: a/b") == "4bed3a8b-afd1-5560-bde6-9fbf1b0abcfb"


def test_different_things_have_different_ids() -> None:
    ids = [
        finding_id("scan", "a"),
        finding_id("scan", "b"),
        finding_id("other", "a"),
        correlation_id("scan", "a", "b/c/d"),
        correlation_id("scan", "a/b", "c/d"),
        correlation_id("scan", "a/b/c", "d"),
        correlation_id("scan", "5", "a/b/c/d"),
        correlation_id("other", "a", "b/c/d"),
        lifecycle_id("scan", "started"),
        lifecycle_id("scan", "ended"),
        lifecycle_id("other", "ended"),
        *(delivery_id(finding_id(scan, "a"), endpoint) for scan in ("scan", "other") for endpoint in ("a", "b")),
    ]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1795255200.0, "2026-11-21T10:00:00.000Z"),
        (1795255200.1239, "2026-11-21T10:00:00.123Z"),
        (1795255200.9999, "2026-11-21T10:00:00.999Z"),
        (-1.0, "1969-12-31T23:59:59.000Z"),
        (1795255200, "2026-11-21T10:00:00.000Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(at: float, text: str) -> None:
    assert timestamp(at) == text


def test_a_time_is_in_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert timestamp(0.0) == "1970-01-01T00:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "plain", "grüß 密码 \U0001f600", "\0\x1b\x7f\u2028", "\ufeffx", "\ufffd", "x" * 10**6]
)
def test_text_that_utf_8_can_write_is_left_alone(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\ud800", "\ufffd"),
        ("\udfff", "\ufffd"),
        ("a\ud800b", "a\ufffdb"),
        ("a\udc00", "a\ufffd"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud800\ud800x", "\ufffd\ufffdx"),
        ("\ud83d\ude00", "\U0001f600"),  # the two halves of one character belong together
        ("\ufeff\ud800", "\ufeff\ufffd"),
        ("\U0001f600\udc80", "\U0001f600\ufffd"),
        ("\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
    ],
)
def test_lone_surrogates_become_replacement_characters(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


MISLEADING = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, *range(0x200B, 0x2010), 0x2028, 0x202E, 0x2060, 0x2066,
              0x2800, 0x3164, 0xFE00, 0xFEFF, 0xD800, 0xE000, 0xE0041, 0xE0101]  # fmt: skip


@in_one("code", MISLEADING)
def test_what_nobody_sees_and_what_misleads_is_replaced(code: int) -> None:
    assert printable(f"a{chr(code)}b") == "a\ufffdb"


def test_every_script_is_printable_and_each_wide_space_is_a_space() -> None:
    text = "grüß שלום नमस्ते ❤\ufe0f 漢字"
    assert (printable(text), printable("a\u00a0b\u3000c")) == (text, "a b c")
