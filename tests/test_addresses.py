from __future__ import annotations

import pytest

from sfwebhooks.network.addresses import literal, refusal
from tests.rows import in_one

#: never, whatever the endpoint says
NEVER = [
    ("169.254.169.254", "cloud metadata"),
    ("169.254.170.2", "link-local"),
    ("169.254.0.1", "link-local"),
    ("100.100.100.200", "cloud metadata"),
    ("168.63.129.16", "cloud metadata"),
    ("192.0.0.192", "cloud metadata"),
    ("fd00:ec2::254", "cloud metadata"),
    ("fd00:ec2::23", "cloud metadata"),
    ("fd20:ce::254", "cloud metadata"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("febf:ffff::1", "link-local"),
    ("::ffff:169.254.169.254", "cloud metadata"),
    ("::ffff:a9fe:1", "link-local"),
    ("::169.254.169.254", "cloud metadata"),
    ("64:ff9b::169.254.169.254", "cloud metadata"),
    ("64:ff9b:1::a9fe:a9fe", "cloud metadata"),
    ("2002:a9fe:a9fe::1", "cloud metadata"),
]
#: where allow_private is false
PRIVATE = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("192.0.0.8", "reserved"),
    ("192.0.2.1", "reserved for documentation"),
    ("198.18.0.1", "reserved for benchmarks"),
    ("198.51.100.1", "reserved for documentation"),
    ("203.0.113.1", "reserved for documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("fc00::1", "unique local"),
    ("fdff::1", "unique local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("2001:db8::1", "reserved for documentation"),
    ("2001::1", "reserved"),  # Teredo holds an address of the peer's choice
    ("3fff::1", "reserved for documentation"),
    ("100::1", "a range outside public IPv6"),
    ("4000::1", "a range outside public IPv6"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:10.1.2.3", "private"),
    ("::7f00:1", "loopback"),
    ("64:ff9b::10.0.0.1", "private"),
    ("2002:7f00:1::", "loopback"),
]
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.255",
    "2606:4700::1",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@in_one("allow_private", [True, False])
@in_one(("address", "range_name"), NEVER)
def test_link_local_and_metadata_are_never_allowed(address: str, range_name: str, allow_private: bool) -> None:
    why = refusal(address, allow_private)
    assert (f"({range_name})" in why, "never sends" in why) == (True, True)


@in_one(("address", "range_name"), PRIVATE)
def test_what_is_not_public_is_refused_without_allow_private(address: str, range_name: str) -> None:
    why = refusal(address, allow_private=False)
    assert (range_name in why, "allow_private = true" in why) == (True, True)


@in_one(("address", "range_name"), PRIVATE)
def test_what_is_not_public_is_allowed_by_default(address: str, range_name: str) -> None:
    assert refusal(address, allow_private=True) == ""


@in_one("allow_private", [True, False])
@in_one("address", PUBLIC)
def test_public_addresses_are_allowed(address: str, allow_private: bool) -> None:
    assert refusal(address, allow_private) == ""


def test_a_refusal_names_address_range_and_remedy() -> None:
    assert refusal("10.1.2.3", allow_private=False) == (
        "10.1.2.3 is in 10.0.0.0/8 (private): set allow_private = true for this endpoint, or use a public address"
    )


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2852039166", "169.254.169.254"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("0251.0376.0251.0376", "169.254.169.254"),
        ("[fe80::1]", "fe80::1"),
        ("[::ffff:169.254.169.254]", "::ffff:a9fe:a9fe"),
        ("receiver.example", ""),
        ("1.2.3.4.example", ""),
        ("localhost", ""),
        ("", ""),
    ],
)
def test_an_address_is_known_in_each_of_its_ways_of_writing(host: str, address: str) -> None:
    assert literal(host) in (address, "::ffff:169.254.169.254" if "ffff" in address else address)
