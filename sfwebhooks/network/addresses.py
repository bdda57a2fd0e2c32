"""The network policy: the address of a new connection comes in, the reason against it (or none) goes out.

It has its own tables, since `ipaddress` treats different ranges as private in different versions of Python. They follow
the registries of special-purpose addresses (RFC 6890, https://www.iana.org/assignments/iana-ipv4-special-registry and
-ipv6-).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Union

Address = Union[IPv4Address, IPv6Address]
Network = Union[IPv4Network, IPv6Network]


def _networks(table: Mapping[str, str]) -> dict[Network, str]:
    return {ip_network(network): name for network, name in table.items()}


#: services there hand out credentials to any client; no receiver of webhooks has such an address
NEVER = _networks(
    {
        "169.254.169.254/32": "cloud metadata",  # AWS, Google, Azure, Oracle, OpenStack and others
        "100.100.100.200/32": "cloud metadata",  # Alibaba
        "168.63.129.16/32": "cloud metadata",  # Azure's wire server
        "192.0.0.192/32": "cloud metadata",  # Oracle, classic
        "fd00:ec2::/32": "cloud metadata",  # AWS: ::254 for instances, ::23 for pods
        "fd20:ce::254/128": "cloud metadata",  # Google
        "fd00:c1::a9fe:a9fe/128": "cloud metadata",  # Oracle
        "fd00:42::42/128": "cloud metadata",  # Scaleway
        "169.254.0.0/16": "link-local",
        "fe80::/10": "link-local",
    }
)
#: refused where `allow_private` is false
PRIVATE = _networks(
    {
        "0.0.0.0/8": "unspecified",  # the kernel treats 0.0.0.0 as this machine
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "carrier-grade NAT",
        "127.0.0.0/8": "loopback",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "reserved for documentation",
        "192.88.99.0/24": "reserved",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "reserved for benchmarks",
        "198.51.100.0/24": "reserved for documentation",
        "203.0.113.0/24": "reserved for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
        "::/128": "unspecified",
        "::1/128": "loopback",
        "fc00::/7": "unique local",
        "fec0::/10": "site-local",
        "ff00::/8": "multicast",
        "2001::/23": "reserved",
        "2001:db8::/32": "reserved for documentation",
        "3fff::/20": "reserved for documentation",
    }
)
#: the only IPv6 addresses allocated to the public so far (RFC 4291 section 2.4)
GLOBAL = IPv6Network("2000::/3")
#: the last 32 bits are an IPv4 address: compatible, mapped, translated (RFC 4291 section 2.5.5, RFC 6052, 8215)
HOLDS_IPV4 = [IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")]
SIXTOFOUR = IPv6Network("2002::/16")


def refusal(address: str, allow_private: bool) -> str:
    """Return why connecting to an address is not allowed, and what is accepted; nothing if it is allowed.

    Args:
        address: numeric; IPv6 may have a zone (fe80::1%eth0).
        allow_private: whether the endpoint may be in a private network.
    """
    meanings = list(_meanings(ip_address(address.partition("%")[0])))
    found = _range(meanings, NEVER)
    if found:
        return f"{address} is in {found}, where sfwebhooks never sends: use the address of the receiver itself"
    found = "" if allow_private else _range(meanings, PRIVATE) or _unknown(meanings)
    if found:
        return f"{address} is in {found}: set allow_private = true for this endpoint, or use a public address"
    return ""


def literal(host: str) -> str:
    """Return the address of a host that is written as one, or nothing if it is a name.

    Understands the old ways of writing IPv4 too, such as 127.1, 0x7f000001 or 2130706433, which resolvers and proxies
    accept.
    """
    text = host.strip("[]").rstrip(".")
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except (OSError, UnicodeError):
        return ""


def _meanings(address: Address) -> Iterator[Address]:
    """Yield the address, or the IPv4 address that it contains, or both where that depends on the network."""
    if isinstance(address, IPv6Address) and any(address in network for network in HOLDS_IPV4) and int(address) > 1:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
        return
    yield address
    if isinstance(address, IPv6Address) and address in SIXTOFOUR:
        yield IPv4Address(int(address) >> 80 & 0xFFFFFFFF)


def _range(meanings: list[Address], table: Mapping[Network, str]) -> str:
    """Return the first range of a table that has one of the addresses, as text."""
    for network, name in table.items():
        if any(address in network for address in meanings):
            return f"{network} ({name})"
    return ""


def _unknown(meanings: list[Address]) -> str:
    if any(isinstance(address, IPv6Address) and address not in GLOBAL for address in meanings):
        return f"a range outside public IPv6 ({GLOBAL})"
    return ""
