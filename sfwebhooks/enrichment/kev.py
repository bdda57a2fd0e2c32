"""The catalogue of Known Exploited Vulnerabilities (KEV) of CISA: a file comes in, its CVEs with due dates go out.

https://www.cisa.gov/known-exploited-vulnerabilities-catalog has it as JSON, with a schema, and as CSV.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sfwebhooks.enrichment.cves import CVE
from sfwebhooks.enrichment.data_file import Kind, is_day, is_json, json_object
from sfwebhooks.events import printable
from sfwebhooks.text_file import decoded_text

#: most bytes of the file: five times those of the catalogue with 1,500 CVEs
FILE_MAX = 8 * 1_048_576
EXPECTED = "CISA's known_exploited_vulnerabilities.json or .csv"
#: characters of the file that are shown
SHOWN_MAX = 60
#: place in the file, CVE, due date, and date on which it was added
Entry = tuple[str, object, object, object]


@dataclass(frozen=True)
class Catalogue:
    """The CVEs that are known to be exploited."""

    #: CVE -> date by which CISA requires it to be fixed; empty if the catalogue has none
    due_dates: Mapping[str, str]
    #: the day of its release, or else of its newest entry
    date: str
    #: the first entry that is skipped since it is not in the form of the catalogue
    doubt: str = ""

    @property
    def count(self) -> int:
        """The number of CVEs."""
        return len(self.due_dates)


def catalogue_of(data: bytes) -> Catalogue:
    """Read the catalogue in either form.

    Raises:
        ValueError: it is not the catalogue.
    """
    released, entries = _json_entries(data) if is_json(data) else ("", _csv_entries(decoded_text(data)))
    found: dict[str, str] = {}
    newest = doubt = ""
    for place, cve, due, added in entries:
        name = cve.strip() if isinstance(cve, str) else ""
        if not CVE.fullmatch(name):
            doubt = doubt or f"{place} is skipped: its cveID is {_shown(cve)}; expected one such as CVE-2021-44228"
            continue
        found[name] = due if isinstance(due, str) and is_day(due) else ""
        newest = max(newest, added) if isinstance(added, str) and is_day(added) else newest
    if not found:
        raise ValueError(doubt or f"it has no CVE; expected {EXPECTED}")
    return Catalogue(found, released or newest, doubt)


def _json_entries(data: bytes) -> tuple[str, Iterator[Entry]]:
    """Return the day of the release, and the entries."""
    whole = json_object(data, EXPECTED)
    rows, released = whole.get("vulnerabilities"), whole.get("dateReleased")
    if not isinstance(rows, list):
        raise ValueError(f'it has no list "vulnerabilities"; expected {EXPECTED}')
    day = released[:10] if isinstance(released, str) else ""
    return day if is_day(day) else "", map(_json_entry, enumerate(rows, 1))


def _json_entry(numbered: tuple[int, Any]) -> Entry:
    number, row = numbered
    values = row if isinstance(row, dict) else {}
    return f"entry {number}", values.get("cveID"), values.get("dueDate"), values.get("dateAdded")


def _csv_entries(text: str) -> Iterator[Entry]:
    reader = csv.reader(text.split("\n"))
    try:
        names = next(reader, [])
        if "cveID" not in names:
            raise ValueError(f"its first line is {_shown(','.join(names))}; expected {EXPECTED}")
        for row in filter(None, reader):
            values = dict(zip(names, row))
            yield f"line {reader.line_num}", values.get("cveID"), values.get("dueDate"), values.get("dateAdded")
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV ({error}); expected {EXPECTED}") from error


def _shown(value: object) -> str:
    """Return the beginning of a text of the file, in quotes."""
    return f'"{printable(value[:SHOWN_MAX])}"' if isinstance(value, str) else "not a text"


KEV = Kind("kev_file", catalogue_of, FILE_MAX, "no finding is marked as known_exploited")
