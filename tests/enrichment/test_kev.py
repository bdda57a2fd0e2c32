"""CISA's catalogue in both forms, and files that are not the catalogue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sfwebhooks.enrichment.data_file import JSON_MAX
from sfwebhooks.enrichment.kev import Catalogue, catalogue_of

ENTRY = {
    "cveID": "CVE-2021-44228",
    "vendorProject": "Apache",
    "product": "Log4j2",
    "vulnerabilityName": "Apache Log4j2 Remote Code Execution Vulnerability",
    "dateAdded": "2021-12-10",
    "shortDescription": 'Apache Log4j2 contains "JNDI" features, which\nallow remote code execution.',
    "requiredAction": "For all affected software assets, apply updates.",
    "dueDate": "2021-12-24",
    "knownRansomwareCampaignUse": "Known",
    "notes": "https://nvd.nist.gov/vuln/detail/CVE-2021-44228",
    "cwes": ["CWE-20", "CWE-400", "CWE-502"],
}
OTHER = {**ENTRY, "cveID": "CVE-2014-0160", "dateAdded": "2022-05-04", "dueDate": "2022-05-25"}
COLUMNS = [*ENTRY]


def as_json(*entries: Any, **more: Any) -> bytes:
    whole = {"title": "t", "catalogVersion": "2026.11.25", "dateReleased": "2026-11-25T20:33:53.3676Z", "count": 2}
    return json.dumps({**whole, "vulnerabilities": list(entries), **more}, indent=4).encode()


def as_csv(*entries: dict[str, Any], end: str = "\n") -> bytes:
    def cell(value: Any) -> str:
        text = ", ".join(value) if isinstance(value, list) else value
        return '"' + text.replace('"', '""') + '"' if set(text) & set(' ",\n') else text

    return end.join([",".join(COLUMNS), *(",".join(map(cell, one.values())) for one in entries), ""]).encode()


DUE = {"CVE-2021-44228": "2021-12-24", "CVE-2014-0160": "2022-05-25"}


def test_the_json_of_cisa() -> None:
    assert catalogue_of(as_json(ENTRY, OTHER)) == Catalogue(DUE, "2026-11-25")
    assert catalogue_of(b"\xef\xbb\xbf  " + as_json(ENTRY, OTHER)).count == 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_csv_of_cisa(end: str) -> None:
    assert catalogue_of(as_csv(ENTRY, OTHER, end=end)) == Catalogue(DUE, "2022-05-04")  # it has no day of release
    assert catalogue_of(b"\xef\xbb\xbf" + as_csv(ENTRY)).count == 1


def test_only_two_columns_are_needed() -> None:
    assert catalogue_of(b"dueDate,cveID\n2026-12-01,CVE-2026-0001") == Catalogue({"CVE-2026-0001": "2026-12-01"}, "")


@pytest.mark.parametrize("due", [None, "", "soon", 20261201, "2026-13-01", "20261201", ["2026-12-01"]])
def test_a_due_date_that_is_not_a_day_is_left_out(due: Any) -> None:
    assert catalogue_of(as_json({**ENTRY, "dueDate": due})).due_dates == {"CVE-2021-44228": ""}


@pytest.mark.parametrize("entry", [None, 5, {}, {"cveID": None}, {"cveID": "GHSA-1"}, {"cveID": ["CVE-2021-44228"]}])
def test_an_entry_without_a_cve_is_skipped_and_named(entry: Any) -> None:
    found = catalogue_of(as_json(ENTRY, entry, OTHER, None))
    assert (found.due_dates, found.doubt.partition(":")[0]) == (DUE, "entry 2 is skipped")
    assert "expected one such as CVE-2021-44228" in found.doubt


def test_a_line_without_a_cve_is_skipped_and_named() -> None:
    found = catalogue_of(as_csv(ENTRY, {**OTHER, "cveID": "x" * 99}) + b"\n\nCVE-2014-0160\n")
    assert found.due_dates == {"CVE-2021-44228": "2021-12-24", "CVE-2014-0160": ""}
    assert found.doubt.startswith(f'line 5 is skipped: its cveID is "{"x" * 60}"; ')


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "its first line is"),
        (b"<html>\nNot found", 'its first line is "<html>"; expected CISA'),
        (b"a\tb\n\x1b[31m", "its first line is"),
        (b"cve,epss,percentile\nCVE-2021-44228,0.9,0.9\n", 'its first line is "cve,epss,percentile"'),
        (b"cveID,dueDate\n", "it has no CVE; expected CISA"),
        (b"cveID,dueDate\nx,y\n", 'line 2 is skipped: its cveID is "x"'),
        (b'cveID\n"' + b"x" * 200_000, "line 2 is not CSV"),
        ("cveID,dueDate\n".encode("utf-16"), "it is saved as UTF-16"),
        (b"cveID\n\xff\xfe\xfd", "line 2 is not UTF-8"),
        (b"{", "it is not JSON that can be read"),
        (b'{"vulnerabilities": "\xff"}', "it is not JSON that can be read"),
        (b"[]", "its JSON is not an object"),
        (b"{}", 'it has no list "vulnerabilities"'),
        (b'{"vulnerabilities": {}}', 'it has no list "vulnerabilities"'),
        (b'{"vulnerabilities": []}', "it has no CVE"),
        (b'{"vulnerabilities":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":"' + b"x" * JSON_MAX + b'"}', "more than the accepted 8,388,608 bytes of JSON"),
    ],
)
def test_another_file_is_refused_with_what_was_found(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        catalogue_of(data)


def test_a_number_of_a_million_digits_is_not_computed() -> None:
    assert catalogue_of(as_json(ENTRY)[:-1] + b',"count":' + b"9" * 1_000_000 + b"}").count == 1


@given(some.binary(max_size=200))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    for whole in (data, b"cveID\n" + data, b'{"vulnerabilities":[' + data + b"]}"):
        try:
            assert catalogue_of(whole).count
        except ValueError as error:
            assert str(error)
