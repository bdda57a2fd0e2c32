"""What is there instead of a file: nothing waits for it, and nothing takes all memory."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.config.location import find_file
from sfwebhooks.config.settings import load, load_mapping
from sfwebhooks.files import SETTINGS_MAX, content
from sfwebhooks.text_file import decoded_text
from tests.conftest import Result
from tests.tiers import quick_first

#: name -> what the error says; for a name on a command line pipes and devices are read
ODD = {
    "pipe": "it is a named pipe; expected a regular file",
    "zero": "it is a device; expected a regular file",
    "socket": "it is a socket; expected a regular file",
    "folder": "Is a directory",
    "large": f"it has more than the accepted {SETTINGS_MAX:,} bytes",
    "nowhere": "No such file or directory",
}


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    """A folder with things that are no files, each behind a link too: link-pipe, ..."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (17 * SETTINGS_MAX))
    with socket.socket(socket.AF_UNIX) as server:
        where = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket")
        os.chdir(where)
        for name in ODD:
            (tmp_path / f"link-{name}").symlink_to(name)
        yield tmp_path


NAMES = [*ODD, *(f"link-{name}" for name in ODD)]


def words_of(name: str) -> str:
    return ODD[name.partition("link-")[2] or name]


@pytest.mark.parametrize("name", NAMES)
def test_only_files_are_read(odd: Path, name: str) -> None:
    with pytest.raises(OSError) as caught:
        content(odd / name, SETTINGS_MAX)
    assert caught.value.strerror == words_of(name)


def test_a_link_to_a_file_is_followed_as_kubernetes_has_them(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("abc")
    (tmp_path / "token").symlink_to("..data/token")
    assert content(tmp_path / "token", 3) == b"abc"


def test_a_text_has_no_mark_and_one_kind_of_line_ends(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert decoded_text(content(tmp_path / "x", 99)) == "a\nb\nc\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["secret", "api_key", "header.X-Token", "client_key_password"])
def test_a_secret_in_something_other_than_a_file_is_a_mistake(odd: Path, name: str, key: str) -> None:
    found = load_mapping({"team": {"url": "https://a.test", key: f"file:{name}"}}, folder=odd)
    assert [one.problem for one in found.mistakes] == [f"{odd / name} cannot be read: {words_of(name)}"]


@pytest.mark.parametrize("name", NAMES)
def test_settings_in_something_other_than_a_file_are_not_read(odd: Path, name: str) -> None:
    (mistake,) = load(odd / name).mistakes
    assert mistake.problem == f"cannot be read: {words_of(name)}"


@pytest.mark.parametrize("name", [name for name in NAMES if "nowhere" not in name])
def test_what_is_in_the_place_of_the_hosts_settings_is_said_and_not_waited_for(odd: Path, name: str) -> None:
    (odd / "spiderfoot.conf").symlink_to(name)
    path = find_file("", odd)
    assert path == odd / "spiderfoot.conf"
    assert [one.problem for one in load(path).mistakes] == [f"cannot be read: {words_of(name)}"]


@pytest.mark.parametrize("name", [name for name in NAMES if "folder" not in name])
@pytest.mark.parametrize("key", quick_first(["client_cert", "client_key", "ca_bundle"]))
def test_check_says_what_is_in_the_place_of_a_certificate(
    odd: Path, cli: Callable[..., Result], name: str, key: str, client_identity: object
) -> None:
    cert = getattr(client_identity, "cert", "")
    keys = {"client_cert": cert, key: odd / name} if key != "ca_bundle" else {key: odd / name}
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    (odd / "webhooks.ini").write_text(f"[webhooks.team]\nurl = https://a.test\n{lines}")
    result = cli("check")
    expected = words_of(name).replace(f"{SETTINGS_MAX:,}", f"{16 * SETTINGS_MAX:,}")
    assert (result.code, f"{key} {odd / name} cannot be read: {expected}" in result.words) == (1, True), result.out


def test_a_pipe_among_hashed_certificates_is_said(odd: Path, cli: Callable[..., Result]) -> None:
    os.mkfifo(odd / "folder" / "0a1b2c3d.0")
    (odd / "webhooks.ini").write_text("[webhooks.team]\nurl = https://a.test\nca_bundle = folder\n")
    assert "it is a named pipe; expected a regular file" in cli("check").words


@pytest.mark.parametrize("name", ["zero", "socket", "folder"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "{}", "--secret", "x"),
        ("verify", "--header", "a: b", "--body", "{}", "--secret", "x"),
        ("verify", "/dev/null", "--secret", "file:{}"),
        ("emit", "cti_report_generated", "--data", "{}"),
        ("receive", "--port", "0", "--api-key", "file:{}"),
        ("receive", "--port", "0", "--cert", "{}"),
    ],
)
def test_a_command_refuses_what_has_no_end(
    odd: Path, cli: Callable[..., Result], own_signals: None, name: str, arguments: tuple[str, ...]
) -> None:
    if arguments[1] == "/dev/null":  # something that can be verified
        (odd / "request").write_bytes(b"POST / HTTP/1.1\r\na: b\r\n\r\n{}")
        arguments = ("verify", str(odd / "request"), *arguments[2:])
    result = cli(*(word.format(odd / name) for word in arguments))
    assert result.code != 0
    assert any(words in result.err for words in ("it has more than", "expected a regular file", "Is a directory"))


def test_a_command_reads_a_pipe_that_it_is_given(odd: Path, cli: Callable[..., Result]) -> None:
    writer = threading.Thread(target=lambda: (odd / "pipe").write_bytes(b"POST / HTTP/1.1\r\na: b\r\n\r\n{}"))
    writer.start()
    result = cli("verify", str(odd / "pipe"), "--secret", "x")
    writer.join()
    assert "the request: 2 bytes, NOT VERIFIED" in result.out
