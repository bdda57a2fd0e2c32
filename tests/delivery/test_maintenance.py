"""Age, retention and warnings, as every process that lives a while looks after them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from sfwebhooks.config.draft import Mistake
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.maintenance import (
    AGE_SECONDS,
    AGE_SHARE,
    CERTIFICATE_SECONDS,
    SIZE_SECONDS,
    TIDY_SECONDS,
    Maintenance,
    expire,
)
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.health import OUTAGE_PROBES, Condition, Health
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.listing import OLDEST
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_endpoint, an_event
from tests.conftest import Clock, put, sql

STORES = ("sqlite", "postgres")

HOUR = 3600.0
DAY = 24 * HOUR
OPS = an_endpoint("ops", events=("system_alert", "resource_warning"))


@pytest.fixture
def maintenance(outbox: Outbox, clock: Clock) -> Iterator[Callable[..., Maintenance]]:
    """Maintain an outbox by settings: `maintenance(endpoint, ..., keep_delivered=...)`, with the steady `clock`."""
    made: list[Maintenance] = []

    def make(*endpoints: Endpoint, scan: Any = None, steady: Clock | None = None, **settings: Any) -> Maintenance:
        made.append(Maintenance(Settings(endpoints, **settings), outbox.place, scan, steady or clock))
        return made[-1]

    yield make
    for one in made:
        one.close()


def look(one: Maintenance, at: float, clock: Clock) -> None:
    """Let an maintenance look at a time that its clock has reached too."""
    clock.now = at
    one.look(at)


def states(outbox: Outbox) -> list[tuple[str, str]]:
    return [(state, reason) for state, reason in sql(outbox, "SELECT state, reason FROM delivery ORDER BY number")]


def alerts(outbox: Outbox) -> list[tuple[str, str]]:
    """Return (endpoint, message) of all alerts and warnings."""
    query = (
        "SELECT endpoint, json_extract(data, '$.message') FROM delivery JOIN event ON event.number = delivery.event"
        " WHERE type IN ('system_alert', 'resource_warning') ORDER BY delivery.number"
    )
    return [(endpoint, message) for endpoint, message in sql(outbox, query)]


# --- age


def ill(outbox: Outbox, name: str = "team", probes: int = OUTAGE_PROBES) -> None:
    """Let an endpoint have taken nothing for so many probes with an hour between them."""
    health = Health(Condition.FAILING, "http_503", NOW, 9, NOW, probes, outage_probes=probes)
    outbox.queue.settle((), {name: health})


def test_a_delivery_that_waits_too_long_for_an_endpoint_that_takes_nothing_becomes_a_dead_letter(
    outbox: Outbox, maintenance: Callable[..., Maintenance], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = an_endpoint(max_age=2 * DAY)
    put(outbox, endpoint, events=3)
    ill(outbox)
    maintenance(endpoint, OPS).look(NOW + 2 * DAY + 1)
    assert states(outbox)[:3] == [("dead", "expired")] * 3
    assert "3 deliveries are dead for endpoint team (expired)" in caplog.text


def test_that_deliveries_expired_is_one_alert_with_their_number(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    endpoint = an_endpoint(max_age=2 * DAY)
    put(outbox, endpoint, events=3)
    ill(outbox)
    maintenance(endpoint, OPS).look(NOW + 2 * DAY + 1)
    assert [message.partition(":")[0] for name, message in alerts(outbox) if "expired" in message] == [
        "3 deliveries are dead for endpoint team (expired)"
    ]


def test_what_is_not_too_old_waits_on(outbox: Outbox, maintenance: Callable[..., Maintenance]) -> None:
    endpoint = an_endpoint(max_age=2 * DAY)
    put(outbox, endpoint)
    ill(outbox)
    maintenance(endpoint).look(NOW + 2 * DAY - 1)
    assert states(outbox) == [("waiting", "")]


@pytest.mark.parametrize("probes", [None, OUTAGE_PROBES - 1])
def test_nothing_expires_at_an_endpoint_that_may_take_it(
    outbox: Outbox, maintenance: Callable[..., Maintenance], probes: int | None
) -> None:
    """A machine that was off for a month, or whose clock is a month ahead: nothing of that was tried yet."""
    put(outbox, an_endpoint())
    if probes:
        ill(outbox, probes=probes)
    maintenance(an_endpoint()).look(NOW + 30 * DAY)
    assert states(outbox) == [("waiting", "")]


@pytest.mark.parametrize(("hours", "state"), [(1.999, "waiting"), (2, "dead")])
def test_deliveries_to_a_removed_endpoint_expire_in_a_process_that_saw_that_for_long(
    outbox: Outbox, maintenance: Callable[..., Maintenance], hours: float, state: str
) -> None:
    put(outbox, an_endpoint("gone"))
    steady = Clock(1000.0)
    one = maintenance(an_endpoint(), steady=steady)
    steady.now += hours * HOUR
    one.look(NOW + 8 * DAY)
    assert [found for found, _ in states(outbox)] == [state]


def test_nothing_expires_for_an_endpoint_that_was_removed_while_one_may_be_unknown(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    put(outbox, an_endpoint("left-out"))
    later(maintenance(an_endpoint(), is_complete=False))
    assert states(outbox) == [("waiting", "")]


def test_nothing_expires_while_its_endpoint_must_not_be_sent_to(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    held = an_endpoint("held", mistake="secret: it is a sample", max_age=DAY)
    put(outbox, held)
    ill(outbox, "held")
    later(maintenance(an_endpoint(), held, mistakes=(Mistake("webhooks.ini", "", "", "", "wrong"),)))
    assert states(outbox) == [("waiting", "")]


def test_nothing_expires_for_an_endpoint_that_is_only_switched_off(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    put(outbox, an_endpoint("off"))
    later(maintenance(an_endpoint(), unused=frozenset({"off"})))
    assert states(outbox) == [("waiting", "")]


def test_nothing_expires_while_there_is_no_endpoint_at_all(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    put(outbox, an_endpoint())
    later(maintenance())
    assert states(outbox) == [("waiting", "")]


def test_of_an_endpoint_that_was_removed_nothing_expires_before_the_longest_max_age(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    put(outbox, an_endpoint("gone"))
    later(maintenance(an_endpoint(max_age=DAY), an_endpoint("patient", max_age=90 * DAY)))
    assert states(outbox) == [("waiting", "")]


def test_deliveries_of_several_endpoints_expire_at_once_each_with_its_reason(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is healthy comes first, and does not stop the others."""
    healthy, dark = an_endpoint("a-healthy"), an_endpoint("dark")
    put(outbox, healthy, an_endpoint("gone"), dark, events=2)
    assert expire(outbox, Settings((healthy, dark, OPS)), {"dark"}, NOW + 30 * DAY, removed=True) == 4
    dead = sql(outbox, "SELECT DISTINCT endpoint, reason FROM delivery WHERE state = 'dead' ORDER BY endpoint")
    assert dead == [("dark", "expired"), ("gone", "endpoint_removed")]
    assert [line.partition(": ")[2].partition(":")[0] for line in caplog.messages] == [
        "2 deliveries are dead for endpoint dark (expired)",
        "2 deliveries are dead for endpoint gone (endpoint_removed)",
    ]


def test_without_old_deliveries_none_expires_and_nothing_is_reported(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, an_endpoint())
    assert expire(outbox, Settings((an_endpoint(),)), {"team"}, NOW + 60, removed=True) == 0
    assert (caplog.messages, alerts(outbox)) == ([], [])


def later(one: Maintenance) -> None:
    """Let an maintenance look after it was there for a month."""
    one._began_at -= 30 * DAY
    one.look(NOW + 30 * DAY)


# --- retention


def test_what_was_delivered_is_kept_for_a_while(
    outbox: Outbox, maintenance: Callable[..., Maintenance], queue: SendQueue, endpoint: Endpoint
) -> None:
    put(outbox, endpoint)
    queue.step()
    one = maintenance(endpoint, keep_delivered=DAY)
    one.look(NOW + DAY - 10)
    assert outbox.scans.tallies()["delivered"] == 1
    one.look(NOW + DAY + 60)
    assert (outbox.scans.tallies()["delivered"], sql(outbox, "SELECT count(*) FROM event")) == (0, [(0,)])


def test_it_does_not_tidy_at_each_look(outbox: Outbox, maintenance: Callable[..., Maintenance], clock: Clock) -> None:
    endpoint = an_endpoint(max_age=DAY)
    one = maintenance(endpoint)
    ill(outbox)
    look(one, NOW + DAY, clock)
    put(outbox, endpoint)
    outbox_age = NOW + DAY + TIDY_SECONDS
    look(one, outbox_age - 1, clock)
    assert states(outbox) == [("waiting", "")]
    look(one, outbox_age, clock)
    assert states(outbox) == [("dead", "expired")]


# --- a filling outbox


@pytest.fixture
def filling(outbox: Outbox) -> Callable[[int], None]:
    """Put some kilobytes into the outbox."""

    def put_more(kilobytes: int) -> None:
        event = an_event(kilobytes, data={"data": "x" * kilobytes * 1000})
        outbox.accept([(event, [Wanted("team", "high_risk_event")])], NOW)

    return put_more


@pytest.mark.sqlite("the file's size")
def test_each_watermark_is_reported_once(
    outbox: Outbox, maintenance: Callable[..., Maintenance], filling: Callable[[int], None]
) -> None:
    one = maintenance(OPS, storage=Storage(max_bytes=1_000_000))
    for step, kilobytes in enumerate((540, 1, 100, 2)):
        filling(kilobytes)
        one.look(NOW + step * SIZE_SECONDS)
    assert [message.partition(":")[2] for _, message in alerts(outbox)] == [
        " informational findings are refused from now on (outbox_full).",
        " findings of low severity and below are refused from now on (outbox_full).",
    ]


@pytest.mark.parametrize(
    ("check", "seconds"),
    [
        ("_warn_of_size", SIZE_SECONDS),
        ("_warn_of_age", AGE_SECONDS),
        ("_warn_of_certificates", CERTIFICATE_SECONDS),
    ],
)
def test_a_check_is_not_made_each_second(
    check: str, seconds: float, maintenance: Callable[..., Maintenance], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, seen = maintenance(OPS), list[float]()
    monkeypatch.setattr(one, check, lambda *given: seen.append(given[-1]))
    for share in (0.0, 0.2, 0.8, 1.0, 1.5, 2.0):
        one.look(NOW + share * seconds)
    assert seen == [NOW, NOW + seconds, NOW + 2 * seconds]


def test_two_processes_of_a_scan_report_a_watermark_once(
    outbox: Outbox, maintenance: Callable[..., Maintenance], filling: Callable[[int], None]
) -> None:
    filling(650)
    for _ in range(2):
        maintenance(OPS, storage=Storage(max_bytes=1_000_000), scan=a_scan()).look(NOW)
    assert len(alerts(outbox)) == 1


def test_each_watermark_is_logged_once(
    maintenance: Callable[..., Maintenance], filling: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    one = maintenance(OPS, storage=Storage(max_bytes=1_000_000))
    for step, kilobytes in enumerate((620, 1)):
        filling(kilobytes)
        one.look(NOW + step * SIZE_SECONDS)
    assert [line.partition("are ")[2] for line in caplog.messages] == ["refused from now on (outbox_full)."]


@pytest.mark.parametrize(("days", "number"), [(0.2, 1), (1, 2)])
def test_without_a_scan_a_watermark_is_reported_once_a_day(
    outbox: Outbox, maintenance: Callable[..., Maintenance], filling: Callable[[int], None], days: float, number: int
) -> None:
    filling(650)
    for at in (NOW, NOW + days * DAY):
        maintenance(OPS, storage=Storage(max_bytes=1_000_000)).look(at)
    assert len(alerts(outbox)) == number


def test_two_scans_report_a_watermark_each(
    outbox: Outbox, maintenance: Callable[..., Maintenance], filling: Callable[[int], None]
) -> None:
    filling(650)
    for scan in (a_scan("1"), a_scan("2")):
        maintenance(OPS, storage=Storage(max_bytes=1_000_000), scan=scan).look(NOW)
    assert len(alerts(outbox)) == 2


def test_an_outbox_with_room_is_not_reported(outbox: Outbox, maintenance: Callable[..., Maintenance]) -> None:
    put(outbox, OPS)
    maintenance(OPS).look(NOW)
    assert alerts(outbox) == []


# --- deliveries that wait for long

LIMIT = 2 * DAY * AGE_SHARE


def change(outbox: Outbox, query: str) -> None:
    sql(outbox, query)


def stuck(outbox: Outbox) -> Endpoint:
    """Return an endpoint with a delivery that waits since NOW."""
    endpoint = an_endpoint("stuck", events=("all",), max_age=2 * DAY)
    put(outbox, endpoint)
    return endpoint


def test_a_delivery_that_waits_for_long_is_reported_to_the_others(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    maintenance(stuck(outbox), OPS, an_endpoint("chat", events=("scan_*",))).look(NOW + LIMIT)
    place = "https://hooks.example.test"
    assert alerts(outbox) == [
        ("ops", f"The oldest delivery to endpoint stuck ({place}) has waited for 4 h 48 min;"
                " deliveries expire after 2 d."),
    ]  # fmt: skip


def test_that_deliveries_wait_for_long_is_logged(
    outbox: Outbox, maintenance: Callable[..., Maintenance], caplog: pytest.LogCaptureFixture
) -> None:
    maintenance(stuck(outbox)).look(NOW + LIMIT)
    assert [line.partition(" (")[0] for line in caplog.messages] == ["webhooks: The oldest delivery to endpoint stuck"]


def test_a_delivery_that_waits_no_longer_than_it_may_is_not_reported(
    outbox: Outbox, maintenance: Callable[..., Maintenance]
) -> None:
    maintenance(stuck(outbox), OPS).look(NOW + LIMIT - 1)
    assert alerts(outbox) == []


def test_waiting_deliveries_are_reported_once_while_they_wait(
    outbox: Outbox, maintenance: Callable[..., Maintenance], clock: Clock
) -> None:
    endpoint = stuck(outbox)
    one = maintenance(endpoint, OPS)
    for hours in range(3):
        look(one, NOW + LIMIT + hours * HOUR, clock)
    put(outbox, endpoint, start=2)
    change(outbox, "UPDATE delivery SET accepted_at = accepted_at + 1 WHERE endpoint = 'stuck'")
    look(one, NOW + LIMIT + 4 * HOUR, clock)
    assert len(alerts(outbox)) == 1


def test_two_processes_report_the_same_delivery_once(outbox: Outbox, maintenance: Callable[..., Maintenance]) -> None:
    endpoint = stuck(outbox)
    for seconds in range(2):
        maintenance(endpoint, OPS).look(NOW + LIMIT + seconds)
    assert len(alerts(outbox)) == 1


def test_it_is_reported_again_when_it_begins_again(
    outbox: Outbox, maintenance: Callable[..., Maintenance], clock: Clock
) -> None:
    endpoint = stuck(outbox)
    one = maintenance(endpoint, OPS)
    look(one, NOW + LIMIT, clock)
    change(outbox, f"UPDATE delivery SET state = 'delivered', settled_at = {NOW} WHERE endpoint = 'stuck'")
    look(one, NOW + 2 * LIMIT, clock)
    put(outbox, endpoint, start=2)
    change(outbox, f"UPDATE delivery SET (accepted_at, due_at) = ({NOW + 2 * LIMIT}, {NOW + 2 * LIMIT})")
    look(one, NOW + 3 * LIMIT, clock)
    assert len(alerts(outbox)) == 2


def test_deliveries_that_wait_since_an_operator_paused_it_are_not_reported(
    outbox: Outbox, maintenance: Callable[..., Maintenance], clock: Clock
) -> None:
    endpoint = stuck(outbox)
    outbox.endpoints.pause(endpoint.name, NOW + 5 * LIMIT)
    one = maintenance(endpoint, OPS)
    for times in (1, 4, 5.5):
        look(one, NOW + times * LIMIT, clock)
    assert alerts(outbox) == []


@pytest.mark.sqlite("SQLite's plan")
def test_the_oldest_delivery_is_found_in_an_index(outbox: Outbox) -> None:
    put(outbox, an_endpoint())
    plan = sql(outbox, "EXPLAIN QUERY PLAN " + OLDEST.replace("?1", "'team'"))
    found = [row[3].replace("COVERING ", "") for row in plan if " delivery" in row[3]]
    assert found == [
        *["SEARCH delivery USING INDEX delivery_fresh (<expr>>?)"] * 2,
        "SEARCH d USING INDEX delivery_fresh (<expr>=? AND endpoint=?)",
        "SEARCH delivery USING INDEX delivery_overtaken (endpoint=?)",
        "SEARCH delivery USING INDEX delivery_late_age (endpoint=?)",
    ]


# --- certificates


@pytest.fixture
def ending(authority: Authority) -> Endpoint:
    """An endpoint whose client certificate ends in ten days."""
    identity = authority.issue("ending", client=True, days=10)
    return an_endpoint(client_cert=identity.cert, client_key=identity.key, events=("all",))


def test_a_certificate_that_ends_soon_is_reported_to_all_who_want_it(
    outbox: Outbox, maintenance: Callable[..., Maintenance], ending: Endpoint, real_now: float
) -> None:
    maintenance(ending, OPS, an_endpoint("chat", events=("scan_*",))).look(real_now)
    assert [(name, "ending" in message, "in 9 days" in message) for name, message in alerts(outbox)] == [
        ("team", True, True),
        ("ops", True, True),
    ]


def test_a_certificate_that_ends_soon_is_reported_once_a_week(
    outbox: Outbox, maintenance: Callable[..., Maintenance], ending: Endpoint, real_now: float
) -> None:
    one = maintenance(ending, OPS)
    for days in range(9):
        one.look(real_now + days * DAY)
    assert len([name for name, message in alerts(outbox) if name == "ops" and "ending" in message]) == 2


def test_a_certificate_that_ends_soon_is_in_the_log(
    maintenance: Callable[..., Maintenance], ending: Endpoint, real_now: float, caplog: pytest.LogCaptureFixture
) -> None:
    maintenance(ending).look(real_now)
    assert [(record.levelno, "expires on" in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


@pytest.fixture
def real_now() -> float:
    """Certificates live in real time."""
    return time.time()
