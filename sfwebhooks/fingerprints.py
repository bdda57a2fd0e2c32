"""Fingerprints: what an event is about comes in, a key that is the same in each scan that finds it again goes out.

A fingerprint is a hash of a type and of normalised data, without the target. A receiver that joins repeats into one
incident gets a keyed hash of both; sightings (`outbox/sightings`) have a row for each. A change of the rules here needs
another VERSION: it doubles open incidents, and makes each finding new.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from sfwebhooks.events import WebhookEvent
from sfwebhooks.jsontext import written

VERSION = 1
#: bytes of a fingerprint in the outbox, and of a lineage
SIZE, LINEAGE_SIZE = 16, 8
#: characters of a finding's data that count: the host's database keeps no more
DATA_COUNTED = 1024
#: types whose data are host names, perhaps with other words
NAMES = re.compile(r"(?:\w+_)?(?:INTERNET_NAME|DOMAIN_NAME|HOSTED_SITE|SIMILARDOMAIN|PROVIDER)(?:_\w+)?")
#: scheme, and host with port, of a URL; the rest is case-sensitive
URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20})://((?:[^\s/?#@]*@)?)([^\s/?#@<>]+)")
#: characters of a name that are compared as they are
NAME_MAX = 500
#: characters of an address with a prefix's length
ADDRESS_MAX = 64
DEFAULT_PORTS = {"http": ":80", "https": ":443", "ftp": ":21"}
#: types -> the part of their data that another scan finds changed: score and text of a CVE, times and tokens of headers
VOLATILE = (
    (re.compile(r"VULNERABILITY_CVE_\w+"), re.compile(r"\n.*", re.DOTALL)),
    (
        re.compile(r"WEBSERVER_HTTPHEADERS"),
        re.compile(r'"(?:date|age|expires|last-modified|etag|set-cookie)": *"(?:[^"\\]|\\.)*",?\s*', re.IGNORECASE),
    ),
)


def fingerprint(kind: str, data: object) -> str:
    """Return the fingerprint of something found.

    Args:
        kind: the host's event type, or the name of another event.
        data: JSON; only its identity, not its description.
    """
    return hashlib.sha256(written([VERSION, kind, normalised(kind, data)]).encode()).hexdigest()


def of_event(event: WebhookEvent) -> bytes | None:
    """Return the fingerprint of the finding or the correlation that an event reports; None for any other event, and for
    one of another tool or whose data could not be built.

    A finding has the same one live and read from the host's database.

    Raises:
        ValueError: the event is stored, and its data are not JSON.
    """
    data = event.data
    if "event_type" in data and "data" in data and "finding_id" not in data:
        return of_finding(str(data["event_type"]), data["data"])
    if "rule_id" in data and "title" in data:
        return of_correlation(str(data["rule_id"]), str(data["title"]))
    return None


def of_finding(kind: str, data: object) -> bytes:
    """Return the fingerprint of a finding with the host's type and its data."""
    if not isinstance(data, str):
        return _short(f"{VERSION} {kind}\n{written(normalised(kind, data))}")
    return _short(f"{VERSION} {kind}\n{_normal_text(kind, data[:DATA_COUNTED])}")


def of_correlation(rule_id: str, title: str) -> bytes:
    """Return the fingerprint of a match of a rule."""
    return _short(f"{VERSION} correlation_found {len(rule_id)} {rule_id}\n{_normal_text('', title[:DATA_COUNTED])}")


def lineage_of(modules: Iterable[str]) -> bytes:
    """Return the lineage of a scan: equal for scans with the same modules. Output modules, which find nothing, are not
    to be among them."""
    return hashlib.sha256(written(sorted({*modules})).encode()).digest()[:LINEAGE_SIZE]


def _short(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:SIZE]


def dedup_key(target: str, found: str, secret: str) -> str:
    """Return the key of a finding at a target, for receivers that join repeats.

    Args:
        found: a fingerprint. It is not sent, since it would confirm a guess of a password that a message masks.
        secret: what readers of the messages do not know.
    """
    return hmac.digest(secret.encode(), written([canonical(target), found]).encode(), "sha256").hex()


def normalised(kind: str, data: object) -> object:
    """Return data in the form in which equal things are equal: host names in lower case without a final dot, URLs
    without default ports, lists sorted, volatile parts removed."""
    if isinstance(data, Mapping):
        return {str(key): normalised(kind, data[key]) for key in sorted(data, key=str)}
    if isinstance(data, (list, tuple)):
        return sorted((normalised(kind, item) for item in data), key=written)
    return _normal_text(kind, data) if isinstance(data, str) else data


def _normal_text(kind: str, text: str) -> str:
    volatile, is_name = _rules(kind)
    for part in volatile:
        text = part.sub("", text)
    text = text.replace("<SFURL>", "").replace("</SFURL>", "").strip()
    text = URL.sub(_url, text) if "://" in text else text
    return canonical(text) if is_name else text


@lru_cache(maxsize=1024)
def _rules(kind: str) -> tuple[list[re.Pattern[str]], bool]:
    """Return the volatile parts of the data of a type, and whether these are host names."""
    return [part for types, part in VOLATILE if types.fullmatch(kind)], NAMES.fullmatch(kind) is not None


def _url(found: re.Match[str]) -> str:
    scheme, user, place = found[1].lower(), found[2], found[3].lower()
    place = place.removesuffix(DEFAULT_PORTS.get(scheme, ""))
    host, colon, port = place.partition(":")
    return f"{scheme}://{user}{host.rstrip('.')}{colon}{port}"


def canonical(text: str) -> str:
    """Return host names, such as a target, in lower case without final dots; other words around them do not matter. An
    address or network is written as Python writes it: an IPv6 address has many forms. Of a long text the rest becomes a
    hash: it is a key of databases, whose length is limited."""
    name = re.sub(r"(?<!\.)\.+(?=[\s\]),:]|$)", "", text.strip().lower())
    if len(name) > NAME_MAX:
        return f"{name[:NAME_MAX]} {_short(name[NAME_MAX:]).hex()}"
    return _network(name) if len(name) <= ADDRESS_MAX and (":" in name or "/" in name) else name


@lru_cache(maxsize=1024)
def _network(name: str) -> str:
    """Return the canonical form of a network or an address; any other text as it is."""
    network = network_of(name)
    if network is None:
        return name
    return str(network if "/" in name else network.network_address)


def network_of(text: str) -> IPv4Network | IPv6Network | None:
    """Return the network, or the network of one address, that a text names."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
