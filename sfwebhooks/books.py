"""The Books of a receiver: messages come in, and at each scan's end goes out whether all of them came.

A scan's messages to an endpoint are numbered 1, 2, 3 ... without gaps, and the one that tells the end has the last
number. They may come in any order and several times, so the account of a scan can become complete after its end came.
If they are numbered anew, as `receipts` has it, all come once more, and only the last run of numbers counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sfwebhooks.catalogue import find
from sfwebhooks.lifecycle import SEVERITY_OF_END
from sfwebhooks.receipts import RUN, SENT, first_of_run
from sfwebhooks.words import counted

#: no scan is numbered anew so often; a greater number is rubbish
NUMBER_MAX = 1000 * RUN
#: numbers whose bits are kept together; a part of a run
BLOCK = 1000
ONES = re.compile("1+")
#: gaps that are named
GAPS_MAX = 8
#: numbers of a scan whose ids are remembered, to tell a message that came again from one that was numbered anew
RECENT_MAX = 1000
#: accounts that are kept although they are complete: what comes again late does not open a new one
COMPLETE_MAX = 1000


class Entry(NamedTuple):
    """What the books need of a message."""

    scan: str
    endpoint: str
    #: id of the delivery
    id: str
    number: int
    #: the receipt, if it is the scan's end; empty if it has none
    receipt: Mapping[str, Any] | None


class Numbers:
    """Some of the numbers from 1 on, in whatever order they come, a bit for each."""

    def __init__(self) -> None:
        #: number of a block -> its bits, the first one for its smallest number
        self._blocks: dict[int, int] = {}
        #: first number of a run -> how many of the run there are
        self._counts: Counter[int] = Counter()
        #: the greatest one; 0 if there is none
        self.greatest = 0

    def add(self, number: int) -> bool:
        """Add a number; return whether it was not there."""
        block, place = divmod(number - 1, BLOCK)
        bits = self._blocks.get(block, 0)
        if bits >> place & 1:
            return False
        self._blocks[block] = bits | 1 << place
        self._counts[first_of_run(number)] += 1
        self.greatest = max(self.greatest, number)
        return True

    def count(self, least: int = 1, most: int = NUMBER_MAX) -> int:
        """Return how many there are between two numbers, both included."""
        return sum(max(0, min(end, most) - max(begin, least) + 1) for begin, end in self._ranges())

    def reach(self, first: int, last: int) -> bool:
        """Say whether none is missing from `first` to `last`, which are of a run."""
        return self._counts[first_of_run(last)] > last - first and not self.gaps(first, last)

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the first and the last number of each gap from `first` to `last`."""
        found, at = [], first
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


@dataclass
class Account:
    """What came of a scan to an endpoint."""

    scan: str
    endpoint: str
    numbers: Numbers = field(default_factory=Numbers)
    #: number -> id of the last messages that came; nothing once all have come
    recent: dict[int, str] = field(default_factory=dict)
    #: messages that had come before
    repeats: int = 0
    #: number of the end; 0: it has not come
    last: int = 0
    receipt: Mapping[str, Any] = field(default_factory=dict)

    def enter(self, entry: Entry) -> None:
        """Enter a message. One that came again long after it came is known by its number alone."""
        is_new = self.numbers.add(entry.number)
        if entry.receipt is not None and entry.number > self.last:
            self.last, self.receipt = entry.number, entry.receipt
        elif not is_new and self.recent.get(entry.number, entry.id) == entry.id:
            self.repeats += 1
        self.recent[entry.number] = entry.id
        if self.complete:
            self.recent.clear()
        elif len(self.recent) > RECENT_MAX:
            del self.recent[next(iter(self.recent))]

    @property
    def first(self) -> int:
        """The number with which the run begins that counts."""
        return first_of_run(self.last or self.numbers.greatest or 1)

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """The first and the last number of each gap, up to the end as far as that is known."""
        return self.numbers.gaps(self.first, self.last or self.numbers.greatest)

    @property
    def complete(self) -> bool:
        """Whether the end came, and all before it."""
        return bool(self.last) and self.numbers.reach(self.first, self.last)

    def __str__(self) -> str:
        head = f"scan {self.scan} for {self.endpoint}:" if self.endpoint else f"scan {self.scan}:"
        gaps = self.gaps
        missing = sum(end - begin + 1 for begin, end in gaps)
        holes = f"{missing:,} missing ({_named(gaps)})" if missing else "none missing"
        if not self.last:
            came = _messages(self.numbers.count(self.first))
            return "; ".join((f"{head} its end has not come; {came}, {holes}", *self._rest()))
        state = "incomplete so far" if missing else "complete"
        number = self.last - self.first + 1
        came = f"{number - missing:,} of {_messages(number)}"
        return "; ".join((f"{head} {state}, {came}, {holes}", *self._rest()))

    def _rest(self) -> Iterator[str]:
        """Yield what else there is to say: repeats, and what the sender says it did not send."""
        after = self.numbers.count(self.last + 1) if self.last else 0
        if after:
            yield f"{after:,} more after its end"
        if self.first > 1:
            yield f"numbered anew from #{self.first} on"
        if self.repeats:
            yield f"{self.repeats:,} came again"
        reasons = counted(self.receipt.get("withheld_by_reason"))
        for key, words in (
            ("withheld", f"withheld by the sender ({reasons})" if reasons else "withheld by the sender"),
            ("dead", "given up by the sender"),
            ("not_wanted", "not asked for"),
        ):
            number = self.receipt.get(key)
            if isinstance(number, int) and number > 0:
                yield f"{number:,} {words}"


class Books:
    """The accounts of all scans, each for an endpoint."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Account] = {}
        #: those that are complete, the one that was so first before the others
        self._complete: dict[tuple[str, str], None] = {}

    def enter(self, message: Mapping[str, Any]) -> Account | None:
        """Enter a message; return its account where there is news: the end came, or what was still missing then."""
        entry = entry_of(message)
        if entry is None:
            return None
        key = (entry.scan, entry.endpoint)
        account = self._accounts.setdefault(key, Account(*key))
        before = (account.complete, account.last)
        account.enter(entry)
        if before == (account.complete, account.last):
            return None
        if account.complete:
            self._complete[key] = None
            self._forget()
        else:
            self._complete.pop(key, None)
        return account

    def _forget(self) -> None:
        """Forget the oldest of the accounts that are complete."""
        while len(self._complete) > COMPLETE_MAX:
            oldest = next(iter(self._complete))
            del self._complete[oldest], self._accounts[oldest]

    @property
    def open(self) -> list[Account]:
        """The accounts that are not complete."""
        return [account for account in self._accounts.values() if not account.complete]


def entry_of(message: Mapping[str, Any]) -> Entry | None:
    """Return the entry of a message of the generic or the siem format; None if it belongs to no scan, or is none."""
    if "raw_data" in message:
        data, about = _part(message, "raw_data"), message
        scan = _part(message, "scan").get("id")
    else:
        data, about = _part(message, "data"), _part(message, "metadata")
        scan = data.get("scan_id") if "scan_name" in about else None  # else no scan told it, though it may name one
    endpoint, delivery, number = (about.get(key) for key in ("endpoint", "delivery_id", "sequence"))
    if not isinstance(scan, str) or not isinstance(delivery, str) or not isinstance(number, int):
        return None
    if not 0 < number <= NUMBER_MAX:
        return None
    told = find(str(message.get("event_type")))
    receipt = _part(data, SENT) if told and told.name in SEVERITY_OF_END else None
    return Entry(scan, endpoint if isinstance(endpoint, str) else "", delivery, number, receipt)


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = whole.get(key)
    return found if isinstance(found, Mapping) else {}


def _messages(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"


def _named(gaps: Collection[tuple[int, int]]) -> str:
    """Return gaps as #7, #12-13."""
    named = [f"#{begin}" if begin == end else f"#{begin}-{end}" for begin, end in list(gaps)[:GAPS_MAX]]
    more = len(gaps) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
