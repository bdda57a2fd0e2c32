"""A digest: several deliveries that come late go in, one Notice about them all goes out.

What a person asked for a second time, or what a past scan found, need not ring: it is counted, and the most severe of
it is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

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
LINE_MAX = 120


def digest_notice(deliveries: Sequence[Delivery], endpoint: Endpoint) -> Notice:
    """Return the notice of several deliveries, the most severe first, the others in their order."""
    events = [delivery.event for delivery in deliveries]
    scans = {event.scan.id: event.scan for event in events if event.scan}
    targets = _names([readable(scan.target) for scan in scans.values()])
    times = [event.at for event in events]
    ordered = sorted(deliveries, key=lambda delivery: -delivery.event.severity)
    named = [_line(notice(delivery, endpoint), targets) for delivery in ordered[:NAMED_MAX]]
    more = [f"and {len(deliveries) - NAMED_MAX:,} more"] if len(deliveries) > NAMED_MAX else []
    by_severity = Counter(event.severity for event in events)
    scan = next(iter(scans.values())) if len(scans) == 1 else None
    link = endpoint.link(scan)
    facts = [
        ("Target", targets),
        ("By severity", counted({severity.label: by_severity[severity] for severity in reversed(Severity)})),
        ("By event", ", ".join(f"{people(name)}: {number:,}" for name, number in _frequent(deliveries))),
    ]
    replayed, backfilled = any(one.replayed for one in deliveries), any(one.backfilled for one in deliveries)
    why = [*(["backfilled"] if backfilled else []), *(["replayed"] if replayed else [])]
    return Notice(
        headline=amount(len(deliveries), f"{' or '.join(why)} message"),
        body="\n".join([*named, *more]),
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


def _line(notice: Notice, targets: str) -> str:
    """Return a notice in one line, without what is beyond the first line of its body, and without the only target."""
    target = "" if notice.target == targets else notice.target
    return in_line(replace(notice, target=target, body=notice.body.partition("\n")[0]).summary, LINE_MAX)


def _frequent(deliveries: Sequence[Delivery]) -> list[tuple[str, int]]:
    return Counter(delivery.name for delivery in deliveries).most_common(LIST_MAX)


def _names(names: Sequence[str]) -> str:
    """Return the first of some names, which may be empty, each once, and how many others there are."""
    found = [name for name in dict.fromkeys(name.strip() for name in names) if name]
    more = [f"{len(found) - LIST_MAX:,} more"] if len(found) > LIST_MAX else []
    return ", ".join([*found[:LIST_MAX], *more])
