"""Why deliveries wait, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.delivery.ownership import HUNG_SECONDS, Owner
from sfwebhooks.delivery.status import IDLE, UNPROBED, Situation, in_brief, obstacle, pace, switch_of, why_waiting
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.listing import Backlog
from tests.builders import NOW

HELD = Health(Condition.HELD, "http_401", open_at=NOW + 60)
GONE = Health(Condition.DISABLED, "http_410", open_at=NOW + 60)
ALIVE = Owner(4711, NOW - 5)
HUNG = Owner(4711, NOW - HUNG_SECONDS - 1)
AT = "2026-11-21 10:01:00 UTC"


def a_situation(**values: Any) -> Situation:
    """Return the situation of a healthy endpoint for which one delivery waits, and to which nothing sends."""
    defaults: dict[str, Any] = {"health": Health(), "orders": Orders(), "backlog": Backlog(1, 0, NOW, NOW)}
    return Situation("team", **{**defaults, **values})


@pytest.mark.parametrize(
    ("values", "brief", "whole"),
    [
        ({}, "", IDLE),
        ({"owner": ALIVE}, "", "process 4711 is sending"),
        ({"health": Health(failures=2, open_at=NOW)}, "", f"its last attempts failed; {IDLE}"),
        (
            *({"health": Health(failures=2, open_at=NOW + 60), "owner": ALIVE}, ""),
            f"its last attempts failed; the next one is at {AT}; process 4711 is sending",
        ),
        (
            *({"health": HELD, "owner": ALIVE}, "held, http_401"),
            f"held, http_401; next probe at {AT}, or to send at once: sfwebhooks resume team",
        ),
        ({"health": HELD}, "held, http_401", f"held, http_401; {UNPROBED}"),
        (
            *({"health": Health(Condition.FAILING, "timeout", open_at=NOW), "owner": ALIVE}, "failing, timeout"),
            "failing, timeout; probed at intervals, or to send at once: sfwebhooks resume team",
        ),
        (
            *({"health": GONE, "owner": ALIVE}, "it answered 410 Gone"),
            "it answered 410 Gone; nothing is sent until its settings change, or sfwebhooks enable team",
        ),
        (
            *({"health": GONE, "owner": HUNG}, "it answered 410 Gone"),
            "it answered 410 Gone; nothing is sent until its settings change, or sfwebhooks enable team",
        ),
        (
            *({"health": HELD, "orders": Orders(NOW + 60)}, f"paused until {AT}"),
            f"paused until {AT}; sfwebhooks resume team",
        ),
        (
            *({"orders": Orders(float("inf"))}, "paused until sfwebhooks resume"),
            "paused until sfwebhooks resume; sfwebhooks resume team",
        ),
        ({"orders": Orders(NOW - 1)}, "", IDLE),
        (
            *(
                {"owner": HUNG},
                "process 4711 owns the lock of this URL and has been inactive since 2026-11-21 09:58:59 UTC",
            ),
            "process 4711 owns the lock of this URL and has been inactive since 2026-11-21 09:58:59 UTC; if it is"
            " stopped or hangs, end it: kill -9 4711",
        ),
        (
            *({"backlog": Backlog(5, 1, NOW, NOW + 60), "owner": ALIVE}, ""),
            f"1 of them was refused and is set aside until the next try; the next attempt is due at {AT};"
            " process 4711 is sending",
        ),
        (
            *({"backlog": Backlog(600, 0, NOW, NOW), "interval": 1.0, "owner": ALIVE}, ""),
            "paced to 1/s, about 10 min for the waiting deliveries; process 4711 is sending",
        ),
        (
            *({"backlog": Backlog(600, 0, NOW, NOW), "interval": 12.0, "batch_size": 100, "owner": ALIVE}, ""),
            "paced to 5/m, about 1 min 12 s for the waiting deliveries; process 4711 is sending",
        ),
        ({"backlog": Backlog(9, 0, NOW, NOW), "interval": 1.0, "owner": ALIVE}, "", "process 4711 is sending"),
        *(
            (
                {"switch": "it is off", "health": HELD, "orders": Orders(NOW + 60), "owner": HUNG},
                "it is off",
                "it is off",
            ),
        ),
    ],
)
def test_each_reason_has_its_words(values: dict[str, Any], brief: str, whole: str) -> None:
    found = a_situation(**values)
    assert (obstacle(found, NOW), why_waiting(found, NOW)) == (brief, whole)


@pytest.mark.parametrize(
    ("interval", "words"),
    [(0.1, "10/s"), (1.0, "1/s"), (12.0, "5/m"), (60.0, "1/m"), (36.0, "1.67/m"), (7200, "0.5/h")],
)
def test_a_pace_is_written_as_the_setting_is(interval: float, words: str) -> None:
    assert pace(interval) == words


SETTINGS = """
[webhooks.used]
url = https://used.example/
[webhooks.unused]
url = https://unused.example/
enabled = false
[webhooks.wrong]
url = https://wrong.example/
events = nonsense
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("used", ""),
        ("unused", "it is off (enabled = false in its section)"),
        ("wrong", "its events are not known because of a mistake in its settings, which sfwebhooks check shows"),
        (
            "old",
            "the readable part of the settings has no such endpoint; sfwebhooks check shows the mistakes",
        ),
    ],
)
def test_settings_that_let_nothing_be_sent_are_the_reason(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "webhooks.ini").write_text(SETTINGS)
    assert switch_of(load(tmp_path / "webhooks.ini"), name) == words


def test_an_endpoint_that_the_settings_do_not_have_comes_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text(SETTINGS.partition("[webhooks.wrong]")[0])
    words = switch_of(load(tmp_path / "webhooks.ini"), "old")
    assert "sfwebhooks move --endpoint old --to NAME" in words
    assert "sfwebhooks drop --endpoint old --state waiting" in words


def test_webhooks_that_are_off_are_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks]\nenabled = false\n" + SETTINGS)
    assert switch_of(load(tmp_path / "webhooks.ini"), "used") == "webhooks are off (enabled = false)"
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    assert switch_of(None, "used") == "SFWEBHOOKS_DISABLED is set: this process sends nothing"


def test_nothing_is_said_of_settings_that_are_not_known() -> None:
    assert switch_of(None, "old") == ""


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
