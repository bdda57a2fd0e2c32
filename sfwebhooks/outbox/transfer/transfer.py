"""The transfer itself: step by step, and then the events in groups. After a kill the same call goes on behind the last
group that was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice

from sfwebhooks.outbox.transfer.cleaning import Row
from sfwebhooks.outbox.transfer.source import SourceFile
from sfwebhooks.outbox.transfer.tables import KEYS, STEPS, MovedTable, columns_of
from sfwebhooks.outbox.transfer.target import NUMBERED, Target, TransferState

#: rows of a group of a table that has no events
GROUP_ROWS = 5000
#: places of columns that change on the way
SERIES, ENDPOINT, REFUSED_IN = (
    [column.name for column in columns_of("delivery")].index(name) for name in ("series", "endpoint", "refused_in")
)


class Transfer:
    """A transfer.

    Args:
        source: retired.
        notes: as for `Target.begin`.
        progress: called with the number of events that are done, and of all.
    """

    def __init__(
        self,
        source: SourceFile,
        target: Target,
        notes: Mapping[str, str],
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> None:
        self._source = source
        self._target = target
        self._notes = notes
        self._progress = progress
        self._bases: Mapping[str, int] = {}
        #: those of each table, once they are asked for: then its rows are there
        self._numbers = lru_cache(maxsize=None)(self._find_numbers)

    def run(self, state: TransferState) -> TransferState:
        """Move all rows that are not moved yet; return the state at the end.

        Raises:
            OutboxError: the target cannot be used; the next call goes on.
        """
        self._source.damage.update(state.damage)
        if not state.bases:
            largest = {table: self._source.largest(table) for table in NUMBERED}
            series = [str(key) for _, key in self._source.keys("series")]
            state = self._target.begin(state, largest, series, self._notes)
        self._bases, scans = state.bases, self._source.open_scans()
        if not state.is_done:
            self._target.vouch(scans)
        for number, step in enumerate(STEPS):
            if number == state.step:
                state = self._move(step, state)
        if not state.is_done:
            state = self._target.finish(self._move_events(state), scans)
        return state

    def _move(self, step: MovedTable, state: TransferState) -> TransferState:
        """Move the rest of a table."""
        rows = self._source.rows(step, state.place)
        if step.table == "tally" and state.is_again:
            rows = iter(())
        while True:
            chunk = [*islice(rows, GROUP_ROWS)]
            new = [self._translated(step.table, row, step.numbers) for row in chunk]
            is_over = len(chunk) < GROUP_ROWS
            place = {"step": state.step + 1, "place": 0} if is_over else {"place": state.place + len(chunk)}
            after = state.after(step.table, len(chunk), damage=dict(self._source.damage), **place)
            state = self._target.put(step, new, state, after)
            if is_over:
                return state

    def _move_events(self, state: TransferState) -> TransferState:
        """Move the rest of the events, with their deliveries and attempts."""
        scans, eras = {"scan": "scan"}, self._target.eras()
        total, base, most = self._source.count("event"), self._bases["scan"], self._source.largest("scan")
        for group in self._source.groups(state.place):
            events = [self._translated("event", row, scans) for row in group.events]
            deliveries = [self._delivery(row, eras) for row in group.deliveries]
            attempts = [self._translated("delivery_attempt", row, {"number": "delivery"}) for row in group.attempts]
            after = state.after("event", len(events), damage=dict(self._source.damage), place=group.last)
            after = after.after("delivery", len(deliveries)).after("delivery_attempt", len(attempts))
            # of scans with the numbers that were taken for them, no event can be there
            shared = {row[1] for row in events if not base < row[1] <= base + most}
            state = self._target.put_events((events, deliveries, attempts), shared, state, after)
            self._progress(state.moved["event"], total)
        return state

    def _translated(self, table: str, row: Row, numbers: Mapping[str, str]) -> Row:
        """Return a row with the numbers of the target."""
        own = NUMBERED.get(table)
        return tuple(
            self._number(numbers[column.name], value)
            if column.name in numbers
            else value + self._bases[table]
            if column.name == own
            else value
            for column, value in zip(columns_of(table), row)
        )

    def _delivery(self, row: Row, eras: Mapping[str, int]) -> Row:
        """Return a delivery with the numbers of the target: first refused in an era that its endpoint has reached."""
        bases, refused_in = self._bases, row[REFUSED_IN]
        made = [row[0] + bases["delivery"], row[1] + bases["event"], *row[2:]]
        made[SERIES] = self._number("series", row[SERIES])
        if refused_in is not None:
            made[REFUSED_IN] = min(refused_in, eras.get(row[ENDPOINT], refused_in))
        return tuple(made)

    def _number(self, table: str, number: int | None) -> int | None:
        """Return the number of a row in the target; 0 is that of none."""
        if number is None or table not in KEYS:
            return None if number is None else number + self._bases[table]
        return self._numbers(table).get(number, 0)

    def _find_numbers(self, table: str) -> dict[int, int]:
        return self._target.numbers(table, self._source.keys(table), self._bases[table])
