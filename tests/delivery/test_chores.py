"""The chores of each second: all are tried, the first trouble of the outbox is returned, a bug is logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.chores import Chores
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import an_endpoint
from tests.conftest import sql

OPS = an_endpoint("ops", events=("resource_warning",))


@pytest.fixture
def dispatcher(dispatch: Callable[..., Dispatcher]) -> Dispatcher:
    return dispatch()


@pytest.fixture
def chores(dispatcher: Dispatcher) -> Iterator[Chores]:
    made = Chores(dispatcher, Settings((OPS,), storage=Storage(max_bytes=1000)))
    yield made
    made.close()


def failing(error: Exception) -> Callable[[], None]:
    def chore() -> None:
        raise error

    return chore


def test_a_round_without_trouble_returns_nothing(chores: Chores) -> None:
    assert chores.round() == ""


def test_a_round_does_the_callers_chores_in_their_order(chores: Chores) -> None:
    done: list[str] = []
    chores.round(lambda: done.append("one"), lambda: done.append("two"))
    assert done == ["one", "two"]


def test_a_round_maintains_the_outbox(chores: Chores, outbox: Outbox) -> None:
    chores.round()
    assert sql(outbox, "SELECT endpoint FROM delivery") == [("ops",)]


def test_a_round_writes_the_log_back_into_the_file(chores: Chores, outbox: Outbox) -> None:
    outbox.endpoints.pause("team", 1.0)
    before = outbox.path.stat().st_mtime_ns
    chores.round()
    assert outbox.path.stat().st_mtime_ns > before


def test_the_first_trouble_is_returned_and_the_other_chores_are_done(chores: Chores) -> None:
    done: list[str] = []
    trouble = chores.round(failing(OutboxError("one")), failing(OutboxError("two")), lambda: done.append("three"))
    assert (trouble, done) == ("one", ["three"])


def test_a_bug_is_logged_and_the_other_chores_are_done(chores: Chores, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    assert chores.round(failing(ValueError("a bug")), lambda: done.append("more")) == ""
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records if "bug" in record.message] == [
        (logging.ERROR, True)
    ]
    assert done == ["more"]
