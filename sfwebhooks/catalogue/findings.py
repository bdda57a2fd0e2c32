"""The fields of `data` in a finding, as `scan/findings` builds it; each name has its own example."""

from __future__ import annotations

from dataclasses import replace

from sfwebhooks.catalogue.fields import SCAN, SEVERITIES, Field, only, vary

# Sources of the examples; the hashes are made up.
PARENT = "ed5c1f0a7be84d3b90c26a7f1e5d8843b7c6f2910a4de58b3c7f61920e8ad45b"
TARGET = {
    "event_type": "INTERNET_NAME",
    "data": "acme.test",
    "module": "SpiderFoot UI",
    "hash": "3b1f8a6de07c4925bb13f0c86d2e97a4510fd8e3ca6b7294e15d3a80f7c26be9",
}
ADDRESS = {"event_type": "IP_ADDRESS", "data": "203.0.113.10", "module": "sfp_dnsresolve", "hash": PARENT}
MAILBOX = {"event_type": "EMAILADDR", "data": "jane.roe@acme.test", "module": "sfp_hunter", "hash": PARENT}
BUCKET = {
    "event_type": "CLOUD_STORAGE_BUCKET",
    "data": "https://acme-backup.s3.amazonaws.com",
    "module": "sfp_s3bucket",
    "hash": PARENT,
}

SOURCE = (
    Field("event_type", "string", "The scanner's type of that event."),
    Field("data", "string", "Its data, the first 1024 characters."),
    Field("module", "string", "The module that found it."),
    Field("hash", "string", "The scanner's id of it."),
)
CUT = only(
    (
        Field("data_length", "integer", "Length of the whole data in characters."),
        Field("data_sha256", "string", "SHA-256 of the whole data in UTF-8."),
    ),
    "the data was cut",
)
SPECIAL = Field("special", "string", "vulnerability_found or malware_detected.", when="the finding is one of them")
KNOWN_EXPLOITED = (
    Field("known_exploited", "boolean", "True: its CVE is in CISA's catalogue.", when="kev_file has its CVE"),
    Field("kev_due_date", "string", "The day by which CISA requires a fix.", when="kev_file has a day for its CVE"),
)
EPSS = (
    Field(
        "epss_score",
        "number",
        "Probability that its CVE is exploited in the next 30 days, 0 to 1.",
        when="epss_file has its CVE",
    ),
    Field(
        "epss_percentile",
        "number",
        "The part of all CVEs with at most that score, 0 to 1.",
        when="epss_file has a percentile for its CVE",
    ),
)
FINDING = (
    *SCAN,
    Field("event_type", "string", "The scanner's type of the finding.", "CLOUD_STORAGE_BUCKET_OPEN"),
    Field("description", "string", "The scanner's description of that type.", "Cloud Storage Bucket Open"),
    Field("severity", "string", "critical, high, medium, low or info.", "high", choices=SEVERITIES),
    Field("data", "string", "Its data, the first 65536 characters.", "acme-backup.s3.amazonaws.com: 3 files found."),
    *CUT,
    Field("module", "string", "The module that found it.", "sfp_s3bucket"),
    Field("confidence", "integer", "The module's confidence, 0 to 100.", 100),
    Field("visibility", "integer", "Its visibility according to the module, 0 to 100.", 100),
    Field("risk", "integer", "Its risk according to the module, 0 to 100; mostly 0.", 0),
    Field("hash", "string", "The scanner's id of it; not a hash of its data.", "9c" * 32),
    Field("generated", "string", "When it was found (RFC 3339, UTC).", "2026-11-20T09:36:12.480Z"),
    Field(
        "sources",
        "array",
        "The events that led to it, the direct one first, the target last; at most 32.",
        [BUCKET, TARGET],
        of="object",
        parts=SOURCE,
    ),
    SPECIAL,
    *KNOWN_EXPLOITED,
    *EPSS,
    Field("data_source", "string", "The module's source.", when="the module names it"),
    Field("recovered", "boolean", "True: read from the scanner's database.", when="it was not received live"),
)


def _without(fields: tuple[Field, ...], *others: Field) -> tuple[Field, ...]:
    """Return fields without those that never occur with them."""
    return tuple(each for each in fields if each not in others)


HIGH = FINDING
CRITICAL = vary(
    FINDING,
    event_type="VULNERABILITY_CVE_CRITICAL",
    description="Vulnerability - CVE Critical",
    severity="critical",
    data="CVE-2021-44228\n<SFURL>https://nvd.nist.gov/vuln/detail/CVE-2021-44228</SFURL>\nScore: 10.0\n"
    "Description: Log4j fetches and runs code that an attacker names in a logged text.",
    module="sfp_shodan",
    sources=[ADDRESS, TARGET],
    special="vulnerability_found",
    known_exploited=True,
    kev_due_date="2021-12-24",
    epss_score=0.94358,
    epss_percentile=0.99962,
)
MEDIUM = vary(
    _without(FINDING, *KNOWN_EXPLOITED),  # which is at least high
    event_type="EMAILADDR_COMPROMISED",
    description="Hacked Email Address",
    severity="medium",
    data="jane.roe@acme.test [Example Forum]",
    module="sfp_haveibeenpwned",
    sources=[MAILBOX, TARGET],
)
LOW = vary(
    MEDIUM,
    event_type="TCP_PORT_OPEN",
    description="Open TCP Port",
    severity="low",
    data="203.0.113.10:22",
    module="sfp_portscan_tcp",
    sources=[ADDRESS, TARGET],
)
INFO = vary(
    _without(FINDING, SPECIAL, *KNOWN_EXPLOITED, *EPSS),  # special findings are never informational
    event_type="IP_ADDRESS",
    description="IP Address",
    severity="info",
    data="203.0.113.10",
    module="sfp_dnsresolve",
    sources=[TARGET],
)
_ALWAYS_SPECIAL = tuple(replace(each, when="") if each is SPECIAL else each for each in FINDING)
VULNERABILITY = vary(
    _ALWAYS_SPECIAL,
    event_type="VULNERABILITY_CVE_HIGH",
    description="Vulnerability - CVE High",
    data="CVE-2023-44487\n<SFURL>https://nvd.nist.gov/vuln/detail/CVE-2023-44487</SFURL>\nScore: 7.5\n"
    "Description: HTTP/2 servers can be worn out by streams that are opened and cancelled at once.",
    module="sfp_shodan",
    sources=[ADDRESS, TARGET],
    special="vulnerability_found",
    known_exploited=True,
    kev_due_date="2023-10-31",
    epss_score=0.94439,
    epss_percentile=0.99987,
)
MALWARE = vary(
    _without(_ALWAYS_SPECIAL, *KNOWN_EXPLOITED, *EPSS),
    event_type="MALICIOUS_IPADDR",
    description="Malicious IP Address",
    data="ThreatFox [203.0.113.10]\n<SFURL>https://threatfox.abuse.ch/browse.php?search=ioc:203.0.113.10</SFURL>",
    module="sfp_threatfox",
    sources=[ADDRESS, TARGET],
    special="malware_detected",
)
