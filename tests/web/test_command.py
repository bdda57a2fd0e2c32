"""`sfwebhooks web` as a command: how it starts, what it refuses, how it ends, and that it delivers meanwhile."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from sfwebhooks.cli import main
from sfwebhooks.cli.web import TOKEN, VIEWER_TOKEN
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Result, Team, put
from tests.processes import Process
from tests.stores import BOTH, place_in
from tests.threads import until
from tests.tiers import slow
from tests.web.serving import OPERATOR, served

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

HERE = ["--listen", "127.0.0.1:0"]


@pytest.fixture(autouse=True)
def _no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (TOKEN, VIEWER_TOKEN):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    cli: Callable[..., Result], site_folder: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = cli("web", *HERE)
    assert (result.code, result.out) == (1, "")
    assert "web requires other packages: pip install 'sfwebhooks[web]'" in result.err


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.7:8900"])
@pytest.mark.parametrize("viewer", ["", "a-viewer-of-the-tests"])
def test_without_a_token_it_does_not_listen_elsewhere(
    cli: Callable[..., Result], site_folder: Path, monkeypatch: pytest.MonkeyPatch, address: str, viewer: str
) -> None:
    monkeypatch.setenv(VIEWER_TOKEN, viewer)
    result = cli("web", "--listen", address)
    assert (result.code, result.out) == (1, "")
    assert f"set {TOKEN}" in result.err and f"--listen {address}" in result.err


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ({TOKEN: "short"}, f"{TOKEN}: expected at least 16 characters"),
        ({VIEWER_TOKEN: "short"}, f"{VIEWER_TOKEN}: expected at least 16 characters"),
        ({TOKEN: "x" * 16, VIEWER_TOKEN: "x" * 16}, "are the same"),
    ],
)
def test_a_weak_token_is_refused(
    cli: Callable[..., Result],
    site_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokens: dict[str, str],
    words: str,
) -> None:
    for name, value in tokens.items():
        monkeypatch.setenv(name, value)
    result = cli("web", *HERE)
    assert (result.code, words in result.err) == (1, True)
    assert [value for value in tokens.values() if value in result.err] == []


def test_a_taken_port_is_an_error(cli: Callable[..., Result], site_folder: Path) -> None:
    with served(site_folder, "--no-deliver") as web:
        result = cli("web", "--no-deliver", "--listen", f"127.0.0.1:{web.port}")
    assert (result.code, result.out, "Traceback" in result.err) == (1, "", False)
    assert f"--listen 127.0.0.1:{web.port}: Address already in use" in result.err


def test_without_settings_the_command_that_makes_them_is_named(cli: Callable[..., Result]) -> None:
    result = cli("web", *HERE)
    assert (result.code, "sfwebhooks init creates one" in result.err) == (1, True)


@pytest.mark.parametrize("arguments", [["--listen", "x"], ["--listen", "127.0.0.1:99999"], ["--allow-host", "a/b"],
                                       ["--allow-host", ""]])  # fmt: skip
def test_a_value_that_it_does_not_accept_is_wrong_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["web", *arguments])
    assert (ended.value.code, "expected" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("arguments", [[], ["--no-deliver"], ["--read-only"]])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(site_folder: Path, arguments: list[str], number: int) -> None:
    with served(site_folder, *arguments) as web:
        assert web.client.get("/v1/session").status_code == 200
        web.process.send_signal(number)
        assert web.process.wait(PATIENCE) == 0
    assert "Traceback" not in "".join(web.said)


def test_an_open_connection_does_not_keep_it(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver") as web, web.client.stream("GET", "/v1/openapi.json"):
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(PATIENCE) == 0


def write(folder: Path, team: Team, more: str = "") -> None:
    draft = folder / "draft"
    draft.touch(0o600)
    draft.write_text(f"[webhooks.team]\nurl = {team.url}\nevents = all\n{more}")
    draft.replace(folder / "webhooks.ini")


def test_it_delivers_while_it_serves(tmp_path: Path, team: Team) -> None:
    write(tmp_path, team)
    with served(tmp_path) as web:
        assert web.client.get("/v1/session").json()["delivers"] is True
        with closing(Outbox(place_in(tmp_path))) as outbox:
            put(outbox, an_endpoint(events=("all",)), events=3)
        assert len(team.wait_for(3)) == 3


def test_the_status_names_it_as_what_sends(tmp_path: Path, team: Team) -> None:
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.team]\nurl = {team.url}\n")
    with served(tmp_path) as web:
        web.wait_for("sending")
        found = web.client.get("/v1/status").json()
        assert found["sending"] == f"sending: sfwebhooks web (process {web.process.pid})"
        assert found["senders"] == [{"pid": web.process.pid, "role": "web"}]


def test_it_starts_without_any_endpoint(tmp_path: Path, team: Team) -> None:
    path = tmp_path / "webhooks.ini"
    path.touch(0o600)
    with served(tmp_path) as web:
        assert web.client.get("/v1/session").json()["ui_url"] == ""
        write(tmp_path, team, "ui_url = https://spiderfoot.example.com\n")
        assert web.client.get("/v1/session").json()["ui_url"] == "https://spiderfoot.example.com"
        with closing(Outbox(place_in(tmp_path))) as outbox:
            put(outbox, an_endpoint(events=("all",)))
        team.wait_for(1)


@slow
def test_it_sends_no_more_to_the_last_endpoint_once_that_is_removed(tmp_path: Path, team: Team) -> None:
    write(tmp_path, team)
    with served(tmp_path) as web, closing(Outbox(place_in(tmp_path))) as outbox:
        put(outbox, an_endpoint(events=("all",)))
        team.wait_for(1)
        (tmp_path / "webhooks.ini").write_text("[webhooks]\n")
        web.wait_for("configuration reloaded; endpoints: none")
        put(outbox, an_endpoint(events=("all",)), start=2)
        (tmp_path / "webhooks.ini").write_text(f"[webhooks.other]\nurl = {team.url}\nevents = all\n")
        put(outbox, an_endpoint("other", events=("all",)), start=3)
        team.wait_for(2)
    assert team.sequences == [1, 1]


@pytest.mark.sqlite("the file's content")
@pytest.mark.parametrize("argument", ["--no-deliver", "--read-only"])
def test_it_does_not_deliver_if_it_may_not(tmp_path: Path, team: Team, argument: str) -> None:
    write(tmp_path, team)
    with closing(Outbox(place_in(tmp_path))) as outbox:
        put(outbox, an_endpoint(events=("all",)))
    before = [path.read_bytes() for path in (tmp_path / FILE, tmp_path / "webhooks.ini")]
    with served(tmp_path, argument) as web:
        body = web.client.get("/v1/session").json()
        assert (body["delivers"], body["read_only"]) == (False, argument == "--read-only")
    assert [path.read_bytes() for path in (tmp_path / FILE, tmp_path / "webhooks.ini")] == before
    assert team.got == []


@pytest.mark.sqlite("no outbox is created")
def test_a_read_only_one_needs_no_outbox_and_makes_none(site_folder: Path) -> None:
    with served(site_folder, "--read-only") as web:
        assert web.client.get("/v1/session").json()["read_only"] is True
    assert not (site_folder / FILE).exists()


def test_after_a_kill_while_it_delivers_the_next_one_delivers_the_rest(tmp_path: Path, team: Team) -> None:
    write(tmp_path, team)
    with closing(Outbox(place_in(tmp_path))) as outbox:
        put(outbox, an_endpoint(events=("all",)), events=500)
    with served(tmp_path) as web:
        team.wait_for(20)
        web.process.kill()
        web.process.wait(PATIENCE)
    with served(tmp_path), closing(Outbox(place_in(tmp_path))) as outbox:
        until(lambda: outbox.scans.tallies()["waiting"] == 0)
    assert len(set(team.ids)) == 500


def test_two_of_them_deliver_each_message_once(tmp_path: Path, team: Team) -> None:
    write(tmp_path, team)
    with served(tmp_path), served(tmp_path) as second:
        assert second.client.get("/v1/session").status_code == 200
        with closing(Outbox(place_in(tmp_path))) as outbox:
            put(outbox, an_endpoint(events=("all",)), events=100)
            team.wait_for(100)
            until(lambda: outbox.scans.tallies()["waiting"] == 0)
    assert len(team.ids) == len({*team.ids}) == 100


def test_the_tokens_are_in_no_output(site_folder: Path) -> None:
    environment = {**os.environ, TOKEN: OPERATOR}
    command = ["web", "--folder", str(site_folder), *HERE, "--verbose"]
    with Process(command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout
        printed = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    assert OPERATOR not in printed + out + err
