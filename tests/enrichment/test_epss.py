"""FIRST's scores in all of their forms, and files that have none."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sfwebhooks.enrichment.epss import Score, scores_of

HEAD = b"#model_version:v2025.03.14,score_date:2026-11-28T00:00:00+0000\ncve,epss,percentile\n"
LINES = b"CVE-1999-0001,0.0046,0.7385\nCVE-2021-1000,0.5,0.75\nCVE-2021-10000,1.00000,1\nCVE-2026-0001,9.1e-05,0\n"


def test_the_csv_of_first() -> None:
    found = scores_of(HEAD + LINES)
    assert (found.count, found.date, found.doubt) == (4, "2026-11-28", "")
    assert found.of("CVE-1999-0001") == Score(0.0046, 0.7385)
    assert found.of("CVE-2021-1000") == (0.5, 0.75)
    assert found.of("CVE-2021-10000") == (1.0, 1.0)
    assert found.of("CVE-2026-0001") == (9.1e-05, 0.0)


@pytest.mark.parametrize("cve", ["CVE-2021-100", "CVE-2021-100000", "CVE-2022-1000", "CVE-1999-0002", "CVE-2021-0001"])
def test_a_cve_without_a_score_has_none(cve: str) -> None:
    found = scores_of(HEAD + LINES)
    assert [found.of(cve) for _ in range(2)] == [None, None]


@pytest.mark.parametrize(
    "data",
    [
        HEAD.partition(b"\n")[2] + LINES,
        b"\xef\xbb\xbf" + HEAD + LINES,
        (HEAD + LINES).replace(b"\n", b"\r\n"),
        HEAD + LINES.rstrip(),
        HEAD + b"\n" + LINES.replace(b"\n", b"\n\n"),
        b"# a comment\n" + HEAD + LINES,
    ],
)
def test_a_csv_that_was_saved_by_another_program(data: bytes) -> None:
    found = scores_of(data)
    assert (found.count, found.doubt) == (4, "")
    assert [found.of(cve) for cve in ("CVE-1999-0001", "CVE-2026-0001")] == [(0.0046, 0.7385), (9.1e-05, 0.0)]


def test_a_csv_without_percentiles() -> None:
    found = scores_of(b"cve,epss\nCVE-2021-1000,0.5\n")
    assert (found.of("CVE-2021-1000"), found.date) == ((0.5, None), "")


def test_each_score_is_found_in_any_order_of_the_lines() -> None:
    rows = [(f"CVE-{1999 + at % 28}-{at * 7919 % 70000:04d}", at / 1000, 1 - at / 1000) for at in range(1000)]
    random.Random(5).shuffle(rows)
    found = scores_of(HEAD + "".join(f"{cve},{epss},{part}\n" for cve, epss, part in rows).encode())
    assert (found.count, found.doubt) == (1000, "")
    assert [found.of(cve) for cve, _, _ in rows] == [(epss, part) for _, epss, part in rows]


@pytest.mark.parametrize(
    "line",
    [b"CVE-2021-2000;0.5;0.5", b"CVE-2021-2000,50%,0.5", b"CVE-2021-2000,1.5,0.5", b"CVE-2021-2000,nan,0", b"\x1b[31m",
     b"CVE-2021-2000,0.5,0.5,more", b"CVE-2021-2000,-0.5,0.5", b'"CVE-2021-2000",0.5,0.5', b"CVE-2021-2000,0.5,0.5 "],
)  # fmt: skip
def test_a_line_of_another_form_is_skipped_and_named(line: bytes) -> None:
    found = scores_of(HEAD + LINES + line + b"\nCVE-2021-3000,0.1,0.2\n" + line)
    assert found.of("CVE-2021-2000") is None
    assert [found.of(cve) for cve in ("CVE-2021-1000", "CVE-2021-3000")] == [(0.5, 0.75), (0.1, 0.2)]
    assert found.doubt.startswith('line 7 is "') and "and is skipped; expected CVE-...,score,percentile" in found.doubt
    assert found.doubt.isprintable()


def answer(*rows: Any) -> bytes:
    return json.dumps({"status": "OK", "status-code": 200, "total": 2, "data": rows}).encode()


def test_an_answer_of_the_api() -> None:
    first = {"cve": "CVE-2021-40438", "epss": "0.972240000", "percentile": "1.000000000", "date": "2022-02-28"}
    second = {"cve": "CVE-2019-16759", "epss": "0.967030000", "percentile": 0.5, "date": "2022-02-27", "created": 1}
    found = scores_of(answer(first, second, {"cve": "CVE-2019-1", "epss": 0}))
    assert (found.count, found.date) == (2, "2022-02-28")
    assert found.doubt.startswith('1 entries of "data" are skipped')
    assert found.of("CVE-2021-40438") == (0.97224, 1.0)
    assert found.of("CVE-2019-16759") == (0.96703, 0.5)


@pytest.mark.parametrize(
    "row",
    [None, 5, {}, {"cve": "CVE-2021-2000"}, {"cve": "CVE-2021-2000", "epss": "2", "percentile": "0.5"},
     {"cve": "CVE-2021-2000\nCVE-2021-3000", "epss": 0.5}, {"cve": "\ud800", "epss": 0.5},
     {"cve": "CVE-2021-2000", "epss": [0.5]}],
)  # fmt: skip
def test_an_entry_of_another_form_is_skipped(row: Any) -> None:
    found = scores_of(answer(row, {"cve": "CVE-2021-1000", "epss": "0.5"}))
    assert (found.count, found.of("CVE-2021-1000"), found.of("CVE-2021-2000")) == (1, (0.5, None), None)
    assert found.doubt.startswith("1 entries")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", 'its first line is ""; expected FIRST'),
        (b"<html>\n", 'its first line is "<html>"'),
        (b"cveID,dueDate\nCVE-2021-44228,2021-12-24\n", 'its first line is "cveID,dueDate"'),
        (b"cve;epss;percentile\nCVE-2021-44228;0,9;0,9\n", 'its first line is "cve;epss;percentile"'),
        (b"CVE-2021-1000,0.5,0.75\n", 'its first line is "CVE-2021-1000,0.5,0.75"'),
        (HEAD, "it has no CVE"),
        (HEAD.strip(), "its first line is"),
        (HEAD + b"nothing here\n", "it has no CVE"),
        ("cve,epss,percentile\n".encode("utf-16"), "its first line is"),
        (b"#" * 1_000_000, "its first line is"),
        (b"{}", 'it has no list "data"'),
        (b'{"data": []}', "it has no CVE"),
        (b'{"data": {"cve": 1}}', 'it has no list "data"'),
        (b'{"vulnerabilities": []}', "an answer of https://api.first.org/data/v1/epss"),
        (b"{[", "it is not JSON that can be read"),
    ],
)
def test_another_file_is_refused_with_what_was_found(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        scores_of(data)


@given(some.binary(max_size=200))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    for whole in (data, HEAD + data, HEAD + LINES + data, b'{"data":[' + data + b"]}"):
        try:
            found = scores_of(whole)
        except ValueError as error:
            assert str(error)
        else:
            assert found.of("CVE-2021-1000") in (None, (0.5, 0.75)) and found.of("CVE-2024-9999") is None
