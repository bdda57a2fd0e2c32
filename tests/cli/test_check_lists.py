"""`sfwebhooks check` on the lists of CVEs in the settings."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.enrichment.data_file import OLD_DAYS
from tests.conftest import Result

SETTINGS = """[webhooks]
kev_file = kev.csv
epss_file = lists/epss.csv.gz
team.url = https://hooks.example.test/
team.secret = Zeppelin-over-Ithaca-1937
"""


#: when the tests began, in epoch seconds
BEGUN = time.time()


def day(days_ago: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(BEGUN - days_ago * 86400))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Write the settings, and both lists with data of some days ago."""

    def do(days_ago: int = 1, epss: bytes = b"") -> None:
        (tmp_path / "webhooks.ini").write_text(SETTINGS)
        (tmp_path / "webhooks.ini").chmod(0o600)
        (tmp_path / "kev.csv").write_text(f"cveID,dateAdded,dueDate\nCVE-2026-0001,{day(days_ago)},2026-12-01\n")
        (tmp_path / "lists").mkdir(exist_ok=True)
        lines = b"#score_date:%s\ncve,epss,percentile\n" % day(days_ago).encode()
        lines += b"".join(b"CVE-2026-%04d,0.5,0.75\n" % number for number in range(1234))
        (tmp_path / "lists" / "epss.csv.gz").write_bytes(epss or gzip.compress(lines))

    return do


def lists_of(result: Result) -> list[str]:
    return [line for line in result.out.splitlines() if "_file " in line]


def test_it_shows_how_many_cves_they_have_and_of_which_day(
    cli: Callable[..., Result], write: Callable[..., None], tmp_path: Path
) -> None:
    write()
    result = cli("check")
    assert lists_of(result) == [
        f"kev_file {tmp_path / 'kev.csv'}: 1 CVE, data of {day(1)}",
        f"epss_file {tmp_path / 'lists' / 'epss.csv.gz'}: 1,234 CVEs, data of {day(1)}",
    ]
    assert (result.code, result.err) == (0, "")


def test_old_data_and_skipped_lines_are_warned_of(
    cli: Callable[..., Result], write: Callable[..., None], tmp_path: Path
) -> None:
    write(days_ago=OLD_DAYS + 5, epss=b"cve,epss\nCVE-2026-0001,0.5\nCVE-2026-0002;0.5\n")
    result = cli("check")
    assert (
        f"warning: kev_file {tmp_path / 'kev.csv'}: its data are of {day(OLD_DAYS + 5)}, more than 30" in result.words
    )
    assert 'epss.csv.gz: line 3 is "CVE-2026-0002;0.5" and is skipped; expected CVE-...,score,percent' in result.words
    assert f"epss_file {tmp_path / 'lists' / 'epss.csv.gz'}: 2 CVEs" in result.words
    assert result.code == 0


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.write_bytes(b"<html>"), 'its first line is "<html>"; expected CISA\'s known_exploited'),
        (lambda path: path.write_bytes(b"\x1f\x8b"), "it ends in the middle of its gzip data: download it again"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: os.truncate(path, 2**40), "it has more than the accepted 8,388,608 bytes"),
    ],
    ids=["missing", "HTML", "gzip", "folder", "huge"],
)
def test_a_list_that_cannot_be_used_needs_attention(
    cli: Callable[..., Result],
    write: Callable[..., None],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    problem: str,
) -> None:
    write()
    spoil(tmp_path / "kev.csv")
    result = cli("check")
    assert f"warning: kev_file {tmp_path / 'kev.csv'}: {problem}" in result.words
    assert "epss.csv.gz: 1,234 CVEs" in result.words
    assert (result.code, result.words.endswith("No mistakes, but these need attention: kev_file.")) == (3, True)


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes here")
def test_a_list_that_others_can_change_is_warned_of(
    cli: Callable[..., Result], write: Callable[..., None], tmp_path: Path
) -> None:
    write()
    (tmp_path / "kev.csv").chmod(0o666)
    assert f"{tmp_path / 'kev.csv'} can be changed by others: chmod go-w" in cli("check").words
