"""A digest: several deliveries go in, one Notice about them all goes out.

Each one of high or critical severity has a line of its own, the most severe first, as far as the Capacity of the chat
allows: `outbox/claim` chooses no more. Then each type of the others has a line with its number and its first findings;
types for which there is no room are one number. The same data, which several modules may report, are shown once, with
their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Callable

from sfwebhooks.endpoints import FINDINGS, Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.chat import LIST_MAX, notice
from sfwebhooks.formats.cutting import cut, utf16_length
from sfwebhooks.formats.links import LINK_LENGTH, scan_links
from sfwebhooks.formats.notice import COLOURS, Notice
from sfwebhooks.severity import Severity
from sfwebhooks.text import amount, counted, in_line, moment, readable, text_of

#: most deliveries of a digest, and most bytes of their data
DIGEST_MAX = 1000
DIGEST_BYTES = 4_000_000
#: seconds that the first of a digest of what comes late waits for others
DIGEST_SECONDS = 5.0
#: of a type that is counted: characters of its name, its findings that are shown, and characters of one
TYPE_MAX = 60
FIRST_MAX = 3
FIRST_LENGTH = 50
#: part of the room for those that are named
NAMED_SHARE = 0.75
#: length of a line, of the list of the targets, of that of the scans, as the chat counts it
LINE_MAX = 120
NAMES_MAX = 100


@dataclass(frozen=True)
class Capacity:
    """The room that a chat has for the text of a digest, however its other parts turn out."""

    #: in the units of `size`
    length: int
    #: returns the length of a text of it as it is sent
    size: Callable[[str], int] = utf16_length

    @property
    def named_max(self) -> int:
        """Number of lines about one delivery that always fit, with those about the others."""
        return int(self.length * NAMED_SHARE) // (LINE_MAX + 1)


def digest_notice(batch: Batch, endpoint: Endpoint, room: Capacity) -> Notice:
    """Return the notice of several deliveries."""
    events = [delivery.event for delivery in batch.deliveries]
    scans = {event.scan.id: event.scan for event in events if event.scan}
    targets = _names([readable(scan.target) for scan in scans.values()], room)
    times = [event.at for event in events]
    by_severity = Counter(event.severity for event in events)
    scan = next(iter(scans.values())) if len(scans) == 1 else None
    (link, page), (part, parts) = scan_links(scan, endpoint, LINK_LENGTH), batch.part
    facts = [
        ("Target", targets),
        ("By severity", counted({severity.label: by_severity[severity] for severity in reversed(Severity)})),
    ]
    why = [
        *(["backfilled"] if any(one.backfilled for one in batch.deliveries) else []),
        *(["replayed"] if any(one.replayed for one in batch.deliveries) else []),
    ]
    what = f"{' or '.join(why)} message" if why else "finding"
    return Notice(
        headline=amount(len(events), what) + (f" ({part} of {parts})" if parts else ""),
        body="\n".join(_lines(batch.deliveries, endpoint, targets, room)),
        facts=tuple((label, value) for label, value in facts if value.strip()),
        colour=COLOURS[max(by_severity)],
        severity=max(by_severity),
        target=targets,
        footer=(
            *([names] if (names := _names([readable(scan.name) for scan in scans.values()], room)) else []),
            " to ".join(dict.fromkeys((moment(min(times)), moment(max(times))))),
            *why,
        ),
        link=link,
        page=page,
        is_late=bool(why),
        is_digest=True,
    )


def _lines(deliveries: Sequence[Delivery], endpoint: Endpoint, targets: str, room: Capacity) -> list[str]:
    """Return the lines about the deliveries, none of which is too long, and no more than there is room for."""
    found = _alike(sorted((one for one in deliveries if one.event.is_named), key=lambda one: -one.event.severity))
    named = [(notice(those[0], endpoint), _times(those)) for those in found[: room.named_max]]
    named.sort(key=lambda one: (-one[0].severity, one[0].headline))
    others = [*chain(*found[room.named_max :]), *(one for one in deliveries if not one.event.is_named)]
    lines = [cut(_line(one, targets), LINE_MAX - room.size(times), room.size) + times for one, times in named]
    left = room.length - sum(room.size(line) + 1 for line in lines)
    groups = _by_type(others)
    texts = [cut(_counted(group, endpoint, targets), LINE_MAX, room.size) for group in groups]
    lengths = [room.size(text) + 1 for text in texts]
    most = len(texts)
    while most and sum(lengths[:most]) > left - (0 if most == len(texts) else LINE_MAX):
        most -= 1
    more = sum(map(len, groups[most:]))
    rest = [f"{amount(more, 'finding')} of {amount(len(groups) - most, 'other type')}"] if more else []
    return [*lines, *texts[:most], *rest]


def _by_type(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    """Return deliveries by severity and type, the most severe and then the most frequent first."""
    groups: dict[tuple[int, str], list[Delivery]] = {}
    for one in deliveries:
        kind = text_of(one.event.data, "event_type") or one.name
        groups.setdefault((-one.event.severity, kind), []).append(one)
    return [group for _, group in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))]


def _alike(deliveries: Iterable[Delivery]) -> list[list[Delivery]]:
    """Return deliveries, those that say the same of the same target together; they differ in module or sources."""
    groups: dict[object, list[Delivery]] = {}
    for one in deliveries:
        event = one.event
        about = (text_of(event.data, "event_type"), text_of(event.data, "data"), event.scan and event.scan.target)
        key = (one.name, event.severity, *about) if event.type in FINDINGS else one.id
        groups.setdefault(key, []).append(one)
    return [*groups.values()]


def _times(those: Sequence[Delivery]) -> str:
    return f" ({len(those):,} times)" if len(those) > 1 else ""


def _counted(group: Sequence[Delivery], endpoint: Endpoint, targets: str) -> str:
    """Return the line about deliveries of one type: their number, and the first ones."""
    found = _alike(group)
    first = [(notice(those[0], endpoint), _times(those) if len(found) > 1 else "") for those in found[:FIRST_MAX]]
    if len(group) == 1:
        return _line(first[0][0], targets)
    items = [text + times for one, times in first if (text := _item(one, targets, FIRST_LENGTH))]
    more = ["…"] if items and len(found) > len(items) else []
    head = f"{in_line(first[0][0].headline, TYPE_MAX)} ({len(group):,})"
    return ": ".join([head, *([", ".join([*items, *more])] if items else [])])


def _item(notice: Notice, targets: str, length: int) -> str:
    """Return the first line of a notice's body, of at most `length`, with its target unless all have the same."""
    text = in_line(notice.body.partition("\n")[0], length)
    about = in_line(notice.target, FIRST_LENGTH) if notice.target != targets else ""
    return " on ".join(filter(None, (text, about)))


def _line(notice: Notice, targets: str) -> str:
    """Return a notice in one line; where it is cut, its target goes first."""
    item = _item(notice, targets, LINE_MAX)
    return f"{in_line(notice.headline, TYPE_MAX)}: {item}" if item else in_line(notice.headline, LINE_MAX)


def _names(names: Sequence[str], room: Capacity) -> str:
    """Return the first of some names, which may be empty, each once, and how many others there are."""
    found = [in_line(name, NAMES_MAX) for name in dict.fromkeys(name.strip() for name in names) if name]
    more = [f"{len(found) - LIST_MAX:,} more"] if len(found) > LIST_MAX else []
    return cut(", ".join([*found[:LIST_MAX], *more]), NAMES_MAX, room.size)
