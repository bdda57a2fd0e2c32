"""A digest: several deliveries that come late go in, one Notice about them all goes out.

What a person asked for a second time, or what a past scan found, need not ring: it is counted, and the most severe of
it is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery
from sfwebhooks.formats.chat import COLOURS, LINK_MAX, LIST_MAX, Notice, notice
from sfwebhooks.severity import Severity
from sfwebhooks.text import amount, counted, in_line, moment, people, readable

#: most deliveries of a digest, and most bytes of their data
DIGEST_MAX = 1000
DIGEST_BYTES = 4_000_000
#: seconds that the first of a digest waits for others
DIGEST_SECONDS = 5.0
#: deliveries that are named, and characters of the line about one
NAMED_MAX = 10
LINE_MAX = 160


def digest_notice(deliveries: Sequence[Delivery], endpoint: Endpoint) -> Notice:
    """Return the notice of several deliveries, the most severe first, the others in their order."""
    events = [delivery.event for delivery in deliveries]
    times = [event.at for event in events]
    ordered = sorted(deliveries, key=lambda delivery: -delivery.event.severity)
    lines = [in_line(notice(delivery, endpoint).summary, LINE_MAX) for delivery in ordered[:NAMED_MAX]]
    more = [f"and {len(deliveries) - NAMED_MAX:,} more"] if len(deliveries) > NAMED_MAX else []
    by_severity = Counter(event.severity for event in events)
    scans = {event.scan.id: event.scan for event in events if event.scan}
    scan = next(iter(scans.values())) if len(scans) == 1 else None
    link, targets = endpoint.link(scan), _names([readable(scan.target) for scan in scans.values()])
    facts = [
        ("Target", targets),
        ("By severity", counted({severity.label: by_severity[severity] for severity in reversed(Severity)})),
        ("By event", counted({people(name): number for name, number in _frequent(deliveries)})),
    ]
    why = [word for word, is_so in _reasons(deliveries) if is_so]
    return Notice(
        headline=f"{amount(len(deliveries), 'message')}, {' and '.join(why)}",
        body="\n".join([*lines, *more]),
        facts=tuple((label, value) for label, value in facts if value.strip()),
        colour=COLOURS[max(by_severity)],
        severity=max(by_severity),
        target=targets,
        footer=(
            *([names] if (names := _names([readable(scan.name) for scan in scans.values()])) else []),
            " to ".join(dict.fromkeys((moment(min(times)), moment(max(times))))),
            *why,
        ),
        link=link if len(link) <= LINK_MAX else "",
        is_late=True,
    )


def _reasons(deliveries: Sequence[Delivery]) -> list[tuple[str, bool]]:
    """Return why the deliveries come late."""
    return [
        ("backfilled", any(delivery.backfilled for delivery in deliveries)),
        ("replayed", any(delivery.replayed for delivery in deliveries)),
    ]


def _frequent(deliveries: Sequence[Delivery]) -> list[tuple[str, int]]:
    return Counter(delivery.name for delivery in deliveries).most_common(LIST_MAX)


def _names(names: Sequence[str]) -> str:
    """Return the first of some names, which may be empty, each once, and how many others there are."""
    found = [name for name in dict.fromkeys(name.strip() for name in names) if name]
    more = [f"{len(found) - LIST_MAX:,} more"] if len(found) > LIST_MAX else []
    return ", ".join([*found[:LIST_MAX], *more])
