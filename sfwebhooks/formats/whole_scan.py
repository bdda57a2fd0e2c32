"""What formats that send a whole scan share: the deliveries of a scan come in, its findings and its outline go out.

The deliveries are read from the outbox when they are iterated over, and there may be 50,000 of them: a format goes
through them once, and writes the message piece by piece (`in_pieces`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Callable, NamedTuple

from sfwebhooks import fingerprints
from sfwebhooks.endpoints import FINDINGS, SCAN_ENDS, Endpoint
from sfwebhooks.enrichment.cves import cves_in
from sfwebhooks.events import Batch, Delivery, Scan, WebhookEvent, clean_text
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Format
from sfwebhooks.severity import Severity
from sfwebhooks.text import epoch_of, simple, text_of

CORRELATION = "correlation_found"
START = "scan_started"


class ScanFinding(NamedTuple):
    """A finding or correlation, as its endpoint may see it."""

    #: the host's type; of a correlation the id of its rule
    type: str
    #: what was found; of a correlation its title
    data: str
    severity: Severity
    #: the module that found it; empty for a correlation
    module: str
    #: epoch seconds
    at: float
    #: equal for equal types and data as they are shown, in any scan of any target (`fingerprints`): hexadecimal digits
    fingerprint: str
    #: the CVEs that it is about
    cves: tuple[str, ...]
    #: the host's text for its type; of a correlation the rule's
    description: str
    #: data of what it was found in
    source: str
    #: 0-100, as the module says; of a correlation "risk" is the rule's word, and "confidence" is empty
    risk: str
    confidence: str
    is_correlation: bool
    delivery: Delivery


@dataclass(frozen=True)
class ScanOutline:
    """What a bundle says of its scan."""

    scan: Scan
    #: epoch seconds; None: the bundle does not have the event that says so
    began_at: float | None
    ended_at: float | None
    #: scan_completed, scan_failed or scan_aborted; empty: the bundle does not have its end
    end: str
    #: the data of the start and the end
    start_data: Mapping[str, Any]
    end_data: Mapping[str, Any]

    @property
    def is_complete(self) -> bool:
        """Whether it looked at all that it was to look at: what it did not find is gone."""
        return self.end == SCAN_ENDS[0]


def scan_findings(batch: Batch, once: bool = False) -> Iterator[ScanFinding]:
    """Yield the findings and correlations of a scan in the order in which they were accepted.

    Args:
        once: of those with the same fingerprint only the first one.
    """
    seen: set[str] = set()
    for delivery in batch.deliveries:
        event = delivery.event
        if event.type not in FINDINGS and event.type != CORRELATION:
            continue
        found = _finding(delivery, event)
        if once and found.fingerprint in seen:
            continue
        if once:
            seen.add(found.fingerprint)
        yield found


def _finding(delivery: Delivery, event: WebhookEvent) -> ScanFinding:
    data, is_correlation = event.data, event.type == CORRELATION
    sources = data.get("evidence" if is_correlation else "sources")
    first = sources[0] if isinstance(sources, list) and sources else None
    text = _text(data, "title" if is_correlation else "data")
    kind = _text(data, "rule_id" if is_correlation else "event_type") or event.type
    key = fingerprints.of_event(event) or fingerprints.of_finding(kind, text)
    return ScanFinding(
        type=kind,
        data=text,
        severity=event.severity,
        module=_text(data, "module"),
        at=event.at,
        fingerprint=key.hex(),
        cves=tuple(cves_in(text)) if event.special else (),
        description=_text(data, "description"),
        source=_text(first, "data") if isinstance(first, Mapping) else "",
        risk=_text(data, "rule_risk" if is_correlation else "risk"),
        confidence=_text(data, "confidence"),
        is_correlation=is_correlation,
        delivery=delivery,
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    """Return a text without the host's marks of links."""
    return clean_text(text_of(data, key)).replace("<SFURL>", "").replace("</SFURL>", "")


def outline(batch: Batch) -> ScanOutline:
    """Return what a bundle says of its scan: its start is sought from the beginning, its end from the end."""
    deliveries = batch.deliveries
    first = next((one.event for one in deliveries if one.event.type == START), None)
    last = next((one.event for one in reversed(deliveries) if one.event.type in SCAN_ENDS), None)
    return ScanOutline(
        scan=deliveries[0].event.scan or Scan("", "", "", ""),
        began_at=_time(last, "started") if last and "started" in last.data else first.at if first else None,
        ended_at=last.at if last else None,
        end=last.type if last else "",
        start_data=first.data if first else {},
        end_data=last.data if last else {},
    )


def _time(event: WebhookEvent, key: str) -> float | None:
    try:
        return epoch_of(simple(event.data.get(key)))
    except ValueError:
        return None


def in_pieces(pieces: Iterable[str | bytes]) -> bytes:
    """Return the pieces of a message as one, of which there is no second copy at any time."""
    message = BytesIO()
    for piece in pieces:
        message.write(clean_text(piece).encode() if isinstance(piece, str) else piece)
    return message.getvalue()


def separated(pieces: Iterable[str], by: str = ",") -> Iterator[str]:
    """Yield pieces with something between each two."""
    between = ""
    for piece in pieces:
        yield between + piece
        between = by


def whole_scan_format(bundle: Callable[[Batch, Endpoint], Content], **others: Any) -> Format:
    """Return a format that sends a whole scan at once.

    Args:
        bundle: writes the deliveries of a scan, or a part of them, as one message; the same bytes each time.
        others: other fields of Format.
    """

    def render(delivery: Delivery, endpoint: Endpoint) -> Content:
        return bundle(Batch((delivery,)), endpoint)

    return Format(render, bundle=bundle, **others)
