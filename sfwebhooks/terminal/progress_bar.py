"""Progress of a long command: a bar on a terminal, otherwise a line for each tenth of the work."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: seconds between two updates
SHOW_SECONDS = 1.0


class Bar:
    """Shows progress while the context is entered.

    Args:
        total: number of items.
        word: the state of a finished item, such as "delivered".
    """

    def __init__(self, out: Console, total: int, word: str) -> None:
        self._out, self._total, self._word = out, total, word
        #: number of items that remained at the last update
        self.left = total
        self._tenths = 0
        self._shown_at = float("-inf")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=out, disable=not out.is_terminal or not total)
        self._task = self._progress.add_task(word, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def is_due(self) -> bool:
        """Whether it is time for another update."""
        return time.monotonic() - self._shown_at >= SHOW_SECONDS

    def show(self, left: int) -> None:
        """Show that `left` items remain."""
        self.left, self._shown_at = left, time.monotonic()
        done = max(self._total - left, 0)
        self._progress.update(self._task, completed=done)
        tenths = done * 10 // max(self._total, 1)
        if tenths > self._tenths and not self._out.is_terminal:
            self._out.print(f"{done} of {self._total} {self._word}")
        self._tenths = max(tenths, self._tenths)
