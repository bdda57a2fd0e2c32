"""A file of the operator: read late, again after a change, and never trusted."""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from sfwebhooks.enrichment.data_file import LOOK_SECONDS, OLD_DAYS, DataFile, UnusableDataError, log
from sfwebhooks.enrichment.epss import EPSS, Scores
from sfwebhooks.enrichment.epss import FILE_MAX as EPSS_MAX
from sfwebhooks.enrichment.kev import FILE_MAX as KEV_MAX
from sfwebhooks.enrichment.kev import KEV
from tests.builders import NOW
from tests.conftest import Clock

GOOD = b"#score_date:2026-11-20\ncve,epss,percentile\nCVE-2021-1000,0.5,0.75\n"
OTHER = GOOD.replace(b"0.5,", b"0.875,")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "epss.csv"


@pytest.fixture
def file(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> DataFile[Scores]:
    monkeypatch.setattr("sfwebhooks.enrichment.data_file.time.time", lambda: NOW)
    return DataFile(EPSS, path, clock)


def write(path: Path, data: bytes) -> None:
    """Replace a file, as mv does."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def score(file: DataFile[Scores]) -> float | None:
    data = file.data()
    found = data.of("CVE-2021-1000") if data else None
    return found.probability if found else None


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_file_is_read_once_until_it_changes(file: DataFile[Scores], path: Path, clock: Clock) -> None:
    write(path, GOOD)
    first = file.data()
    clock.now += LOOK_SECONDS
    assert file.data() is first is not None
    write(path, OTHER)
    clock.now += LOOK_SECONDS - 1
    assert file.data() is first
    clock.now += 1
    assert score(file) == 0.875


def test_a_missing_file_is_said_once_and_found_later(
    file: DataFile[Scores], path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, log.name)
    for _ in range(3):
        assert file.data() is None
        clock.now += LOOK_SECONDS
    words = f"epss_file {path}: No such file or directory; findings have no epss_score"
    assert warned(caplog) == [f"webhooks: {words}"]
    write(path, GOOD)
    assert score(file) == 0.5
    assert caplog.messages[-1] == f"webhooks: epss_file {path} can be used again"


def test_a_damaged_file_leaves_the_former_data_in_use(
    file: DataFile[Scores], path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, GOOD)
    assert score(file) == 0.5
    write(path, b"<html>")
    for _ in range(3):
        clock.now += LOOK_SECONDS
        assert score(file) == 0.5
    (line,) = warned(caplog)
    assert line.startswith(f'webhooks: epss_file {path}: its first line is "<html>"; expected FIRST')
    assert line.endswith("; the data read before are still used")
    write(path, OTHER)
    clock.now += LOOK_SECONDS
    assert score(file) == 0.875


def test_a_file_that_cannot_be_opened_is_tried_again_without_a_change(
    file: DataFile[Scores], path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, GOOD)
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        patch.setattr("sfwebhooks.files.os.open", refuse)
        assert score(file) is None
    clock.now += LOOK_SECONDS
    assert score(file) == 0.5


def test_a_shortage_of_memory_is_no_end(
    file: DataFile[Scores], path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, GOOD)

    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("sfwebhooks.enrichment.data_file.content", fail)
    assert file.data() is None
    assert "there is not enough memory to read it" in warned(caplog)[0]


def test_a_bug_of_ours_costs_the_fields_and_no_finding(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(data: bytes) -> Scores:
        raise RecursionError("too deep")

    write(path, GOOD)
    assert DataFile(replace(EPSS, parse=fail), path, clock).data() is None
    assert "it cannot be read: RecursionError: too deep; findings have no epss_score" in warned(caplog)[0]


def test_old_data_and_skipped_lines_are_said_once_for_each_file(
    file: DataFile[Scores], path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, GOOD.replace(b"2026-11-20", b"2026-10-01") + b"rubbish\n")
    for _ in range(3):
        assert score(file) == 0.5
        clock.now += LOOK_SECONDS
    assert warned(caplog) == [
        f'webhooks: epss_file {path}: line 4 is "rubbish" and is skipped; expected CVE-...,score,percentile with scores'
        " from 0 to 1",
        f"webhooks: epss_file {path}: its data are of 2026-10-01, more than 30 days old: download it again",
    ]


@pytest.mark.parametrize(("days", "is_old"), [(0, False), (OLD_DAYS, False), (OLD_DAYS + 1, True), (-1, False)])
def test_data_are_old_after_a_month(file: DataFile[Scores], days: int, is_old: bool) -> None:
    day = date.fromordinal(date.fromtimestamp(NOW).toordinal() - days)
    assert bool(file.warnings(Scores(b"", day.isoformat()), NOW)) is is_old
    assert file.warnings(Scores(b"", ""), NOW) == []


def test_a_compressed_file_is_recognised_whatever_its_name(file: DataFile[Scores], path: Path) -> None:
    write(path, gzip.compress(GOOD))
    assert score(file) == 0.5


def test_a_compressed_file_of_several_parts_is_read_to_its_end(file: DataFile[Scores], path: Path) -> None:
    """As bgzip and pigz write it, with zeros at the end as tar pads it."""
    head, line = GOOD.rsplit(b"\n", 2)[0] + b"\n", b"CVE-2021-1000,0.5,0.75\n"
    write(path, gzip.compress(head) + gzip.compress(line) + bytes(512))
    assert score(file) == 0.5


def packed(size: int) -> bytes:
    """Return gzip data of that many bytes once decompressed."""
    stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    parts = [stream.compress(bytes(1_048_576)) for _ in range(size // 1_048_576)]
    return b"".join([*parts, stream.compress(b"x"), stream.flush()])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (gzip.compress(GOOD)[:-9], "it ends in the middle of its gzip data: download it again"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "its gzip data are damaged"),
        (b"\x1f\x8b rubbish", "its gzip data are damaged"),
        (packed(EPSS_MAX), "it has more than the accepted 67,108,864 bytes once decompressed"),
    ],
    ids=["cut", "checksum", "rubbish", "bomb"],
)
def test_damaged_gzip_is_refused(file: DataFile[Scores], path: Path, data: bytes, problem: str) -> None:
    write(path, data)
    with pytest.raises(UnusableDataError, match=problem):
        file.read()


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "kev.json"
    with path.open("wb") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(UnusableDataError, match="it has more than the accepted 8,388,608 bytes"):
        DataFile(KEV, path).read()
    assert KEV_MAX == 8_388_608


@pytest.mark.skipif(os.name != "posix", reason="no pipes with names here")
def test_a_pipe_is_refused_and_does_not_block(path: Path, file: DataFile[Scores]) -> None:
    os.mkfifo(path)
    with pytest.raises(UnusableDataError, match="it is a named pipe; expected a regular file"):
        file.read()
    assert file.data() is None


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableDataError, match="Is a directory"):
        DataFile(EPSS, tmp_path).read()


def test_the_size_limit_is_for_what_is_read(path: Path, file: DataFile[Scores]) -> None:
    write(path, GOOD + b"\n" * (EPSS_MAX - len(GOOD)))
    assert file.read().count == 1
    write(path, GOOD + b"\n" * (EPSS_MAX - len(GOOD) + 1))
    with pytest.raises(UnusableDataError, match="it has more than the accepted"):
        file.read()
