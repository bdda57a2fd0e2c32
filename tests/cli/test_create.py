from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.cli import main
from sfwebhooks.cli.create import CHAT_EVENTS
from sfwebhooks.config.exposure import exposed
from sfwebhooks.config.settings import load
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import an_endpoint
from tests.conftest import Result, Team, put
from tests.leaks import leaks
from tests.terminals import in_terminal
from tests.test_service import Run
from tests.tiers import slow

ONE_STORE = "it is about the settings"

Cli = Callable[..., Result]
SLACK = "https://hooks.slack.com/services/T02ABCDEF/B09GHIJKL/qT5zR8wXy1LmN3oPs7uVk2aB"
URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def path(tmp_path: Path, cli: Cli) -> Path:
    """The configuration of `init`."""
    assert cli("init").code == 0
    return tmp_path / "webhooks.ini"


def aged(path: Path) -> None:
    """Make a file look as if it had not just been written."""
    os.utime(path, (1, 1))


# --- init


def test_init_creates_a_configuration_that_only_its_owner_can_read(cli: Cli, tmp_path: Path) -> None:
    done, path = cli("init"), tmp_path / "webhooks.ini"
    assert (done.code, str(path) in done.out, "sfwebhooks create NAME" in done.out) == (0, True, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (load(path).enabled, load(path).mistakes, load(path).endpoints) == (True, (), ())


def test_init_creates_the_data_folder(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path / "home" / ".spiderfoot"))
    assert cli("init").code == 0
    assert stat.S_IMODE((tmp_path / "home" / ".spiderfoot").stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("name", ["webhooks.ini", "spiderfoot.conf", "link"])
def test_init_overwrites_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    place = tmp_path / name
    if name == "link":
        place.symlink_to(tmp_path / "nowhere")
        monkeypatch.setenv("SFWEBHOOKS_CONFIG", str(place))
    else:
        place.write_text("[webhooks]\n")
    done = cli("init")
    assert (done.code, f"{place} already exists and was not changed" in done.err) == (1, True)
    assert sorted(one.name for one in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("none/x", ""),
        ("x.json", "commands edit INI files only"),
        ("file/x.ini", "cannot be created"),
        (".", "already exists"),
    ],
)
def test_init_uses_the_named_place(cli: Cli, tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").write_text("")
    done = cli("init", "--config", str(tmp_path / place))
    assert (done.code, words in done.err) == (1 if words else 0, True)


# --- create from options


def test_create_writes_a_section_with_a_new_secret_and_delivers_a_signed_test(
    cli: Cli, path: Path, tmp_path: Path, receive: Callable[..., Team]
) -> None:
    team = receive()
    done = cli("create", "first", "--url", team.url, "--events", "all", "--secret", "new")
    assert (done.code, done.err, "in clear" in done.out) == (0, "", False)
    secret = (tmp_path / "first.secret").read_text().strip()
    assert stat.S_IMODE((tmp_path / "first.secret").stat().st_mode) == 0o600
    assert path.read_text().endswith(
        f"\n\n[webhooks.first]\nurl = {team.url}\nevents = all\nsecret = file:first.secret\n"
    )
    (received,) = team.got
    assert "webhook-signature" in received.headers
    assert leaks(done.out, secret) == []
    written = f"Created first in {path}; the previous version is webhooks.ini.previous."
    for words in (written, "within seconds", "delivered, http_200"):
        assert words in done.words


def test_an_endpoint_whose_test_fails_is_created_and_the_exit_code_is_3(cli: Cli, path: Path) -> None:
    done = cli("create", "first", "--url", URL)
    assert (done.code, "not delivered" in done.words) == (3, True)
    assert [one.name for one in load(path).endpoints] == ["first"]


def test_without_a_test_nothing_is_sent(cli: Cli, path: Path, team: Team) -> None:
    assert cli("create", "first", "--url", team.url, "--no-test").code == 0
    assert team.got == []


def test_a_warning_about_the_new_endpoint_is_shown(cli: Cli, path: Path) -> None:
    done = cli("create", "first", "--url", URL, "--no-test")
    assert "warning: first has no secret" in done.words


@pytest.mark.parametrize("arguments", [["create"], ["create", "x"], ["create", "--url", URL], ["update", "x"]])
def test_what_is_missing_without_a_terminal_is_wrong_usage(cli: Cli, path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli(*arguments)
    assert ended.value.code == 2


def test_without_a_configuration_init_is_named(cli: Cli) -> None:
    done = cli("create", "first", "--url", URL)
    assert (done.code, "sfwebhooks init creates one" in done.err) == (1, True)


def test_a_secret_is_not_generated_over_a_file(cli: Cli, path: Path, tmp_path: Path) -> None:
    (tmp_path / "first.secret").write_text("precious")
    done = cli("create", "first", "--url", URL, "--secret", "new", "--no-test")
    assert (done.code, "--secret file:first.secret uses it" in done.err) == (1, True)
    assert (tmp_path / "first.secret").read_text() == "precious"
    assert "first" not in path.read_text()


def test_a_secret_is_generated_again_in_the_place_of_one_that_was_removed(cli: Cli, path: Path, tmp_path: Path) -> None:
    assert cli("create", "first", "--url", URL, "--secret", "new", "--no-test").code == 0
    (tmp_path / "first.secret").unlink()
    aged(path)
    done = cli("update", "first", "--secret", "new")
    assert (done.code, load(path).mistakes) == (0, ())
    assert f"Generated {tmp_path / 'first.secret'}: the receiver needs this secret" in done.words
    assert "Else nothing was changed: " in done.words


def test_a_generated_secret_is_on_the_disk_before_the_settings_that_name_it(
    cli: Cli, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)

    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", record)
    assert cli("create", "first", "--url", URL, "--secret", "new", "--no-test").code == 0
    wanted = [one.stat().st_ino for one in (tmp_path / "first.secret", path)]
    assert [number for number in synced if number in wanted] == wanted


def test_a_refused_endpoint_leaves_no_secret_behind(cli: Cli, path: Path, tmp_path: Path) -> None:
    assert cli("create", "first", "--url", URL, "--secret", "new", "--events", "nothing").code == 1
    assert cli("create", "../first", "--url", URL, "--secret", "new").code == 1
    assert not [*tmp_path.rglob("*.secret"), *tmp_path.parent.glob("*.secret")]


# --- create from a URL


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (SLACK, "slack"),
        ("https://discord.com/api/webhooks/123456789012345678/aBcDeFgHiJkL", "discord"),
        ("https://acme.webhook.office.com/webhookb2/1-2@3/IncomingWebhook/4/5", "teams"),
        ("https://chat.googleapis.com/v1/spaces/AAA/messages?key=k&token=t", "google_chat"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1", "wecom"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/1", "lark"),
    ],
)
def test_a_service_is_recognised_by_its_url(
    cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    monkeypatch.setenv("SERVICE_URL", url)
    done = cli("create", "--from", "env:SERVICE_URL", "--no-test")
    assert (done.code, done.err) == (0, "")
    assert path.read_text().endswith(
        f"\n[webhooks.{name}]\nurl = env:SERVICE_URL\nformat = {name}\nevents = {CHAT_EVENTS}\n"
    )
    assert load(path).mistakes == ()
    aged(path)
    assert cli("create", "--from", "env:SERVICE_URL", "--no-test").code == 0
    assert [one.name for one in load(path).endpoints] == [name, f"{name}_2"]


def test_the_format_follows_from_the_host_also_without_from(
    cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_URL", SLACK)
    assert cli("create", "free", "--url", "env:SERVICE_URL", "--no-test").code == 0
    aged(path)
    assert cli("create", "--from", "env:SERVICE_URL", "--no-test").code == 0
    assert [(one.name, one.format) for one in load(path).endpoints] == [("free", "slack"), ("slack", "slack")]


def test_what_a_service_needs_besides_its_url_is_an_option(
    cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT", "https://api.telegram.org/bot123:AbC-d/sendMessage")
    done = cli("create", "--from", "env:BOT", "--no-test")
    assert (done.code, "format = telegram requires chat_id: " in done.err) == (1, True)
    assert cli("create", "mine", "--from", "env:BOT", "--no-test", "--set", "chat_id=-100123").code == 0
    assert load(path).endpoints[0].key("chat_id") == "-100123"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", SLACK], "use env:NAME or file:PATH"),
        (["--from", "env:NOWHERE_SET"], "the environment variable NOWHERE_SET is not set"),
        (["--from", "file:nowhere"], "nowhere cannot be read"),
        (["--from", "env:OWN"], "its host belongs to no service that is known; add --format"),
        (["--from", "env:OWN", "--url", URL], "exclude each other"),
    ],
)
def test_a_url_that_says_nothing_is_refused(
    cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setenv("OWN", "https://own.example/hooks/qT5zR8wXy1LmN3oPs7uVk2aB")
    before = path.read_text()
    done = cli("create", *arguments)
    assert (done.code, words in " ".join(done.err.split()), path.read_text()) == (1, True, before)
    assert leaks(done.out + done.err, SLACK.rpartition("/")[2]) == []


# --- secrets are no arguments


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("url", SLACK),
        ("url", "https://discord.com/api/webhooks/123456789012345678/x"),
        ("url", "https://hooks.slack.com/services/a/b/c"),
        ("url", "https://oapi.dingtalk.com/robot/send?a=b"),
        ("url", "https://user:word@own.example/"),
        ("url", "https://own.example/?token=x"),
        ("url", "https://own.example/?aB3dE6gH9jKlmnop"),
        ("url", "https://own.example/?aB3dE6gH9jKlmnop="),
        ("url", "https://own.example/?abcdefghijklmnop"),
        ("url", "https://own.example/?a=b&code=word"),
        ("url", "https://own.example/?sig=word"),
        ("url", "https://own.example/?key="),
        ("url", "https://own.example/hooks/qT5zR8wXy1LmN3oPs7uVk2aB"),
        ("url", "https://prod-1.westeurope.logic.azure.com/workflows/x?api-version=1&sig=qT5zR8wXy1LmN3oPs7uVk2aB"),
        ("proxy", "http://user:word@proxy.example:3128"),
        ("token_url", "https://user:word@login.example/"),
        ("secret", "any text"),
        ("api_key", "k"),
        ("password", "p"),
        ("routing_key", "r"),
        ("header.Authorization", "Basic"),
        ("header.X-Team", "qT5zR8wXy1LmN3oPs7uVk2aB"),
        ("header.X-Team", "abcdefghijkl"),
    ],
)
def test_a_secret_in_an_argument_is_refused_with_the_cure(cli: Cli, path: Path, key: str, text: str) -> None:
    before = path.read_text()
    given = ["--url", text] if key == "url" else ["--url", URL, "--set", f"{key}={text}"]
    done = cli("create", "first", *given, "--no-test")
    assert (done.code, "use env:NAME, file:PATH" in done.err, path.read_text()) == (1, True, before)
    assert leaks(done.out + done.err, *(word for word in re.split(r"\W", text) if len(word) > 12)) == []


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("url", "http://127.0.0.1:8080/webhook"),
        ("url", "https://siem.example.com/api/v2/spiderfoot-events?source=osint"),
        ("url", "https://events.pagerduty.com/v2/enqueue"),
        ("url", "https://ntfy.sh/"),
        ("url", "env:SLACK_URL"),
        ("secret", "file:team.secret"),
        ("proxy", "http://proxy.example:3128"),
        ("header.X-Team", "security"),
        ("header.X-Team", "security-operations"),
        ("url", "https://own.example/hook?wait&thread_id=17&api-version=2016-10-01"),
        ("events", "all"),
        ("no such key", "x"),
        ("url", "http://[broken"),
    ],
)
def test_a_plain_value_may_be_an_argument(key: str, text: str) -> None:
    assert exposed(key, text) == ""


@pytest.mark.parametrize("text", ["no equals sign", "no such key=1", "evnts=all", "=x", "a\n[webhooks.b]\nurl=x"])
def test_an_unknown_key_is_refused(cli: Cli, path: Path, text: str) -> None:
    before = path.read_text()
    assert cli("create", "first", "--url", URL, "--no-test", "--set", text).code == 1
    assert path.read_text() == before


@pytest.mark.parametrize("text", ["a\udc80b"])
def test_text_that_no_file_can_have_is_refused(cli: Cli, path: Path, text: str) -> None:
    done = cli("create", "first", "--url", URL, "--no-test", "--description", text)
    assert (done.code, "expected valid UTF-8 text" in done.err) == (1, True)


# --- list, disable, enable, delete


def test_list_shows_endpoints_without_their_secrets(cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("list").words == "No endpoints: sfwebhooks create NAME adds one."
    path.write_text(
        f"[webhooks.slack]\nurl = {SLACK}\nformat = slack\nsecret = a secret of the team\n[webhooks.off]\nurl = {URL}\n"
        f"enabled = no\n[webhooks.wrong]\nurl = {URL}\ntimeout = x\n[webhooks.unknown]\nurl = {URL}\nevents = x\n"
    )
    shown = cli("list")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()[1:5]] == ["off", "slack", "wrong", "unknown"]
    assert [line.split()[-1] for line in shown.out.splitlines()[1:5]] == ["off", "on", "mistake", "mistake"]
    rows = cli("list", "--json").objects
    assert rows[1] == {
        "name": "slack",
        "to": "https://hooks.slack.com",
        "format": "slack",
        "events": ["scan_*", "high_risk_event", "correlation_found"],
        "enabled": True,
        "description": "",
        "filters": "none",
        "messages": "format slack, single messages, digests in a storm, at most 1/s, after 5 at once one each 3 s",
        "redacted": "secrets, what may contain some, and personal data (default)",
        "mistake": None,
    }
    assert f"slack  filters: none; messages: {rows[1]['messages']}; redacted: {rows[1]['redacted']}" in shown.out
    assert [row["name"] for row in rows] == ["off", "slack", "wrong", "unknown"]
    assert leaks(shown.out + json.dumps(rows), SLACK.rpartition("/")[2], "a secret of the team") == []


def test_list_names_a_file_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    done = cli("list", "--json", "--config", str(tmp_path / "none"))
    assert (done.code, done.out, "none: cannot be read: No such file" in done.err) == (1, "", True)


def test_a_disabled_endpoint_is_enabled_again(cli: Cli, path: Path, outbox: Outbox) -> None:
    path.write_text(f"[webhooks.team]\nurl = {URL}\n")
    put(outbox, an_endpoint(url=URL), events=2)
    done = cli("disable", "team")
    assert (done.code, "2 deliveries waiting: kept until sfwebhooks enable team" in done.words) == (0, True)
    assert path.read_text() == f"[webhooks.team]\nurl = {URL}\nenabled = false\n"
    assert cli("disable", "team").words == "team is already disabled."
    done = cli("enable", "team")
    assert (done.code, "Enabled team in" in done.words) == (0, True)
    assert path.read_text() == f"[webhooks.team]\nurl = {URL}\nenabled = true\n"
    assert cli("enable", "nobody").code == 1


def test_enable_also_ends_a_pause(cli: Cli, path: Path, outbox: Outbox) -> None:
    path.write_text(f"[webhooks.team]\nurl = {URL}\n")
    assert cli("pause", "team").code == 0
    assert cli("disable", "team").code == 0
    assert "team is in use again" in cli("enable", "team").words
    assert outbox.endpoints.orders("team").paused_until == 0


def test_delete_says_what_is_waiting_and_does_nothing_without_a_yes(cli: Cli, path: Path, outbox: Outbox) -> None:
    path.write_text(f"[webhooks.team]\nurl = {URL}\n")
    put(outbox, an_endpoint(url=URL), events=3)
    done = cli("delete", "team")
    assert (done.code, "--yes deletes it" in done.err) == (1, True)
    for words in ("Deliveries waiting for team: 3.", "endpoint_removed", "sfwebhooks move --endpoint team --to NAME"):
        assert words in done.words
    assert "team" in path.read_text()
    assert cli("delete", "team", "--yes").code == 0
    assert (path.read_text(), path.with_name("webhooks.ini.previous").read_text()) == (
        "",
        f"[webhooks.team]\nurl = {URL}\n",
    )


def test_delete_names_the_secret_that_stays_and_create_uses_it_again(cli: Cli, path: Path, tmp_path: Path) -> None:
    assert cli("create", "team", "--url", URL, "--secret", "new", "--no-test").code == 0
    secret = tmp_path / "team.secret"
    assert f"{secret} stays: delete it if nothing else uses it." in cli("delete", "team", "--yes").words
    assert cli("create", "team", "--url", URL, "--secret", "file:team.secret", "--no-test").code == 0
    assert load(path).endpoints[0].secrets[0].reveal() == secret.read_text().strip()


@pytest.fixture
def corrupt(tmp_path: Path) -> Path:
    """An outbox that cannot be read."""
    outbox = tmp_path / FILE
    outbox.write_bytes(os.urandom(100_000))
    outbox.chmod(0o600)
    return outbox


@pytest.mark.parametrize(
    ("command", "code", "settings"),
    [
        ("disable team", 0, "[webhooks.team]\nurl = {}\nenabled = false\n"),
        ("delete team --yes", 0, ""),
        ("test team", 0, "[webhooks.team]\nurl = {}\n"),
        ("create b --url {}", 0, "[webhooks.team]\nurl = {}\n\n[webhooks.b]\nurl = {}\n"),
        (f"create b --url {URL}", 3, f"[webhooks.team]\nurl = {{}}\n\n[webhooks.b]\nurl = {URL}\n"),
    ],
)
def test_a_corrupt_outbox_keeps_no_command_from_its_work_and_is_left_as_it_is(
    cli: Cli, path: Path, corrupt: Path, team: Team, command: str, code: int, settings: str
) -> None:
    path.write_text(f"[webhooks.team]\nurl = {team.url}\n")
    before = corrupt.read_bytes()
    done = cli(*command.format(team.url).split())
    assert (done.code, "file is not a database" in done.err) == (code, True)
    assert path.read_text() == settings.replace("{}", team.url)
    assert len(team.got) == (team.url in command.format(team.url) or "test" in command)
    assert (corrupt.read_bytes(), [*path.parent.glob(f"{FILE}.*")]) == (before, [])


def test_an_endpoint_is_enabled_in_the_settings_also_if_the_outbox_is_corrupt(
    cli: Cli, path: Path, corrupt: Path
) -> None:
    path.write_text(f"[webhooks.team]\nurl = {URL}\nenabled = false\n")
    done = cli("enable", "team")
    assert (done.code, "team was not resumed: sfwebhooks resume team does" in done.err) == (3, True)
    assert path.read_text() == f"[webhooks.team]\nurl = {URL}\nenabled = true\n"
    assert cli("enable", "team").code == 1


# --- at a terminal


def conversation(folder: Path, arguments: Sequence[str], answers: Sequence[tuple[str, str]]) -> tuple[int, str]:
    """Run a command at a terminal, with an answer for each question; return its exit code and what it printed."""
    keys = [(question, f"{answer}\n") for question, answer in answers]
    return in_terminal(arguments, keys, SPIDERFOOT_DATA=str(folder))


@slow
def test_create_asks_for_what_it_needs(cli: Cli, path: Path, tmp_path: Path, receive: Callable[..., Team]) -> None:
    team = receive()
    hidden = f"{team.url}/qT5zR8wXy1LmN3oPs7uVk2aB"
    answers = [
        ("Name of the endpoint: ", "first"),
        ("URL of first, or env:NAME or file:PATH (not shown): ", "ftp://x"),
        ("URL of first, or env:NAME or file:PATH (not shown): ", hidden),
        ("Format [generic]: ", "slak"),
        ("Format [generic]: ", ""),
        ("Events [scan_*, high_risk_event, correlation_found]: ", "all"),
        ("Sign its messages with a new secret, in first.secret? [Y/n]: ", ""),
    ]
    code, shown = conversation(tmp_path, ["create"], answers)
    assert (code, "it does not begin with http://" in shown, 'Did you mean "slack"' in shown) == (0, True, True)
    assert "It has url in clear; file:PATH as the value keeps a secret in its own file." in " ".join(shown.split())
    assert leaks(shown, "qT5zR8wXy1LmN3oPs7uVk2aB", (tmp_path / "first.secret").read_text().strip()) == []
    assert path.read_text().endswith(
        f"[webhooks.first]\nurl = {hidden}\nformat = generic\nevents = all\nsecret = file:first.secret\n"
    )
    assert len(team.got) == 1


@slow
def test_the_format_is_guessed_and_what_it_needs_is_asked_for(cli: Cli, path: Path, tmp_path: Path) -> None:
    answers = [
        ("URL of bot, or env:NAME or file:PATH (not shown): ", "https://api.telegram.org/bot123:AbC-d/sendMessage"),
        ("Format [telegram]: ", ""),
        ("Events [high_risk_event", ""),
        ("chat_id", "-100123"),
    ]
    code, _ = conversation(tmp_path, ["create", "bot", "--no-test"], answers)
    assert (code, load(path).mistakes, load(path).endpoints[0].format) == (0, (), "telegram")


@slow
def test_an_answer_that_is_neither_yes_nor_no_is_asked_for_again(cli: Cli, path: Path, tmp_path: Path) -> None:
    answers = [
        ("URL of soc, or env:NAME or file:PATH (not shown): ", "env:NOT_SET_ANYWHERE"),
        ("URL of soc, or env:NAME or file:PATH (not shown): ", "http://127.0.0.1:9/"),
        ("Format [generic]: ", ""),
        ("[Y/n]: ", "new"),
        ("[Y/n]: ", "No"),
    ]
    code, shown = conversation(tmp_path, ["create", "soc", "--events", "all", "--no-test"], answers)
    assert (code, "NOT_SET_ANYWHERE is not set" in shown, "answer yes or no" in shown) == (0, True, True)
    assert load(path).endpoints[0].secrets == ()


@slow
def test_a_secret_is_not_typed_into_a_file_that_others_can_read(cli: Cli, path: Path, tmp_path: Path) -> None:
    path.chmod(0o644)
    code, shown = conversation(
        tmp_path, ["create", "bot", "--format", "slack", "--events", "all"], [("shown): ", SLACK)]
    )
    assert (code, f"chmod 600 {path}" in " ".join(shown.split())) == (1, True)
    assert "slack.com" not in path.read_text()


@slow
@pytest.mark.parametrize(("answer", "code"), [("", 1), ("n", 1), ("yes", 0)])
def test_delete_asks(cli: Cli, path: Path, tmp_path: Path, answer: str, code: int) -> None:
    path.write_text(f"[webhooks.team]\nurl = {URL}\n")
    assert conversation(tmp_path, ["delete", "team"], [("[y/N]: ", answer)])[0] == code
    assert ("team" in path.read_text()) is bool(code)


@slow
def test_ctrl_c_and_ctrl_d_change_nothing(cli: Cli, path: Path, tmp_path: Path) -> None:
    before = path.read_text()
    assert conversation(tmp_path, ["create"], [("endpoint: ", "\x03")])[0] == 130
    assert conversation(tmp_path, ["create"], [("endpoint: ", "\x04")])[0] == 1
    assert path.read_text() == before


def test_the_command_can_be_run_without_standard_input(
    cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit):
        main(["create", "first"])
    assert "--url is missing" in capsys.readouterr().err


# --- processes that run


def test_a_running_service_delivers_to_an_endpoint_that_was_just_created(
    cli: Cli, path: Path, tmp_path: Path, outbox: Outbox, receive: Callable[..., Team]
) -> None:
    first, second = receive(), receive()
    assert cli("create", "first", "--url", first.url, "--no-test").code == 0
    service = Run(tmp_path)
    service.wait_for("webhooks: sending")
    put(outbox, an_endpoint("second", url=second.url))
    assert cli("create", "second", "--url", second.url, "--no-test").code == 0
    service.wait_for("configuration reloaded")
    assert len(second.wait_for(1)) == 1
    assert (service.end(signal.SIGTERM), first.got) == (0, [])
