"""Progress of a long command: a bar on a terminal, nothing in a pipe or a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: seconds between two updates
SHOW_SECONDS = 1.0


class Bar:
    """Shows progress while the context is entered; then it is gone, and the command prints its result.

    Args:
        total: number of items.
        word: the state of a finished item, such as "delivered".
    """

    def __init__(self, out: Console, total: int, word: str) -> None:
        self._total = total
        #: number of items that remained at the last update
        self.left = total
        self._shown_at = float("-inf")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        #: whether it is seen
        self.is_shown = out.is_terminal and not out.quiet and total > 0
        self._progress = Progress(*columns, console=out, disable=not self.is_shown, transient=True)
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
        self._progress.update(self._task, completed=max(self._total - left, 0))


@contextmanager
def bar_of_changes(out: Console) -> Iterator[Callable[[int, int], None]]:
    """Enter with a function that shows how many of all rows are changed, if it takes more than one transaction."""
    with ExitStack() as stack:
        bars: list[Bar] = []

        def show(done: int, total: int) -> None:
            if not bars and done < total:
                bars.append(stack.enter_context(Bar(out, total, "changed")))
            for bar in bars:
                bar.show(total - done)
            if done == total:  # what follows may show something else
                bars.clear()
                stack.close()

        yield show
