"""Files are read whole or not at all, in UTF-8 or with a word about their encoding."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks import text_file
from sfwebhooks.files import SETTINGS_MAX
from sfwebhooks.text_file import decoded_text, settled
from tests.builders import PATIENCE

OLD = 3600


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "webhooks.ini"
    path.write_text("[webhooks]\nfirst = half\n")
    return path


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Let something happen while the reader waits for its next look: `looks(first, second, ...)`; returns the waits."""

    def between(*changes: Callable[[], object]) -> list[float]:
        monkeypatch.setattr(text_file, "QUIET_SECONDS", 10.0)
        waits: list[float] = []
        left = list(changes)

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if left:
                left.pop(0)()

        monkeypatch.setattr("sfwebhooks.text_file.time.sleep", wait)
        return waits

    return between


def test_a_file_that_is_being_written_is_read_once_it_is_whole(file: Path, looks: Callable[..., list[float]]) -> None:
    looks(lambda: file.write_text("[webhooks]\nfirst = half\nsecond = ha"), lambda: file.write_text("whole"))
    assert settled(file) == b"whole"


def test_two_equal_looks_are_enough(file: Path, looks: Callable[..., list[float]]) -> None:
    waits = looks()
    assert (settled(file), len(waits)) == (file.read_bytes(), 1)


def test_a_file_that_was_left_alone_for_long_is_read_at_once(file: Path, looks: Callable[..., list[float]]) -> None:
    waits = looks()
    os.utime(file, (time.time() - OLD, time.time() - OLD))
    assert (settled(file), waits) == (file.read_bytes(), [])


def test_a_change_that_keeps_size_and_time_is_seen(file: Path, looks: Callable[..., list[float]]) -> None:
    stamp = file.stat()

    def change() -> None:
        file.write_text("[webhooks]\nsecond= half\n")
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    waits = looks(change)
    assert (settled(file), len(waits)) == (b"[webhooks]\nsecond= half\n", 2)


def test_a_file_that_changes_all_the_time_is_given_up(
    file: Path, looks: Callable[..., list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "PATIENCE_SECONDS", -1.0)
    looks(lambda: file.write_text("never done"))
    with pytest.raises(OSError, match="it keeps changing"):
        settled(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result: list[OSError] = []

    def read() -> None:
        try:
            settled(tmp_path / "pipe")
        except OSError as error:
            result.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(PATIENCE)
    assert [error.strerror for error in result] == ["it is a named pipe; expected a regular file"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero here")
def test_a_device_without_an_end_is_refused() -> None:
    with pytest.raises(OSError, match="it is a device; expected a regular file"):
        settled(Path("/dev/zero"))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(SETTINGS_MAX + 1)
    with pytest.raises(OSError, match="more than"):
        settled(tmp_path / "large")


TEXT = "[webhooks]\n# naïve\nsecret = café\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_in_utf_8_is_read(encoding: str, end: str) -> None:
    assert decoded_text(TEXT.replace("\n", end).encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "line 2 is not UTF-8; it seems to be Windows-1252 (ANSI); save it as UTF-8"),
        ("utf-16", "it is saved as UTF-16; save it as UTF-8"),
        ("utf-16-le", "it is saved as UTF-16; save it as UTF-8"),
        ("utf-16-be", "it is saved as UTF-16; save it as UTF-8"),
        ("utf-32", "it is saved as UTF-32; save it as UTF-8"),
    ],
)
def test_another_encoding_is_named_with_what_helps(encoding: str, words: str) -> None:
    with pytest.raises(ValueError, match="iconv -f") as refused:
        decoded_text(TEXT.encode(encoding))
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"ok\n\x81\n", "line 2 is not UTF-8; save it as UTF-8"),
        (b"\x7fELF\x02\xff", "line 1 is not UTF-8; it is not a text file"),
    ],
)
def test_what_is_in_no_known_encoding_is_named_by_its_line(data: bytes, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        decoded_text(data)
    assert str(refused.value) == words
