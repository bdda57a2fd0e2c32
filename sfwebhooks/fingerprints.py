"""Fingerprints: what an event is about comes in, a key that is the same in each scan that finds it again goes out.

A fingerprint is a hash of a type and of normalised data, without the target. A receiver that joins repeats into one
incident gets a keyed hash of both. A change of the rules here needs another VERSION: it doubles open incidents.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from sfwebhooks.jsontext import written

VERSION = 1
#: types whose data are host names, perhaps with other words
NAMES = re.compile(r"(?:\w+_)?(?:INTERNET_NAME|DOMAIN_NAME|HOSTED_SITE|SIMILARDOMAIN|PROVIDER)(?:_\w+)?")
#: scheme, and host with port, of a URL; the rest is case-sensitive
URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20})://((?:[^\s/?#@]*@)?)([^\s/?#@<>]+)")
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


def dedup_key(target: str, found: str, secret: str) -> str:
    """Return the key of a finding at a target, for receivers that join repeats.

    Args:
        found: a fingerprint. It is not sent, since it would confirm a guess of a password that a message masks.
        secret: what readers of the messages do not know.
    """
    return hmac.digest(secret.encode(), written([_name(target), found]).encode(), "sha256").hex()


def normalised(kind: str, data: object) -> object:
    """Return data in the form in which equal things are equal: host names in lower case without a final dot, URLs
    without default ports, lists sorted, volatile parts removed."""
    if isinstance(data, Mapping):
        return {str(key): normalised(kind, data[key]) for key in sorted(data, key=str)}
    if isinstance(data, (list, tuple)):
        return sorted((normalised(kind, item) for item in data), key=written)
    if not isinstance(data, str):
        return data
    for types, part in VOLATILE:
        if types.fullmatch(kind):
            data = part.sub("", data)
    text = URL.sub(_url, data.replace("<SFURL>", "").replace("</SFURL>", "").strip())
    return _name(text) if NAMES.fullmatch(kind) else text


def _url(found: re.Match[str]) -> str:
    scheme, user, place = found[1].lower(), found[2], found[3].lower()
    place = place.removesuffix(DEFAULT_PORTS.get(scheme, ""))
    host, colon, port = place.partition(":")
    return f"{scheme}://{user}{host.rstrip('.')}{colon}{port}"


def _name(text: str) -> str:
    """Return host names in lower case without final dots; other words around them do not matter."""
    return re.sub(r"\.+(?=[\s\]),:]|$)", "", text.strip().lower())
