"""The completeness check of a receiver: messages come in, a report on each scan goes out at its end.

A scan's messages to an endpoint are numbered 1, 2, 3 ... without gaps within a series, and the closing event has the
last number. They may arrive in any order and several times, so a scan can become complete after its closing event
arrived. The receipt in that event says which series count, and up to which number; messages in other series were sent
again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sfwebhooks.catalogue import type_named
from sfwebhooks.outbox.scan_receipt import EARLIER, SENT
from sfwebhooks.scan.lifecycle import SEVERITY_OF_END
from sfwebhooks.text import amount, counted

#: most messages of a scan; a greater number is invalid
NUMBER_MAX = 10**9
#: numbers whose bits are stored together
BLOCK = 1000
ONES = re.compile("1+")
#: most gaps of a series that are listed
GAPS_MAX = 8
#: numbers of a series whose ids are remembered, to notice two messages with the same number
RECENT_MAX = 1000
#: most accounts of complete scans, kept so that a late repeat does not open a new one, and most of the others: no
#: scanner has that many at once, but a malicious sender may
ACCOUNTS_MAX = 1000


class Arrival(NamedTuple):
    """The fields of a message that the check needs."""

    scan: str
    endpoint: str
    #: id of the delivery
    id: str
    series: str
    number: int
    #: the receipt, if it is the scan's end; empty if it has none
    receipt: Mapping[str, Any] | None


class Numbers:
    """Some of the numbers from 1 on, received in any order, one bit for each."""

    def __init__(self) -> None:
        #: number of a block -> its bits, the first one for its smallest number
        self._blocks: dict[int, int] = {}
        self._total = 0
        #: the greatest one; 0 if there are none
        self.greatest = 0

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        block, place = divmod(number - 1, BLOCK)
        bits = self._blocks.get(block, 0)
        if bits >> place & 1:
            return False
        self._blocks[block] = bits | 1 << place
        self._total += 1
        self.greatest = max(self.greatest, number)
        return True

    def count(self, least: int = 1) -> int:
        """Return how many there are from a number on."""
        return sum(max(0, end - max(begin, least) + 1) for begin, end in self._ranges())

    def reach(self, last: int) -> bool:
        """Return whether no number up to `last` is missing."""
        return self._total >= last and not self.gaps(last)

    def gaps(self, last: int) -> list[tuple[int, int]]:
        """Return the first and the last number of each gap up to `last`."""
        found, at = [], 1
        for begin, end in self._ranges():
            if at < begin and at <= last:
                found.append((at, min(begin - 1, last)))
            at = max(at, end + 1)
        return [*found, (at, last)] if at <= last else found

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last number of each range without gaps within a block, in order."""
        for block in sorted(self._blocks):
            for ones in ONES.finditer(bin(self._blocks[block])[:1:-1]):
                yield block * BLOCK + ones.start() + 1, block * BLOCK + ones.end()


class Series(NamedTuple):
    """The messages received in a series."""

    numbers: Numbers
    #: number -> id of the messages received last; empty once all have arrived
    recent: dict[int, str]


@dataclass
class Account:
    """The messages received of a scan to an endpoint."""

    scan: str
    endpoint: str
    #: in the order in which the first message of each arrived
    series: dict[str, Series] = field(default_factory=dict)
    #: messages that had arrived before
    repeats: int = 0
    #: messages with the number of another one
    clashes: int = 0
    #: series and number of the closing event; None: it has not arrived
    end: tuple[str, int] | None = None
    receipt: Mapping[str, Any] = field(default_factory=dict)

    def enter(self, entry: Arrival) -> None:
        """Enter a message. One that is repeated after a long time is recognised by its number alone."""
        numbers, recent = self.series.setdefault(entry.series, Series(Numbers(), {}))
        is_new = numbers.add(entry.number)
        if entry.receipt is not None and self._is_later(entry):
            self.end, self.receipt = (entry.series, entry.number), entry.receipt
        elif not is_new and recent.get(entry.number, entry.id) == entry.id:
            self.repeats += 1
        if not is_new and recent.get(entry.number, entry.id) != entry.id:
            self.clashes += 1
        recent[entry.number] = entry.id
        if self.complete:
            for one in self.series.values():
                one.recent.clear()
        elif len(recent) > RECENT_MAX:
            del recent[next(iter(recent))]

    def _is_later(self, entry: Arrival) -> bool:
        """Return whether a closing event is later than the known one: in a later series, or in the same one."""
        order = [*self.series]
        return self.end is None or (order.index(entry.series), entry.number) > (order.index(self.end[0]), self.end[1])

    @property
    def due(self) -> dict[str, int]:
        """Series -> the number up to which all must arrive; before the closing event, the greatest that has arrived."""
        if self.end is None:
            return {name: came.numbers.greatest for name, came in self.series.items()}
        return {**_earlier(self.receipt), self.end[0]: self.end[1]}

    @property
    def complete(self) -> bool:
        """Whether the closing event and all messages before it have arrived."""
        return self.end is not None and all(self._came(name).reach(last) for name, last in self.due.items())

    def _came(self, series: str) -> Numbers:
        return self.series[series].numbers if series in self.series else Numbers()

    def __str__(self) -> str:
        head = f"scan {self.scan} for {self.endpoint}:" if self.endpoint else f"scan {self.scan}:"
        due = self.due
        gaps = {name: found for name, last in due.items() if (found := self._came(name).gaps(last))}
        missing = sum(end - begin + 1 for found in gaps.values() for begin, end in found)
        named = ", ".join(
            _named(found) + (f" of series {name}" if len(due) > 1 else "") for name, found in gaps.items()
        )
        holes = f"{missing:,} missing ({named})" if missing else "none missing"
        number = sum(due.values())
        if self.end is None:
            return "; ".join(
                (
                    f"{head} its closing event has not arrived; {amount(number - missing, 'message')}, {holes}",
                    *self._rest(),
                )
            )
        state = "incomplete so far" if missing else "complete"
        return "; ".join(
            (f"{head} {state}, {number - missing:,} of {amount(number, 'message')}, {holes}", *self._rest())
        )

    def _rest(self) -> Iterator[str]:
        """Yield further counts: repeats, and messages that the sender reports as not sent."""
        others = sum(self._came(name).count() for name in self.series.keys() - self.due.keys())
        for number, words in (
            (self._came(self.end[0]).count(self.end[1] + 1) if self.end else 0, "after its closing event"),
            (others, "in series that no longer count"),
            (self.repeats, "repeated"),
            (self.clashes, "with the number of another message"),
        ):
            if number:
                yield f"{number:,} {words}"
        reasons = counted(self.receipt.get("withheld_by_reason"))
        for key, words in (
            ("withheld", f"withheld by the sender ({reasons})" if reasons else "withheld by the sender"),
            ("dead", "dead at the sender"),
            ("not_wanted", "not subscribed to"),
        ):
            amount = self.receipt.get(key)
            if isinstance(amount, int) and amount > 0:
                yield f"{amount:,} {words}"


class CompletenessCheck:
    """The accounts of all scans, each for an endpoint."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Account] = {}
        #: in the order in which they became complete
        self._complete: dict[tuple[str, str], Account] = {}
        #: number of open accounts that were dropped because there were too many
        self.forgotten = 0

    def enter(self, message: Mapping[str, Any]) -> Account | None:
        """Enter a message; return its account if its closing event or its last missing message arrived."""
        entry = entry_of(message)
        if entry is None:
            return None
        key = (entry.scan, entry.endpoint)
        account = self._complete.get(key) or self._open.setdefault(key, Account(*key))
        before = (account.complete, account.end)
        account.enter(entry)
        is_news = before != (account.complete, account.end)
        if is_news:
            for accounts in (self._open, self._complete):
                accounts.pop(key, None)
            (self._complete if account.complete else self._open)[key] = account
        for accounts in (self._complete, self._open):
            if len(accounts) > ACCOUNTS_MAX:
                del accounts[next(iter(accounts))]
                self.forgotten += accounts is self._open
        return account if is_news else None

    @property
    def open(self) -> list[Account]:
        """The accounts that are not complete."""
        return [*self._open.values()]


def entry_of(message: Mapping[str, Any]) -> Arrival | None:
    """Return the entry of a message in the generic or the siem format; None if it is invalid or belongs to no scan."""
    if "raw_data" in message:
        data, about = _part(message, "raw_data"), message
        scan = _part(message, "scan").get("id")
    else:
        data, about = _part(message, "data"), _part(message, "metadata")
        scan = data.get("scan_id") if "scan_name" in about else None  # else no scan sent it, though it may name one
    endpoint, delivery, series, number = (about.get(key) for key in ("endpoint", "delivery_id", "series", "sequence"))
    if not isinstance(scan, str) or not isinstance(delivery, str) or not isinstance(series, str):
        return None
    if not isinstance(number, int) or not 0 < number <= NUMBER_MAX:
        return None
    event_type = type_named(str(message.get("event_type")))
    receipt = _part(data, SENT) if event_type and event_type.name in SEVERITY_OF_END else None
    return Arrival(scan, endpoint if isinstance(endpoint, str) else "", delivery, series, number, receipt)


def _earlier(receipt: Mapping[str, Any]) -> dict[str, int]:
    """Return series -> last number of those that a receipt names, except its own."""
    named = _part(receipt, EARLIER).items()
    return {name: last for name, last in named if isinstance(last, int) and 0 < last <= NUMBER_MAX}


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = whole.get(key)
    return found if isinstance(found, Mapping) else {}


def _named(gaps: Sequence[tuple[int, int]]) -> str:
    """Return gaps as #7, #12-13."""
    named = [f"#{begin}" if begin == end else f"#{begin}-{end}" for begin, end in gaps[:GAPS_MAX]]
    more = len(gaps) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
