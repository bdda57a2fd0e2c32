"""The background work of each second: all are tried, the first trouble of the outbox is returned, a bug is logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.background import BackgroundWork
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import an_endpoint
from tests.conftest import sql

STORES = ("sqlite", "postgres")

OPS = an_endpoint("ops", events=("resource_warning",))


@pytest.fixture
def dispatcher(dispatch: Callable[..., Dispatcher]) -> Dispatcher:
    return dispatch()


@pytest.fixture
def background(dispatcher: Dispatcher) -> Iterator[BackgroundWork]:
    made = BackgroundWork(dispatcher, Settings((OPS,), storage=Storage(max_bytes=1000)))
    yield made
    made.close()


def failing(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_a_round_without_trouble_returns_nothing(background: BackgroundWork) -> None:
    assert background.round() == ""


def test_a_round_does_the_callers_work_in_its_order(background: BackgroundWork) -> None:
    done: list[str] = []
    background.round(lambda: done.append("one"), lambda: done.append("two"))
    assert done == ["one", "two"]


def test_a_round_maintains_the_outbox(background: BackgroundWork, outbox: Outbox) -> None:
    background.round()
    assert sql(outbox, "SELECT endpoint FROM delivery") == [("ops",)]


@pytest.mark.sqlite("the file's log")
def test_a_round_writes_the_log_back_into_the_file(background: BackgroundWork, outbox: Outbox) -> None:
    outbox.endpoints.pause("team", 1.0)
    before = outbox.path.stat().st_mtime_ns
    background.round()
    assert outbox.path.stat().st_mtime_ns > before


def test_the_first_trouble_is_returned_and_the_other_work_is_done(background: BackgroundWork) -> None:
    done: list[str] = []
    trouble = background.round(failing(OutboxError("one")), failing(OutboxError("two")), lambda: done.append("three"))
    assert (trouble, done) == ("one", ["three"])


def test_a_bug_is_logged_and_the_rest_is_done(background: BackgroundWork, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    assert background.round(failing(ValueError("a bug")), lambda: done.append("more")) == ""
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records if "bug" in record.message] == [
        (logging.ERROR, True)
    ]
    assert done == ["more"]


def test_a_task_that_failed_without_the_outbox_has_no_trouble_to_report(background: BackgroundWork) -> None:
    assert background.attempt(failing(ValueError("a bug"))) == ""
