"""The keys of filters and the section [webhooks-severity]: what is read, refused and doubted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.severity import Severity
from tests.conftest import Result

URL = "https://hooks.example/x"
SECRET = "Zeppelin-over-Ithaca-1937"
TEAM = {"url": URL, "secret": SECRET}


def loaded(**keys: str) -> Settings:
    return load_mapping({"team": {**TEAM, "events": "all", **keys}})


def text(tmp_path: Path, content: str, name: str = "webhooks.ini") -> Settings:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    return load(path)


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("finding_types", "EMAILADDR, LEAKSITE_*\n!LEAKSITE_URL", ("EMAILADDR", "LEAKSITE_*", "!LEAKSITE_URL")),
        ("targets", "Anna B. Lovelace, acme.example", ("Anna B. Lovelace", "acme.example")),
        ("min_severity", "High", Severity.HIGH),
        ("min_confidence", "75", 75),
        ("modules", "sfp_shodan, !sfp_dns*", ("sfp_shodan", "!sfp_dns*")),
        ("targets", "acme.example, 10.0.0.0/8, !10.1.2.3", ("acme.example", "10.0.0.0/8", "!10.1.2.3")),
        ("data_match", "a, b\n  c$\n", ("a, b", "c$")),
        ("data_not_match", "(a+)+$", ("(a+)+$",)),
        ("include_raw", "no", False),
        ("max_data", "2kB", 2000),
    ],
)
def test_a_filter_is_read_inherited_and_removed(key: str, written: str, read: object) -> None:
    assert getattr(loaded(**{key: written}).endpoints[0], key) == read
    inherited = load_mapping({"a": TEAM, "b": {**TEAM, key: ""}, key: written})
    assert inherited.mistakes == ()
    assert [getattr(one, key) for one in inherited.endpoints] == [
        read,
        getattr(load_mapping({"a": TEAM}).endpoints[0], key),
    ]


def test_a_word_for_none_and_an_empty_value_are_told_what_removes_a_key() -> None:
    (word,) = loaded(baseline="none").mistakes
    assert word.problem.endswith(
        "one of silent, send; for none, remove the key; to go without an inherited one, leave the value empty"
    )
    (empty,) = loaded(min_severity="").mistakes
    assert empty.problem.endswith("remove the key (sfwebhooks update --unset)")


@pytest.mark.parametrize(
    ("key", "written", "problem"),
    [
        ("finding_types", ",", "expected SpiderFoot's event types such as EMAILADDR_COMPROMISED, * patterns, !TYPE"),
        ("finding_types", "EMAILADDR HASH", "separated by commas"),
        ("finding_types", "!", "expected words of at most 100 characters"),
        ("finding_types", "A" * 101, "expected words of at most 100 characters"),
        ("finding_types", "EMAILADDR, !*", "nothing is left: !* excludes all"),
        ("min_severity", "urgent", "expected one of info, low, medium, high, critical"),
        ("min_confidence", "101", "expected a whole number from 0 to 100"),
        ("modules", "!*", "nothing is left"),
        ("modules", "sfp_x, shodan", "names of SpiderFoot's modules such as sfp_shodan"),
        ("finding_types", "EMAILADDR, hash", "SpiderFoot's event types such as"),
        ("targets", "10.0.0.0/33", "expected a network such as 10.0.0.0/8 or 2001:db8::/32"),
        ("targets", "acme.example 10.1.2.3", "separated by commas"),
        (
            "data_match",
            "a\nfoo(?=bar)",
            "number 2: invalid perl operator: (?=, character 4; expected a regular expression of RE2",
        ),
        ("data_not_match", "(", "missing ): (, character 1; "),
        ("include_raw", "maybe", "expected true or false"),
        ("max_data", "10", "expected a size from 100B to 250kB"),
        ("max_data", "1MB", "expected a size from 100B to 250kB"),
    ],
)
def test_a_wrong_filter_holds_its_endpoint_which_accepts_all(key: str, written: str, problem: str) -> None:
    found = loaded(**{key: written})
    (mistake,) = found.mistakes
    assert (mistake.key, problem in mistake.problem) == (key, True), mistake.problem
    (held,) = found.endpoints
    assert held.mistake
    assert not held.has_filters


def test_without_the_package_data_match_holds_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    (mistake,) = loaded(data_match="a").mistakes
    assert mistake.problem == "requires another package: pip install 'sfwebhooks[filters]'"


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        (
            {"finding_types": "EMAILADR_COMPROMISED, HASH"},
            'team: finding_types: "EMAILADR_COMPROMISED" is not an event type of SpiderFoot.'
            ' Did you mean "EMAILADDR_COMPROMISED"?',
        ),
        ({"finding_types": "!LEAK_*"}, 'team: finding_types: "LEAK_*" is not an event type of SpiderFoot.'),
        ({"finding_types": "*_COMPROMISED, !LEAKSITE_*"}, ""),
        ({"modules": "*shodan, !sfp_x"}, ""),
        (
            {"events": "low_risk_event", "min_severity": "medium"},
            "team is sent no findings: its filters withhold all those that its events ask for",
        ),
        ({"events": "medium_risk_event", "min_severity": "medium"}, ""),
        (
            {"events": "malware_detected", "finding_types": "EMAILADDR"},
            "team is sent no findings: its filters withhold all those that its events ask for",
        ),
        ({"events": "high_risk_event", "finding_types": "EMAILADDR"}, ""),
        ({"events": "info_event", "finding_types": "TYPE_OF_TOMORROW"}, '"TYPE_OF_TOMORROW" is not an event type'),
        ({"events": "scan_*", "min_severity": "critical"}, ""),
        ({"events": "info_event", "finding_types": "RAW_*", "include_raw": "false"}, "team is sent no findings"),
        ({"events": "scan_*", "only_new": "true"}, "team: only_new has no effect: its events have no findings and no"),
        ({"events": "scan_*", "only_new": "false"}, ""),
        ({"events": "correlation_found", "only_new": "true"}, ""),
        ({"events": "info_event", "only_new": "true"}, ""),
    ],
)
def test_a_doubtful_filter_is_warned_of(keys: dict[str, str], warning: str) -> None:
    found = loaded(**keys)
    assert found.mistakes == ()
    assert len(found.warnings) == bool(warning), found.warnings
    assert warning in "".join(found.warnings)


# --- [webhooks-severity]

RATED = """
[webhooks-severity]
critical = PASSWORD_COMPROMISED
high = EMAILADDR_COMPROMISED, LEAKSITE_*
    DARKNET_MENTION_URL
info = LEAKSITE_CONTENT
"""
ENDPOINT = f"[webhooks.team]\nurl = {URL}\nsecret = {SECRET}\n"


def severities(found: Settings, *types: str) -> list[str]:
    return [found.severities.of(one).label for one in types]


@pytest.mark.parametrize("at", ["before", "after"])
def test_the_severities_of_types_are_read(tmp_path: Path, at: str) -> None:
    found = text(tmp_path, RATED + ENDPOINT if at == "before" else ENDPOINT + RATED)
    assert (found.mistakes, found.warnings) == ((), ())
    types = ("PASSWORD_COMPROMISED", "EMAILADDR_COMPROMISED", "LEAKSITE_URL", "DARKNET_MENTION_URL", "LEAKSITE_CONTENT")
    assert severities(found, *types) == ["critical", "high", "high", "high", "info"]
    assert severities(found, "HASH_COMPROMISED", "EMAILADDR") == ["high", "info"], "of the table"


@pytest.mark.parametrize("value", ["EMAILADDR PHONE_NUMBER", ["EMAILADDR", "PHONE_NUMBER"]])
def test_json_has_the_severities_too(tmp_path: Path, value: object) -> None:
    found = text(tmp_path, json.dumps({"webhooks-severity": {"high": value}, "team": TEAM}), "webhooks.json")
    assert (found.mistakes, severities(found, "PHONE_NUMBER", "EMAILADDR")) == ((), ["high", "high"])
    assert [one.name for one in found.endpoints] == ["team"]


def test_processes_with_other_severities_have_other_settings(tmp_path: Path) -> None:
    digests = {text(tmp_path, f"{ENDPOINT}{more}").digest for more in ("", RATED, RATED.replace("info", "low"))}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "hihg = EMAILADDR",
            'there is no such severity; expected one of critical, high, medium, low, info. Did you mean "high"?',
        ),
        ("High = EMAILADDR", 'Did you mean "high"?'),
        ("high = emailaddr", '"emailaddr": expected SpiderFoot\'s event types such as'),
        ("high = emailaddr", 'Did you mean "EMAILADDR"?'),
        ("high = !EMAILADDR", '"!EMAILADDR": expected'),
        ('high = "EMAILADDR"', "remove the quotes"),
        ("high =", "expected SpiderFoot's event types"),
        ("high = EMAILADDR\nlow = EMAILADDR", '"EMAILADDR": given in high too'),
        ("high = EMAILADDR EMAILADDR", '"EMAILADDR": given twice'),
        ("high = EMAILADDR\nhigh = HASH", "given twice, the second time in line"),
        ("EMAILADDR", 'is not "key = value"'),
        (f"high = {'A' * 5000}", "expected SpiderFoot's event types"),
        ("high = \0", "expected SpiderFoot's event types"),
    ],
)
def test_a_wrong_severity_holds_who_subscribes_to_findings(tmp_path: Path, lines: str, problem: str) -> None:
    quiet = ENDPOINT.replace("team", "quiet") + "events = scan_*\n"
    found = text(tmp_path, f"[webhooks-severity]\n{lines}\n{ENDPOINT}{quiet}")
    words = " | ".join(map(str, found.mistakes))
    assert problem in words
    assert "[webhooks.team]: held because of the mistake in [webhooks-severity]" in words
    held = found.held
    assert set(held) <= {"team", "quiet"}
    assert "team" in held
    if "key = value" not in problem:  # a line that is nothing may be meant for all
        assert "quiet" not in held
    assert len(found.endpoints) == 2, "both accept their events"


@pytest.mark.parametrize(
    "section", ["webhooks-severities", "webhook-severity", "Webhooks_Severity", "webhooks severity"]
)
def test_a_section_with_nearly_its_name_is_a_mistake(tmp_path: Path, section: str) -> None:
    found = text(tmp_path, f"[{section}]\nhigh = EMAILADDR\n{ENDPOINT}")
    assert 'Did you mean "[webhooks-severity]"?' in " ".join(map(str, found.mistakes))
    assert set(found.held) == {"team"}


def test_the_section_given_twice_is_a_mistake(tmp_path: Path) -> None:
    found = text(tmp_path, f"[webhooks-severity]\nhigh = HASH\n[webhooks-severity]\nlow = EMAILADDR\n{ENDPOINT}")
    assert "given twice, the second time in line 3" in " ".join(map(str, found.mistakes))
    assert set(found.held) == {"team"}


@pytest.mark.parametrize("value", [5, "high", None, {"high": None}, {"high": {"a": "b"}}])
def test_severities_of_another_form_are_a_mistake(value: Any) -> None:
    found = load_mapping({"team": TEAM, "webhooks-severity": value})
    assert found.mistakes
    assert set(found.held) == {"team"}


def test_an_unknown_type_is_a_warning_since_a_newer_host_may_have_it(tmp_path: Path) -> None:
    found = text(tmp_path, f"[webhooks-severity]\nhigh = EMAILADR NEW_*\n{ENDPOINT}")
    assert found.mistakes == ()
    assert [line.partition(": ")[2] for line in found.warnings] == [
        '"EMAILADR" is not an event type of SpiderFoot. Did you mean "EMAILADDR"?',
        '"NEW_*" is not an event type of SpiderFoot.',
    ]


def test_check_shows_the_mistake_and_what_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]
) -> None:
    text(tmp_path, f"[webhooks-severity]\nhihg = EMAILADDR\n{ENDPOINT}")
    done = cli("check", "--config", str(tmp_path / "webhooks.ini"))
    assert done.code == 1
    assert '[webhooks-severity] hihg = "EMAILADDR": there is no such severity' in done.out
    assert "Traceback" not in done.out
