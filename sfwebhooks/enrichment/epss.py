"""The scores of the Exploit Prediction Scoring System (EPSS) of FIRST: a file comes in, the scores of a CVE go out.

https://www.first.org/epss/data_stats has a CSV of all CVEs each day, plain or compressed, and an API that answers some
of them as JSON. The lines of 300,000 CVEs stay as they are: they take a fifth of the time of a dictionary to load, and
a seventh of its memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from sfwebhooks.enrichment.cves import CVE
from sfwebhooks.enrichment.data_file import Kind, is_day, is_json, json_object
from sfwebhooks.events import printable

#: most bytes of the file: seven times those of 300,000 CVEs
FILE_MAX = 64 * 1_048_576
EXPECTED = "FIRST's epss_scores-current.csv.gz, with the columns cve,epss,percentile"
#: a score or percentile, from 0 to 1
NUMBER = r"(?:0(?:\.[0-9]{1,20})?|1(?:\.0{1,20})?|[1-9](?:\.[0-9]{1,20})?[eE]-[0-9]{1,3})"
LINE = re.compile(rf"{CVE.pattern},({NUMBER})(?:,({NUMBER}))?\r?(?=\n|\Z)".encode())
#: the beginning of a line of another form
WRONG_LINE = re.compile(rf"\n(?!CVE-[0-9]{{4}}-[0-9]{{4,19}},{NUMBER}(?:,{NUMBER})?\r?\n)[^\r\n]".encode())
HEADER = re.compile(rb"(?:\xef\xbb\xbf)?((?:#[^\n]*\n)*)cve,epss(?:,percentile)?\r?\n")
SCORE_DATE = re.compile(r"score_date:([0-9-]{10})")
#: bytes of the file that are shown
SHOWN_MAX = 60
NEWLINE = b"\n"


class Score(NamedTuple):
    """How likely a CVE is to be exploited in the next 30 days."""

    #: 0 to 1
    probability: float
    #: the part of all CVEs with at most this score, 0 to 1; None: the file does not have it
    percentile: float | None


class Scores:
    """The scores of all CVEs.

    Args:
        lines: a line for each CVE, with a line break before the first and after the last; others have none.
        doubt: what is wrong with some of them.
    """

    def __init__(self, lines: bytes, date: str, doubt: str = "") -> None:
        self.date = date
        self.doubt = doubt
        self.count = lines.count(b"\nCVE-")
        self._lines = lines
        #: year of the CVE -> where its lines are, perhaps among others
        self._spans: dict[bytes, tuple[int, int]] = {}

    def of(self, cve: str) -> Score | None:
        """Return the scores of a CVE, or None if the file does not have it."""
        name = cve.encode()
        at = self._lines.find(b"\n%s," % name, *self._span(name[: len("CVE-2026-")]))
        line = LINE.match(self._lines, at + 1) if at >= 0 else None
        return Score(float(line[1]), float(line[2]) if line[2] else None) if line else None

    def _span(self, year: bytes) -> tuple[int, int]:
        """Return the part of the lines to search, whatever their order."""
        if year not in self._spans:
            first, last = self._lines.find(b"\n" + year), self._lines.rfind(b"\n" + year)
            self._spans[year] = (first, self._lines.find(b"\n", last + 1)) if first >= 0 else (0, 0)
        return self._spans[year]


def scores_of(data: bytes) -> Scores:
    """Read the scores in any of their forms.

    Raises:
        ValueError: it is not such a file.
    """
    scores = _from_json(data) if is_json(data) else _from_csv(data)
    if not scores.count:
        raise ValueError(f"it has no CVE; expected {EXPECTED}")
    return scores


def _from_csv(data: bytes) -> Scores:
    header = HEADER.match(data)
    if not header:
        raise ValueError(f"its first line is {_shown(data)}; expected {EXPECTED}")
    lines = data if data.endswith(b"\n") else data + b"\n"
    wrong, doubt = WRONG_LINE.search(lines, header.end() - 1), ""
    if wrong:
        start = wrong.start() + 1
        line = f"line {lines.count(NEWLINE, 0, start) + 1} is {_shown(lines[start : start + 2 * SHOWN_MAX])}"
        doubt = f"{line} and is skipped; expected CVE-...,score,percentile with scores from 0 to 1"
    dated = SCORE_DATE.search(header[1].decode("utf-8", "replace"))
    return Scores(lines, dated[1] if dated and is_day(dated[1]) else "", doubt)


def _from_json(data: bytes) -> Scores:
    """Read an answer of the API; its numbers are texts."""
    expected = 'an answer of https://api.first.org/data/v1/epss, with a list "data", or ' + EXPECTED
    rows = json_object(data, expected).get("data")
    if not isinstance(rows, list):
        raise ValueError(f'it has no list "data"; expected {expected}')
    entries = [row for row in rows if isinstance(row, dict)]
    lines = sorted(filter(None, map(_line, entries)))
    skipped = len(rows) - len(lines)
    return Scores(
        b"\n".join([b"", *lines, b""]),
        _newest(row.get("date") for row in entries),
        f'{skipped:,} entries of "data" are skipped; expected cve, epss and percentile with scores from 0 to 1'
        if skipped
        else "",
    )


def _line(row: dict[str, Any]) -> bytes | None:
    """Return an entry as a line of the CSV; None: it has another form."""
    values = [row.get("cve"), row.get("epss"), *([row["percentile"]] if "percentile" in row else [])]
    texts = [value for value in values if isinstance(value, str)]
    line = ",".join(texts).encode("utf-8", "replace")
    return line if len(texts) == len(values) and LINE.fullmatch(line) and b"\r" not in line else None


def _newest(days: Iterable[object]) -> str:
    return max((day for day in days if isinstance(day, str) and is_day(day)), default="")


def _shown(data: bytes) -> str:
    """Return the beginning of a line of the file, in quotes."""
    return f'"{printable(data.partition(NEWLINE)[0][:SHOWN_MAX].decode("utf-8", "replace").strip())}"'


EPSS = Kind("epss_file", scores_of, FILE_MAX, "findings have no epss_score")
