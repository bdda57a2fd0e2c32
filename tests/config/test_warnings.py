"""What is usable and worth a look is in the scan's log as in `sfwebhooks check`, wherever it stands."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.demo.certificates import Identity
from sfwebhooks.scan.run import ScanRun
from tests.builders import a_host_database, a_scan
from tests.conftest import Result

ONE_STORE = "it is about the settings"

SECRET = "Zeppelin-over-Ithaca-1937"
URL = "https://hooks.example/x"
posix = pytest.mark.skipif(os.name != "posix", reason="there are no such modes here")


def warnings(**keys: str) -> str:
    found = load_mapping({"team": {"url": URL, "secret": SECRET, **keys}})
    assert found.mistakes == ()
    return "\n".join(found.warnings)


def test_what_is_right_is_not_warned_of() -> None:
    assert warnings() == ""


# --- values


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("source", ["env", "file"])
@pytest.mark.parametrize("key", ["secret", "api_key", "header.X-Key", "client_key_password"])
def test_quotes_are_warned_of_wherever_the_value_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, source: str, quote: str
) -> None:
    monkeypatch.setenv("VALUE", f"{quote}{SECRET}{quote}")
    (tmp_path / "VALUE").write_text(f"{quote}{SECRET}{quote}\n")
    (tmp_path / "VALUE").chmod(0o600)
    found = load_mapping({"team": {"url": URL, "secret": SECRET, key: f"{source}:VALUE"}}, folder=tmp_path)
    words = f"[webhooks.team] {key}: remove the quotes around the value; they are now part of it"
    assert found.warnings == (words,)


def test_quotes_around_a_url_of_the_environment_are_the_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUE", f'"{URL}"')
    (one,) = load_mapping({"team": {"url": "env:VALUE"}}).mistakes
    assert one.problem.startswith("remove the quotes around the value; ")


def test_a_comment_is_warned_of_wherever_the_value_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUE", f"{SECRET} # of the team")
    assert "looks like a comment" in warnings(secret="env:VALUE")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"{URL}?a=1&amp;b=2", "it contains &amp;"),
        (rf"{URL}\?a=1\&b=2", "it contains a backslash"),
        (f"{URL}?a=1&b=2;c", ""),
    ],
)
@pytest.mark.parametrize("source", ["", "env"])
def test_what_a_page_or_a_shell_put_into_a_url_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, source: str, url: str, words: str
) -> None:
    monkeypatch.setenv("VALUE", url)
    found = warnings(url="env:VALUE" if source else url)
    assert (words in found, bool(found)) == (True, bool(words))


@pytest.mark.parametrize("secret", ["hush-hush", "s3cret-12345678", f"{SECRET}\nold-one"])
def test_a_short_secret_is_warned_of(secret: str) -> None:
    assert "has fewer than 16 characters" in warnings(secret=secret)


def test_a_placeholder_in_what_is_not_secret_is_warned_of() -> None:
    assert "looks like a placeholder" in warnings(**{"metadata.workspace": "${WORKSPACE}"})


# --- endpoints


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://127.0.0.1:8080/", False),
        ("http://127.200.0.1/", False),
        ("http://[::1]/", False),
        ("http://localhost/", False),
        ("http://127.evil.example/", True),
        ("http://localhost.evil.example/", True),
        ("http://hooks.example/", True),
        ("https://hooks.example/", False),
    ],
)
def test_plain_http_is_warned_of_but_to_this_machine(url: str, warned: bool) -> None:
    assert ("has an http:// url" in warnings(url=url)) is warned


def test_a_token_over_plain_http_is_named() -> None:
    assert "can read its messages and its credentials" in warnings(url="http://hooks.example/", api_key=SECRET)


def test_an_endpoint_that_is_held_is_not_warned_of_besides() -> None:
    assert load_mapping({"team": {"url": "http://hooks.example/", "secret": "changeme"}}).warnings == ()


# --- files


@pytest.fixture
def files(tmp_path: Path, client_identity: Identity) -> Callable[..., Settings]:
    """Write settings with a file of each kind, all of them private, but for one: `files(name, mode)`."""

    def write(name: str = "", mode: int = 0o600) -> Settings:
        contents = {"secret": SECRET, "ca.pem": "", "client.pem": client_identity.cert.read_text()}
        contents |= {"client.key": client_identity.key.read_text()}
        text = f"[webhooks.team]\nurl = {URL}\nsecret = file:secret\nca_bundle = ca.pem\n"
        contents["webhooks.ini"] = f"{text}client_cert = client.pem\nclient_key = client.key\n"
        for one, content in contents.items():
            (tmp_path / one).write_text(content)
            (tmp_path / one).chmod(mode if one == name else 0o600)
        return load(tmp_path / "webhooks.ini")

    return write


@posix
@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("secret", 0o640, "holds secrets and can be read by others: chmod 600"),
        ("secret", 0o620, "holds secrets and can be changed by others: chmod 600"),
        ("client.key", 0o604, "holds secrets and can be read by others: chmod 600"),
        ("client.key", 0o666, "holds secrets and can be read and changed by others: chmod 600"),
        ("webhooks.ini", 0o644, "holds secrets and can be read by others: chmod 600"),
        ("webhooks.ini", 0o660, "holds secrets and can be read and changed by others: chmod 600"),
        ("ca.pem", 0o646, "can be changed by others: chmod go-w"),
        ("client.pem", 0o664, "can be changed by others: chmod go-w"),
    ],
)
def test_a_file_that_others_can_use_is_warned_of(
    files: Callable[..., Settings], tmp_path: Path, name: str, mode: int, words: str
) -> None:
    found = files(name, mode)
    assert found.warnings == (f"{tmp_path / name} {words} {tmp_path / name}",)


@posix
@pytest.mark.parametrize(("name", "mode"), [("", 0o600), ("ca.pem", 0o644), ("client.pem", 0o644), ("secret", 0o400)])
def test_files_that_only_their_owner_can_use_are_not(files: Callable[..., Settings], name: str, mode: int) -> None:
    assert files(name, mode).warnings == ()


@posix
def test_a_certificate_that_holds_its_key_is_as_secret_as_that(tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_text("")
    (tmp_path / "both.pem").chmod(0o644)
    found = load_mapping({"team": {"url": URL, "secret": SECRET, "client_cert": "both.pem"}}, folder=tmp_path)
    assert "both.pem holds secrets and can be read by others" in "".join(found.warnings)


def test_a_scan_and_check_warn_of_the_same(
    cli: Callable[..., Result], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.team]\nurl = http://hooks.example/\napi_key = {SECRET}\n")
    found = load(tmp_path / "webhooks.ini")
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", scan, "FINISHED")
    run = ScanRun(scan, load_mapping({}), tmp_path)
    run.terms = replace(run.terms, settings=found)
    run.begin()
    run.end()
    assert len(found.warnings) >= 1
    for text in found.warnings:
        assert f"webhooks: {text}" in caplog.messages
        assert f"warning: {text}" in cli("check").words
