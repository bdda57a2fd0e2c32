"""Why deliveries wait, in words."""

from __future__ import annotations

import os
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.delivery.ownership import HUNG_SECONDS, Owner
from sfwebhooks.delivery.process import Role, service_lock
from sfwebhooks.delivery.status import (
    ENDED,
    IDLE,
    TRIED,
    UNPROBED,
    Situation,
    in_brief,
    obstacle,
    pace,
    situation,
    situations,
    summary,
    switch_of,
    waiting_line,
    waiting_lines,
    why_left,
    why_waiting,
)
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.retry import State
from tests.builders import NOW, URL, a_scan
from tests.conftest import sql
from tests.filled import put, send

STORES = ("sqlite", "postgres")

HELD = Health(Condition.HELD, "http_401", open_at=NOW + 60, since=NOW - 60)
IS_HELD = "held, http_401, unhealthy since 2026-11-21 09:59:00 UTC"
IS_FAILING = "failing, http_401, unhealthy since 2026-11-21 09:59:00 UTC"
GONE = Health(Condition.DISABLED, "http_410", open_at=NOW + 60)
ALIVE = Owner(4711, NOW - 5)
HUNG = Owner(4711, NOW - HUNG_SECONDS - 1)
AT = "2026-11-21 10:01:00 UTC"
MISTAKEN = "config_mistake, rate = fast: wrong"


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
            *({"health": HELD, "owner": ALIVE}, IS_HELD),
            f"{IS_HELD}; next probe at {AT}, or to send at once: sfwebhooks resume team",
        ),
        ({"health": HELD}, IS_HELD, f"{IS_HELD}; {UNPROBED}"),
        (
            *({"health": replace(HELD, condition=Condition.FAILING, open_at=NOW), "owner": ALIVE}, IS_FAILING),
            f"{IS_FAILING}; probed at intervals, or to send at once: sfwebhooks resume team",
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
        ({"orders": Orders(NOW)}, "", IDLE),
        (
            *({"mistake": "rate = fast: wrong.", "health": HELD, "orders": Orders(NOW + 60)}, MISTAKEN),
            f"{MISTAKEN}; {WaitingReason.MISTAKE.cure}",
        ),
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
            *({"backlog": Backlog(5, 2, NOW, NOW), "owner": ALIVE}, ""),
            "2 of them were refused and are set aside until the next try; process 4711 is sending",
        ),
        (
            *({"backlog": Backlog(600, 0, NOW, NOW), "interval": 1.0, "owner": ALIVE}, ""),
            "paced to 1/s, about 10 min for the waiting deliveries; process 4711 is sending",
        ),
        (
            *({"backlog": Backlog(600, 0, NOW, NOW), "interval": 12.0, "batch_size": 100, "owner": ALIVE}, ""),
            "paced to 5/m, about 1 min 12 s for the waiting deliveries; process 4711 is sending",
        ),
        ({"backlog": Backlog(10, 0, NOW, NOW), "interval": 1.0, "owner": ALIVE}, "", "process 4711 is sending"),
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
[webhooks.used-too]
url = https://used.example/too
[webhooks.unused]
url = https://unused.example/
enabled = false
[webhooks.unused-too]
url = https://unused.example/too
enabled = false
[webhooks.wrong]
url = https://wrong.example/
events = nonsense
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("used", ""),
        ("unused", "it is off (enabled = false in its section); sfwebhooks enable unused"),
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
        ({"a": 1, "b": 2}, "3 waiting (no process is sending now, sfwebhooks drain delivers them)"),
        (
            {"a": 1, "held": 2},
            "3 waiting (no process is sending now, sfwebhooks drain delivers 1 of them;"
            " 2 for held: held since noon, http_401)",
        ),
        ({"gone": 1, "held": 2}, "3 waiting (1 for gone: it answered 410 Gone; 2 for held: held since noon, http_401)"),
    ],
)
def test_only_what_can_be_sent_is_promised_to_be(waiting: dict[str, int], words: str) -> None:
    obstacles = {"a": "", "b": "", "held": "held since noon, http_401", "gone": "it answered 410 Gone"}
    assert in_brief(waiting, obstacles) == words


def test_a_process_that_continues_to_send_is_named() -> None:
    assert in_brief({"a": 2}, {"a": ""}, sender=4711) == "2 waiting (process 4711 is sending them)"
    pace = "paced to 1/s, about 2 min for the waiting deliveries"
    assert in_brief({"a": 120, "b": 1}, {"a": "", "b": ""}, 4711, {"a": pace, "b": ""}) == (
        f"121 waiting (process 4711 is sending them; a is {pace})"
    )
    obstacles = {"a": "", "held": "held since noon, http_401"}
    assert in_brief({"a": 1, "held": 2}, obstacles, sender=4711) == (
        "3 waiting (process 4711 is sending 1 of them; 2 for held: held since noon, http_401)"
    )


# --- read from an outbox


@pytest.fixture
def paced(tmp_path: Path) -> Settings:
    text = """
        [webhooks.other]
        url = https://other.example/
        [webhooks.team]
        url = https://team.example/
        rate = 30/m
        batch_size = 7
        timeout = 5 apples
    """
    (tmp_path / "webhooks.ini").write_text(textwrap.dedent(text))
    return load(tmp_path / "webhooks.ini")


def test_the_situation_of_an_endpoint_is_that_of_outbox_and_settings(outbox: Outbox, paced: Settings) -> None:
    put(outbox, 1, 2)
    health = Health(Condition.HELD, "http_401", NOW)
    outbox.queue.settle((), {"team": health})
    outbox.endpoints.pause("team", NOW + 60)
    found = situation(outbox, "team", paced, NOW)
    assert (found.name, found.health, found.orders.paused_until) == ("team", health, NOW + 60)
    assert (found.backlog.waiting, found.switch, found.interval, found.batch_size) == (2, "", 2.0, 7)
    assert found.mistake.startswith("timeout: expected a duration")
    assert found.owner is None


@pytest.mark.parametrize("known", [True, False])
def test_of_an_endpoint_that_the_settings_do_not_have_pace_and_mistakes_are_not_known(
    outbox: Outbox, paced: Settings, known: bool
) -> None:
    put(outbox, 1, endpoint="old")
    found = situation(outbox, "old", paced if known else None, NOW)
    assert (found.mistake, found.interval, found.batch_size, bool(found.switch)) == ("", 0.0, 1, known)


@pytest.mark.parametrize("lock", ["endpoint", "url"])
def test_the_process_that_sends_is_known_by_either_lock_unless_it_is_this_one(
    outbox: Outbox, paced: Settings, lock: str
) -> None:
    put(outbox, 1)
    endpoint = next(one for one in paced.endpoints if one.name == "team")
    held = outbox.locks.endpoint("team") if lock == "endpoint" else outbox.locks.url(endpoint.url_id)
    assert held.take()
    held.note(f"0.000 {os.getppid()} {NOW:.0f} ")
    assert situation(outbox, "team", paced, NOW).owner == Owner(os.getppid(), NOW)
    held.note(f"0.000 {os.getpid()} {NOW:.0f} ")
    assert situation(outbox, "team", paced, NOW).owner is None


def test_situations_are_those_of_endpoints_with_waiting_deliveries(outbox: Outbox) -> None:
    for name in ("one", "two"):
        put(outbox, 1, endpoint=name)
    outbox.endpoints.pause("idle", NOW)
    assert [one.name for one in situations(outbox.place, None)] == ["one", "two"]
    assert [one.name for one in situations(outbox.place, None, lambda name: name == "two")] == ["two"]


def test_to_look_for_situations_makes_no_outbox(tmp_path: Path) -> None:
    assert list(situations(tmp_path / FILE, None)) == []
    assert not (tmp_path / FILE).exists()


def test_a_command_that_has_tried_says_so() -> None:
    assert why_left(a_situation(), NOW) == ENDED
    assert why_left(a_situation(health=HELD), NOW) == f"{IS_HELD}; {TRIED}"
    assert waiting_line(a_situation(backlog=Backlog(7, 0, NOW, NOW)), lambda *_: "because") == (
        "team: 7 waiting: because"
    )


def test_the_summary_of_a_scan_has_all_that_became_of_its_deliveries(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3, 4)
    for state, reason in ((State.DELIVERED, "http_200"), (State.DELIVERED, "http_200"), (State.DEAD, "http_400")):
        send(outbox, state, reason)
    put(outbox, 5, 6, endpoint="b")
    put(outbox, 7, endpoint="done")
    send(outbox, endpoint="done")
    put(outbox, 8, endpoint="elsewhere", scan=a_scan("OTHER"))
    sql(
        outbox,
        "INSERT INTO withheld VALUES ('5C4A0001', 'team', 'outbox_full', 3), ('5C4A0001', 'b', 'outbox_full', 4)",
    )
    settings = load_mapping({"team": {"url": URL}, "b": {"url": URL, "rate": "fast"}, "done": {"url": URL}})
    mistake = next(one for one in settings.endpoints if one.name == "b").mistake.rstrip(".")
    assert summary(outbox, "5C4A0001", NOW, settings) == (
        "3 delivered, 3 waiting (no process is sending now, sfwebhooks drain delivers 1 of them;"
        f" 2 for b: config_mistake, {mistake}), 1 dead, 7 refused because the outbox was full"
    )


def test_a_service_that_has_not_looked_yet_is_who_sends(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, 1)
    lock = service_lock(outbox.path)
    lock.take()
    settings = load_mapping({"team": {"url": URL}})
    lock.note(f"4711 {settings.digest} {Role.RUN.value}")
    line = "team: 1 waiting: process 4711 is sending"
    assert list(waiting_lines(outbox.place, settings, ["team"])) == [line]
    assert list(waiting_lines(outbox.place, None, ["team"])) == [line]
    others = load_mapping({"team": {"url": URL, "rate": "1/s"}})
    assert list(waiting_lines(outbox.place, others, ["team"])) == [f"team: 1 waiting: {IDLE}"]
    lock.note("")
    assert list(waiting_lines(outbox.place, settings, ["team"])) == [f"team: 1 waiting: {IDLE}"]
    lock.note(f"4711 {settings.digest} {Role.RUN.value}")
    lock.release()
    assert list(waiting_lines(outbox.place, settings, ["team"])) == [f"team: 1 waiting: {IDLE}"]


def test_the_summary_of_a_scan_has_the_pace_and_the_time_that_is_left(outbox: Outbox) -> None:
    put(outbox, *range(1, 31))
    settings = load_mapping({"team": {"url": URL, "rate": "1/s"}})
    assert summary(outbox, "5C4A0001", NOW, settings, sender=4711) == (
        "0 delivered, 30 waiting (process 4711 is sending them; team is paced to 1/s, about 30 s for the waiting"
        " deliveries), 0 dead"
    )
