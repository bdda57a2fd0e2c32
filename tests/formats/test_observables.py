from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfwebhooks.formats.observables import OBSERVED, Observable, formed, heading_of, observable_of, shown_data
from sfwebhooks.scan.findings import Source
from sfwebhooks.sensitive import SECRETS, WITHHELD
from tests.formats.cases import HOSTILE
from tests.formats.scans import a_whole_scan, batch_of, finding_of, sent
from tests.rows import in_one

DOCS = (Path(__file__).parents[2] / "docs" / "intelligence.md").read_text(encoding="utf-8")
SOURCE = (Source("INTERNET_NAME", "mail.acme.example", "", "x"),)


@pytest.mark.parametrize(
    ("type", "data", "kind", "value"),
    [
        ("IP_ADDRESS", "192.0.2.7", "ipv4", "192.0.2.7"),
        ("IPV6_ADDRESS", "2001:0DB8::7", "ipv6", "2001:db8::7"),
        ("INTERNET_NAME", "Mail.Acme.Example.", "host", "mail.acme.example"),
        ("INTERNET_NAME", "_dmarc.acme.example", "host", "_dmarc.acme.example"),
        ("SIMILARDOMAIN", "xn--acm-dma.example", "host", "xn--acm-dma.example"),
        ("MALICIOUS_IPADDR", "AbuseIPDB [198.51.100.7]\n<SFURL>https://a.example</SFURL>", "ipv4", "198.51.100.7"),
        ("MALICIOUS_SUBNET", "x [198.51.100.0/24]", "ipv4", "198.51.100.0/24"),
        ("BLACKLISTED_COHOST", "blocklist.de [evil.example]", "host", "evil.example"),
        ("MALICIOUS_COHOST", "blocklist.de says so", "host", "mail.acme.example"),
        ("MALICIOUS_EMAILADDR", "emailrep [a@acme.example]", "email", "a@acme.example"),
        ("EMAILADDR_COMPROMISED", "ceo@ACME.example [Breach]", "email", "ceo@acme.example"),
        ("SOCIAL_MEDIA", "X: <SFURL>https://x.example/a</SFURL>", "url", "https://x.example/a"),
        ("CLOUD_STORAGE_BUCKET_OPEN", "https://a.s3.example: 3 files", "url", "https://a.s3.example"),
        ("BGP_AS_MEMBER", "AS64496", "as", "64496"),
        ("MALICIOUS_ASN", "x [AS64496]", "as", "64496"),
        ("HASH", "[SHA1] DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", "sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("OPERATING_SYSTEM", "Linux 5.x", "software", "Linux 5.x"),
    ],
)
def test_what_a_finding_is_about_is_found_in_its_text(type: str, data: str, kind: str, value: str) -> None:
    assert observable_of(finding_of(type, data, sources=SOURCE)) == Observable(kind, value)


@pytest.mark.parametrize(
    ("data", "value", "port"), [("192.0.2.7:443", "192.0.2.7", 443), ("[2001:db8::7]:53", "2001:db8::7", 53)]
)
def test_an_open_port_is_an_address_with_a_port(data: str, value: str, port: int) -> None:
    assert observable_of(finding_of("TCP_PORT_OPEN", data)) == Observable("tcp", value, port)


@in_one(
    ("type", "data"),
    [
        ("INTERNET_NAME", "localhost"),
        ("INTERNET_NAME", "192.0.2.7"),
        ("INTERNET_NAME", "a..example"),
        ("INTERNET_NAME", "-a.example"),
        ("INTERNET_NAME", "a" * 64 + ".example"),
        ("INTERNET_NAME", "a." * 126 + "example"),
        ("INTERNET_NAME", "müller.example"),
        ("IP_ADDRESS", "192.0.2.256"),
        ("IP_ADDRESS", "fe80::1%eth0"),
        ("NETBLOCK_OWNER", "192.0.2.0/33"),
        ("LINKED_URL_INTERNAL", "javascript:alert(1)"),
        ("LINKED_URL_INTERNAL", "https://[x/"),
        ("LINKED_URL_INTERNAL", "https://a.example:99999/"),
        ("LINKED_URL_INTERNAL", "https://a.example/<script>"),
        ("LINKED_URL_INTERNAL", "https:///path"),
        ("EMAILADDR", "a@b"),
        ("EMAILADDR", "a b@acme.example "),
        ("BGP_AS_OWNER", "4294967296"),
        ("TCP_PORT_OPEN", "192.0.2.7:65536"),
        ("TCP_PORT_OPEN", "192.0.2.7"),
        ("PASSWORD_COMPROMISED", "hunter2"),
        ("HASH_COMPROMISED", "d41d8cd98f00b204e9800998ecf8427e"),
        ("CREDIT_CARD_NUMBER", "4111111111111111"),
        *(("INTERNET_NAME", text) for text in HOSTILE.values()),
        *(("LINKED_URL_INTERNAL", text) for name, text in HOSTILE.items() if name != "link"),
        *(("MALICIOUS_IPADDR", text) for text in HOSTILE.values()),
        *(("TCP_PORT_OPEN", text) for text in HOSTILE.values()),
    ],
)
def test_what_has_no_form_is_no_observable(type: str, data: str) -> None:
    sources = (Source("ROOT", "no name", "", "x"),)
    found = observable_of(finding_of(type, data, sources=sources))
    assert found is None or (type, found.kind) == ("EMAILADDR", "email")


@in_one("kind", sorted({kind for kinds in OBSERVED.values() for kind in kinds}))
@pytest.mark.parametrize("text", ["a" * 5_000_000, "a." * 1000, "[" * 2000, "a@" * 1000, "1:" * 1000, "<SFURL>" * 280])
def test_any_text_is_judged_in_a_moment(kind: str, text: str) -> None:
    found = formed(kind, text)
    assert found is None or len(found.value) < 300


def test_a_secret_is_never_an_observable() -> None:
    kinds = ("PASSWORD", "CREDIT_CARD", "HASH_COMPROMISED", "ACCOUNT_EXTERNAL_OWNED_COMPROMISED")
    assert not [type for type in OBSERVED if type.startswith(kinds)]


def test_texts_have_no_invisible_characters_and_end_within_their_limit() -> None:
    for text in HOSTILE.values():
        found = finding_of("WEBSERVER_BANNER", text)
        assert len(shown_data(found, 100)) <= 100 and len(heading_of(found, 80)) <= 80
        assert heading_of(found, 80).isprintable()


@pytest.mark.parametrize("format", ["stix", "misp", "thehive"])
def test_secrets_are_not_sent_to_receivers_that_share_what_they_have(format: str) -> None:
    found = [(type, f"hunter2-{type}") for type in SECRETS]
    body = sent(format, batch_of(a_whole_scan(found))).body.decode()
    assert "hunter2" not in body and body.count(WITHHELD) >= len(SECRETS)


def test_the_table_of_the_documents_has_every_type() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z0-9_]+`(?:, )?)+) \|", DOCS, re.M)
    listed = [type for row in rows for type in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(OBSERVED)


def test_every_type_is_one_of_the_scanners() -> None:
    db = pytest.importorskip("spiderfoot.db")
    assert OBSERVED.keys() <= {entry[0] for entry in db.SpiderFootDb.eventDetails}
