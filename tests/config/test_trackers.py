"""The keys of endpoints that are trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.screening import Screen, Wanted
from tests.builders import an_event

GITHUB = {
    "url": "https://api.github.com/repos/acme/security/issues",
    "format": "github_issue",
    "api_key": "ghp_0123456789abcdef",
}
JIRA = {
    "url": "https://acme.atlassian.net/rest/api/3/issue",
    "format": "jira",
    "project": "SEC",
    "auth": "basic",
    "username": "jane",
    "password": "correct horse",
}
ALERTS = {"url": "https://events.pagerduty.com/v2/enqueue", "format": "pagerduty", "routing_key": "R" * 32}


def loaded(given: dict[str, str], **keys: Any) -> Settings:
    return load_mapping({"team": {**given, **keys}})


def test_a_tracker_has_a_ticket_for_each_finding_unless_the_settings_say_otherwise() -> None:
    (endpoint,) = loaded(GITHUB).endpoints
    assert (endpoint.ticket_per, endpoint.comment_every, endpoint.close_after) == ("finding", 7 * 86400, 2)
    (endpoint,) = loaded(JIRA, ticket_per="type", comment_every="1d", close_after="3").endpoints
    assert (endpoint.ticket_per, endpoint.comment_every, endpoint.close_after) == ("type", 86400, 3)


def test_other_endpoints_have_no_tickets() -> None:
    assert [one.ticket_per for one in loaded(ALERTS).endpoints] == [""]
    assert [one.ticket_per for one in loaded(ALERTS, ticket_per="finding").endpoints] == ["finding"]


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        (None, ("high_risk_event", "correlation_found")),
        ("scan_*, finding.*, !finding.low", ("finding.*", "!finding.low")),
        ("vulnerability_found", ("vulnerability_found",)),
    ],
)
def test_subscriptions_without_a_finding_are_dropped(events: str | None, kept: tuple[str, ...]) -> None:
    (endpoint,) = loaded(GITHUB, **({"events": events} if events else {})).endpoints
    assert endpoint.events == kept


@pytest.mark.parametrize("events", ["scan_*", "scan_completed, !scan_failed"])
def test_a_tracker_that_subscribes_to_no_finding_is_sent_nothing(events: str) -> None:
    found = Screen(loaded(GITHUB, events=events).endpoints)
    names = ("scan_completed", "scan_started", "high_risk_event", "correlation_found", "system_alert")
    assert [name for name in names if found.of(an_event(type=name))[0]] == []


@pytest.mark.parametrize("events", [None, "all", "*", "scan_*, high_risk_event", "!info_event"])
def test_a_tracker_is_sent_findings_and_correlations_only(events: str | None) -> None:
    found = loaded(GITHUB, **({"events": events} if events else {}))
    assert found.mistakes == ()
    wanted = {name: Screen(found.endpoints).of(an_event(type=name))[0] for name in ("scan_completed", "system_alert")}
    assert wanted == {"scan_completed": [], "system_alert": []}
    assert Screen(found.endpoints).of(an_event())[0] == [Wanted("team", "high_risk_event", "", "finding")]


@pytest.mark.parametrize(
    ("given", "keys", "words"),
    [
        (GITHUB, {"ticket_per": "scans"}, "expected one of"),
        (GITHUB, {"close_after": "0"}, "from 1 to 100"),
        (GITHUB, {"url": "https://api.github.com/repos/acme/security"}, "<OWNER>/<REPOSITORY>/issues"),
        (GITHUB, {"project": "SEC"}, "project requires format = jira"),
        (GITHUB, {"labels": "a b"}, "labels without spaces"),
        (JIRA, {"url": "https://acme.atlassian.net/browse/SEC"}, "/rest/api/3/issue"),
        (JIRA, {"project": "the project"}, "a project's key such as SEC"),
        (ALERTS, {"ticket_per": "type"}, "ticket_per = finding"),
        (ALERTS, {"comment_every": "1d"}, "comment_every requires one of the formats"),
        ({"url": "https://hooks.example.test/"}, {"ticket_per": "finding"}, "ticket_per requires one of the formats"),
    ],
)
def test_mistakes_are_explained(given: dict[str, str], keys: dict[str, str], words: str) -> None:
    (mistake, *_) = loaded(given, **keys).mistakes
    assert words in str(mistake)


def test_jira_needs_a_project() -> None:
    (mistake,) = load_mapping({"team": {key: value for key, value in JIRA.items() if key != "project"}}).mistakes
    assert "format = jira requires project: the key of the project" in str(mistake)


def test_a_key_of_trackers_for_all_endpoints_concerns_trackers_only(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.ini"
    lines = [f"{key} = {value}" for key, value in GITHUB.items()]
    text = ["[webhooks]", "close_after = 5", "[webhooks.team]", *lines, "[webhooks.other]", "url = https://x.example/"]
    path.write_text("\n".join(text))
    path.chmod(0o600)
    found = load(path)
    assert found.mistakes == ()
    assert {one.name: one.close_after for one in found.endpoints} == {"team": 5, "other": 2}
