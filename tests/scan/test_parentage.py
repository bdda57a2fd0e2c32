"""A host and the processes of its scans know each other by marks, with real child processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest

from sfwebhooks.scan.parentage import children, has_crashed, own_mark, process_mark, stopped
from tests.builders import PATIENCE

DEADLY = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def live(pipe: Connection) -> None:
    """Say which mark this process has, and end with the exit code that it is given."""
    for deadly in DEADLY:  # a job in the background has inherited that some are ignored
        signal.signal(deadly, signal.SIG_DFL)
    pipe.send(own_mark())
    os._exit(pipe.recv())


@contextmanager
def child() -> Iterator[tuple[BaseProcess, Connection]]:
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=live, args=(its,), daemon=True)
    process.start()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join(PATIENCE)


def received(pipe: Connection) -> str:
    assert pipe.poll(PATIENCE)
    return str(pipe.recv())


def test_a_host_knows_the_mark_that_its_child_leaves_and_no_two_are_alike() -> None:
    with child() as (one, first), child() as (other, second):
        marks = [received(first), received(second)]
        assert marks == [process_mark(one), process_mark(other)]
        assert len({*marks, own_mark()}) == 3


def test_a_child_that_lives_stops_with_its_host() -> None:
    with child() as (process, pipe):
        received(pipe)
        assert stopped(children()) >= {process_mark(process)}
        assert not has_crashed(process)


@pytest.mark.parametrize("deadly", DEADLY)
def test_a_child_that_the_signal_for_all_of_them_ended_stopped_with_its_host(deadly: signal.Signals) -> None:
    with child() as (process, pipe):
        received(pipe)
        assert process.pid
        os.kill(process.pid, deadly)
        process.join(PATIENCE)
        assert process.exitcode == -deadly
        assert (stopped([process]), has_crashed(process)) == (frozenset({process_mark(process)}), False)


def test_a_child_that_was_killed_did_not_stop_with_its_host_and_is_known_until_somebody_waits_for_it() -> None:
    with child() as (process, pipe):
        received(pipe)
        process.kill()
        assert process.pid
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # which leaves it to be waited for
        assert process in children()
        assert (stopped([process]), has_crashed(process)) == (frozenset(), True)


@pytest.mark.parametrize(("code", "crashed"), [(0, False), (3, True)])
def test_a_child_that_ended_by_itself_did_not_stop_with_its_host(code: int, crashed: bool) -> None:
    with child() as (process, pipe):
        received(pipe)
        pipe.send(code)
        process.join(PATIENCE)
        assert (stopped([process]), has_crashed(process)) == (frozenset(), crashed)
