"""Why deliveries wait, in words."""

from __future__ import annotations

import pytest

from sfwebhooks.pacing import Condition, Health
from sfwebhooks.queues import Orders
from sfwebhooks.waiting import in_brief, obstacle, why_waiting
from tests.builders import NOW

HELD = Health(Condition.HELD, "http_401", open_at=NOW + 60)
GONE = Health(Condition.DISABLED, "http_410", open_at=NOW + 60)


@pytest.mark.parametrize(
    ("health", "orders", "brief", "whole"),
    [
        (Health(), Orders(), "", "for their next attempt"),
        (Health(failures=2, open_at=NOW), Orders(), "", "its last attempts failed"),
        (
            *(Health(failures=2, open_at=NOW + 60), Orders(), ""),
            "its last attempts failed; the next one is at 2026-11-21 10:01:00 UTC",
        ),
        (
            *(HELD, Orders(), "held, http_401"),
            "held, http_401; next probe at 2026-11-21 10:01:00 UTC, or at once with sfwebhooks resume team",
        ),
        (
            *(Health(Condition.FAILING, "timeout", open_at=NOW), Orders(), "failing, timeout"),
            "failing, timeout; tried again now and then, or at once with sfwebhooks resume team",
        ),
        (
            *(GONE, Orders(), "it answered 410 Gone"),
            "it answered 410 Gone; nothing is sent until its settings change, or sfwebhooks enable team",
        ),
        (
            *(HELD, Orders(NOW + 60), "paused until 2026-11-21 10:01:00 UTC"),
            "paused until 2026-11-21 10:01:00 UTC; sfwebhooks resume team",
        ),
        (
            *(Health(), Orders(float("inf")), "paused until sfwebhooks resume"),
            "paused until sfwebhooks resume; sfwebhooks resume team",
        ),
        (Health(), Orders(NOW - 1), "", "for their next attempt"),
    ],
)
def test_each_reason_has_its_words(health: Health, orders: Orders, brief: str, whole: str) -> None:
    assert (obstacle(health, orders, NOW), why_waiting("team", health, orders, NOW)) == (brief, whole)


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        ({}, "0 waiting"),
        ({"a": 1, "b": 2}, "3 waiting (sfwebhooks drain delivers them)"),
        ({"a": 1, "held": 2}, "3 waiting (sfwebhooks drain delivers 1 of them; 2 for held: held, http_401)"),
        ({"gone": 1, "held": 2}, "3 waiting (1 for gone: it answered 410 Gone; 2 for held: held, http_401)"),
    ],
)
def test_only_what_can_be_sent_is_promised_to_be(waiting: dict[str, int], words: str) -> None:
    obstacles = {"a": "", "b": "", "held": "held, http_401", "gone": "it answered 410 Gone"}
    assert in_brief(waiting, obstacles) == words
