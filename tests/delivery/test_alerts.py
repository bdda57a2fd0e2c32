"""What alerts say, who receives them, and which of them are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.delivery.alerts import (
    age_warning,
    alert_receivers,
    certificate_alert,
    died_alert,
    health_alert,
    outbox_warning,
    report_of_deaths,
    trouble_warning,
)
from sfwebhooks.health import Condition, Health
from sfwebhooks.network.tls import Expiry
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_endpoint

DAY = 86400.0
ILL = Health(Condition.FAILING, "http_503", since=NOW - 60)
WELL = Health(Condition.HEALTHY, since=NOW - 30)
TEAM, OTHER = an_endpoint("team"), an_endpoint("other", url="https://other.test/x")


# --- health


@pytest.mark.parametrize(
    ("health", "message", "severity"),
    [
        (ILL, "is failing; deliveries are kept and probes continue (http_503).", Severity.HIGH),
        (
            Health(Condition.HELD, "http_401", since=NOW),
            "is held: it refuses deliveries, or its settings are wrong; deliveries are kept and probes continue"
            " (http_401).",
            Severity.HIGH,
        ),
        (
            Health(Condition.DISABLED, "http_410", since=NOW),
            "answered 410 Gone; deliveries are kept, and nothing is sent until an operator acts (http_410).",
            Severity.HIGH,
        ),
        (WELL, "works again; waiting deliveries are being sent.", Severity.INFO),
    ],
)
def test_an_alert_about_one_endpoint_says_where_it_is_and_why(health: Health, message: str, severity: Severity) -> None:
    event = health_alert([(TEAM, health)], NOW)
    assert event.data["message"] == f"Endpoint team ({TEAM.place}) {message}"
    assert (event.type, event.severity, event.at, event.subject) == ("system_alert", severity, NOW, "health")
    assert event.data["alert"] == f"endpoint_{health.condition.value}"
    assert (event.data["endpoint"], event.data["reason"], "endpoints" in event.data) == ("team", health.reason, False)


def test_an_alert_about_several_names_them_all_with_each_reason_once() -> None:
    refused = Health(Condition.HELD, "http_401", since=NOW - 90)
    event = health_alert([(TEAM, ILL), (OTHER, refused), (an_endpoint("a"), ILL)], NOW)
    assert event.data["message"] == (
        "3 endpoints are failing; deliveries are kept and probes continue (http_503, http_401): a, other, team."
    )
    assert event.data["endpoints"] == ["a", "other", "team"]
    assert event.data["since"].startswith("2026-11-21T09:58:30"), "the earliest of them"
    again = health_alert([(TEAM, WELL), (OTHER, WELL)], NOW)
    assert again.data["message"] == "2 endpoints work again; waiting deliveries are being sent: other, team."


def test_the_same_change_is_the_same_alert_in_every_process() -> None:
    assert health_alert([(TEAM, ILL)], NOW).id == health_alert([(TEAM, ILL)], NOW + 5).id
    others = [
        health_alert([(TEAM, Health(Condition.FAILING, "http_503", since=NOW))], NOW),
        health_alert([(OTHER, ILL)], NOW),
        health_alert([(TEAM, Health(Condition.HELD, "http_503", since=NOW - 60))], NOW),
    ]
    assert len({health_alert([(TEAM, ILL)], NOW).id, *(one.id for one in others)}) == 4


# --- dead letters


@pytest.mark.parametrize(("number", "words"), [(1, "1 delivery is dead"), (2, "2 deliveries are dead")])
def test_dead_letters_are_counted_in_one_alert_a_day(number: int, words: str) -> None:
    event = died_alert("team", "expired", number, NOW)
    assert event.data["message"] == (
        f"{words} for endpoint team (expired): sfwebhooks dead list --endpoint team. Further ones for this reason are"
        " not alerted today."
    )
    assert (event.data["number"], event.severity) == (number, Severity.MEDIUM)
    day = NOW // DAY * DAY
    assert died_alert("team", "expired", 9, day).id == died_alert("team", "expired", 9, day + DAY - 1).id
    assert died_alert("team", "expired", 9, day).id != died_alert("team", "expired", 9, day + DAY).id
    assert died_alert("team", "expired", 9, day).id != died_alert("team", "dropped", 9, day).id


def test_dead_letters_are_reported_to_others() -> None:
    watcher = an_endpoint("watcher", events=("system_alert",))
    _, wanted = report_of_deaths("team", "expired", 1, [an_endpoint("team", events=("all",)), watcher, OTHER], NOW)
    assert wanted == [Wanted("watcher", "system_alert")]


# --- certificates


@pytest.mark.parametrize(
    ("left", "severity"), [(20 * DAY, Severity.MEDIUM), (7 * DAY, Severity.MEDIUM), (6 * DAY, Severity.HIGH),
                           (-1, Severity.HIGH)]
)  # fmt: skip
def test_an_expiring_certificate_is_urgent_in_its_last_week(left: float, severity: Severity) -> None:
    expiry = Expiry("client_cert", Path("client.pem"), "CN=team", NOW + left, left)
    event = certificate_alert(TEAM, expiry, NOW)
    assert (event.severity, event.data["alert"]) == (severity, "certificate_expiring")
    assert event.data["message"] == f"Endpoint team ({TEAM.place}): {expiry.words}."


def test_a_certificate_is_reported_once_a_week() -> None:
    def identity(left: float) -> str:
        return certificate_alert(TEAM, Expiry("client_cert", Path("client.pem"), "", NOW, left), NOW).id

    assert identity(20 * DAY) == identity(15 * DAY) != identity(13 * DAY)
    assert identity(-DAY) == identity(-300 * DAY), "one that has expired is reported once"


# --- the outbox


@pytest.mark.parametrize(
    ("mark", "refused", "severity"),
    [
        (0.7, "informational findings are", Severity.MEDIUM),
        (0.8, "findings of low severity and below are", Severity.MEDIUM),
        (0.9, "findings of medium severity and below are", Severity.MEDIUM),
        (1.0, "all findings are", Severity.HIGH),
    ],
)
def test_a_filling_outbox_says_what_is_refused(mark: float, refused: str, severity: Severity) -> None:
    event = outbox_warning(0.914, 512_000_000, mark, "now", None, NOW)
    assert event.data["message"] == f"The outbox is 91% full: {refused} refused from now on (outbox_full)."
    assert (event.type, event.severity) == ("resource_warning", severity)
    assert [event.data[key] for key in ("resource", "value", "limit", "unit")] == ["outbox_size", 468.0, 512.0, "MB"]


def test_a_warning_of_a_scans_process_names_the_scan() -> None:
    about = a_scan().about
    assert outbox_warning(0.9, 10**6, 0.8, "now", a_scan(), NOW).data.items() >= about.items()
    assert not outbox_warning(0.9, 10**6, 0.8, "now", None, NOW).data.keys() & about.keys()


def test_each_mark_is_reported_once_for_each_occasion() -> None:
    found = {outbox_warning(0.9, 10**6, mark, key, None, NOW).id for mark in (0.7, 0.8) for key in ("a", "b", "a")}
    assert len(found) == 4


def test_a_delivery_that_waits_for_long_says_when_it_expires() -> None:
    event = age_warning(TEAM, NOW - 3600.26, 600.04, a_scan(), NOW)
    assert event.data["message"] == (
        f"The oldest delivery to endpoint team ({TEAM.place}) has waited for 1 h; deliveries expire after 7 d."
    )
    assert [event.data[key] for key in ("resource", "value", "limit", "unit")] == ["queue_age", 3600.3, 600.0, "s"]
    assert (event.data["scan_id"], event.severity) == ("5C4A0001", Severity.MEDIUM)
    wrong = age_warning(an_endpoint(mistake="rate is wrong"), NOW - 3600.26, 600, None, NOW)
    assert "nothing is sent to it: rate is wrong" in wrong.data["message"]
    assert wrong.id == event.id, "the same delivery"


@pytest.mark.parametrize(
    ("missed", "later"), [(0, ""), (7, "; 7 events will be sent later, from SpiderFoot's database")]
)
def test_trouble_with_the_outbox_says_how_long_it_was(missed: int, later: str) -> None:
    event = trouble_warning(a_scan(), "database is locked", 12.34, missed, NOW)
    assert event.data["message"] == f"The outbox could not be written for 12 s (database is locked){later}."
    assert [event.data[key] for key in ("resource", "value", "limit", "unit")] == ["disk", 12.3, 0, "s"]


# --- receivers


@pytest.mark.parametrize(
    ("about", "itself", "receivers"),
    [
        (["team"], False, ["watcher"]),
        (["team"], True, ["team", "watcher"]),
        (["quiet"], False, ["team", "watcher", "fallback"]),
        (["team", "watcher"], False, ["team", "watcher"]),
        (["watcher"], False, ["team"]),
    ],
)
def test_an_alert_goes_to_subscribers_and_to_fallbacks(about: list[str], itself: bool, receivers: list[str]) -> None:
    """Not to the endpoint that it is about: nothing arrives there. Of several, each may reach the others."""
    known: dict[str, Any] = {
        "team": an_endpoint("team", events=("system_alert",)),
        "watcher": an_endpoint("watcher", events=("all",)),
        "fallback": an_endpoint("fallback", events=("scan_*",)),
        "quiet": an_endpoint("quiet", events=("scan_*",), fallback="fallback"),
    }
    event = health_alert([(known[name], ILL) for name in about], NOW)
    found = alert_receivers(event, [known[name] for name in about], known.values(), itself)
    assert found == [Wanted(name, "system_alert") for name in receivers]
