from __future__ import annotations

from typing import Any

import pytest

from sfwebhooks.fingerprints import canonical, dedup_key, fingerprint, normalised


@pytest.mark.parametrize(
    ("kind", "data", "other"),
    [
        ("INTERNET_NAME", "Mail.ACME.example.", "mail.acme.example"),
        ("AFFILIATE_INTERNET_NAME_UNRESOLVED", "x.ACME.example", "X.acme.example."),
        ("DOMAIN_NAME", " acme.example\n", "ACME.EXAMPLE"),
        ("CO_HOSTED_SITE", "A.example", "a.example."),
        ("SIMILARDOMAIN", "ACNE.example", "acne.example"),
        ("PROVIDER_DNS", "NS1.acme.example.", "ns1.acme.example"),
        ("MALICIOUS_INTERNET_NAME", "List [Evil.example.]\n<SFURL>https://l.example/</SFURL>",
         "list [evil.example]\nhttps://l.example/"),
        ("LINKED_URL_INTERNAL", "HTTPS://Acme.example.:443/A?b=C", "https://acme.example/A?b=C"),
        ("LINKED_URL_INTERNAL", "http://user:Pass@ACME.example:80", "http://user:Pass@acme.example"),
        ("URL_FORM", "see <SFURL>http://ACME.example/</SFURL>", "see http://acme.example/"),
        ("VULNERABILITY_CVE_HIGH", "CVE-2026-0001\n<SFURL>x</SFURL>\nScore: 7.5\nDescription: a",
         "CVE-2026-0001\n<SFURL>x</SFURL>\nScore: 9.1\nDescription: b"),
        ("WEBSERVER_HTTPHEADERS", '{"server": "nginx", "Date": "Mon", "etag": "\\"a\\"", "x": "1"}',
         '{"server": "nginx", "date": "Tue", "x": "1"}'),
        ("correlation_found", {"b": 1, "a": ["y", "x"]}, {"a": ["x", "y"], "b": 1}),
    ],
)  # fmt: skip
def test_the_same_thing_in_another_scan_has_the_same_fingerprint(kind: str, data: Any, other: Any) -> None:
    assert normalised(kind, data) == normalised(kind, other)
    assert fingerprint(kind, data) == fingerprint(kind, other)


@pytest.mark.parametrize(
    ("kind", "data", "other"),
    [
        ("USERNAME", "Jane", "jane"),
        ("LINKED_URL_INTERNAL", "https://acme.example/A", "https://acme.example/a"),
        ("LINKED_URL_INTERNAL", "https://acme.example:80/", "https://acme.example/"),
        ("LINKED_URL_INTERNAL", "http://acme.example/", "https://acme.example/"),
        ("VULNERABILITY_CVE_HIGH", "CVE-2026-0001", "CVE-2026-0002"),
        ("VULNERABILITY_GENERAL", "a\nb", "a\nc"),
        ("correlation_found", ["a", "a"], ["a"]),
        ("X", "1", 1),
        ("X", None, ""),
    ],
)
def test_other_things_have_other_fingerprints(kind: str, data: Any, other: Any) -> None:
    assert fingerprint(kind, data) != fingerprint(kind, other)


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ("ACME.example.", "acme.example"),
        ("2001:DB8::1", "2001:db8:0:0:0:0:0:1"),
        ("2001:db8::/32", "2001:DB8:0::/32"),
        ("10.0.0.5/24", "10.0.0.0/24"),
    ],
)
def test_a_target_is_the_same_in_any_writing(target: str, other: str) -> None:
    assert canonical(target) == canonical(other)


@pytest.mark.parametrize("text", ["." * 1_000_000 + "a", ":" * 1_000_000, "/." * 500_000])
def test_a_hostile_target_takes_linear_time(text: str) -> None:
    """With quadratic time it would not end."""
    assert canonical(text)


def test_the_type_counts() -> None:
    assert fingerprint("INTERNET_NAME", "acme.example") != fingerprint("DOMAIN_NAME", "acme.example")


def test_the_key_of_a_receiver_depends_on_target_fingerprint_and_secret() -> None:
    found = fingerprint("X", "y")
    key = dedup_key("acme.example", found, "secret")
    assert dedup_key("ACME.example.", found, "secret") == key
    others = (dedup_key("b.example", found, "secret"), dedup_key("acme.example", "z", "secret"))
    assert len({key, *others, dedup_key("acme.example", found, "other")}) == 4


def test_version_1_never_changes_or_open_incidents_would_be_doubled() -> None:
    found = fingerprint("VULNERABILITY_CVE_CRITICAL", "CVE-2021-44228\nScore: 10.0")
    assert found == "544a0a5b5aa816c76c72fca2e06c75d0e44a654e0d1b1bf7f16792627151472e"
    assert (
        dedup_key("acme.example", found, "secret") == "dac1ec07dbc699ec2f53627a30cae2a638abdea64c177810a25abaafc0448e52"
    )


@pytest.mark.parametrize(
    "text", ["", "\ud800", "\0", "http://", "://" * 1000, "a." * 10_000, "<SFURL>" * 1000, "[" * 999]
)
def test_any_text_has_a_fingerprint(text: str) -> None:
    for kind in ("INTERNET_NAME", "URL", "WEBSERVER_HTTPHEADERS", "VULNERABILITY_CVE_LOW", text):
        assert len(fingerprint(kind, text)) == len(dedup_key(text, text, "")) == 64
