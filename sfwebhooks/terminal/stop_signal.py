"""Ctrl-C and SIGTERM: a signal comes in, an event that a command can wait for goes out."""

from __future__ import annotations

import signal
import threading

#: signals that end a command
ENDING = (signal.SIGINT, signal.SIGTERM)


class StopSignal(threading.Event):
    """Set by the first SIGINT or SIGTERM; the second one raises KeyboardInterrupt.

    So Ctrl-C interrupts a command only where it calls `check`, not in the middle of a transaction.
    """

    def __init__(self) -> None:
        super().__init__()
        self._interrupted = False
        for number in ENDING:
            signal.signal(number, self._end)

    def _end(self, number: int, _: object) -> None:
        end_at_signals()
        self._interrupted = number == signal.SIGINT
        self.set()

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was Ctrl-C that set it."""
        if self._interrupted:
            raise KeyboardInterrupt


def end_at_signals() -> None:
    """Raise KeyboardInterrupt at SIGINT, which background jobs of a shell ignore, and at SIGTERM."""
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
