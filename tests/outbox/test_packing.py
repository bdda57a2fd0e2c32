from __future__ import annotations

import json

import pytest

from sfwebhooks.outbox.packing import PACKED_MAX, packed, unpacked
from sfwebhooks.scan.findings import event_of_finding
from tests.builders import a_finding, a_scan

TEXT = json.dumps(dict(event_of_finding(a_finding(hash="ab" * 32), a_scan(), "Vulnerability").data))


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


def test_what_was_stored_stays_readable() -> None:
    assert (
        unpacked(bytes.fromhex("430e7053671347a0230d81aae0019f989c9baa975a91985b003400eecb5a00"))
        == '{"scan_id":"5C4A0001","target":"acme.example","risk":0}'
    )


@pytest.mark.parametrize("stored", [b"", b"rubbish", b"\xff" * 50, packed(TEXT)[:20], None, 1.5])
def test_garbage_is_not_json(stored: object) -> None:
    with pytest.raises(ValueError):
        json.loads(unpacked(stored))  # type: ignore[arg-type]
