"""The csv format: its columns, and that no cell is a formula."""

from __future__ import annotations

import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as some

from sfwebhooks.events import Batch, WebhookEvent
from sfwebhooks.formats import render
from sfwebhooks.formats.csv import COLUMNS, cell
from sfwebhooks.scan.correlations import event_of_correlation
from sfwebhooks.scan.findings import event_of_finding
from tests.builders import NOW, a_correlation, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.rows import in_one

FORMULAS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


def table(*events: WebhookEvent) -> list[dict[str, str]]:
    body = render(Batch(tuple(map(a_delivery, events))), an_endpoint(format="csv")).body
    assert body.startswith(",".join(COLUMNS).encode() + b"\r\n") and body.endswith(b"\r\n")
    return [*csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True)]


def test_a_finding_is_a_row() -> None:
    event = event_of_finding(a_finding(data='a, "b"\nc'), a_scan(), "words")
    assert table(event, an_event(2, type="scan_completed", data={})) == [
        {
            "time": "2026-11-21T10:00:00.000Z",
            "severity": "high",
            "type": "VULNERABILITY_CVE_HIGH",
            "module": "sfp_example",
            "data": 'a, "b"\nc',
            "source": "acme.example",
            "risk": "0",
            "confidence": "100",
            "scan": "5C4A0001",
            "target": "acme.example",
            "event_id": event.id,
        }
    ]


def test_a_correlation_is_a_row_with_its_rule() -> None:
    (row,) = table(event_of_correlation(a_correlation(), (), a_scan(), NOW))
    assert (row["type"], row["data"]) == ("cloud_bucket_open", "Cloud storage bucket found open: acme")


@in_one("start", FORMULAS)
@in_one("before", ["", " ", "\u00a0 "])
def test_no_cell_is_a_formula(start: str, before: str) -> None:
    data = f"{before}{start}HYPERLINK(1)"
    (row,) = table(an_event(data={"event_type": data, "data": data, "module": data, "sources": [{"data": data}]}))
    assert {row[key] for key in ("type", "data", "module", "source")} == {f"'{data}"}


@in_one("start", "=+-@\uff1d")
@in_one("before", ["a;", "a; ", 'a;"', "a\n", "a\r\n", "a\t", ";;"])
def test_no_part_of_a_cell_is_a_formula_where_another_separator_is_expected(start: str, before: str) -> None:
    data = f"{before}{start}HYPERLINK(1)"
    (row,) = table(an_event(data={"event_type": "X", "data": data}))
    assert row["data"] == f"{before}'{start}HYPERLINK(1)"


@given(some.text(max_size=50) | some.text("=+-@;,\"' \t\n\ra", max_size=50))
def test_a_cell_is_read_as_it_was_but_for_apostrophes(text: str) -> None:
    ((found, last),) = csv.reader(io.StringIO(f"{cell(text)},x\r\n", newline=""), strict=True)
    assert found.replace("'", "") == text.replace("\0", "\ufffd").replace("'", "")
    others = re.split("[;\t\r\n]", found)[1:]
    assert last == "x" and found.lstrip(" \u00a0\u3000")[:1] not in {*FORMULAS}
    assert all(part.lstrip(' "\u00a0\u3000')[:1] not in {*FORMULAS} for part in others)
