from __future__ import annotations

import pytest

from sfwebhooks.events import Batch
from sfwebhooks.formats.event_names import event_name
from sfwebhooks.naming import NAMINGS, SECURITY_AUDIT, SPIDERFOOT, Naming, naming_of
from sfwebhooks.severity import Severity
from tests.builders import a_delivery, an_event


@pytest.mark.parametrize(
    ("name", "severity", "expected"),
    [
        ("scan_completed", Severity.INFO, "scan.completed"),
        ("scan.completed", Severity.INFO, "scan.completed"),
        ("high_risk_event", Severity.HIGH, "finding.high"),
        ("high_risk_event", Severity.CRITICAL, "finding.critical"),
        ("finding.high_risk", Severity.CRITICAL, "finding.critical"),
        ("finding.critical", Severity.CRITICAL, "finding.critical"),
        ("medium_risk_event", Severity.MEDIUM, "finding.medium"),
        ("finding.medium", Severity.MEDIUM, "finding.medium"),
        ("vulnerability_found", Severity.CRITICAL, "finding.vulnerability"),
        ("remediation.started", Severity.INFO, "remediation.started"),
        ("a_name_of_tomorrow", Severity.INFO, "a_name_of_tomorrow"),
    ],
)
def test_the_security_audit_guide_has_dotted_names(name: str, severity: Severity, expected: str) -> None:
    delivery = a_delivery(an_event(severity=severity), name=name)
    assert event_name(delivery, SECURITY_AUDIT) == event_name(Batch((delivery,)), SECURITY_AUDIT) == expected
    assert event_name(delivery, SPIDERFOOT) == event_name(Batch((delivery,)), SPIDERFOOT) == name


@pytest.mark.parametrize("naming", NAMINGS)
def test_several_at_once_are_a_batch(naming: Naming) -> None:
    assert event_name(Batch((a_delivery(), a_delivery(an_event(2)))), naming) == "batch"


@pytest.mark.parametrize("naming", NAMINGS)
def test_any_of_its_headers_identifies_a_naming_however_it_is_spelled(naming: Naming) -> None:
    for header in naming.headers:
        for spelling in (header, header.lower(), "HTTP_" + header.upper().replace("-", "_")):
            assert naming_of(["Host", spelling]) is naming


@pytest.mark.parametrize("headers", [[], ["Host"], ["X-Security-Policy"], ["webhook-id", "webhook-signature"]])
def test_headers_of_others_are_ignored(headers: list[str]) -> None:
    assert naming_of(headers) is SPIDERFOOT
