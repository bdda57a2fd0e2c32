from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.endpoints import DEFAULT_EVENTS, EVENT_NAMES, Endpoint, Secret, subscribed_name
from sfwebhooks.severity import Severity
from tests.builders import an_endpoint, an_event
from tests.rows import in_one

CRITICAL = ("high_risk_event", Severity.CRITICAL, None)
HIGH = ("high_risk_event", Severity.HIGH, None)
MEDIUM = ("medium_risk_event", Severity.MEDIUM, None)
LOW = ("low_risk_event", Severity.LOW, None)
INFO = ("info_event", Severity.INFO, None)
VULNERABILITY = ("high_risk_event", Severity.CRITICAL, "vulnerability_found")
MEDIUM_VULNERABILITY = ("medium_risk_event", Severity.MEDIUM, "vulnerability_found")
MALWARE = ("high_risk_event", Severity.HIGH, "malware_detected")
STARTED = ("scan_started", Severity.INFO, None)
FAILED = ("scan_failed", Severity.MEDIUM, None)
FINDINGS = [CRITICAL, HIGH, MEDIUM, LOW, INFO, VULNERABILITY, MEDIUM_VULNERABILITY, MALWARE]

Event = tuple[str, Severity, "str | None"]


@in_one(
    ("events", "event", "name"),
    [
        # by risk: high is also critical, the others are exactly that
        ("high_risk_event", CRITICAL, "high_risk_event"),
        ("high_risk_event", HIGH, "high_risk_event"),
        ("high_risk_event", MEDIUM, None),
        ("medium_risk_event", MEDIUM, "medium_risk_event"),
        ("medium_risk_event", HIGH, None),
        ("low_risk_event", LOW, "low_risk_event"),
        ("info_event", INFO, "info_event"),
        ("info_event", STARTED, None),
        # exactly one severity
        ("finding.critical", CRITICAL, "finding.critical"),
        ("finding.critical", HIGH, None),
        ("finding.high", HIGH, "finding.high"),
        ("finding.high", CRITICAL, None),
        # by kind, whatever the risk
        ("vulnerability_found", VULNERABILITY, "vulnerability_found"),
        ("vulnerability_found", MEDIUM_VULNERABILITY, "vulnerability_found"),
        ("vulnerability_found", MALWARE, None),
        ("malware_detected", MALWARE, "malware_detected"),
        ("high_risk_event", VULNERABILITY, "high_risk_event"),
        # the dotted words
        ("scan.started", STARTED, "scan.started"),
        ("finding.high_risk", CRITICAL, "finding.high_risk"),
        ("finding.medium", MEDIUM, "finding.medium"),
        ("finding.vulnerability", VULNERABILITY, "finding.vulnerability"),
        # one delivery: high and critical by the risk, the others by the kind
        ("high_risk_event vulnerability_found", VULNERABILITY, "high_risk_event"),
        ("vulnerability_found malware_detected high_risk_event", MALWARE, "high_risk_event"),
        ("vulnerability_found high_risk_event", MEDIUM_VULNERABILITY, "vulnerability_found"),
        ("vulnerability_found medium_risk_event", MEDIUM_VULNERABILITY, "vulnerability_found"),
        ("finding.high vulnerability_found", VULNERABILITY, "vulnerability_found"),
        ("finding.high_risk finding.vulnerability", VULNERABILITY, "finding.high_risk"),
        ("[hm]*_risk_event vulnerability_found", VULNERABILITY, "high_risk_event"),
        ("scan_* vuln* malware_detected", MALWARE, "malware_detected"),
        ("high_risk_event finding.critical vulnerability_found", VULNERABILITY, "finding.critical"),
        ("high_risk_event finding.critical", VULNERABILITY, "finding.critical"),
        ("high_risk_event finding.high", HIGH, "finding.high"),
        ("all vulnerability_found", VULNERABILITY, "vulnerability_found"),
        ("all malware_detected", VULNERABILITY, "high_risk_event"),
        # all and patterns give the plain name
        ("all", VULNERABILITY, "high_risk_event"),
        ("all", STARTED, "scan_started"),
        ("*", INFO, "info_event"),
        ("finding.*", CRITICAL, "high_risk_event"),
        ("scan.*", FAILED, "scan_failed"),
        ("scan_*", FAILED, "scan_failed"),
        ("scan_*", HIGH, None),
        ("[hm]*_risk_event", MEDIUM, "medium_risk_event"),
        ("vuln*", MEDIUM_VULNERABILITY, "medium_risk_event"),
        # what is refused
        ("all !info_event", INFO, None),
        ("all !info_event", LOW, "low_risk_event"),
        ("!info_event", INFO, None),
        ("!info_event", STARTED, "scan_started"),
        ("high_risk_event !finding.critical", CRITICAL, None),
        ("high_risk_event !finding.critical", HIGH, "high_risk_event"),
        ("high_risk_event !vulnerability_found", VULNERABILITY, None),
        ("scan_* !scan.f*", FAILED, None),
        ("!info_event info_event", INFO, None),
        ("!all", STARTED, None),
        # names are words, not beginnings, and case counts
        ("high_risk", HIGH, None),
        ("HIGH_RISK_EVENT", HIGH, None),
    ],
)
def test_an_endpoint_gets_an_event_under_the_name_it_subscribed_to(events: str, event: Event, name: str | None) -> None:
    assert subscribed_name(tuple(events.split()), *event) == name


@pytest.mark.parametrize("event", [*FINDINGS, STARTED, FAILED])
def test_all_takes_every_event(event: Event) -> None:
    assert subscribed_name(("all",), *event) == event[0]


@pytest.mark.parametrize("event", FINDINGS)
def test_every_finding_can_be_subscribed_to_by_its_risk_alone(event: Event) -> None:
    risks = ("high_risk_event", "medium_risk_event", "low_risk_event", "info_event")
    assert [subscribed_name((risk,), *event) for risk in risks].count(None) == 3


@pytest.mark.parametrize(
    ("event", "wanted"),
    [(STARTED, True), (FAILED, True), (CRITICAL, True), (HIGH, True), (MEDIUM, False), (INFO, False)],
)
def test_without_events_in_the_settings_scans_and_high_risks_are_sent(event: Event, wanted: bool) -> None:
    assert (subscribed_name(DEFAULT_EVENTS, *event) is not None) is wanted


def test_an_endpoint_is_asked_about_an_event_as_a_whole() -> None:
    event = an_event(severity=Severity.CRITICAL, special="vulnerability_found")
    assert an_endpoint(events=("vulnerability_found",)).name_for(event) == "vulnerability_found"


@in_one("word", sorted(EVENT_NAMES))
def test_every_word_of_the_catalogue_can_be_subscribed_to(word: str) -> None:
    everything = [(name, severity, special) for name, severity, special in FINDINGS]
    everything += [(name, severity, None) for name in EVENT_NAMES for severity in Severity]
    assert any(subscribed_name((word,), *event) == word for event in everything)


# --- what may be shown of an endpoint


def test_a_secret_shows_nothing_however_it_is_printed() -> None:
    secret = Secret("hunter2")
    assert {repr(secret), str(secret), f"{secret}", f"{secret!r:>3}", "%s" % secret, repr([secret])} == {"***", "[***]"}  # noqa: UP031


def test_secrets_are_equal_if_their_texts_are() -> None:
    assert (Secret("a") == Secret("a"), Secret("a") == Secret("b"), Secret("a") == "a") == (True, False, False)


def test_an_endpoint_shows_none_of_its_secrets() -> None:
    endpoint = an_endpoint(
        url="https://hooks.example/hunter2?k=hunter2",
        secrets=["hunter2"],
        headers={"X-Key": Secret("hunter2")},
        api_key=Secret("hunter2"),
        client_key_password=Secret("hunter2"),
    )
    assert "hunter2" not in f"{endpoint} {endpoint!r} {endpoint.place} {endpoint.url_id} {endpoint.fingerprint}"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com"),
        ("http://127.0.0.1:8080/hook?token=x", "http://127.0.0.1:8080"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("https://user:word@host.example/", "https://host.example"),
        ("https://host.example?token=x", "https://host.example"),
    ],
)
def test_of_a_url_scheme_and_host_are_shown(url: str, place: str) -> None:
    assert an_endpoint(url=url).place == place


def test_equal_urls_have_the_same_id_whatever_the_endpoints_are_called() -> None:
    assert an_endpoint("a").url_id == an_endpoint("b", format="slack").url_id


def test_different_urls_have_different_ids() -> None:
    assert an_endpoint(url="https://x.example/a").url_id != an_endpoint(url="https://x.example/b").url_id


@pytest.mark.parametrize(("events", "proof", "name"), [("all", None, None), ("!all", "whsk_x", "scan_proof")])
def test_only_an_endpoint_with_proof_wants_statements_whatever_its_events(
    events: str, proof: str | None, name: str | None
) -> None:
    endpoint = an_endpoint(events=(events,), proof=Secret(proof) if proof else None)
    assert endpoint.name_for(an_event(type="scan_proof", severity=Severity.INFO)) == name


def test_an_endpoint_survives_pickling() -> None:
    endpoint = an_endpoint(secrets=["x"], headers={"X-Key": Secret("y")})
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint


# --- fingerprint: has the operator changed something?

CHANGES: dict[str, Any] = {
    "name": "other",
    "url": Secret("https://other.example/"),
    "description": "other",
    "events": ("all",),
    "finding_types": ("EMAILADDR",),
    "min_severity": Severity.LOW,
    "min_confidence": 50,
    "modules": ("sfp_other",),
    "targets": ("other.example",),
    "data_match": ("other",),
    "data_not_match": ("other",),
    "include_raw": False,
    "max_data": 1000,
    "format": "slack",
    "secrets": (Secret("other"),),
    "headers": {"X-Key": Secret("other")},
    "api_key": Secret("other"),
    "verify_tls": False,
    "ca_bundle": Path("/other/ca.pem"),
    "client_cert": Path("/other/c.pem"),
    "client_key": Path("/other/k.pem"),
    "client_key_password": Secret("other"),
    "timeout": 1.0,
    "concurrency": 1,
    "retry_schedule": (1.0,),
    "ui_url": "https://other.example",
    "web_url": "https://page.example",
    "metadata": {"user": "other"},
    "redact": ("default",),
    "redact_key": Secret("other"),
    "proof": Secret("other"),
    "proof_after": 60.0,
    "proxy": Secret("http://proxy.test:3128"),
    "allow_private": False,
    "source_address": "192.0.2.7",
    "retry_after_max": 60.0,
    "interval": 1.0,
    "batch_size": 100,
    "batch_wait": 1.0,
    "digest": Digesting(Rhythm.SCAN),
    "max_age": 60.0,
    "only_new": True,
    "baseline": "send",
    "fallback": "another",
    "ticket_per": "type",
    "comment_every": 60.0,
    "close_after": 3,
    "enabled": False,
    "only_if_changed": True,
    "compress": "gzip",
    "max_body": 50_000,
    "batch_max_bytes": 50_000,
    "own": {"chat_id": Secret("-100")},
    "auth": "basic",
    "auth_header": "X-Key",
    "username": "other",
    "password": Secret("other"),
    "token_url": Secret("https://login.example/token"),
    "client_id": "other",
    "client_secret": Secret("other"),
    "scope": "other",
    "mistake": "secret: it is a sample",
}


@in_one("field", [field.name for field in dataclasses.fields(Endpoint)])
def test_the_fingerprint_changes_with_every_setting(field: str) -> None:
    before = an_endpoint(secrets=["x"])
    assert dataclasses.replace(before, **{field: CHANGES[field]}).fingerprint != before.fingerprint


def test_the_fingerprint_is_the_same_for_the_same_settings_in_any_order() -> None:
    one = an_endpoint(headers={"A": Secret("1"), "B": Secret("2")})
    other = an_endpoint(headers={"B": Secret("2"), "A": Secret("1")})
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("field", ["ca_bundle", "client_cert", "client_key"])
def test_the_fingerprint_changes_when_a_certificate_file_is_renewed(tmp_path: Path, field: str) -> None:
    path = tmp_path / "file.pem"
    files: dict[str, Any] = {field: path}
    endpoint = an_endpoint(**files)
    missing = endpoint.fingerprint
    path.touch()
    os.utime(path, ns=(1, 1))
    first = endpoint.fingerprint
    os.utime(path, ns=(2, 2))
    assert len({missing, first, endpoint.fingerprint}) == 3


def test_a_certificate_that_cannot_even_be_looked_at_does_not_stop_the_fingerprint() -> None:
    assert an_endpoint(client_cert=Path("/nowhere") / ("x" * 300)).fingerprint
