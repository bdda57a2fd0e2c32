from __future__ import annotations

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.severity import (
    DEFAULT_SEVERITIES,
    GROUPS,
    SEVERITY_OF_TYPE,
    Severities,
    Severity,
    severity_of,
    severity_of_correlation,
    special_of,
)
from tests.rows import in_one

VULNERABILITIES = {
    "VULNERABILITY_CVE_CRITICAL",
    "VULNERABILITY_CVE_HIGH",
    "VULNERABILITY_CVE_MEDIUM",
    "VULNERABILITY_CVE_LOW",
    "VULNERABILITY_GENERAL",
    "VULNERABILITY_DISCLOSURE",
}
THREATS = {
    "MALICIOUS_INTERNET_NAME",
    "MALICIOUS_IPADDR",
    "MALICIOUS_NETBLOCK",
    "DEFACED_INTERNET_NAME",
    "DEFACED_IPADDR",
}


def types_with_special(name: str) -> set[str]:
    return {host_type for host_type in SEVERITY_OF_TYPE if special_of(host_type) == name}


def test_severities_are_ordered_from_info_to_critical() -> None:
    assert [severity.label for severity in sorted(Severity)] == ["info", "low", "medium", "high", "critical"]


@pytest.mark.parametrize("severity", Severity)
def test_a_label_is_read_back_in_any_case_and_with_spaces(severity: Severity) -> None:
    assert Severity.parse(f" {severity.label.title()} ") is severity


@pytest.mark.parametrize("text", ["", "3", "severe", "high critical", "Severity.HIGH", "hıgh"])
def test_a_wrong_label_is_refused_with_the_accepted_ones(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected one of info, low, medium, high, critical$"):
        Severity.parse(text)


def test_no_type_is_in_two_groups() -> None:
    assert sum(len(names.split()) for _, names in GROUPS) == len(SEVERITY_OF_TYPE)


@pytest.mark.parametrize(
    ("host_type", "severity"),
    [
        ("VULNERABILITY_CVE_CRITICAL", Severity.CRITICAL),
        ("VULNERABILITY_CVE_HIGH", Severity.HIGH),
        ("VULNERABILITY_CVE_MEDIUM", Severity.MEDIUM),
        ("VULNERABILITY_CVE_LOW", Severity.LOW),
        ("PASSWORD_COMPROMISED", Severity.HIGH),
        ("MALICIOUS_IPADDR", Severity.HIGH),
        ("MALICIOUS_COHOST", Severity.LOW),
        ("BLACKLISTED_IPADDR", Severity.MEDIUM),
        ("TCP_PORT_OPEN", Severity.LOW),
        ("IP_ADDRESS", Severity.INFO),
        ("ROOT", Severity.INFO),
    ],
)
def test_the_table_decides_for_a_known_type(host_type: str, severity: Severity) -> None:
    assert severity_of(host_type) is severity


@pytest.mark.parametrize("family", ["MALICIOUS", "BLACKLISTED", "DEFACED"])
def test_what_others_did_weighs_less_than_the_same_on_the_target(family: str) -> None:
    own = severity_of(f"{family}_INTERNET_NAME")
    assert severity_of(f"{family}_AFFILIATE_INTERNET_NAME") < own
    assert severity_of(f"{family}_COHOST") < own


@pytest.mark.parametrize(
    ("risk", "severity"),
    [
        (0, Severity.INFO),
        (9, Severity.INFO),
        (10, Severity.LOW),
        (39, Severity.LOW),
        (40, Severity.MEDIUM),
        (69, Severity.MEDIUM),
        (70, Severity.HIGH),
        (89, Severity.HIGH),
        (90, Severity.CRITICAL),
        (100, Severity.CRITICAL),
    ],
)
def test_risk_raises_an_info_type_at_its_bounds(risk: int, severity: Severity) -> None:
    assert severity_of("IP_ADDRESS", risk) is severity


@in_one("host_type", [*SEVERITY_OF_TYPE, "MALICIOUS_FUTURE_THING", "FUTURE_THING"])
def test_risk_never_lowers(host_type: str) -> None:
    by_risk = [severity_of(host_type, risk) for risk in range(101)]
    assert by_risk[0] is severity_of(host_type)
    assert by_risk == sorted(by_risk)


@pytest.mark.parametrize(
    ("host_type", "severity"),
    [
        ("VULNERABILITY", Severity.MEDIUM),
        ("VULNERABILITY_KEV_CRITICAL", Severity.CRITICAL),
        ("VULNERABILITY_KEV_HIGH", Severity.HIGH),
        ("VULNERABILITY_KEV_LOW", Severity.LOW),
        ("VULNERABILITY_EXPLOITED", Severity.MEDIUM),
        ("MALICIOUS_URL", Severity.HIGH),
        ("MALICIOUS_AFFILIATE_URL", Severity.LOW),
        ("MALICIOUS_CO_HOSTED_URL", Severity.LOW),
        ("BLACKLISTED_URL", Severity.MEDIUM),
        ("BLACKLISTED_SUBNETV6", Severity.LOW),
        ("DEFACED_URL", Severity.HIGH),
        ("DEFACED_AFFILIATE_URL", Severity.MEDIUM),
        ("LEAKSITE_FILE", Severity.MEDIUM),
        ("API_KEY_COMPROMISED", Severity.HIGH),
        ("INTERNET_NAME_HIJACKABLE", Severity.HIGH),
        ("AZURE_BUCKET_OPEN", Severity.HIGH),
        ("NOT_MALICIOUS_AT_ALL", Severity.INFO),
        ("COMPROMISED_LOOKING_NAME", Severity.INFO),
        ("", Severity.INFO),
    ],
)
def test_a_type_of_a_newer_host_is_judged_by_its_name(host_type: str, severity: Severity) -> None:
    assert host_type not in SEVERITY_OF_TYPE
    assert severity_of(host_type) is severity


def test_every_vulnerability_is_vulnerability_found_and_nothing_else_is() -> None:
    assert types_with_special("vulnerability_found") == VULNERABILITIES


def test_malware_detected_is_malice_or_defacement_on_the_targets_own_machines_only() -> None:
    assert types_with_special("malware_detected") == THREATS


def test_malware_detected_is_always_high_or_critical() -> None:
    assert min(severity_of(host_type) for host_type in THREATS) is Severity.HIGH


def test_every_other_type_is_nothing_special() -> None:
    others = SEVERITY_OF_TYPE.keys() - VULNERABILITIES - THREATS
    assert {special_of(host_type) for host_type in others} == {None}


@pytest.mark.parametrize(
    ("host_type", "special"),
    [
        ("VULNERABILITY_EXPLOITED", "vulnerability_found"),
        ("MALICIOUS_URL", "malware_detected"),
        ("DEFACED_URL", "malware_detected"),
        ("MALICIOUS_AFFILIATE_URL", None),
        ("MALICIOUS_CO_HOSTED_URL", None),
        ("MALICIOUS_ETHEREUM_ADDRESS", None),
        ("BLACKLISTED_URL", None),
        ("FUTURE_THING", None),
    ],
)
def test_a_special_type_of_a_newer_host_is_known_by_its_name(host_type: str, special: str | None) -> None:
    assert host_type not in SEVERITY_OF_TYPE
    assert special_of(host_type) == special


def test_the_special_names_can_be_subscribed_to() -> None:
    specials = {special_of(host_type) for host_type in SEVERITY_OF_TYPE} - {None}
    assert specials <= {entry.name for entry in EVENT_TYPES}


@pytest.mark.parametrize(
    ("rule_risk", "severity"),
    [
        ("HIGH", Severity.HIGH),
        ("MEDIUM", Severity.MEDIUM),
        ("LOW", Severity.LOW),
        ("INFO", Severity.INFO),
        ("high", Severity.HIGH),
        ("Medium", Severity.MEDIUM),
        ("CRITICAL", Severity.CRITICAL),
        ("URGENT", Severity.INFO),
        ("", Severity.INFO),
    ],
)
def test_a_correlation_weighs_what_its_rule_says_and_info_if_that_is_unknown(
    rule_risk: str, severity: Severity
) -> None:
    assert severity_of_correlation(rule_risk) is severity


# --- what the settings change

OWN = Severities(
    (
        (Severity.CRITICAL, ("LEAK*",)),
        (Severity.MEDIUM, ("LEAKSITE_*", "VULNERABILITY_CVE_HIGH")),
        (Severity.INFO, ("LEAKSITE_URL",)),
    )
)


@pytest.mark.parametrize(
    ("host_type", "risk", "exploited", "severity"),
    [
        ("LEAKSITE_URL", 0, False, Severity.INFO),  # a name counts before patterns
        ("LEAKSITE_CONTENT", 0, False, Severity.CRITICAL),  # of these the most severe
        ("LEAKSITE_URL", 100, False, Severity.INFO),  # and before the module's risk
        ("VULNERABILITY_CVE_HIGH", 100, False, Severity.MEDIUM),
        ("VULNERABILITY_CVE_HIGH", 0, True, Severity.HIGH),
        ("VULNERABILITY_CVE_LOW", 0, False, Severity.LOW),
        ("VULNERABILITY_CVE_LOW", 90, False, Severity.CRITICAL),
        ("VULNERABILITY_CVE_LOW", 0, True, Severity.HIGH),
        ("leaksite_url", 0, False, Severity.INFO),
        ("LEAK" * 1_000_000, 0, False, Severity.CRITICAL),
    ],
)
def test_the_settings_count_before_the_table_and_the_risk(
    host_type: str, risk: int, exploited: bool, severity: Severity
) -> None:
    assert OWN.of(host_type, risk, exploited) is severity


@in_one("host_type", [*SEVERITY_OF_TYPE, "VULNERABILITY_NEW"])
@pytest.mark.parametrize("risk", [0, 50, 100])
def test_without_settings_the_table_counts(host_type: str, risk: int) -> None:
    assert DEFAULT_SEVERITIES.of(host_type, risk) is severity_of(host_type, risk)
    assert DEFAULT_SEVERITIES.override_of(host_type) is None
