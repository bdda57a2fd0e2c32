"""The severity of a finding: the host's event type comes in, a Severity and the special names of the catalogue go out.

The scanner itself has no severities (no stock module sets `event.risk`), so one table defines them for all its types.
Read it as a SOC analyst: critical and high page somebody, medium is worth a look in the morning, low is hygiene, info
is inventory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from operator import eq
from typing import Callable


class Severity(IntEnum):
    """The urgency of an event; a greater value is worse."""

    #: its name in messages and in the configuration
    label: str

    def __new__(cls, value: int, label: str = "") -> Severity:
        """Make a member."""
        made = int.__new__(cls, value)
        made._value_, made.label = value, label
        return made

    #: inventory of the target
    INFO = 0, "info"
    #: hygiene: fix it at some point
    LOW = 1, "low"
    #: worth a look
    MEDIUM = 2, "medium"
    #: somebody should act now
    HIGH = 3, "high"
    #: the target is compromised, or can be at once
    CRITICAL = 4, "critical"

    @classmethod
    def parse(cls, text: str) -> Severity:
        """Read a label, in any case.

        Raises:
            ValueError: the text is not a label; the message lists the labels.
        """
        # lower, not upper: "h\u0131gh".upper() is HIGH, with a dotless i.
        by_label = {severity.label: severity for severity in cls}
        try:
            return by_label[text.strip().lower()]
        except KeyError:
            raise ValueError(f"expected one of {', '.join(by_label)}") from None


#: every event type of the host exactly once (tests/host compares it with `SpiderFootDb.eventDetails`)
GROUPS = (
    # An entry in zone-h's list of special defacements: an intruder was in, visible to everybody.
    (Severity.CRITICAL, "VULNERABILITY_CVE_CRITICAL DEFACED_INTERNET_NAME"),
    # Not critical, since the defaced site may be another one at the same address.
    (Severity.HIGH, "VULNERABILITY_CVE_HIGH DEFACED_IPADDR"),
    # The target's own machines; a netblock here is one that the target owns.
    (Severity.HIGH, "MALICIOUS_INTERNET_NAME MALICIOUS_IPADDR MALICIOUS_NETBLOCK"),
    # Credentials to log in with, but mostly from dumps that are years old: high, not critical.
    (Severity.HIGH, "PASSWORD_COMPROMISED HASH_COMPROMISED ACCOUNT_EXTERNAL_OWNED_COMPROMISED"),
    # Passed the Luhn check, and the host looks for it only on leak and darknet pages.
    (Severity.HIGH, "CREDIT_CARD_NUMBER"),
    # The affiliate here is a cloud name, mostly one that the target's own DNS points to: an attacker who claims it
    # speaks for the target.
    (Severity.HIGH, "AFFILIATE_INTERNET_NAME_HIJACKABLE CLOUD_STORAGE_BUCKET_OPEN"),
    # GENERAL has no rating: the host found no score for the CVE, or a checker complained. From trivial to terrible.
    # DISCLOSURE is a listing at a bug bounty site, often fixed long ago.
    (Severity.MEDIUM, "VULNERABILITY_CVE_MEDIUM VULNERABILITY_GENERAL VULNERABILITY_DISCLOSURE"),
    # Others were hit, but the target links to them, loads from them or shares a server with them.
    (Severity.MEDIUM, "MALICIOUS_AFFILIATE_INTERNET_NAME DEFACED_AFFILIATE_INTERNET_NAME DEFACED_AFFILIATE_IPADDR"),
    (Severity.MEDIUM, "DEFACED_COHOST"),
    # Fraud scores and abuse reports about an identity: no evidence of an infected machine.
    (Severity.MEDIUM, "MALICIOUS_EMAILADDR MALICIOUS_BITCOIN_ADDRESS"),
    # On a blocklist for any reason, spam and open proxies included. The serious reasons come as MALICIOUS_* too.
    (Severity.MEDIUM, "BLACKLISTED_INTERNET_NAME BLACKLISTED_IPADDR BLACKLISTED_NETBLOCK"),
    # Named in a breach, without a password: hundreds per scan of a company.
    (Severity.MEDIUM, "EMAILADDR_COMPROMISED PHONE_NUMBER_COMPROMISED ACCOUNT_EXTERNAL_USER_SHARED_COMPROMISED"),
    # LeakIX and Onyphe give the leaked content without a URL, so it weighs as much as the URL.
    (Severity.MEDIUM, "LEAKSITE_URL LEAKSITE_CONTENT DARKNET_MENTION_URL"),
    # Anonymous traffic leaves from here or would be relayed; the host does not say whether it is an affiliate.
    (Severity.MEDIUM, "TOR_EXIT_NODE PROXY_HOST"),
    # A domain that the target refers to and anybody can register; backup copies that show source and passwords;
    # a certificate that visitors are already warned about.
    (Severity.MEDIUM, "AFFILIATE_DOMAIN_UNREGISTERED JUNK_FILE SSL_CERTIFICATE_EXPIRED"),
    (Severity.LOW, "VULNERABILITY_CVE_LOW"),
    # Neighbours by hosting or by a content network, whom the target does not choose. The host's own rules call
    # even several such hits on a neighbour low.
    (Severity.LOW, "MALICIOUS_AFFILIATE_IPADDR MALICIOUS_COHOST MALICIOUS_SUBNET MALICIOUS_ASN"),
    (Severity.LOW, "BLACKLISTED_AFFILIATE_INTERNET_NAME BLACKLISTED_AFFILIATE_IPADDR BLACKLISTED_COHOST"),
    (Severity.LOW, "BLACKLISTED_SUBNET"),
    # Mostly unwanted callers.
    (Severity.LOW, "MALICIOUS_PHONE_NUMBER"),
    # The page behind a DARKNET_MENTION_URL, which is a finding already.
    (Severity.LOW, "DARKNET_MENTION_CONTENT"),
    # Could be phishing in the making; most lookalikes are parked, and there are dozens.
    (Severity.LOW, "SIMILARDOMAIN"),
    # Personal data, although IBANs are on every invoice.
    (Severity.LOW, "IBAN_NUMBER DATE_HUMAN_DOB"),
    (Severity.LOW, "SSL_CERTIFICATE_EXPIRING SSL_CERTIFICATE_MISMATCH"),
    # Leaks about the target's internals; an edit at Wikipedia reveals its outgoing address.
    (Severity.LOW, "ERROR_MESSAGE INTERNAL_IP_ADDRESS WIKIPEDIA_PAGE_EDIT INTERESTING_FILE INTERESTING_FILE_HISTORIC"),
    # Starting points for an attacker. The host's correlation rules find ports that should never be open.
    (Severity.LOW, "TCP_PORT_OPEN UDP_PORT_OPEN VPN_HOST URL_PASSWORD URL_UPLOAD URL_FLASH URL_JAVA_APPLET"),
    (Severity.INFO, "ROOT"),
    # Names and addresses of the target, and who runs them.
    (
        Severity.INFO,
        """INTERNET_NAME INTERNET_NAME_UNRESOLVED DOMAIN_NAME DOMAIN_NAME_PARENT DOMAIN_REGISTRAR DOMAIN_WHOIS
        IP_ADDRESS IPV6_ADDRESS NETBLOCK_OWNER NETBLOCK_MEMBER NETBLOCK_WHOIS NETBLOCKV6_OWNER NETBLOCKV6_MEMBER
        BGP_AS_OWNER BGP_AS_MEMBER DNS_SPF DNS_SRV DNS_TEXT RAW_DNS_RECORDS RAW_RIR_DATA SIMILARDOMAIN_WHOIS
        PROVIDER_DNS PROVIDER_HOSTING PROVIDER_JAVASCRIPT PROVIDER_MAIL PROVIDER_TELCO CLOUD_STORAGE_BUCKET""",
    ),
    # Others around the target.
    (
        Severity.INFO,
        """AFFILIATE_COMPANY_NAME AFFILIATE_DESCRIPTION_ABSTRACT AFFILIATE_DESCRIPTION_CATEGORY AFFILIATE_DOMAIN_NAME
        AFFILIATE_DOMAIN_WHOIS AFFILIATE_EMAILADDR AFFILIATE_INTERNET_NAME AFFILIATE_INTERNET_NAME_UNRESOLVED
        AFFILIATE_IPADDR AFFILIATE_IPV6_ADDRESS AFFILIATE_WEB_CONTENT CO_HOSTED_SITE CO_HOSTED_SITE_DOMAIN
        CO_HOSTED_SITE_DOMAIN_WHOIS""",
    ),
    # Machines, software and certificates.
    (
        Severity.INFO,
        """DEVICE_TYPE OPERATING_SYSTEM SOFTWARE_USED TCP_PORT_OPEN_BANNER UDP_PORT_OPEN_INFO WEBSERVER_BANNER
        WEBSERVER_HTTPHEADERS WEBSERVER_STRANGEHEADER WEBSERVER_TECHNOLOGY WEB_ANALYTICS_ID WIFI_ACCESS_POINT
        SSL_CERTIFICATE_ISSUED SSL_CERTIFICATE_ISSUER SSL_CERTIFICATE_RAW""",
    ),
    # Web pages. The HISTORIC ones exist only in an archive, so their content cannot be exploited.
    (
        Severity.INFO,
        """HTTP_CODE LINKED_URL_EXTERNAL LINKED_URL_INTERNAL TARGET_WEB_CONTENT TARGET_WEB_CONTENT_TYPE
        TARGET_WEB_COOKIE SEARCH_ENGINE_WEB_CONTENT BASE64_DATA HASH PGP_KEY RAW_FILE_META_DATA
        URL_ADBLOCKED_EXTERNAL URL_ADBLOCKED_INTERNAL URL_FORM URL_JAVASCRIPT URL_STATIC URL_WEB_FRAMEWORK
        URL_FLASH_HISTORIC URL_FORM_HISTORIC URL_JAVA_APPLET_HISTORIC URL_JAVASCRIPT_HISTORIC URL_PASSWORD_HISTORIC
        URL_STATIC_HISTORIC URL_UPLOAD_HISTORIC URL_WEB_FRAMEWORK_HISTORIC""",
    ),
    # People, companies and their accounts.
    (
        Severity.INFO,
        """ACCOUNT_EXTERNAL_OWNED SIMILAR_ACCOUNT_EXTERNAL SOCIAL_MEDIA USERNAME HUMAN_NAME JOB_TITLE COMPANY_NAME LEI
        EMAILADDR EMAILADDR_DELIVERABLE EMAILADDR_DISPOSABLE EMAILADDR_GENERIC EMAILADDR_UNDELIVERABLE
        PHONE_NUMBER PHONE_NUMBER_TYPE COUNTRY_NAME GEOINFO PHYSICAL_ADDRESS PHYSICAL_COORDINATES
        APPSTORE_ENTRY PUBLIC_CODE_REPO DESCRIPTION_ABSTRACT DESCRIPTION_CATEGORY
        BITCOIN_ADDRESS BITCOIN_BALANCE ETHEREUM_ADDRESS ETHEREUM_BALANCE""",
    ),
)
SEVERITY_OF_TYPE = {host_type: severity for severity, names in GROUPS for host_type in names.split()}

#: for types of newer hosts: the first pattern that matches the start of the type decides
PATTERNS = tuple(
    (re.compile(pattern), severity)
    for pattern, severity in (
        (r"VULNERABILITY\w*_CRITICAL$", Severity.CRITICAL),
        (r"VULNERABILITY\w*_HIGH$", Severity.HIGH),
        (r"VULNERABILITY\w*_LOW$", Severity.LOW),
        (r"VULNERABILITY", Severity.MEDIUM),
        (r"(MALICIOUS|BLACKLISTED)_(AFFILIATE|CO_?HOST|SUBNET|ASN)", Severity.LOW),
        (r"DEFACED_(AFFILIATE|CO_?HOST)", Severity.MEDIUM),
        (r"(MALICIOUS|DEFACED)_", Severity.HIGH),
        (r"(BLACKLISTED|LEAKSITE|DARKNET)_", Severity.MEDIUM),
        (r"\w+_(COMPROMISED|HIJACKABLE|BUCKET_OPEN)$", Severity.HIGH),
    )
)
#: least severity of a vulnerability that is known to be exploited
EXPLOITED = Severity.HIGH
RISK_BOUNDS = ((90, Severity.CRITICAL), (70, Severity.HIGH), (40, Severity.MEDIUM), (10, Severity.LOW))

# Malware or a threat detected: the target's own hosts, addresses and netblocks are reported as malicious or are
# defaced, which proves an intruder. Not neighbours (affiliates, co-hosts, subnets, the AS): people who are paged for
# each infected stranger on a shared server soon stop reading. Not identities (e-mail, phone, coin addresses): that is
# reputation. Not BLACKLISTED_*: if the reason is a threat, the host's blocklist modules send MALICIOUS_* as well, so it
# would duplicate those and add mere mail policy.
THREAT = re.compile(r"(MALICIOUS|DEFACED)_(?!AFFILIATE|CO_?HOST|SUBNET|ASN|EMAILADDR|PHONE_NUMBER|\w+COIN_|ETHEREUM_)")


#: characters of a type that are compared
TYPE_MAX = 256
#: the special name of vulnerabilities
VULNERABILITY = "vulnerability_found"


@lru_cache(maxsize=4096)
def severity_of(host_type: str, risk: int = 0, exploited: bool = False) -> Severity:
    """Return the severity of a finding.

    Args:
        host_type: the host's event type, such as VULNERABILITY_CVE_HIGH.
        risk: 0-100 as set by a module, 0 by default; it can raise the severity of the type but never lowers it.
        exploited: whether it is a vulnerability that is known to be exploited.
    """
    severity = SEVERITY_OF_TYPE.get(host_type)
    if severity is None:
        severity = _severity_by_pattern(host_type)
    if exploited:
        severity = max(severity, EXPLOITED)
    return max(severity, _severity_of_risk(risk)) if risk else severity


@dataclass(frozen=True)
class Severities:
    """The severities of findings, as the settings change the table's."""

    #: (severity, types or patterns of types), the most severe first
    overrides: tuple[tuple[Severity, tuple[str, ...]], ...] = ()

    @cached_property
    def of(self) -> Callable[..., Severity]:
        """A function that returns the severity of a finding, as `severity_of` does; what the settings say of its type
        replaces the table and the module's risk. It is a cache, since it is called for each event."""
        return lru_cache(maxsize=4096)(self._of) if self.overrides else severity_of

    def _of(self, host_type: str, risk: int = 0, exploited: bool = False) -> Severity:
        own = self.override_of(host_type)
        if own is None:
            return severity_of(host_type, risk, exploited)
        return max(own, EXPLOITED) if exploited else own

    def override_of(self, host_type: str) -> Severity | None:
        """Return what the settings say of a type: a name counts before patterns, of these the most severe."""
        return _override(self.overrides, host_type[:TYPE_MAX]) if self.overrides else None


#: those of the table
DEFAULT_SEVERITIES = Severities()


@lru_cache(maxsize=4096)
def _override(overrides: tuple[tuple[Severity, tuple[str, ...]], ...], host_type: str) -> Severity | None:
    for match in (eq, fnmatchcase):
        for severity, words in overrides:
            if any(match(host_type, word) for word in words):
                return severity
    return None


@lru_cache(maxsize=4096)
def special_of(host_type: str) -> str | None:
    """Return vulnerability_found or malware_detected if the type is one of them, else None."""
    if host_type.startswith("VULNERABILITY"):
        return VULNERABILITY
    return "malware_detected" if THREAT.match(host_type) else None


def severity_of_correlation(rule_risk: str) -> Severity:
    """Return the severity for the risk of a correlation rule (HIGH, MEDIUM, LOW, INFO); INFO for an unknown word."""
    try:
        return Severity.parse(rule_risk)
    except ValueError:
        return Severity.INFO


def _severity_by_pattern(host_type: str) -> Severity:
    return next((severity for pattern, severity in PATTERNS if pattern.match(host_type)), Severity.INFO)


def _severity_of_risk(risk: int) -> Severity:
    return next((severity for bound, severity in RISK_BOUNDS if risk >= bound), Severity.INFO)
