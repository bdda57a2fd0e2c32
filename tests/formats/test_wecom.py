from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import Delivery
from sfwebhooks.formats import wecom
from sfwebhooks.retry import judge
from tests.builders import NOW, a_batch, a_delivery, a_scan, an_event
from tests.formats.cases import (
    LINK,
    each_past,
    mistakes_of,
    past,
    rendered,
)

DONE = {"errcode": 0, "errmsg": "ok"}


def sent(delivery: Delivery) -> str:
    """Return the text that goes out."""
    message = rendered("wecom", delivery)
    assert set(message) == {"msgtype", "text"} and set(message["text"]) == {"content"}, "nobody is mentioned"
    content = str(message["text"]["content"])
    assert 1 <= len(content.strip().encode()) <= len(content.encode()) <= 2048
    assert all(char.isprintable() or char in "\n\t" for char in content)
    assert "<@" not in content and "<a" not in content and " @" not in content
    return content


def test_a_finding_is_its_headline_lines_and_the_link() -> None:
    lines = sent(a_delivery()).split("\n")
    assert lines[:3] == ["High: VULNERABILITY_CVE_HIGH", "CVE-2026-0001", "Target: acme.example"]
    assert lines[-2:] == ["Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1", LINK]


@each_past
def test_what_is_not_live_says_so(how: str) -> None:
    assert f" · {how}\n" in sent(past(how))


@pytest.mark.parametrize("character", ["b", "漢"])
def test_a_text_of_2048_bytes_is_left_as_it_is(character: str) -> None:
    def of(target: str) -> str:
        return sent(a_delivery(an_event(scan=a_scan(target=target), data={"event_type": "X", "data": character * 500})))

    room = 2048 - len(of("").encode()) - len("Target: \n")
    assert len(of("t" * room).encode()) == 2048 and "…" not in of("t" * room)
    cut = of("t" * (room + 1))
    assert len(cut.encode()) < 2048 and "…\n" in cut and cut.endswith(LINK)


@pytest.mark.parametrize(
    ("status", "said", "outcome", "reason"),
    [
        (200, DONE, Outcome.DELIVERED, "http_200"),
        (200, {"errcode": 12345, "errmsg": "no"}, Outcome.REFUSED, "errcode_12345"),
        (200, {}, Outcome.HOLD, "http_200_but_not_ok"),
        *((200, {"errcode": code}, Outcome.RETRY, f"errcode_{code}") for code in sorted(wecom.BUSY)),
        *((200, {"errcode": code}, Outcome.HOLD, f"errcode_{code}") for code in sorted(wecom.ROBOT_IS_WRONG)),
        (413, {}, Outcome.REFUSED, "http_413"),
        (429, {}, Outcome.RETRY, "http_429"),
        (500, {}, Outcome.RETRY, "http_500"),
    ],
)
def test_a_200_means_what_its_code_says(status: int, said: Any, outcome: Outcome, reason: str) -> None:
    reply = Reply(status, body=json.dumps(said).encode())
    verdict = wecom.read(reply, a_batch()) or judge(reply, NOW)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_the_format_has_no_keys_of_its_own() -> None:
    assert mistakes_of("wecom") == []
    (found,) = mistakes_of("wecom", topic="acme-x7")
    assert "team" in found and "topic requires format = ntfy" in found
