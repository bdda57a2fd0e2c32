"""Logins: who is let in, for how long, and how often one may guess."""

from __future__ import annotations

import secrets

import pytest

from sfwebhooks.signing_keys import new_whsec
from sfwebhooks.web.logins import (
    ALL_FAILURES_MAX,
    FAILURE_SECONDS,
    FAILURES_MAX,
    LINK_SECONDS,
    SESSION_SECONDS,
    SESSIONS_MAX,
    Access,
    Logins,
)
from tests.conftest import Clock

HERE = "192.0.2.1"
TOKENS = {Access.OPERATOR: "an-operator's-token", Access.VIEWER: "a-viewer's-token"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Logins:
    return Logins(TOKENS, clock)


@pytest.mark.parametrize("access", Access)
def test_a_token_has_its_access(logins: Logins, access: Access) -> None:
    assert logins.by_token(TOKENS[access], HERE) is access


@pytest.mark.parametrize("token", ["", "an-operator's-toke", "an-operator's-token ", "\ud800", "\0", "x" * 1_000_000])
def test_another_token_has_none(logins: Logins, token: str) -> None:
    assert logins.by_token(token, HERE) is None


def test_without_tokens_none_is_right(clock: Clock) -> None:
    assert Logins({}, clock).by_token("", HERE) is None


def test_a_link_is_valid_once(logins: Logins) -> None:
    link = logins.make_link()
    assert [logins.by_link(link, HERE), logins.by_link(link, HERE)] == [Access.OPERATOR, None]


def test_a_wrong_link_does_not_use_up_the_right_one(logins: Logins) -> None:
    link = logins.make_link()
    assert [logins.by_link("x", HERE), logins.by_link(link, HERE)] == [None, Access.OPERATOR]


def test_a_link_is_valid_for_a_while(logins: Logins, clock: Clock) -> None:
    link = logins.make_link()
    clock.now += LINK_SECONDS + 1
    assert logins.by_link(link, HERE) is None


def test_only_the_latest_link_is_valid(logins: Logins) -> None:
    first, second = logins.make_link(), logins.make_link()
    assert [logins.by_link(first, HERE), logins.by_link(second, HERE)] == [None, Access.OPERATOR]


def test_a_session_ends_after_its_time(logins: Logins, clock: Clock) -> None:
    cookie, session = logins.begin(Access.VIEWER)
    clock.now += SESSION_SECONDS - 1
    assert logins.session(cookie) == session
    clock.now += 2
    assert logins.session(cookie) is None


def test_a_session_ends_when_it_is_ended(logins: Logins) -> None:
    (one, _), (other, _) = logins.begin(Access.VIEWER), logins.begin(Access.VIEWER)
    logins.end(one)
    assert logins.session(one) is None
    assert logins.session(other)


def test_cookies_and_csrf_tokens_differ(logins: Logins) -> None:
    made = [logins.begin(Access.VIEWER) for _ in range(10)]
    assert len({text for cookie, session in made for text in (cookie, session.csrf)}) == 20


def test_sessions_of_viewers_end_no_session_of_an_operator(logins: Logins) -> None:
    cookie, _ = logins.begin(Access.OPERATOR)
    for _ in range(SESSIONS_MAX + 1):
        logins.begin(Access.VIEWER)
    assert logins.session(cookie)


def test_the_oldest_session_makes_room(logins: Logins) -> None:
    cookies = [logins.begin(Access.VIEWER)[0] for _ in range(SESSIONS_MAX + 1)]
    assert [logins.session(cookies[at]) is None for at in (0, 1, -1)] == [True, False, False]


def fail(logins: Logins, address: str, times: int = 1) -> None:
    for _ in range(times):
        logins.by_token("wrong", address)


def test_after_some_failures_an_address_has_to_wait(logins: Logins, clock: Clock) -> None:
    fail(logins, HERE, FAILURES_MAX - 1)
    assert logins.blocked_seconds(HERE, "") == 0
    clock.now += 10
    fail(logins, HERE)
    assert logins.blocked_seconds(HERE, "") == FAILURE_SECONDS - 10
    assert logins.blocked_seconds("192.0.2.2", "") == 0
    clock.now += FAILURE_SECONDS - 10
    assert logins.blocked_seconds(HERE, "") == 0


def test_the_owner_of_what_cannot_be_guessed_is_not_kept_out(clock: Clock) -> None:
    strong = {Access.OPERATOR: secrets.token_urlsafe(32), Access.VIEWER: new_whsec()}
    logins = Logins(strong, clock)
    link = logins.make_link()
    fail(logins, HERE, ALL_FAILURES_MAX)
    assert [logins.blocked_seconds(HERE, given) for given in (*strong.values(), link)] == [0, 0, 0]
    assert logins.blocked_seconds(HERE, "wrong") > 0
    logins.by_link(link, HERE)
    assert logins.blocked_seconds(HERE, link) > 0


@pytest.mark.parametrize(
    "token", ["Tr0ub4dor&3-of-alice", "a" * 64, "correct-horse-battery-staple-and-more", "0123456789" * 5]
)
def test_a_token_that_can_be_guessed_is_not_tried_for_ever(clock: Clock, token: str) -> None:
    logins = Logins({Access.OPERATOR: token}, clock)
    fail(logins, HERE, FAILURES_MAX)
    assert logins.blocked_seconds(HERE, token) > 0


def test_a_success_does_not_forgive_failures(logins: Logins) -> None:
    fail(logins, HERE, FAILURES_MAX - 1)
    logins.by_token(TOKENS[Access.VIEWER], HERE)
    fail(logins, HERE)
    assert logins.blocked_seconds(HERE, "") > 0


def test_after_failures_of_many_addresses_all_have_to_wait(logins: Logins) -> None:
    for number in range(ALL_FAILURES_MAX):
        fail(logins, f"192.0.2.{number}")
    assert logins.blocked_seconds("198.51.100.1", "") > 0


def test_the_addresses_of_one_ipv6_host_count_together(logins: Logins) -> None:
    for number in range(FAILURES_MAX):
        fail(logins, f"2001:db8::{number:x}")
    assert logins.blocked_seconds("2001:db8::ffff", "") > 0
    assert logins.blocked_seconds("2001:db8:1::", "") == 0


def test_the_ports_of_one_host_count_together(logins: Logins) -> None:
    for number in range(FAILURES_MAX):
        fail(logins, f"192.0.2.1:{40_000 + number}")
        fail(logins, f"[2001:db8::1]:{40_000 + number}")
    for address in ("192.0.2.1:50000", "192.0.2.1", "[2001:db8::1]:50000", "[2001:db8::2]", "2001:db8::1"):
        assert logins.blocked_seconds(address, "") > 0
    assert logins.blocked_seconds("192.0.2.2:40000", "") == 0


def test_a_session_is_no_secret_in_memory(logins: Logins) -> None:
    cookie, _ = logins.begin(Access.OPERATOR)
    link = logins.make_link()
    assert [text for text in (cookie, link, *TOKENS.values()) if text in repr(vars(logins))] == []
