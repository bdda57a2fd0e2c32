from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.events import Batch
from sfwebhooks.health import Change, Condition, Health
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import (
    CAUTIOUS_WAIT,
    JITTER,
    REFUSED_WAITS,
    SHORTAGE_SECONDS,
    Settlement,
    State,
    decide,
    judge,
    overall,
    retry_after,
)
from tests.builders import NOW, a_delivery, an_endpoint, an_event
from tests.rows import in_one

NOW_AS_DATE = "Sat, 21 Nov 2026 10:00:00 GMT"
SCHEDULE = (5.0, 60.0, 300.0)

RETRY = {408, 409, 425, 429, *range(500, 600)}
EXPECTED = {
    **dict.fromkeys(range(100, 600), Outcome.REFUSED),  # what else the endpoint takes says whose fault it is
    **dict.fromkeys(range(200, 300), Outcome.DELIVERED),
    **dict.fromkeys(RETRY, Outcome.RETRY),
    410: Outcome.DISABLE,
    Failure.CONNECTION: Outcome.RETRY,
    Failure.DNS: Outcome.RETRY,
    Failure.TIMEOUT: Outcome.RETRY,
    Failure.TLS: Outcome.RETRY,
    Failure.PROTOCOL: Outcome.RETRY,
    Failure.PROXY: Outcome.RETRY,
    Failure.TLS_UNVERIFIED: Outcome.HOLD,
    Failure.TLS_REFUSED: Outcome.HOLD,
    Failure.CERTIFICATE: Outcome.HOLD,
    Failure.ADDRESS: Outcome.HOLD,
    Failure.SOURCE: Outcome.HOLD,
    Failure.PROXY_REFUSED: Outcome.HOLD,
    Failure.TOKEN_UNAVAILABLE: Outcome.RETRY,
    Failure.TOKEN_REFUSED: Outcome.HOLD,
    Failure.TEMPLATE: Outcome.UNSENDABLE,
    Failure.SHORTAGE: Outcome.SHORTAGE,
}


def reply(status: int = 503, **headers: str) -> Reply:
    return Reply(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def verdict(outcome: Outcome, wait: float | None = None) -> Verdict:
    return Verdict(outcome, "http_503", wait)


# --- judge


@in_one("came", EXPECTED)
def test_every_status_and_every_failure_has_its_verdict(came: int | Failure) -> None:
    one = Reply(failure=came) if isinstance(came, Failure) else Reply(status=came)
    assert judge(one, NOW).outcome is EXPECTED[came]


def test_the_table_has_a_row_for_each_status_and_each_failure() -> None:
    assert EXPECTED.keys() == {*range(100, 600), *Failure}


@pytest.mark.parametrize(
    ("one", "reason"),
    [(Reply(status=503), "http_503"), (Reply(status=200), "http_200"), (Reply(failure=Failure.DNS), "dns_failed")],
)
def test_the_reason_is_short_and_stable(one: Reply, reason: str) -> None:
    assert judge(one, NOW).reason == reason


def test_a_failure_counts_even_if_a_status_had_come() -> None:
    assert judge(Reply(status=200, failure=Failure.TIMEOUT), NOW).outcome is Outcome.RETRY


@pytest.mark.parametrize("status", [429, 503, 301, 403, 400, 422])
def test_a_verdict_carries_the_wait_that_was_asked_for(status: int) -> None:
    assert judge(reply(status, Retry_After="120"), NOW).wait == 120.0


@pytest.mark.parametrize("status", [200, 410])
def test_a_final_verdict_carries_no_wait(status: int) -> None:
    assert judge(reply(status, Retry_After="120"), NOW).wait is None


# --- Retry-After


@in_one(
    ("text", "wait"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0000000000120", 120.0),
        (str(10 * 365 * 86400), 3600.0),
        ("9" * 5000, 3600.0),
        # the three forms of a date that RFC 9110 section 5.6.7 names, all of them UTC
        ("Sat, 21 Nov 2026 10:02:00 GMT", 120.0),
        ("Saturday, 21-Nov-26 10:02:00 GMT", 120.0),
        ("Sat Nov 21 10:02:00 2026", 120.0),
        # what is seen beside them
        ("Sat, 21 Nov 2026 10:02:00 -0000", 120.0),
        ("Sat, 21 Nov 2026 12:02:00 +0200", 120.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 21 Nov 2036 10:00:00 GMT", 3600.0),
        ("2026-11-21T10:02:00Z", 120.0),
        ("2026-11-21T12:02:00+02:00", 120.0),
        # numbers that are not whole, have a sign, a unit, or company
        ("292.052427053", 293.0),
        ("2.0", 2.0),
        ("0.2", 1.0),
        (".5", 1.0),
        ("120s", 120.0),
        ("120 s", 120.0),
        ("90 seconds", 90.0),
        ("+120", 120.0),
        ("60, 120", 120.0),
        ("120,60", 120.0),
        ("1.5, 2.5s", 3.0),
        # what cannot be read asks for a wait all the same
        ("", CAUTIOUS_WAIT),
        ("-5", CAUTIOUS_WAIT),
        ("1e3", CAUTIOUS_WAIT),
        ("²", CAUTIOUS_WAIT),
        ("١٢٠", CAUTIOUS_WAIT),
        ("soon", CAUTIOUS_WAIT),
        ("60, soon", CAUTIOUS_WAIT),
        ("Sat, 31 Feb 2026 10:02:00 GMT", CAUTIOUS_WAIT),
        ("Sat, 21 Nov 99999 10:02:00 GMT", CAUTIOUS_WAIT),
        ("Sat, 21 Nov 2026 25:61:61 GMT", CAUTIOUS_WAIT),
        ("\0", CAUTIOUS_WAIT),
        (",", CAUTIOUS_WAIT),
        ("1" * 16 + ".5", CAUTIOUS_WAIT),
    ],
)
def test_retry_after_is_read(text: str, wait: float | None) -> None:
    assert retry_after({"Retry-After": text}, NOW) == wait


def test_the_wait_for_what_cannot_be_read_is_capped_too() -> None:
    assert retry_after({"Retry-After": "soon"}, NOW, longest=30.0) == 30.0


def test_the_wait_that_a_proxy_asks_for_is_obeyed() -> None:
    reply = Reply(failure=Failure.PROXY, headers={"Retry-After": "120"})
    assert judge(reply, NOW) == Verdict(Outcome.RETRY, "proxy_failed", 120.0)


def test_without_retry_after_nothing_was_asked_for() -> None:
    assert retry_after({}, NOW) is None


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_a_date_without_a_zone_is_utc_wherever_we_are(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after({"Retry-After": "Sat Nov 21 10:02:00 2026"}, NOW) == 120.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("skew", [-86400.0, 0.0, 86400.0])
def test_a_date_is_read_against_the_receivers_own_clock(skew: float) -> None:
    headers = {"Retry-After": "Sat, 21 Nov 2026 10:02:00 GMT", "Date": NOW_AS_DATE}
    assert retry_after(headers, NOW + skew) == 120.0


@pytest.mark.parametrize("date", ["", "yesterday", "0"])
def test_a_receiver_without_a_clock_is_read_against_ours(date: str) -> None:
    assert retry_after({"Retry-After": "Sat, 21 Nov 2026 10:02:00 GMT", "Date": date}, NOW) == 120.0


def test_seconds_do_not_depend_on_any_clock() -> None:
    assert retry_after({"Retry-After": "30", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"}, NOW) == 30.0


# --- the wait in a reply's body


def limited(body: bytes, status: int = 429, header: str = "") -> Reply:
    return Reply(status=status, headers={"Retry-After": header} if header else {}, body=body)


@in_one(
    ("body", "wait"),
    [
        (b'{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}', 64.57),
        (b'{"retry_after": 0.65}', 0.65),
        (b'{"ok": false, "parameters": {"retry_after": 35}}', 35.0),
        (b'{"parameters": [35]}', None),
        (b'{"retry_after": 30}', 30.0),
        (b'{"retry_after": 0}', 0.0),
        (b' \n{"retry_after": 5e1} ', 50.0),
        (b'\xef\xbb\xbf{"retry_after": 5}', 5.0),
        (b'{"retry_after": 315360000}', 3600.0),
        (b'{"retry_after": 1' + b"0" * 400 + b"}", 3600.0),
        (b'{"retry_after": 1e999}', 3600.0),
        (b'{"retry_after": Infinity}', 3600.0),
        # what says nothing
        (b'{"retry_after": -0.5}', None),
        (b'{"retry_after": -Infinity}', None),
        (b'{"retry_after": NaN}', None),
        (b'{"retry_after": true}', None),
        (b'{"retry_after": null}', None),
        (b'{"retry_after": "30"}', 30.0),
        (b'{"retry_after": "soon"}', None),
        (b'{"retry_after": [30]}', None),
        (b'{"retry_after": {"seconds": 30}}', None),
        (b'{"error": {"retry_after": 30}}', None),
        (b'[{"retry_after": 30}]', None),
        (b"30", None),
        (b"", None),
        (b"too many requests", None),
        (b'{"retry_after": 30', None),
        (b'{"retry_after": 30}\xff', None),
        (b"\xff\xfe\x00", None),
        (b'{"retry_after": ' + b"9" * 60_000 + b".", None),
        (b"[" * 65536, None),
        (b'{"retry_after":' * 4000, None),
    ],
)
def test_retry_after_in_the_body_of_a_429_is_read(body: bytes, wait: float | None) -> None:
    assert judge(limited(body), NOW).wait == wait


@pytest.mark.parametrize(("header", "wait"), [("1", 64.57), ("120", 120.0), ("soon", 64.57), (NOW_AS_DATE, 64.57)])
def test_the_longer_one_of_header_and_body_counts(header: str, wait: float) -> None:
    assert judge(limited(b'{"retry_after": 64.57}', header=header), NOW).wait == wait


@pytest.mark.parametrize("status", [200, 301, 403, 408, 503])
def test_the_body_of_another_status_asks_for_no_wait(status: int) -> None:
    assert judge(limited(b'{"retry_after": 30}', status), NOW).wait is None


@pytest.mark.parametrize(
    "one", [limited(b'{"retry_after": 300.5}'), limited(b"", header="301"), reply(503, Retry_After="301")]
)
def test_no_wait_is_longer_than_it_may_be(one: Reply) -> None:
    assert judge(one, NOW, longest=60.0).wait == 60.0


def test_a_date_far_ahead_is_capped_at_the_longest_wait() -> None:
    assert retry_after({"Retry-After": "Fri, 21 Nov 2036 10:00:00 GMT"}, NOW, 60.0) == 60.0


# --- decide


HEALTHY = Health()
FAILING = Health(Condition.FAILING, failures=9)


def decided(
    one: Verdict,
    *,
    attempts: int = 0,
    members: int = 1,
    health: Health = HEALTHY,
    schedule: tuple[float, ...] = SCHEDULE,
    batch_size: int = 1,
) -> list[Settlement]:
    """Return what becomes of a request of some members that were attempted before, at an endpoint of that health."""
    deliveries = tuple(a_delivery(an_event(number), attempts=attempts) for number in range(members))
    endpoint = an_endpoint(retry_schedule=schedule, batch_size=batch_size)
    return decide(Batch(deliveries), [one], endpoint, Change(health, health), NOW)


def settled(one: Verdict, **values: Any) -> Settlement:
    (only,) = decided(one, **values)
    return only


@pytest.mark.parametrize("health", [HEALTHY, FAILING])
def test_a_reply_that_allows_one_retry_makes_the_second_attempt_the_last(health: Health) -> None:
    partial = Verdict(Outcome.RETRY, "http_424", retries=1)
    first, second = (settled(partial, attempts=attempts, health=health) for attempts in (0, 1))
    assert (first.state, first.counts) == (State.WAITING, True)
    assert (second.state, second.reason) == (State.DEAD, "retries_exhausted: http_424")


def refused(
    refusals: int, refused_in: int | None, era: int, healthy: bool = True, wait: float | None = None
) -> Settlement:
    """Return what becomes of a message that was refused so often before, first in that era, and is refused again."""
    delivery = a_delivery(refusals=refusals, refused_in=refused_in)
    health = Health(Condition.HEALTHY if healthy else Condition.HELD, era=era)
    one = Verdict(Outcome.REFUSED, "http_403", wait)
    endpoint = an_endpoint(retry_schedule=SCHEDULE)
    return decide(Batch((delivery,)), [one], endpoint, Change(health, health), NOW)[0]


@pytest.mark.parametrize("attempts", [0, 1, 99])
@pytest.mark.parametrize("health", [HEALTHY, FAILING])
def test_a_success_is_delivered(attempts: int, health: Health) -> None:
    assert settled(verdict(Outcome.DELIVERED), attempts=attempts, health=health).state is State.DELIVERED


def test_the_first_refusal_sets_a_message_aside_and_notes_the_era() -> None:
    one = refused(0, None, era=7)
    assert (one.state, one.reason, one.counts, one.refused, one.refused_in) == (
        *(State.WAITING, "refused: http_403", False),
        *(True, 7),
    )
    assert NOW + SCHEDULE[0] <= one.due_at <= NOW + SCHEDULE[0] * (1 + JITTER)


def test_a_second_refusal_is_not_the_last_whether_message_or_endpoint_is_at_fault() -> None:
    assert [refused(1, 3, era).state for era in (3, 4)] == [State.WAITING, State.WAITING]


def test_the_third_refusal_is_the_last_once_another_message_was_taken() -> None:
    one = refused(2, 3, era=4)
    assert (one.state, one.reason, one.refused) == (State.DEAD, "refused: http_403", True)


@pytest.mark.parametrize("refusals", [2, 50])
def test_no_refusal_is_the_last_while_nothing_else_was_taken(refusals: int) -> None:
    assert refused(refusals, 3, era=3).state is State.WAITING


def test_the_reply_to_a_probe_is_not_a_refusal_of_its_message_unless_it_is_the_first() -> None:
    assert [refused(0, None, 1, healthy=False).refused, refused(1, 1, 1, healthy=False).refused] == [True, False]


def test_a_refused_message_waits_as_long_as_the_receiver_asks_for() -> None:
    assert refused(0, None, 1, wait=1800.0).due_at == NOW + 1800.0


def test_a_refused_message_is_tried_again_where_the_schedule_has_no_retry() -> None:
    one = settled(Verdict(Outcome.REFUSED, "http_403"), schedule=())
    assert (one.state, one.due_at >= NOW + REFUSED_WAITS[0]) == (State.WAITING, True)


@pytest.mark.parametrize("attempts", range(len(SCHEDULE)))
def test_each_retry_waits_as_the_schedule_says_and_a_little_more(attempts: int) -> None:
    due = [settled(verdict(Outcome.RETRY), attempts=attempts).due_at - NOW for _ in range(200)]
    assert SCHEDULE[attempts] <= min(due) < max(due) <= SCHEDULE[attempts] * (1 + JITTER)


def test_after_the_last_retry_a_delivery_is_dead_with_its_last_reason() -> None:
    one = settled(verdict(Outcome.RETRY), attempts=len(SCHEDULE))
    assert (one.state, one.reason) == (State.DEAD, "retries_exhausted: http_503")


def test_after_the_last_retry_a_delivery_waits_on_if_nothing_else_is_taken_either() -> None:
    one = settled(verdict(Outcome.RETRY), attempts=len(SCHEDULE), health=Health(failures=len(SCHEDULE) + 1))
    assert (one.state, one.due_at >= NOW + SCHEDULE[-1]) == (State.WAITING, True)


def test_without_retries_the_first_failure_is_the_end() -> None:
    assert settled(verdict(Outcome.RETRY), schedule=()).state is State.DEAD


def test_a_shorter_schedule_after_a_restart_ends_what_is_beyond_it() -> None:
    assert settled(verdict(Outcome.RETRY), attempts=6).state is State.DEAD


def test_retry_after_wins_over_the_schedule() -> None:
    assert settled(verdict(Outcome.RETRY, wait=1800.0)).due_at == NOW + 1800.0


def test_retry_after_does_not_shorten_the_schedule() -> None:
    assert settled(verdict(Outcome.RETRY, wait=1.0), attempts=1).due_at >= NOW + 60.0


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.HOLD, Outcome.DISABLE])
@pytest.mark.parametrize("attempts", [0, 3, 99])
def test_an_endpoint_that_is_not_healthy_uses_up_no_delivery_s_retries(outcome: Outcome, attempts: int) -> None:
    one = settled(verdict(outcome), attempts=attempts, health=FAILING)
    assert (one.state, one.counts) == (State.WAITING, False)


@pytest.mark.parametrize("outcome", [Outcome.HOLD, Outcome.DISABLE])
def test_what_holds_an_endpoint_keeps_its_delivery_whatever_the_health(outcome: Outcome) -> None:
    one = settled(verdict(outcome), attempts=99)
    assert (one.state, one.counts) == (State.WAITING, False)


def test_a_failure_of_a_healthy_endpoint_uses_up_a_retry() -> None:
    assert settled(verdict(Outcome.RETRY)).counts is True


def test_a_shortage_of_this_process_uses_up_nothing_and_waits_a_moment() -> None:
    one = settled(verdict(Outcome.SHORTAGE), attempts=99)
    assert (one.state, one.counts, one.refused, one.due_at) == (State.WAITING, False, False, NOW + SHORTAGE_SECONDS)


def test_one_that_was_skipped_because_of_another_uses_up_nothing_and_goes_again_at_once() -> None:
    one = settled(verdict(Outcome.SKIPPED), attempts=99)
    assert (one.state, one.counts, one.refused, one.due_at) == (State.WAITING, False, False, NOW)


def test_a_request_of_which_one_was_refused_and_the_others_skipped_is_refused() -> None:
    found = [verdict(Outcome.SKIPPED), verdict(Outcome.REFUSED), verdict(Outcome.SKIPPED)]
    assert overall(found) == verdict(Outcome.REFUSED)


# --- requests of several


def halves(found: list[Settlement]) -> list[int]:
    """Return how many members the halves have; nothing if they stay together."""
    sizes = Counter(one.batch for one in found)
    return sorted(sizes.values()) if len(sizes) > 1 else []


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
@pytest.mark.parametrize("health", [HEALTHY, FAILING])
def test_a_refused_request_of_several_goes_on_in_halves_at_once(status: int, health: Health) -> None:
    found = decided(judge(Reply(status=status), NOW), members=5, health=health)
    assert halves(found) == [2, 3]
    assert {(one.state, one.counts, one.refused, one.due_at) for one in found} == {(State.WAITING, False, False, NOW)}
    assert {one.refused_in for one in found} == {health.era}


@pytest.mark.parametrize(("attempts", "split"), [(0, []), (1, []), (2, [5, 5]), (3, [5, 5]), (9, [5, 5])])
def test_a_request_of_several_is_halved_before_its_last_retry(attempts: int, split: list[int]) -> None:
    assert halves(decided(verdict(Outcome.RETRY), members=10, attempts=attempts)) == split


def test_the_halves_have_the_last_retry_at_its_time() -> None:
    found = decided(verdict(Outcome.RETRY), members=2, attempts=len(SCHEDULE) - 1)
    assert all(one.counts and one.due_at >= NOW + SCHEDULE[-1] for one in found)


def test_no_request_of_several_dies() -> None:
    found = decided(verdict(Outcome.RETRY), members=2, attempts=len(SCHEDULE))
    assert {(one.state, one.counts, one.due_at) for one in found} == {(State.WAITING, False, NOW)}


def test_without_retries_a_request_of_several_is_halved_at_once() -> None:
    assert halves(decided(verdict(Outcome.RETRY), members=4, schedule=())) == [2, 2]


@pytest.mark.parametrize(("reason", "split"), [("http_503", [1, 1]), ("timeout", []), ("connection_failed", [])])
def test_a_probe_of_several_is_halved_only_by_a_reply(reason: str, split: list[int]) -> None:
    """Without one nobody knows what of it the receiver has, and what comes again must have the same members."""
    assert halves(decided(Verdict(Outcome.RETRY, reason), members=2, health=FAILING)) == split


@pytest.mark.parametrize("outcome", [Outcome.HOLD, Outcome.DISABLE, Outcome.DELIVERED, Outcome.SHORTAGE])
def test_a_verdict_on_the_endpoint_or_on_us_leaves_a_request_of_several_together(outcome: Outcome) -> None:
    assert halves(decided(verdict(outcome), members=4)) == []


@pytest.mark.parametrize(("batch_size", "stays"), [(1, False), (10, True)])
def test_a_request_that_waits_is_repeated_in_its_batch(batch_size: int, stays: bool) -> None:
    waits = decided(verdict(Outcome.HOLD), members=2, batch_size=batch_size)
    batch = Batch(tuple(a_delivery(an_event(number)) for number in range(2)))
    assert [one.batch for one in waits] == [batch.id if stays else ""] * 2


def test_a_delivered_request_leaves_its_batch_as_it_was() -> None:
    assert [one.batch for one in decided(verdict(Outcome.DELIVERED), members=2, batch_size=10)] == ["", ""]
