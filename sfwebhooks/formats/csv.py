"""The csv format: a whole scan as a table (RFC 4180), with a row for each of its findings and correlations.

What a spreadsheet would take for a formula begins with an apostrophe: what a scan finds must not control the program
that opens the file (https://owasp.org/www-community/attacks/CSV_Injection).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import REPLACED, Batch, timestamp
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.upload import UPLOAD, FileKind, goes_in_parts, uploaded
from sfwebhooks.formats.whole_scan import ScanFinding, scan_findings, whole_scan_format

KIND = FileKind("text/csv; charset=utf-8; header=present", "csv")
COLUMNS = (
    "time",
    "severity",
    "type",
    "module",
    "data",
    "source",
    "risk",
    "confidence",
    "scan",
    "target",
    "event_id",
)
#: what may begin a formula, the wide forms of some scripts among it; spreadsheets may skip spaces in front of it
FORMULA = re.compile(r"[ \u00a0\u3000]*[\t\r\n=+\-@\uff1d\uff0b\uff0d\uff20]")
#: the same within a cell: where ; separates columns, as in some countries, and where quotes are not understood, a
#: program finds more cells in it than there are
INNER_FORMULA = re.compile(r'([;\t\r\n][ "\u00a0\u3000]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])')
#: what a cell cannot have without quotes
SPECIAL = re.compile(r'[",\r\n]|\A\s|\s\Z')


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the upload of a scan."""

    def rows() -> Iterator[str]:
        yield _row(COLUMNS)
        for found in scan_findings(batch):
            yield _row(_cells(found))

    return uploaded(rows, KIND, batch, endpoint)


def _cells(found: ScanFinding) -> tuple[str, ...]:
    event = found.delivery.event
    scan = event.scan
    return (
        timestamp(found.at),
        event.severity.label,
        found.type,
        found.module,
        found.data,
        found.source,
        found.risk,
        found.confidence,
        scan.id if scan else "",
        scan.target if scan else "",
        event.id,
    )


def _row(cells: tuple[str, ...]) -> str:
    return ",".join(map(cell, cells)) + "\r\n"


def cell(text: str) -> str:
    """Return a text as a cell that is not a formula."""
    text = INNER_FORMULA.sub(r"\1'", text.replace("\0", REPLACED))
    if FORMULA.match(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if SPECIAL.search(text) else text


FORMAT = whole_scan_format(bundle, keys=UPLOAD, splits=goes_in_parts)
