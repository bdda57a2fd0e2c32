from __future__ import annotations

import logging
from typing import Any

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.outbox.outbox import Outbox
from tests.conftest import Clock, Team, fail, hold, put

KEYS = ["endpoint", "delivery", "attempt", "status", "seconds", "verdict", "next"]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "spiderfoot.webhooks")
    return caplog


def outcomes(lines: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(line)["attempt"] for line in lines.records if "attempt" in vars(line)]


def levels(lines: pytest.LogCaptureFixture) -> list[str]:
    return [line.levelname for line in lines.records if "attempt" in vars(line)]


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, "delivered"), (503, "retry"), (400, "retry"), (401, "retry"), (410, "retry")]
)
def test_each_attempt_has_a_line_with_the_same_keys(
    outbox: Outbox,
    queue: SendQueue,
    endpoint: Endpoint,
    team: Team,
    lines: pytest.LogCaptureFixture,
    status: int,
    verdict: str,
) -> None:
    put(outbox, endpoint)
    fail(queue, team, status)
    (outcome,) = outcomes(lines)
    assert (list(outcome), outcome["status"], outcome["verdict"]) == (KEYS, status, verdict)
    assert all(f"{key}={value}" in lines.messages[-1] for key, value in outcome.items())


def test_a_line_names_the_delivery_the_attempt_and_the_next_one(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    clock.now += 60
    fail(queue, team, 503)
    first, second = outcomes(lines)
    assert [first["delivery"], second["delivery"]] == team.ids
    assert [first["attempt"], second["attempt"]] == [1, 2]
    assert first["next"] < second["next"]


def test_a_success_is_logged_at_debug_and_a_recovery_at_info(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=6)
    assert queue.step()
    hold(queue, team, clock)
    team.answer = 200
    clock.now += 3600
    assert queue.step()
    assert (levels(lines)[0], levels(lines)[-1]) == ("DEBUG", "INFO")
    assert "works again" in lines.messages[-1]


def test_a_failure_is_logged_at_debug_until_its_reason_changes(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=4)
    fail(queue, team, 503, times=2)
    fail(queue, team, 500, times=2)
    assert levels(lines) == ["WARNING", "DEBUG", "WARNING", "DEBUG"]


def test_a_dead_letter_is_logged_as_dead(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    for number in range(2, 4):  # the endpoint accepts others, so that the message itself is at fault
        put(outbox, endpoint, start=number)
        team.answer = 200
        assert queue.step()
        clock.now += 3600
        fail(queue, team, 503)
    assert outcomes(lines)[-1]["verdict"] == "dead"
    assert (levels(lines)[-1], outcomes(lines)[-1]["next"]) == ("WARNING", "-")


def test_nothing_is_formatted_for_a_level_that_is_off(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spiderfoot.webhooks")
    put(outbox, endpoint)
    assert queue.step()
    assert outcomes(caplog) == []
