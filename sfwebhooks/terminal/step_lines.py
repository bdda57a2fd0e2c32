"""The lines of a test: a StepLine comes in, an aligned line on the terminal goes out."""

from __future__ import annotations

from typing import Callable

from rich.console import Console

from sfwebhooks.inspection.attempt_steps import StepLine
from sfwebhooks.terminal.output import plain, print_hanging

#: characters of the columns in front of the words
LABEL, TIME = 9, 8


def step_printer(out: Console) -> Callable[[StepLine], None]:
    """Return what prints each line; long ones are continued below their words."""

    def show(line: StepLine) -> None:
        spent = "" if line.seconds is None else in_short(line.seconds)
        print_hanging(f"{line.label:<{LABEL}}{spent:>{TIME}}  ", plain(line.words, line.style), out)

    return show


def in_short(seconds: float) -> str:
    """Return a time as milliseconds, or as seconds from one on."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
