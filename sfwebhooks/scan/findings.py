"""A Finding is a scanner event, live from the host's bus or read from its database; `event_of_finding` turns it into
the WebhookEvent that is sent. Both sources give the same id."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from sfwebhooks.endpoints import RISK_NAMES, Endpoint, subscribed_name
from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT, Enrichment
from sfwebhooks.events import Scan, WebhookEvent, clean_text, finding_id, timestamp
from sfwebhooks.scan import escapes
from sfwebhooks.screening import withheld_type
from sfwebhooks.severity import DEFAULT_SEVERITIES, RISK_BOUNDS, VULNERABILITY, Severities, special_of

#: the host's pseudo event above the target; not a finding, and the host's own exports skip it too
ROOT = "ROOT"
#: characters of a finding's data that are sent; longer data is cut, and its length and SHA-256 are added
DATA_MAX = 65536
#: characters of each source's data
SOURCE_MAX = 1024
#: most pairs of an event type and a risk that are remembered
WANTED_MAX = 10_000
#: sources that are sent, from the direct one up
SOURCES_MAX = 32


class Source(NamedTuple):
    """An event that led to a finding."""

    type: str
    data: str
    module: str
    hash: str


class Finding(NamedTuple):
    """A result of a scanner module."""

    #: the host's event type, such as EMAILADDR
    type: str
    data: str
    module: str
    #: the host's id of the event: unique, not a hash of its content
    hash: str
    #: epoch seconds
    generated: float
    #: 0-100 each, set by the module; `risk` is nearly always 0
    confidence: int
    visibility: int
    risk: int
    #: from the direct source up to the target
    sources: tuple[Source, ...]
    #: the module's own source, if it names one
    data_source: str = ""
    #: read from the host's database, which keeps only the first 1024 characters of data
    recovered: bool = False


def event_of_finding(
    finding: Finding, scan: Scan, description: str, enrichment: Enrichment = NO_ENRICHMENT
) -> WebhookEvent:
    """Return the event for a finding.

    If a value of the finding has the wrong type, the event has a problem instead of data, and the outbox counts it.

    Args:
        description: the host's own text for its type.
        enrichment: has its severity, and adds what is known of the CVE of a vulnerability.
    """
    try:
        if not isinstance(finding.hash, str):
            raise TypeError(f"its hash is of type {type(finding.hash).__name__}")
        special = special_of(finding.type)
        text = clean_text(finding.data)
        if finding.module == escapes.TARGET:
            text = escapes.typed_data(text, scan.target)
        known = enrichment.of(text) if enrichment.is_set and special == VULNERABILITY else {}
        severity = enrichment.severities.of(finding.type, finding.risk, "known_exploited" in known)
        data: dict[str, Any] = {
            **scan.about,
            "event_type": finding.type,
            "description": description,
            "severity": severity.label,
            **({"data": text} if len(text) <= DATA_MAX else _cut(text)),
            "module": finding.module,
            "confidence": finding.confidence,
            "visibility": finding.visibility,
            "risk": finding.risk,
            "hash": finding.hash,
            "generated": timestamp(finding.generated),
            "sources": [source_data(source, scan) for source in finding.sources[:SOURCES_MAX]],
        }
        if special:
            data["special"] = special
        data.update(known)
        if finding.data_source:
            data["data_source"] = clean_text(finding.data_source)
        if finding.recovered:
            data["recovered"] = True
        event_id = finding_id(scan.id, finding.hash)
        return WebhookEvent(event_id, RISK_NAMES[severity], severity, finding.generated, data, scan, special)
    except MemoryError:
        raise
    except Exception as error:  # would also lose the findings that are accepted together with this one
        severity = enrichment.severities.of(str(finding.type))
        event_id = finding_id(scan.id, clean_text(str(finding.hash)))
        why = f"{type(error).__name__}: {error}"
        return WebhookEvent(event_id, RISK_NAMES[severity], severity, 0.0, {}, scan, problem=why)


def is_wanted(
    host_type: str,
    risk: int,
    endpoints: tuple[Endpoint, ...],
    exploited: bool = False,
    severities: Severities = DEFAULT_SEVERITIES,
) -> bool:
    """Return whether an endpoint can want findings of a type, without building the event for `Screen.of`.

    Args:
        exploited: whether they are vulnerabilities that are known to be exploited.
    """
    severity, special = severities.of(host_type, risk, exploited), special_of(host_type)
    return any(
        subscribed_name(one.events, RISK_NAMES[severity], severity, special)
        and not (one.has_filters and withheld_type(one, host_type, severity))
        for one in endpoints
    )


def may_be_wanted(host_type: str, risk: int, endpoints: tuple[Endpoint, ...], enrichment: Enrichment) -> bool:
    """Return whether an endpoint wants some findings of a type: all of them, or those whose CVE is known to be
    exploited, which only the event shows."""
    can_be_raised, severities = enrichment.raises and special_of(host_type) == VULNERABILITY, enrichment.severities
    return is_wanted(host_type, risk, endpoints, severities=severities) or (
        can_be_raised and is_wanted(host_type, risk, endpoints, True, severities)
    )


class WantedFindings(dict[tuple[str, int], bool]):
    """Event type and risk -> whether an endpoint may want such findings, found at the first look: a scan asks for each
    of its events."""

    def __init__(self, endpoints: tuple[Endpoint, ...], enrichment: Enrichment = NO_ENRICHMENT) -> None:
        self._endpoints = endpoints
        self._enrichment = enrichment

    def __missing__(self, key: tuple[str, int]) -> bool:
        """Find it, and remember it."""
        host_type, risk = key
        found = host_type != ROOT and may_be_wanted(host_type, risk, self._endpoints, self._enrichment)
        if len(self) < WANTED_MAX:
            self[key] = found
        return found


def can_be_wanted(host_type: str, endpoints: tuple[Endpoint, ...], severities: Severities = DEFAULT_SEVERITIES) -> bool:
    """Return whether an endpoint wants findings of a type if their module gives them a high enough risk."""
    risks = (0, *(bound for bound, _ in RISK_BOUNDS))
    return any(is_wanted(host_type, risk, endpoints, severities=severities) for risk in risks)


def _cut(text: str) -> dict[str, Any]:
    """Return the beginning of long data, and its length and digest by which a receiver recognises the whole."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"data": text[:DATA_MAX], "data_length": len(text), "data_sha256": digest}


def source_data(source: Source, scan: Scan) -> dict[str, str]:
    """Return the data that is sent of a source."""
    text = escapes.typed_data(source.data, scan.target) if source.module == escapes.TARGET else source.data
    data = clean_text(text[: 2 * SOURCE_MAX])[:SOURCE_MAX]  # clean text merges a pair of surrogates into one
    return {"event_type": source.type, "data": data, "module": source.module, "hash": source.hash}
