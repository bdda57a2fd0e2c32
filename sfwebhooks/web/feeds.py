"""The feeds of the event stream: looks at the outbox and the settings come in; what has changed since the last one goes
out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sfwebhooks.config.settings import Settings
from sfwebhooks.inspection.delivery import Detail
from sfwebhooks.inspection.fields import fields_of, fields_of_attempt
from sfwebhooks.inspection.scan_fields import fields_of_scan
from sfwebhooks.inspection.status import full_status, without_replies
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.scan_list import ScanCounts, ScanList
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.sensitive import WITHHELD
from sfwebhooks.system import Clock
from sfwebhooks.web.stream import Feed, StreamEvent

#: most of its time that a look may take: at a huge outbox it is taken less often
LOOK_SHARE = 0.05
#: seconds after which it is taken even if nothing was written: a pause ends, a process dies
QUIET_SECONDS = 5.0
#: attempts of one look that are sent; of more, the last ones
ATTEMPTS_MAX = 100
#: seconds of a look in which replies are redacted; of more, viewers see none: it takes longer than sending a message
REPLY_SECONDS = 0.05
#: scans among which those that have changed are sought
SCANS_MAX = 20
#: fields of a delivery that an attempt may change, or by which one knows it
FIELDS = ("delivery", "endpoint", "name", "type", "severity", "scan", "target", "state", "reason", "attempts", "tries",
          "batch", "due_at", "settled_at")  # fmt: skip


class StatusFeed:
    """The status as a whole, whenever anything has changed but the last sign of life of a process.

    Args:
        look: returns it.
    """

    def __init__(self, look: Callable[[], Mapping[str, Any]]) -> None:
        self._look = look
        self._last: Any = None

    def __call__(self) -> StreamEvent | None:
        """Return the status if it has changed."""
        found = self._look()
        last, self._last = self._last, {**found, "endpoints": [*map(_without_sign, found["endpoints"])]}
        if last == self._last:
            return None
        return StreamEvent("status", found, lambda: without_replies(found), is_state=True)


def _without_sign(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    sender = endpoint.get("sender")
    return {**endpoint, "sender": sender and {**sender, "seen_at": None}}


class ItemFeed:
    """The items of a list that are new or have changed.

    Args:
        look: returns the newest items, of which everybody may see everything.
        key: the field that names an item.
    """

    def __init__(self, name: str, look: Callable[[], Sequence[Mapping[str, Any]]], key: str) -> None:
        self._name = name
        self._look = look
        self._key = key
        self._last = self._items()

    def __call__(self) -> StreamEvent | None:
        """Return the items that have changed since the last call."""
        found, before = self._items(), self._last
        self._last = found
        changed = [item for key, item in found.items() if before.get(key) != item]
        return StreamEvent(self._name, {"items": changed}, lambda: {"items": changed}) if changed else None

    def _items(self) -> dict[str, Mapping[str, Any]]:
        return {item[self._key]: item for item in self._look()}


class PacedFeed:
    """A feed that costs something: it looks if anything may have changed, and takes a small part of the time.

    Args:
        version: returns what differs after each change.
        clock: monotonic.
    """

    def __init__(self, feed: Feed, version: Callable[[], object], clock: Clock = time.monotonic) -> None:
        self._feed = feed
        self._version = version
        self._clock = clock
        self._last: object = None
        #: when it may look again, and when it has to
        self._free_at = self._due_at = clock()

    def __call__(self) -> StreamEvent | None:
        """Return what the feed does, or nothing if it is not time."""
        begin, found = self._clock(), self._version()
        if begin < self._free_at or (found == self._last and begin < self._due_at):
            return None
        self._last, change = found, self._feed()
        end = self._clock()
        self._free_at, self._due_at = end + (end - begin) / LOOK_SHARE, end + QUIET_SECONDS
        return change


class AttemptFeed:
    """The attempts of all processes.

    Args:
        outbox: open as long as the feed.
        settings: returns the current settings.
        clock: monotonic.
    """

    def __init__(self, outbox: Outbox, settings: Callable[[], Settings], clock: Clock = time.monotonic) -> None:
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._last = outbox.listing.last_attempt()

    def __call__(self) -> StreamEvent | None:
        """Return the attempts since the last call: the last ones, and the number of those before."""
        begin, missed = self._outbox.listing.skipped(self._last, ATTEMPTS_MAX)
        pairs, self._last = self._outbox.listing.attempts_since(begin, Selection())
        if not pairs:
            return None
        found, missed = pairs[-ATTEMPTS_MAX:], missed + len(pairs[:-ATTEMPTS_MAX])
        whole = [(record, fields_of_attempt(attempt)) for record, attempt in found]
        return StreamEvent(
            "attempts",
            {"items": [_item(*pair) for pair in whole], "missed": missed},
            lambda: {"items": [*self._redacted(whole)], "missed": missed},
        )

    def _redacted(self, whole: Iterable[tuple[Record, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """Yield the items for viewers."""
        end = self._clock() + REPLY_SECONDS
        for record, attempt in whole:
            if self._clock() < end:
                yield _item(record, self._with_reply(record, attempt))
            else:
                yield _item(record, {**attempt, "excerpt": attempt["excerpt"] and WITHHELD})

    def _with_reply(self, record: Record, attempt: dict[str, Any]) -> dict[str, Any]:
        """Return an attempt's fields with the reply, which may quote what was sent, as people may see it."""
        if not attempt["excerpt"]:
            return attempt
        endpoint = next((one for one in self._settings().known if one.name == record.endpoint), None)
        delivery = None if record.batch else self._outbox.listing.delivery(record.id)
        return {**attempt, "excerpt": Detail(record, (), delivery, endpoint).reply_for_people(attempt["excerpt"])}


def _item(record: Record, attempt: dict[str, Any]) -> dict[str, Any]:
    known = fields_of(record)
    return {**{name: known[name] for name in FIELDS}, "attempt": attempt}


@contextmanager
def opened_feeds(
    place: Place,
    reading: Callable[[], AbstractContextManager[Outbox]],
    settings: Callable[[], Settings],
    counts: ScanCounts,
) -> Iterator[Sequence[Feed]]:
    """Open the feeds of an outbox.

    Args:
        place: of the outbox.
        reading: opens it.
        settings: returns the current settings.
        counts: of scans, those of the whole process.
    """
    with reading() as outbox:
        scans, changes = ScanList(outbox.database, counts), 0

        def version() -> object:
            nonlocal changes
            changes += outbox.database.is_changed()
            return changes, settings()

        yield (
            PacedFeed(StatusFeed(lambda: full_status(settings(), place).fields), version),
            AttemptFeed(outbox, settings),
            PacedFeed(ItemFeed("scans", lambda: [*map(fields_of_scan, scans.scans(SCANS_MAX))], "scan"), version),
        )
