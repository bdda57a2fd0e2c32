from __future__ import annotations

import json

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.packing import PACKED_FROM, PACKED_MAX, packed, unpacked
from sfwebhooks.scan.findings import event_of_finding
from tests.builders import NOW, a_finding, a_scan, an_event
from tests.conftest import sql
from tests.filled import put_event

FINDING = event_of_finding(a_finding(hash="ab" * 32), a_scan(), "Vulnerability")
TEXT = json.dumps(dict(FINDING.data))


def test_a_finding_takes_less_than_half_of_its_bytes() -> None:
    stored = packed(TEXT)
    assert isinstance(stored, bytes) and len(stored) < len(TEXT) / 2
    assert unpacked(stored) == TEXT


@pytest.mark.parametrize("char", ["x", "\N{BUG}", "\0"])
@pytest.mark.parametrize("length", [0, 1, PACKED_MAX])
def test_any_text_comes_back(char: str, length: int) -> None:
    assert unpacked(packed(char * length)) == char * length


def test_a_large_text_stays_as_it_is() -> None:
    text = "x" * (PACKED_MAX + 1)
    assert packed(text) is text and unpacked(text) is text
    assert isinstance(packed(text[1:]), bytes)


def test_what_was_stored_stays_readable() -> None:
    assert (
        unpacked(bytes.fromhex("430e7053671347a0230d81aae0019f989c9baa975a91985b003400eecb5a00"))
        == '{"scan_id":"5C4A0001","target":"acme.example","risk":0}'
    )


@pytest.mark.parametrize("stored", [b"", b"rubbish", b"\xff" * 50, packed(TEXT)[:20], None, 1.5])
def test_garbage_is_not_json(stored: object) -> None:
    with pytest.raises(ValueError):
        json.loads(unpacked(stored))


def fill(outbox: Outbox) -> None:
    """Put a finding into an outbox that is the last one that is not packed."""
    put_event(outbox, event_of_finding(a_finding(), a_scan(), "Vulnerability"))
    sql(outbox, f"UPDATE event SET number = {PACKED_FROM - 1}")
    sql(outbox, f"UPDATE delivery SET event = {PACKED_FROM - 1}")
    put_event(outbox, event_of_finding(a_finding("last"), a_scan(), "Vulnerability"))


def test_findings_of_a_large_outbox_are_packed_and_nothing_else(outbox: Outbox) -> None:
    fill(outbox)
    put_event(outbox, FINDING)
    put_event(outbox, an_event(2, type="system_alert"))
    assert sql(outbox, "SELECT typeof(data) FROM main.event ORDER BY number") == [
        ("text",),
        ("text",),
        ("blob",),
        ("text",),
    ]


def test_a_packed_finding_is_sent_and_counted_as_any_other(outbox: Outbox) -> None:
    outbox.scans.begin_scan(a_scan(), an_event(9), [], NOW)
    fill(outbox)
    put_event(outbox, FINDING)
    *_, request = outbox.queue.claim("team", (), NOW, 3)
    assert request.deliveries[0].event == FINDING
    accepted = outbox.scans.accepted(a_scan().id)
    assert (accepted.counts.total, {one.hash for one in accepted.top} >= {"ab" * 32}) == (3, True)
