"""What findings are about, for receivers of threat intelligence: a finding comes in, its Observable goes out.

A value without the form of its kind is not an observable: one malformed address makes such receivers refuse the whole
request. What the formats write for each kind is theirs (`stix_objects`, `misp`, `thehive`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from sfwebhooks.formats.format import Key
from sfwebhooks.formats.whole_scan import ScanFinding
from sfwebhooks.sensitive import RAW, SECRETS, WITHHELD
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line, readable

#: the host's type -> the kinds of which its data can be, the first one that has the form
OBSERVED: dict[str, tuple[str, ...]] = {
    name: tuple(kinds.split())
    for kinds, names in {
        "ip": "IP_ADDRESS IPV6_ADDRESS INTERNAL_IP_ADDRESS AFFILIATE_IPADDR AFFILIATE_IPV6_ADDRESS BLACKLISTED_IPADDR"
        " BLACKLISTED_AFFILIATE_IPADDR DEFACED_IPADDR DEFACED_AFFILIATE_IPADDR MALICIOUS_IPADDR"
        " MALICIOUS_AFFILIATE_IPADDR TOR_EXIT_NODE",
        "ip host": "PROXY_HOST VPN_HOST",
        "net": "NETBLOCK_OWNER NETBLOCK_MEMBER NETBLOCKV6_OWNER NETBLOCKV6_MEMBER",
        "ip net": "BLACKLISTED_SUBNET BLACKLISTED_NETBLOCK MALICIOUS_NETBLOCK MALICIOUS_SUBNET",
        "host": "INTERNET_NAME INTERNET_NAME_UNRESOLVED DOMAIN_NAME DOMAIN_NAME_PARENT AFFILIATE_INTERNET_NAME"
        " AFFILIATE_INTERNET_NAME_UNRESOLVED AFFILIATE_INTERNET_NAME_HIJACKABLE AFFILIATE_DOMAIN_NAME"
        " AFFILIATE_DOMAIN_UNREGISTERED CO_HOSTED_SITE CO_HOSTED_SITE_DOMAIN SIMILARDOMAIN",
        "host ip": "BLACKLISTED_INTERNET_NAME BLACKLISTED_AFFILIATE_INTERNET_NAME BLACKLISTED_COHOST"
        " DEFACED_INTERNET_NAME DEFACED_AFFILIATE_INTERNET_NAME DEFACED_COHOST MALICIOUS_INTERNET_NAME"
        " MALICIOUS_AFFILIATE_INTERNET_NAME MALICIOUS_COHOST",
        "email": "EMAILADDR EMAILADDR_COMPROMISED EMAILADDR_DELIVERABLE EMAILADDR_DISPOSABLE EMAILADDR_GENERIC"
        " EMAILADDR_UNDELIVERABLE AFFILIATE_EMAILADDR MALICIOUS_EMAILADDR",
        "url": "ACCOUNT_EXTERNAL_OWNED DARKNET_MENTION_URL INTERESTING_FILE INTERESTING_FILE_HISTORIC JUNK_FILE"
        " LEAKSITE_URL LINKED_URL_EXTERNAL LINKED_URL_INTERNAL PROVIDER_JAVASCRIPT PUBLIC_CODE_REPO"
        " SIMILAR_ACCOUNT_EXTERNAL SOCIAL_MEDIA URL_ADBLOCKED_EXTERNAL URL_ADBLOCKED_INTERNAL URL_FLASH"
        " URL_FLASH_HISTORIC URL_FORM URL_FORM_HISTORIC URL_JAVASCRIPT URL_JAVASCRIPT_HISTORIC URL_JAVA_APPLET"
        " URL_JAVA_APPLET_HISTORIC URL_PASSWORD URL_PASSWORD_HISTORIC URL_STATIC URL_STATIC_HISTORIC URL_UPLOAD"
        " URL_UPLOAD_HISTORIC URL_WEB_FRAMEWORK URL_WEB_FRAMEWORK_HISTORIC WIKIPEDIA_PAGE_EDIT",
        "url host": "CLOUD_STORAGE_BUCKET CLOUD_STORAGE_BUCKET_OPEN",
        "as": "BGP_AS_OWNER BGP_AS_MEMBER MALICIOUS_ASN",
        "phone": "PHONE_NUMBER PHONE_NUMBER_COMPROMISED MALICIOUS_PHONE_NUMBER",
        "btc": "BITCOIN_ADDRESS MALICIOUS_BITCOIN_ADDRESS",
        "eth": "ETHEREUM_ADDRESS",
        "hash": "HASH",
        "user": "USERNAME",
        "software": "SOFTWARE_USED OPERATING_SYSTEM",
        "tcp": "TCP_PORT_OPEN",
        "udp": "UDP_PORT_OPEN",
    }.items()
    for name in names.split()
}
MALICIOUS = "MALICIOUS_"
#: beginnings of types whose data are a text about what the finding was found in, perhaps with its name in brackets
ABOUT_SOURCE = (MALICIOUS, "BLACKLISTED_", "DEFACED_", "PROXY_", "VPN_", "TOR_")
#: hexadecimal digits of a hash -> its kind
DIGESTS = {32: "md5", 40: "sha1", 64: "sha256"}
#: characters of the data that are searched, and of a value
SEARCHED, LONGEST = 4096, 2000
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
FORMS = {
    "host": re.compile(rf"(?:{LABEL}\.){{1,126}}[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])"),
    "email": re.compile(
        rf"[A-Za-z0-9!#$%&'*+/=?^_{{|}}~.-]{{1,64}}@(?:{LABEL}\.){{1,126}}[a-z]{{2,63}}", re.IGNORECASE
    ),
    "url": re.compile(r"https?://[!#-;=?-\[\]_a-z~{}|%]+", re.IGNORECASE),
    "as": re.compile(r"(?:AS)?([0-9]{1,10})(?:\s.*)?", re.IGNORECASE | re.DOTALL),
    "phone": re.compile(r"\+?[0-9][0-9 ().-]{4,30}"),
    "btc": re.compile(r"[13][A-HJ-NP-Za-km-z1-9]{25,34}|bc1[a-z0-9]{11,71}"),
    "eth": re.compile(r"0x[0-9a-fA-F]{40}"),
    "hash": re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}"),
    "user": re.compile(r"[A-Za-z0-9@._+-]{1,128}"),
}
PLACE = re.compile(r"(.{2,45}):([0-9]{1,5})")
MARKED = re.compile(r"<SFURL>([^<>]{1,2000})</SFURL>")
BRACKETED = re.compile(r"\[([^\[\]\n]{1,300})\]")

TLP = Key(
    "tlp",
    "who may read it, by the Traffic Light Protocol: clear, green, amber or red (amber)",
    "clear|green|amber|red",
    "clear, green, amber or red",
)
#: least severity of findings without an observable that these receivers are sent
LEAST = Severity.LOW


class Observable(NamedTuple):
    """What a finding is about."""

    #: ipv4, ipv6, host, url, email, as, phone, btc, eth, md5, sha1, sha256, user, software, tcp or udp
    kind: str
    #: in the form of its kind; of a port its address
    value: str
    port: int = 0


def observable_of(found: ScanFinding) -> Observable | None:
    """Return what a finding is about; None: nothing that has a form of its own."""
    kinds = () if found.is_correlation else OBSERVED.get(found.type, ())
    texts = [*_texts(found)] if kinds else []
    return next((one for text in texts for kind in kinds if (one := formed(kind, text))), None)


def _texts(found: ScanFinding) -> Iterator[str]:
    """Yield the texts of a finding that can be what it is about, the most certain one first."""
    data = found.data[:SEARCHED]
    yield data.replace("<SFURL>", "").replace("</SFURL>", "").strip()
    line = data.partition("\n")[0].strip()
    bracketed = BRACKETED.findall(line)
    if found.type.startswith(ABOUT_SOURCE):
        yield from bracketed[-1:]
        yield found.source[:SEARCHED].strip()
        return
    yield from MARKED.findall(data)[:1]
    yield from bracketed[-1:]
    words = line.split()
    yield from (words[0].rstrip(":,;"), words[-1]) if words else ()


def formed(kind: str, text: str) -> Observable | None:
    """Return the observable of a kind that a text is, or None."""
    if not text or len(text) > LONGEST:
        return None
    if kind in ("ip", "net"):
        return _address(text, kind == "net")
    if kind in ("tcp", "udp"):
        match = PLACE.fullmatch(text)
        address = _address(match[1].strip("[]"), False) if match else None
        return Observable(kind, address.value, int(match[2])) if match and address and int(match[2]) < 65536 else None
    if kind == "software":
        line = in_line(readable(text), 250)
        return Observable(kind, line) if line and "\n" not in text else None
    return _by_form(kind, text)


def _by_form(kind: str, text: str) -> Observable | None:
    if kind == "host":
        text = text.lower().rstrip(".")
        return Observable(kind, text) if len(text) <= 253 and FORMS[kind].fullmatch(text) else None
    match = FORMS[kind].fullmatch(text)
    if not match or (kind == "url" and not _has_host(text)):
        return None
    if kind == "as":
        return Observable(kind, str(int(match[1]))) if int(match[1]) < 2**32 else None
    if kind == "hash":
        return Observable(DIGESTS[len(text)], text.lower())
    if kind == "email":
        name, _, host = text.rpartition("@")
        text = f"{name}@{host.lower()}"
    return Observable(kind, text)


def _address(text: str, is_net: bool) -> Observable | None:
    if len(text) > 64 or "%" in text:
        return None
    try:
        found = ip_network(text, strict=False) if is_net else ip_address(text)
    except ValueError:
        return None
    return Observable(f"ipv{found.version}", str(found))


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as http://[x/, or a port that is not a number
        return False


def is_shown(found: ScanFinding) -> bool:
    """Return whether these receivers are sent a finding without an observable."""
    return found.is_correlation or found.severity >= LEAST


@lru_cache(maxsize=1024)
def is_private(kind: str) -> bool:
    """Return whether the data of the host's type are secrets, or may have any in them."""
    return kind in SECRETS or any(fnmatchcase(kind, pattern) for pattern in RAW)


def shown_data(found: ScanFinding, limit: int) -> str:
    """Return the data of a finding without invisible characters, in at most `limit` characters. These receivers share
    what they have with other organisations, so a secret is not shown, whatever is redacted."""
    text = readable(WITHHELD if is_private(found.type) else found.data[: limit + 1])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def heading_of(found: ScanFinding, limit: int) -> str:
    """Return a finding in one line."""
    return in_line(f"{readable(found.type[:100])}: {shown_data(found, 2 * limit)}", limit)
