"""What foreign text costs as it grows: CPU time of each function that reads some, for texts of 1 kB, 64 kB and 4 MB.

A text of n times the size may take n times as long, whatever is in it. So each function gets many shapes of text, those
among them that make a regular expression, or a loop with a slice in it, try the same again and again.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import reading

SIZES = (1024, 64 * 1024, 4 * 1024 * 1024)
#: a size takes so many times longer than a linear function would take, and more is not linear: caches and memory make
#: large texts dearer by two or three
SLACK = 4.0
#: seconds for a megabyte below which a text is only copied: what that takes depends on which cache holds it, and pages
COPIED = 0.02
#: seconds for a megabyte from which on a function is slow
SLOW = 3.0
#: seconds that a size may be expected to take; above it is not tried
PATIENCE = 60.0
#: seconds below which a call is repeated, since the clock says little about it
LEAST = 0.005


def repeating(part: str) -> Callable[[int], str]:
    """Return what makes a text of so many characters."""
    return lambda size: (part * (size // len(part) + 1))[:size]


#: name -> a text of so many characters
SHAPES: dict[str, Callable[[int], str]] = {
    name: repeating(part)
    for name, part in {
        "letters": "a",
        "words": "one two, three: four\n",
        "spaces": " ",
        "lines": "\n",
        "lines of a letter": "a\n",
        "tabs and carriage returns": "\t\r",
        "digits": "9",
        "letters outside ASCII": "äß",
        "lone surrogates": "\ud800",
        "pairs of surrogates": "\ud83d\ude00",
        "invisible characters": "\u200b\u202e",
        "backslashes": "\\",
        "escapes": "\\u00e4%C3%A4&auml;",
        "ampersands": "&#",
        "percent signs": "%25",
        "base64": "c2VjcmV0IHRva2Vu",
        "brackets": "[",
        "brackets after spaces": " [",
        "braces": '{"a":',
        "quotes": "\"'",
        "colons": "a:",
        "addresses": "a@b:",
        "slashes": "/a.",
        "commas": ",a",
        "equal signs": "a = b\n",
        "sections": "[webhooks.a]\n",
        "asterisks": "*_~`",
        "almost a score": "Score: 1.1.1\n",
        "the beginning of a secret": "my-long-signing-secret",
    }.items()
}


@dataclass(frozen=True)
class Growth:
    """What a function took for a shape of text."""

    name: str
    shape: str
    #: size -> seconds of CPU; a size is missing if it would have taken too long
    seconds: dict[int, float]

    @property
    def verdict(self) -> str:
        """What is wrong with it, or nothing."""
        known = sorted(self.seconds.items())
        for (small, before), (large, after) in zip(known, known[1:]):
            if after > SLACK * before * large / small and after > COPIED * large / 1024 / 1024:
                return "NOT LINEAR"
        if len(known) < len(SIZES):
            return "TOO SLOW"
        return "SLOW" if self.per_megabyte > SLOW else ""

    @property
    def per_megabyte(self) -> float:
        """Seconds for a megabyte at the largest size."""
        size = max(self.seconds)
        return self.seconds[size] * 1024 * 1024 / size

    @property
    def ratios(self) -> str:
        """By how much more each size takes than the one before, through what it is larger."""
        known = sorted(self.seconds.items())
        return " ".join(f"{b / a * x / y:.2f}" for (x, a), (y, b) in zip(known, known[1:]))


def measured(name: str, shape: str, make: Callable[[int], Any], run: Callable[[Any], object]) -> Growth:
    """Measure a function with texts of all sizes, as far as they do not take too long."""
    seconds: dict[int, float] = {}
    last = 0
    for size in SIZES:
        # if it were quadratic
        if last and seconds[last] * (size / last) > PATIENCE:
            break
        given = make(size)
        seconds[size], last = cpu_seconds(run, given), size
        if len(seconds) > 1 and Growth(name, shape, seconds).verdict == "NOT LINEAR" and size < SIZES[-1]:
            break
    return Growth(name, shape, seconds)


def cpu_seconds(run: Callable[[Any], object], given: Any) -> float:
    """Return how long a call takes, the quickest of some where it is short."""
    best, begin = float("inf"), time.process_time()
    while True:
        before = time.process_time()
        with contextlib.suppress(Exception):  # that it is refused is an answer too
            run(given)
        after = time.process_time()
        best = min(best, after - before)
        if after - begin >= LEAST:
            return max(best, 1e-7)


def growths(only: str) -> Iterator[Growth]:
    """Measure all functions whose row has a text in its name."""
    for name, run in reading.OF_TEXT.items():
        for shape, make in SHAPES.items():
            if only in f"growing: {name}: {shape}":
                yield said(measured(name, shape, make, run))
    for name, (prepare, run) in reading.OF_ITEMS.items():
        if only in f"growing: {name}":
            yield said(measured(name, "", prepare, run))


def said(growth: Growth) -> Growth:
    """Say at once what is wrong, and where we are."""
    end = "\n" if growth.verdict else "\r"
    print(f"{growth.name}: {growth.shape} {growth.verdict}".ljust(100), end=end, file=sys.stderr, flush=True)
    return growth


def names() -> list[str]:
    """Return the names of all rows."""
    texts = [f"growing: {name}: {shape}" for name in reading.OF_TEXT for shape in SHAPES]
    return [*texts, *(f"growing: {name}" for name in reading.OF_ITEMS)]


def show(found: Sequence[Growth]) -> int:
    """Print the worst shape of each function, and whatever is wrong; return how many are."""
    wrong = [growth for growth in found if growth.verdict]
    worst = {growth.name: growth for growth in sorted(found, key=lambda growth: growth.per_megabyte)}
    table = Table("function", "dearest shape", *(f"{size // 1024:,} kB" for size in SIZES), "a MB", "growth", "verdict")
    for growth in [*(worst[name] for name in dict.fromkeys(one.name for one in found)), *wrong]:
        times = [f"{growth.seconds[size] * 1000:,.2f} ms" if size in growth.seconds else "-" for size in SIZES]
        cost = f"{growth.per_megabyte:.3f} s"
        table.add_row(growth.name, growth.shape, *times, cost, growth.ratios, growth.verdict or "linear")
    Console(width=180).print(table)
    print(f"{len(found)} measured, {len(wrong)} not linear or slow")
    return len(wrong)
