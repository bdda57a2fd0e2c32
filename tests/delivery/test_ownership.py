"""The right to send to a URL: what its owner finds, leaves behind, and what others see of it."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Callable

import pytest

from sfwebhooks.delivery import ownership
from sfwebhooks.delivery.ownership import GONE_SECONDS, LIFE_SECONDS, PULL_SECONDS, Note, Owner, Ownership, owner_of
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import Batch
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.database import StoreLock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import LOCKS
from sfwebhooks.sending import SendingState
from tests.builders import NOW, PATIENCE, a_delivery, an_endpoint
from tests.conftest import Clock, put, sql

STORES = ("sqlite", "postgres")

BATCH = Batch((a_delivery(),))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(outbox: Outbox, clock: Clock) -> Iterator[Callable[..., Ownership]]:
    """Make the ownership of the URL of endpoints; its deaths are `own.deaths`."""
    made: list[Ownership] = []

    def make(*endpoints: Endpoint, steady: Clock | None = None) -> Ownership:
        states = [SendingState(one) for one in endpoints or (an_endpoint(),)]
        made.append(Ownership(states, outbox, clock, steady or clock, deque()))
        return made[-1]

    yield make
    for one in made:
        one.release()


def note_of(lock: StoreLock) -> Note:
    return Note.read(lock.noted())


# --- notes


def test_a_note_is_read_as_it_was_written() -> None:
    note = Note(1795255200.125, 4711, 1795255260.0, "3f2a91", 1795255215.5)
    assert (str(note), Note.read(str(note))) == ("1795255200.125 4711 1795255260 3f2a91 1795255215.500", note)
    assert Note.read("1795255200.125 4711 1795255260  0.000") == Note(1795255200.125, 4711, 1795255260.0)
    assert Note.read(str(Note())) == Note()


@pytest.mark.parametrize("text", ["", " ", "rubbish", "1 x 2 id", "x 1 2 id", "1 2 x id", "\0" * 96, "1", "1 2"])
def test_rubbish_in_a_note_is_an_empty_one(text: str) -> None:
    assert Note.read(text) == Note()


# --- taking it


def test_who_takes_it_notes_that_in_all_locks(own: Callable[..., Ownership], outbox: Outbox) -> None:
    endpoint = an_endpoint()
    one = own(endpoint)
    assert one.take()
    for lock in (outbox.locks.url(endpoint.url_id), outbox.locks.endpoint(endpoint.name)):
        assert note_of(lock) == Note(0.0, os.getpid(), NOW, "")
    assert one._states[0].is_owned


def test_one_that_is_held_is_taken_once(own: Callable[..., Ownership], outbox: Outbox) -> None:
    one = own()
    assert one.take()
    state = one._states[0]
    state.health = Health(failures=1)
    assert one.take()
    assert state.health.failures == 1, "it was not loaded again"


def test_a_second_one_gets_nothing_until_the_first_releases_it(own: Callable[..., Ownership]) -> None:
    first, second = own(), own()
    assert (first.take(), second.take()) == (True, False)
    assert not second._states[0].is_owned
    first.release()
    assert not first._states[0].is_owned
    assert second.take()


def test_of_endpoints_with_one_name_at_two_urls_one_sends_and_the_other_says_so_once(
    own: Callable[..., Ownership], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = own(an_endpoint(url="http://a.test/")), own(an_endpoint(url="http://b.test/"))
    assert (first.take(), second.take()) == (True, True), "each has its URL"
    assert (first._states[0].is_owned, second._states[0].is_owned) == (True, False)
    second.own_all()
    words = f"endpoint team: process {os.getpid()} sends to it at another URL"
    assert [words in line for line in caplog.messages] == [True]
    first.release()
    second.own_all()
    assert second._states[0].is_owned
    second.release()
    assert first.take() and second.take()
    assert sum(words in line for line in caplog.messages) == 2, "it happened again"


@pytest.mark.sqlite("files of locks are removed")
def test_an_endpoint_whose_lock_was_removed_and_taken_by_another_is_owned_no_more(
    own: Callable[..., Ownership], outbox: Outbox
) -> None:
    one = own()
    one.take()
    lock = outbox.locks.endpoint("team")
    (outbox.path.with_suffix(LOCKS) / "endpoint-team.lock").unlink()
    assert lock.take()
    one.own_all()
    assert not one._states[0].is_owned
    lock.release()
    one.own_all()
    assert one._states[0].is_owned


def test_with_half_of_the_state_loaded_nothing_is_owned(
    own: Callable[..., Ownership], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = own()
    monkeypatch.setattr(outbox.due, "pull", lambda *_: (_ for _ in ()).throw(OutboxBusyError("database is locked")))
    with pytest.raises(OutboxBusyError):
        one.take()
    assert (one.lock.held, one._states[0].is_owned) == (False, False)
    monkeypatch.undo()
    assert one.take()


def test_the_pace_of_the_last_owner_goes_on(own: Callable[..., Ownership]) -> None:
    first, second = own(an_endpoint(interval=60.0)), own(an_endpoint(interval=60.0))
    first.take()
    first.pace = first.pace.after(NOW)
    first.release()
    second.take()
    assert second.pace.wait(NOW) == pytest.approx(60.0)


def test_health_goes_on_unless_the_settings_changed(own: Callable[..., Ownership], outbox: Outbox) -> None:
    endpoint = an_endpoint()
    held = Health(Condition.HELD, "http_401", since=NOW, open_at=NOW + 60, fingerprint=endpoint.fingerprint)
    outbox.queue.settle((), {"team": held})
    same, changed = own(endpoint), own(an_endpoint(secrets=("another",)))
    assert same.health(same._states[0]).condition is Condition.HELD, "as the outbox has it, before it is taken"
    assert changed.health(changed._states[0]).open_at == 0.0
    same.take()
    assert same._states[0].health == same._states[0].written == held
    same._states[0].health = Health(failures=3)
    assert same.health(same._states[0]).failures == 3, "its own, once it is taken"
    same.release()
    changed.take()
    assert (changed._states[0].health.open_at, changed._states[0].written.open_at) == (0.0, NOW + 60)


def test_due_times_that_are_too_far_ahead_are_corrected_now_and_then(
    own: Callable[..., Ownership], outbox: Outbox, clock: Clock
) -> None:
    steady = Clock(1000.0)
    put(outbox, an_endpoint(), events=1)
    one = own(steady=steady)
    one.take()

    def far() -> bool:
        sql(outbox, f"UPDATE delivery SET due_at = {NOW + 10 * 86400}, attempts = 1")
        one.own_all()
        return bool(sql(outbox, "SELECT due_at FROM delivery")[0][0] > NOW + 86400)

    assert far(), "it was looked a moment ago"
    steady.now += PULL_SECONDS - 0.5
    assert far()
    steady.now += 0.5
    assert not far()
    assert far()


# --- signs of life


def test_a_sign_of_life_is_written_at_intervals(own: Callable[..., Ownership], outbox: Outbox, clock: Clock) -> None:
    endpoint, steady = an_endpoint(), Clock(1000.0)
    one = own(endpoint, steady=steady)
    locks = outbox.locks.url(endpoint.url_id), outbox.locks.endpoint(endpoint.name)
    one.show_life()
    assert [note_of(lock) for lock in locks] == [Note()] * 2, "nobody holds it"
    one.take()
    one.show_life()
    for passed, seen in ((LIFE_SECONDS - 0.5, NOW), (0.5, NOW + 100)):
        steady.now += passed
        clock.now = NOW + 100
        one.show_life()
        assert [note_of(lock).at for lock in locks] == [seen] * 2


def test_it_is_not_written_over_the_message_that_is_being_built(
    own: Callable[..., Ownership], outbox: Outbox, clock: Clock
) -> None:
    endpoint, steady = an_endpoint(), Clock(1000.0)
    one = own(endpoint, steady=steady)
    one.take()
    with one.rendering(BATCH):
        steady.now += 2 * LIFE_SECONDS
        one.show_life()
        assert note_of(outbox.locks.url(endpoint.url_id)).rendering == BATCH.id
    one.show_life()
    assert note_of(outbox.locks.url(endpoint.url_id)).rendering == ""


def test_others_see_who_sends(own: Callable[..., Ownership], outbox: Outbox) -> None:
    endpoint = an_endpoint()
    one = own(endpoint)

    def seen(now: float, name: str = "team", url_id: str = "") -> Owner | None:
        return owner_of(outbox.locks, name, url_id, now)

    assert seen(NOW) is None
    one.take()
    me = Owner(os.getpid(), NOW)
    assert seen(NOW) == seen(NOW + GONE_SECONDS - 1) == me
    assert seen(NOW + 3600) == me, "its lock is held, if without a sign of life"
    assert seen(NOW, "another") is None
    assert seen(NOW, "another", endpoint.url_id) == me, "another endpoint at its URL"
    one.release()
    assert seen(NOW) is None


@pytest.mark.parametrize(("age", "there"), [(GONE_SECONDS - 1, True), (GONE_SECONDS, False), (-1, True)])
def test_a_note_of_a_living_process_counts_for_a_while(outbox: Outbox, age: float, there: bool) -> None:
    """It is about to take the lock, or has just given it back."""
    lock = outbox.locks.endpoint("team")
    assert lock.take()
    lock.note(str(Note(0.0, os.getpid(), NOW, "")))
    lock.release()
    assert (owner_of(outbox.locks, "team", "", NOW + age) is not None) is there


@pytest.mark.postgres
def test_others_see_on_which_machine_the_one_that_sends_is(
    own: Callable[..., Ownership], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfwebhooks.outbox.postgres import advisory_locks

    own().take()
    monkeypatch.setattr(advisory_locks, "MACHINE", "scanner-2")
    seen = owner_of(outbox.locks, "team", "", NOW)
    assert seen is not None
    assert seen.name == f"{os.getpid()} (on {socket.gethostname()[:64]})"
    assert Owner(4711, NOW).name == "4711"


@pytest.mark.postgres
def test_who_takes_over_from_one_that_died_expects_it_to_have_sent_just_now(
    own: Callable[..., Ownership], outbox: Outbox, clock: Clock
) -> None:
    """Its note may be a few seconds old."""
    lock = outbox.locks.url(an_endpoint().url_id)
    assert lock.take()
    lock.note(str(Note(NOW - 100, 4711, NOW - 100)))
    lock.release()
    one = own(an_endpoint(interval=60.0))
    one.take()
    assert one.pace.wait(clock()) == 60
    one.release()
    one.take()
    assert one.pace.open_at == NOW + 60, "it was released, with a note"
    clock.now += 60
    assert one.pace.wait(clock()) == 0


def test_a_note_of_a_dead_process_does_not(outbox: Outbox) -> None:
    lock = outbox.locks.endpoint("team")
    assert lock.take()
    lock.note(str(Note(0.0, 2**22 - 1, NOW, "")))
    lock.release()
    assert owner_of(outbox.locks, "team", "", NOW) is None


def test_a_process_without_a_sign_of_life_hangs() -> None:
    assert [Owner(1, NOW).hangs(NOW + seconds) for seconds in (0, 60, 60.5)] == [False, False, True]


# --- the message that is being built


def test_one_message_is_built_at_a_time(own: Callable[..., Ownership]) -> None:
    one = own()
    one.take()
    entered, leave = threading.Event(), threading.Event()

    def second() -> None:
        with one.rendering(Batch((a_delivery(),))):
            entered.set()
            leave.wait(PATIENCE)

    with one.rendering(BATCH):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1), "the note has room for one"
    assert entered.wait(PATIENCE)
    leave.set()
    thread.join(PATIENCE)


def test_one_that_raises_is_blamed_and_one_without_memory_is_not(
    own: Callable[..., Ownership], outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, an_endpoint())
    (found,) = sql(outbox, "SELECT id FROM delivery")
    batch = Batch((a_delivery(),))
    batch.__dict__["id"] = found[0]
    one = own()
    one.take()
    for error, crashes in (
        (MemoryError(), 0),
        (ValueError("no reason supplied"), 0),
        (ValueError(), 1),
        (ValueError(), 2),
    ):
        with pytest.raises(type(error)), one.rendering(batch):
            raise error
        assert sql(outbox, "SELECT crashes FROM delivery") == [(crashes,)]
        assert (one._rendering, [*one._deaths], caplog.messages) == ("", [], [])
    with pytest.raises(ValueError), one.rendering(batch):
        raise ValueError
    assert [*one._deaths] == [("team", "crashed_sender")]
    assert caplog.messages == [f"webhooks: endpoint team: message {found[0]} could not be built and is dead"]


def test_one_that_killed_its_process_is_blamed_once_by_the_next_owner(
    own: Callable[..., Ownership], outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    endpoint = an_endpoint()
    put(outbox, endpoint)
    (found,) = sql(outbox, "SELECT id FROM delivery")
    lock = outbox.locks.url(endpoint.url_id)
    assert lock.take()
    lock.note(str(Note(NOW + 7, 4711, NOW, found[0])))
    lock.release()
    one = own(endpoint)
    assert one.take()
    assert f"process 4711 crashed while building message {found[0]}; retrying" in caplog.text
    assert (sql(outbox, "SELECT crashes FROM delivery"), one.pace.open_at) == ([(1,)], NOW + 7)
    assert note_of(lock).rendering == ""
    one.release()
    assert own(endpoint).take()
    assert sql(outbox, "SELECT crashes FROM delivery") == [(1,)]


def test_while_the_blame_cannot_be_written_the_note_stays(
    own: Callable[..., Ownership], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = an_endpoint()
    lock = outbox.locks.url(endpoint.url_id)
    assert lock.take()
    lock.note(str(Note(0.0, 4711, NOW, "3f2a91")))
    lock.release()
    monkeypatch.setattr(outbox.queue, "blame", lambda *_: (_ for _ in ()).throw(OutboxBusyError("locked")))
    one = own(endpoint)
    with pytest.raises(OutboxBusyError):
        one.take()
    assert not one.lock.held
    assert note_of(lock).rendering == "3f2a91"


def test_a_late_thread_that_is_still_building_keeps_its_note(own: Callable[..., Ownership], outbox: Outbox) -> None:
    endpoint = an_endpoint()
    one = own(endpoint)
    one.take()
    with one.rendering(BATCH):
        one.release()
        assert note_of(outbox.locks.url(endpoint.url_id)).rendering == BATCH.id
    one.take()
    one.release()
    assert note_of(outbox.locks.url(endpoint.url_id)) == Note(0.0, 0, NOW, "")


def test_where_a_signal_would_end_a_process_none_is_sent_to_see_whether_it_is_there(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no signal 0."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(ownership, "os", SimpleNamespace(name="nt", kill=lambda *given: sent.append(given)))
    assert (ownership._is_there(os.getpid(), outbox.locks.url("1")), sent) == (False, [])
