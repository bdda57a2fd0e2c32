"""Keys of idempotency: a request is made once, also while it is being made."""

from __future__ import annotations

import threading

import pytest

from sfwebhooks.web.idempotency import KEPT_MAX, KEPT_SECONDS, IdempotencyKeys, MadeAnswer
from sfwebhooks.web.problems import Problem
from tests.builders import PATIENCE
from tests.conftest import Clock

ANSWER = MadeAnswer(201, {"id": "a"}, {"ETag": '"x"'})


class Made:
    """Counts how often a request is made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> MadeAnswer:
        self.times += 1
        return ANSWER


def test_without_a_key_each_request_is_made() -> None:
    keys, made = IdempotencyKeys(), Made()
    assert [keys.once(None, "a", made), keys.once(None, "a", made)] == [ANSWER, ANSWER]
    assert made.times == 2


def test_with_a_key_it_is_made_once_and_the_answer_says_so() -> None:
    keys, made = IdempotencyKeys(), Made()
    assert keys.once("k", "a", made) == ANSWER
    again = keys.once("k", "a", made)
    assert (again.status, again.body, again.headers["Idempotency-Replayed"]) == (201, {"id": "a"}, "true")
    assert (again.headers["ETag"], made.times) == ('"x"', 1)


def test_a_key_is_of_one_request() -> None:
    keys, made = IdempotencyKeys(), Made()
    keys.once("k", "a", made)
    with pytest.raises(Problem, match="another request") as caught:
        keys.once("k", "b", made)
    assert (caught.value.status, made.times) == (422, 1)


def test_while_the_first_one_is_being_made_the_second_one_is_refused() -> None:
    keys, begun, go_on = IdempotencyKeys(), threading.Event(), threading.Event()

    def slow() -> MadeAnswer:
        begun.set()
        go_on.wait(PATIENCE)
        return ANSWER

    first = threading.Thread(target=keys.once, args=("k", "a", slow))
    first.start()
    begun.wait(PATIENCE)
    with pytest.raises(Problem) as caught:
        keys.once("k", "a", slow)
    go_on.set()
    first.join()
    assert caught.value.status == 409
    assert keys.once("k", "a", slow).headers["Idempotency-Replayed"] == "true"


def test_one_that_failed_is_made_again() -> None:
    keys, made = IdempotencyKeys(), Made()

    def fail() -> MadeAnswer:
        raise Problem(422, "wrong")

    with pytest.raises(Problem):
        keys.once("k", "a", fail)
    assert (keys.once("k", "b", made), made.times) == (ANSWER, 1)


def test_a_key_is_known_for_a_day() -> None:
    clock = Clock()
    keys, made = IdempotencyKeys(clock), Made()
    keys.once("k", "a", made)
    clock.now += KEPT_SECONDS
    keys.once("k", "a", made)
    clock.now += 1
    keys.once("k", "b", made)
    assert made.times == 2


def test_the_oldest_of_too_many_keys_is_forgotten() -> None:
    keys, made = IdempotencyKeys(), Made()
    for number in range(KEPT_MAX + 1):
        keys.once(str(number), "a", made)
    keys.once("1", "a", made)
    assert made.times == KEPT_MAX + 1
    keys.once("0", "a", made)
    assert made.times == KEPT_MAX + 2
