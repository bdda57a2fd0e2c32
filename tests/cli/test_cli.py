from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest

from sfwebhooks import __version__
from sfwebhooks.attempts import Reply
from sfwebhooks.cli import _again, main, parser
from sfwebhooks.config.settings import load
from sfwebhooks.delivery.status import ENDED, TRIED
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.errors import ConfigError, DiskFullError, OutboxBusyError, ShortageError, WebhooksError
from sfwebhooks.events import lifecycle_id
from sfwebhooks.formats import FORMATS, generic
from sfwebhooks.formats.content import Content
from sfwebhooks.health import Condition, Health
from sfwebhooks.network.sender import Sender
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.pipeline import accept
from sfwebhooks.receive.completeness import ACCOUNTS_MAX
from sfwebhooks.retry import State
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.signatures import guide_signature
from sfwebhooks.signing import Request, sign
from sfwebhooks.signing_keys import new_whsk, receiver_form
from tests.builders import NOW, PATIENCE, a_batch, a_delivery, a_host_database, a_scan, an_endpoint, an_event
from tests.conftest import Gate, Team
from tests.filled import put, send
from tests.hostile import Hostile, answering, reply
from tests.processes import Process, Start
from tests.rows import in_one
from tests.stores import BOTH, place_in
from tests.tiers import slow

STORES = BOTH

pytestmark = pytest.mark.usefixtures("own_signals")
SECRET = "the secret of the team"
OFF = "it is off (enabled = false in its section); sfwebhooks enable team"


@dataclass
class Result:
    """What a command printed, in one line each, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command with tmp_path as SpiderFoot's data folder: `cli("check", ...)`."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))

    def run(*arguments: str) -> Result:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(code, " ".join(printed.out.split()), " ".join(printed.err.split()))

    return run


def section(name: str, url: str, **keys: object) -> str:
    lines = [f"[webhooks.{name}]", f"url = {url}", *(f"{key} = {value}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


# --- the command itself


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"sfwebhooks {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["check", "--nonsense"], ["drain", "--timeout", "soon"]])
def test_wrong_usage_is_code_2(arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_the_package_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "sfwebhooks", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"sfwebhooks {__version__}\n"


def commands(found: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command with its parser, also those of a family."""
    yield name, found
    for action in found._actions:
        for word, one in (action.choices if isinstance(action, argparse._SubParsersAction) else {}).items():
            yield from commands(one, f"{name} {word}".strip())


@in_one(("name", "found"), commands(parser()))
def test_each_command_has_a_sentence_in_its_own_help(name: str, found: argparse.ArgumentParser) -> None:
    words = (found.description or "").strip()
    assert (words[:1].isupper(), words[-1:]) == (True, ".")
    assert words.split(".")[0].split()[0] in " ".join(found.format_help().split())


LATIN = [["test"], ["deliveries"], ["dead", "list"], ["show", "{id}"], ["check"], ["events"], ["replay", "--all"],
         ["drain", "--timeout", "0.2s"], ["--help"], ["show", "{id}", "--json"]]  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("arguments", LATIN, ids=" ".join)
def test_a_terminal_that_lacks_a_character_gets_a_replacement(
    configure: Callable[..., Path],
    outbox: Outbox,
    receive: Callable[..., Team],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_signals: None,
    arguments: list[str],
    encoding: str,
) -> None:
    event = an_event(1, data={"event_type": "X", "data": "n\u00f6 \u2713 \U0001f600"})
    configure(section("team", receive().url, description="n\u00f6 \u2713"))
    outbox.accept([(event, [Wanted("team", event.type)])], time.time())
    if arguments[:1] != ["drain"]:
        send(outbox, State.DEAD, "http_400", "n\u00f6 \u2713 \U0001f600", at=time.time())
    id = Outbox(outbox.place).listing.deliveries(Selection(), 1)[0].id
    written = io.BytesIO()
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    assert code_of(*(word.format(id=id) for word in arguments)) == 0
    sys.stdout.flush()
    assert written.getvalue().decode(encoding)


def code_of(*arguments: str) -> object:
    """Return the exit code of a command, which is not always returned."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def test_a_certificate_that_is_not_verified_is_warned_of_in_our_words_only(
    configure: Callable[..., Path], receive: Callable[..., Team], https: ssl.SSLContext, tmp_path: Path
) -> None:
    configure(section("team", receive(tls=https).url, verify_tls="false"))
    done = command("test", "--folder", str(tmp_path)).communicate(timeout=PATIENCE)
    assert ("delivered, http_200" in done[0], done[1]) == (True, "")


def test_a_full_disk_has_another_cure_than_a_lock() -> None:
    error: type[WebhooksError]
    for error, words in (
        (OutboxBusyError, "nothing else was changed: run the command again in a moment"),
        (DiskFullError, "nothing else was changed: make room on its disk, then run the command again"),
        (ShortageError, "nothing else was changed: raise this user's limits (ulimit -a), then run the command again"),
    ):
        assert _again(error("outbox x: ...")) == f"; {words}"
    assert _again(ConfigError("nothing of the outbox")) == ""


@pytest.mark.parametrize("command", ["check", "drain"])
def test_a_missing_configuration_is_reported_with_the_places_looked_at(
    cli: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    result = cli(command)
    assert (result.code, f"no {tmp_path / 'webhooks.ini'}" in result.err) == (1, True)


# --- check


def test_check_shows_a_right_endpoint_and_ends_well(cli: Callable[..., Result], configure: Callable[..., Path]) -> None:
    configure(section("team", "https://hooks.example.test/a", secret=SECRET))
    result = cli("check")
    assert (result.code, "team https://hooks.example.test generic" in result.out) == (0, True)
    assert result.out.endswith("No mistakes.")


def test_check_shows_how_many_messages_go_at_once(cli: Callable[..., Result], configure: Callable[..., Path]) -> None:
    configure(section("team", "https://hooks.example.test/", format="siem", batch_size="50"))
    assert "siem, up to 50 messages at once" in cli("check").out


def test_check_shows_which_guide_an_endpoint_follows(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", "https://hooks.example.test/a", secret=SECRET, format="security-audit"))
    assert "team https://hooks.example.test security-audit" in cli("check").out


def test_a_test_message_by_the_security_audit_guide_is_verified(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team]
) -> None:
    team = receive(secrets=["hush"])
    configure(section("team", team.url, secret="hush", format="security-audit"))
    assert (cli("test").code, team.got[0].problems) == (0, ())
    assert (team.got[0].headers["X-Security-Event"], team.got[0].message["event_type"]) == ("system.alert",) * 2


def test_check_shows_a_mistake_with_its_place_and_ends_badly(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    path = configure(section("team", "https://hooks.example.test/a", concurency=3))
    result = cli("check")
    assert (result.code, f"mistake: {path}: [webhooks.team] concurency" in result.out) == (1, True)
    assert 'Did you mean "concurrency"?' in result.out


def test_check_shows_every_mistake(cli: Callable[..., Result], configure: Callable[..., Path]) -> None:
    configure(section("a", "nonsense") + section("b", "https://b.example.test/", timeout="never", format="xml"))
    assert cli("check").out.endswith("3 mistakes.")


def test_check_shows_the_right_endpoints_with_a_wrong_one(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("wrong", "nonsense") + section("right", "https://right.example.test/"))
    result = cli("check")
    assert (result.code, "right https://right.example.test" in result.out) == (1, True)


def test_check_finds_a_certificate_that_cannot_be_used(
    cli: Callable[..., Result], configure: Callable[..., Path], tmp_path: Path
) -> None:
    configure(section("team", "https://hooks.example.test/", client_cert="nowhere.pem"))
    result = cli("check")
    expected = f"[webhooks.team] client_cert {tmp_path / 'nowhere.pem'} cannot be read"
    assert (result.code, expected in result.out) == (1, True)


def test_check_takes_certificates_that_can_be_used(
    cli: Callable[..., Result], configure: Callable[..., Path], authority: Authority, client_identity: Identity
) -> None:
    files = {"ca_bundle": authority.cert, "client_cert": client_identity.cert, "client_key": client_identity.key}
    configure(section("team", "https://hooks.example.test/", **files))
    result = cli("check")
    assert (result.code, "verified, own CA, mTLS" in result.out) == (0, True)


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        ({}, "team has no secret"),
        ({"verify_tls": "false", "secret": "env:TEAM_SECRET"}, "team has verify_tls = false"),
    ],
)
def test_check_warns_of_what_is_dangerous(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, str],
    warning: str,
) -> None:
    monkeypatch.setenv("TEAM_SECRET", SECRET)
    configure(section("team", "https://hooks.example.test/", **keys))
    result = cli("check")
    assert (result.code, f"warning: {warning}" in result.out) == (0, True)


def test_check_warns_of_secrets_that_others_can_read(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    path = configure(section("team", "https://hooks.example.test/", secret=SECRET), mode=0o644)
    assert f"warning: {path} holds secrets and can be read by others: chmod 600 {path}" in cli("check").out


@pytest.mark.parametrize(
    ("switch", "words"),
    [
        ("", "webhooks are on in scans that use the module sfp__stor_webhooks"),
        ("enabled = true", "webhooks are on in every scan"),
        ("enabled = false", "webhooks are off (enabled = false)"),
    ],
)
def test_check_says_in_which_scans_webhooks_are(
    cli: Callable[..., Result], configure: Callable[..., Path], switch: str, words: str
) -> None:
    path = configure(f"[webhooks]\n{switch}\n" + section("team", "https://hooks.example.test/"))
    assert cli("check").out.startswith(f"{path}: {words}")


def test_check_reads_the_file_that_it_is_given(cli: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "other.ini"
    path.write_text(section("other", "https://other.example.test/"))
    assert "other https://other.example.test" in cli("check", "--config", path).out


def test_check_reads_the_data_folder_that_it_is_given(
    cli: Callable[..., Result], configure: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    monkeypatch.setenv("SPIDERFOOT_DATA", "/nonexistent")
    assert cli("check", "--folder", tmp_path).code == 0


#: every kind of secret, some in wrong values, which are reported as mistakes
SECRETS = {
    "url": "https://hooks.example.test/services/hush-url?sig=hush-query",
    "secret": "hush-secret",
    "api_key": "hush-key",
    "client_key_password": "hush-password",
    "header.X-Token": "hush-header",
}
WRONG_SECRETS = {
    "url": "ftp://hush-user:hush-word@hooks.example.test/hush-url",
    "secret": "whsec_hush",
    "api_key": "hush\thush-ż",
    "header.X-Token": "hush-ż",
    "header.Host": "hush-host",
    "apikey": "hush-typo",
}


@pytest.mark.parametrize("keys", [SECRETS, WRONG_SECRETS], ids=["right", "wrong"])
def test_check_shows_no_secret(
    cli: Callable[..., Result], configure: Callable[..., Path], keys: dict[str, str]
) -> None:
    rest = {key: value for key, value in keys.items() if key != "url"}
    configure(section("team", keys["url"], **rest))
    result = cli("check")
    assert "hush" not in result.out + result.err


def test_check_shows_the_secrets_for_receivers_if_it_is_asked_to(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", "https://hooks.example.test/", secret=SECRET))
    assert receiver_form(SECRET) in cli("check", "--show-secrets").out


def test_check_of_a_file_without_webhooks_says_that_no_endpoint_can_be_used(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure("")
    result = cli("check")
    assert (result.code, "there is no usable endpoint" in result.out) == (1, True)


def test_check_of_a_file_that_cannot_be_read_ends_badly(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_bytes(b"\x00\xff\xfe rubbish")
    result = cli("check")
    assert (result.code, "is not UTF-8; it is not a text file" in result.out) == (1, True)


def test_check_says_where_the_module_is(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    spiderfoot: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    monkeypatch.syspath_prepend(spiderfoot)
    monkeypatch.delitem(sys.modules, "sfscan", raising=False)
    assert (
        f"warning: the module is not installed in SpiderFoot, as {shim(spiderfoot)}: sfwebhooks install"
        in cli("check").out
    )
    cli("install")
    result = cli("check")
    assert f"The module is in SpiderFoot: {shim(spiderfoot)}" in result.out
    assert "the module is not" not in result.out


def check(outbox: Outbox, condition: Condition, reason: str, path: Path) -> None:
    """Write down how the only endpoint of some settings is."""
    (endpoint,) = load(path).endpoints
    health = Health(condition, reason, since=NOW, open_at=NOW, fingerprint=endpoint.fingerprint)
    outbox.queue.settle([], {endpoint.name: health})


@pytest.mark.parametrize(
    ("condition", "reason"),
    [(Condition.FAILING, "timeout"), (Condition.HELD, "http_403"), (Condition.DISABLED, "http_410")],
)
def test_check_of_an_endpoint_that_is_not_healthy_has_a_code_of_its_own(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    outbox: Outbox,
    condition: Condition,
    reason: str,
) -> None:
    path = configure(section("team", "https://hooks.example.test/", secret=SECRET))
    check(outbox, condition, reason, path)
    result = cli("check")
    assert f"{condition.value}, {reason}, unhealthy since 2026-11-21 10:00:00 UTC" in result.out
    assert f"team: what to do: {cure(reason, name='team')}" in result.out
    assert (result.code, result.out.endswith("No mistakes, but these need attention: team.")) == (3, True)
    configure(section("team", "https://hooks.example.test/", secret=SECRET, timeout="9s"))
    result = cli("check")
    assert (result.code, "not tried since its settings changed" in result.out) == (0, True)


def test_check_of_mistakes_with_an_unhealthy_endpoint_is_about_the_mistakes(
    cli: Callable[..., Result], configure: Callable[..., Path], outbox: Outbox
) -> None:
    path = configure(section("team", "https://hooks.example.test/"))
    check(outbox, Condition.HELD, "http_403", path)
    configure(section("team", "https://hooks.example.test/") + section("wrong", "nonsense"))
    result = cli("check")
    assert (result.code, "unhealthy since" in result.out, result.out.endswith("1 mistake.")) == (1, True, True)


@pytest.mark.parametrize(("hours", "code"), [(16, 0), (18, 3)])
def test_check_says_that_deliveries_wait_for_too_long(
    cli: Callable[..., Result], configure: Callable[..., Path], outbox: Outbox, hours: float, code: int
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    event = an_event()
    outbox.accept([(event, [Wanted("team", event.type)])], time.time() - hours * 3600)
    result = cli("check")
    assert (result.code, f"team: 1 waiting, the oldest for {hours} h: " in result.out) == (code, True)
    assert ("waiting too long" in result.out) == (code == 3)
    cli("pause", "team")
    assert cli("check").code == 0


def test_check_counts_what_was_refused_and_what_is_dead(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive()
    team.answer = lambda received: 403 if "CVE-2026-0001" in received.body.decode() else 200
    configure(section("team", team.url))
    fill(3)
    cli("drain", "--timeout", "0.5s")
    result = cli("check")
    assert (result.code, "ready, 1 refused" in result.out) == (0, True)
    assert ": 1 of them was refused and is set aside until the next try" in result.out
    cli("drop", "--all", "--state", "waiting")
    assert "team: 1 dead: sfwebhooks dead list --endpoint team" in cli("check").out


def test_check_names_deliveries_for_an_endpoint_that_the_settings_do_not_have(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None]
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    fill(1, "old")
    result = cli("check")
    assert ": the settings have no such endpoint: sfwebhooks move --endpoint old --to NAME" in result.out
    assert (result.code, result.out.endswith("these need attention: old.")) == (3, True)


def test_check_lists_endpoints_that_are_off(cli: Callable[..., Result], configure: Callable[..., Path]) -> None:
    configure(section("team", "https://hooks.example.test/") + section("later", "https://l.test/", enabled="false"))
    result = cli("check")
    assert (result.code, "later https://l.test" in result.out, " off " in result.out) == (0, True, True)


@pytest.mark.parametrize("name", ["test", "pause"])
def test_an_endpoint_that_cannot_be_used_comes_with_why(
    cli: Callable[..., Result], configure: Callable[..., Path], name: str
) -> None:
    configure(section("later", "https://l.test/", enabled="false") + section("wrong", "https://w.test/", events="x"))
    assert 'endpoint "later" is off (enabled = false in its section); sfwebhooks enable later' in cli(name, "later").err
    assert (
        'endpoint "wrong" cannot be used because its settings have a mistake: sfwebhooks check'
        in cli(name, "wrong").err
    )


@pytest.mark.sqlite("the file is damaged")
def test_check_of_an_outbox_that_cannot_be_read_still_shows_the_settings(
    cli: Callable[..., Result], configure: Callable[..., Path], tmp_path: Path
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    (tmp_path / FILE).mkdir()
    result = cli("check")
    assert ("team https://hooks.example.test" in result.out, "cannot be used" in result.out) == (True, True)
    assert (result.code, result.out.endswith("1 mistake.")) == (1, True)


def test_check_looks_for_the_module_in_the_named_folder(
    cli: Callable[..., Result], configure: Callable[..., Path], spiderfoot: Path
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    result = cli("check", "--spiderfoot", spiderfoot)
    assert (result.code, result.out.endswith("these need attention: the module.")) == (3, True)
    cli("install", "--spiderfoot", spiderfoot)
    result = cli("check", "--spiderfoot", spiderfoot)
    assert (result.code, f"The module is in SpiderFoot: {shim(spiderfoot)}" in result.out) == (0, True)
    result = cli("check", "--spiderfoot", spiderfoot / "modules")
    assert (result.code, "is not a SpiderFoot folder" in result.err) == (1, True)


# --- install, uninstall


def test_a_module_that_spiderfoot_does_not_have_is_warned_of(
    cli: Callable[..., Result], configure: Callable[..., Path], spiderfoot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(section("team", "https://hooks.example.test/", modules="sfp_shodann, !sfp_dns*, !sfp_nosuch"))
    (spiderfoot / "modules" / "sfp_shodan.py").write_text("")
    (spiderfoot / "modules" / "sfp_dnsraw.py").write_text("")
    said = 'team: modules: SpiderFoot has no module "sfp_shodann". Did you mean "sfp_shodan"?'
    result = cli("check", "--spiderfoot", spiderfoot)
    named = ("sfp_nosuch", "sfp_dns*")
    assert (said in result.out, *(f'has no module "{one}"' in result.out for one in named)) == (True, True, False)

    monkeypatch.setenv("HOME", str(spiderfoot.parent))  # which gets the record of the installation
    cli("install", "--spiderfoot", spiderfoot)
    assert said in cli("update", "team", "--set", "modules=sfp_shodann").out
    assert "warning" not in cli("update", "team", "--set", "modules=sfp_shodan").out


def shim(spiderfoot: Path) -> Path:
    return spiderfoot / "modules" / "sfp__stor_webhooks.py"


def test_install_puts_the_shim_into_a_spiderfoot(cli: Callable[..., Result], spiderfoot: Path) -> None:
    result = cli("install", "--spiderfoot", spiderfoot)
    assert (result.code, f"Installed {shim(spiderfoot)}." in result.out) == (0, True)
    assert "class sfp__stor_webhooks" in shim(spiderfoot).read_text()


def test_install_over_an_older_shim_renews_it(cli: Callable[..., Result], spiderfoot: Path) -> None:
    shim(spiderfoot).write_text('"""Put here by `sfwebhooks install`, long ago."""')
    assert cli("install", "--spiderfoot", spiderfoot).code == 0
    assert "long ago" not in shim(spiderfoot).read_text()


def test_install_leaves_nothing_but_the_shim(cli: Callable[..., Result], spiderfoot: Path) -> None:
    cli("install", "--spiderfoot", spiderfoot)
    names = sorted(path.name for path in (spiderfoot / "modules").iterdir())
    assert names == ["sfp__stor_db.py", "sfp__stor_webhooks.py"]


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_module_of_somebody_else_is_left_as_it_is(cli: Callable[..., Result], spiderfoot: Path, command: str) -> None:
    shim(spiderfoot).write_text("somebody else's")
    result = cli(command, "--spiderfoot", spiderfoot)
    assert (result.code, "is another module with the same name" in result.err) == (1, True)
    assert shim(spiderfoot).read_text() == "somebody else's"


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_folder_that_is_not_a_spiderfoot_is_reported(
    cli: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    result = cli(command, "--spiderfoot", tmp_path)
    assert (result.code, f"{tmp_path} is not a SpiderFoot folder" in result.err) == (1, True)


def test_a_place_that_cannot_be_written_is_reported(cli: Callable[..., Result], spiderfoot: Path) -> None:
    shim(spiderfoot).mkdir()
    result = cli("install", "--spiderfoot", spiderfoot)
    assert (result.code, f"{shim(spiderfoot)} cannot be written: Is a directory" in result.err) == (1, True)


def test_uninstall_takes_the_shim_out_again(cli: Callable[..., Result], spiderfoot: Path) -> None:
    cli("install", "--spiderfoot", spiderfoot)
    result = cli("uninstall", "--spiderfoot", spiderfoot)
    assert (result.code, shim(spiderfoot).exists()) == (0, False)


def test_uninstall_takes_the_compiled_shim_out_too(cli: Callable[..., Result], spiderfoot: Path) -> None:
    cli("install", "--spiderfoot", spiderfoot)
    compiled = spiderfoot / "modules" / "__pycache__" / "sfp__stor_webhooks.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"")
    cli("uninstall", "--spiderfoot", spiderfoot)
    assert not compiled.exists()


def test_uninstall_where_nothing_is_installed_says_so(cli: Callable[..., Result], spiderfoot: Path) -> None:
    result = cli("uninstall", "--spiderfoot", spiderfoot)
    assert (result.code, "nothing to do" in result.out) == (0, True)


# --- drain


@pytest.fixture
def fill(outbox: Outbox) -> Callable[..., None]:
    """Accept events for endpoints: `fill(count, name, ...)`."""

    def put(count: int, *names: str) -> None:
        endpoints = tuple(an_endpoint(name) for name in names or ("team",))
        accept([an_event(number) for number in range(count)], Screen(endpoints), outbox, time.time())

    return put


@pytest.fixture
def terminal(cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command that sees a terminal: `terminal("drain")`."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("COLUMNS", "240")
        return cli(*arguments)

    return run


def test_drain_without_an_outbox_says_so_to_a_person(
    terminal: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    result = terminal("drain")
    assert (result.code, "no scan has had webhooks yet" in result.out) == (0, True)
    assert terminal("drain", "--quiet").out == ""


@pytest.mark.sqlite("no outbox is created")
def test_drain_makes_no_outbox(cli: Callable[..., Result], configure: Callable[..., Path], tmp_path: Path) -> None:
    configure(section("team", "https://hooks.example.test/"))
    cli("drain")
    assert not (tmp_path / FILE).exists()


def test_drain_delivers_waiting_deliveries(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive([SECRET])
    configure(section("team", team.url, secret=SECRET))
    fill(3)
    result = cli("drain")
    assert (result.code, result.out) == (0, "3 delivered, 0 waiting, 0 dead.")
    assert [received.problems for received in team.got] == [()] * 3


@slow
def test_a_drain_that_takes_long_shows_a_person_once_what_it_waits_for(
    cli: Callable[..., Result],
    terminal: Callable[..., Result],
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sfwebhooks.cli.drain.HINT_SECONDS", 0.1)
    team = receive([SECRET])
    team.answer = gate
    configure(section("team", team.url, secret=SECRET))
    fill(3)
    assert "Still trying" not in cli("drain", "--timeout", "0.5s").out
    assert "Still trying" not in terminal("drain", "--timeout", "0.5s", "--quiet").out
    said = terminal("drain", "--timeout", "0.5s").out
    gate.open()
    assert said.count("Still trying (Ctrl-C stops): team: 3 waiting") == 1


def test_drain_with_nothing_to_do_is_silent_without_a_terminal(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    configure(section("team", receive().url))
    fill(3)
    cli("drain")
    assert cli("drain").out == ""


def test_drain_with_nothing_to_do_says_so_to_a_person(
    terminal: Callable[..., Result],
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
) -> None:
    configure(section("team", receive().url))
    fill(3)
    terminal("drain")
    assert (terminal("drain").out, terminal("drain", "--quiet").out) == ("0 delivered, 0 waiting, 0 dead.", "")


def test_a_quiet_drain_says_only_what_still_waits(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team, dead = receive(), receive()
    dead.receiver.stop()
    configure(section("team", team.url) + section("dead", dead.url))
    fill(2)
    quiet = cli("drain", "--quiet")
    assert (quiet.code, quiet.out, len(team.got)) == (0, "", 2)
    fill(1, "dead")
    quiet = cli("drain", "--quiet", "--timeout", "0.2s")
    assert (quiet.code, quiet.out.startswith("0 delivered, 1 waiting, 0 dead. dead: 1 waiting: ")) == (1, True)


def test_drain_sends_nothing_where_webhooks_are_off(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive()
    configure("[webhooks]\nenabled = false\n" + section("team", team.url))
    fill(1)
    result = cli("drain", "--timeout", "0.2s")
    assert (result.code, team.got) == (1, [])
    assert "team: 1 waiting: webhooks are off (enabled = false)" in result.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[webhooks.other]\nurl = http://127.0.0.1:9/\n", "sfwebhooks move --endpoint team --to NAME"),
        ("[webhooks.team]\nurl = http://127.0.0.1:9/\ntimeout = never\n", "config_mistake, timeout: "),
        ("[webhooks.team]\nurl = http://127.0.0.1:9/\nevents = never\n", "its events are not known"),
    ],
)
def test_drain_says_why_what_the_settings_do_not_use_waits(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], text: str, words: str
) -> None:
    configure(text)
    fill(1)
    result = cli("drain", "--timeout", "0.2s")
    assert (result.code, f"team: 1 waiting: {words}" in result.out or words in result.out) == (1, True)


def test_what_an_operator_holds_back_is_shown_and_no_failure_of_a_drain(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None]
) -> None:
    configure("[webhooks.team]\nurl = http://127.0.0.1:9/\nenabled = false\n")
    fill(1)
    result = cli("drain", "--timeout", "0.2s")
    assert (
        result.code,
        f"team: 1 waiting: {OFF}" in result.out,
    ) == (0, True)
    assert (cli("drain", "--timeout", "0.2s", "--quiet").out, result.err) == ("", "")


def test_a_pace_is_why_a_drain_leaves_some(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    configure(section("team", receive().url, rate="1/m"))
    fill(3)
    result = cli("drain", "--timeout", "0.5s")
    assert result.code == 1
    assert "team: 2 waiting: paced to 1/m, about 2 min for the waiting deliveries; " in result.out


def test_drain_delivers_over_mtls(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
    mtls: ssl.SSLContext,
    authority: Authority,
    client_identity: Identity,
) -> None:
    team = receive(tls=mtls)
    files = {"ca_bundle": authority.cert, "client_cert": client_identity.cert, "client_key": client_identity.key}
    configure(section("team", team.url, **files))
    fill(1)
    cli("drain")
    assert [received.client for received in team.got] == ["spiderfoot"]


def test_drain_keeps_what_a_dead_endpoint_cannot_take(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    dead = receive()
    configure(section("team", dead.url))
    dead.receiver.stop()
    fill(2)
    result = cli("drain", "--timeout", "0.3s")
    said = "0 delivered, 2 waiting, 0 dead. team: 2 waiting: its last attempts failed; the next attempt is due at 20"
    assert (result.code, result.out.startswith(said), result.out.endswith(ENDED)) == (1, True, True)


def test_a_drain_that_ends_with_a_held_endpoint_says_what_follows_rather_than_drain(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
    mtls: ssl.SSLContext,
) -> None:
    configure(section("team", receive(tls=mtls).url))
    fill(1)
    result = cli("drain", "--timeout", "5s")
    assert result.code == 1
    assert re.search(
        r"team: 1 waiting: held, tls_unverified, unhealthy since 20\S+ \S+ UTC; " + TRIED + "$", result.out
    )


def test_drain_delivers_to_the_others_with_a_dead_endpoint(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    dead = receive()
    configure(section("dead", dead.url) + section("team", receive().url))
    dead.receiver.stop()
    fill(2, "dead", "team")
    said = "2 delivered, 2 waiting, 0 dead. dead: 2 waiting: its last attempts failed"
    assert cli("drain", "--timeout", "0.5s").out.startswith(said)


@slow
def test_drain_reports_dead_letters(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive()
    team.answer = 500
    configure(section("team", team.url, max_retries=0))
    fill(1)
    result = cli("drain")
    assert (result.code, result.out) == (0, "0 delivered, 0 waiting, 1 dead (sfwebhooks dead list).")


def test_drain_tries_deliveries_that_wait_for_a_retry_at_once(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
) -> None:
    team = receive()
    team.answer = 500
    configure(section("team", team.url, retry_delay="1h"))
    fill(1)
    cli("drain", "--timeout", "0.2s")
    team.answer = 200
    assert cli("drain").out == "1 delivered, 0 waiting, 0 dead."


def test_drain_tries_at_once_what_was_held(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive()
    team.answer = 401
    configure(section("team", team.url))
    fill(2)
    cli("drain", "--timeout", "0.2s")
    team.answer = 200
    assert cli("drain").out == "2 delivered, 0 waiting, 0 dead."


def test_drain_reports_the_end_of_scans_that_died(
    cli: Callable[..., Result], configure: Callable[..., Path], outbox: Outbox, receive: Callable[..., Team]
) -> None:
    team = receive()
    configure(section("team", team.url))
    started = an_event(id=lifecycle_id("5C4A0001", "started"), type="scan_started", severity=Severity.INFO)
    outbox.scans.begin_scan(a_scan(), started, (Wanted("team", "scan_started"),), NOW)
    a_host_database(outbox.path.with_name("spiderfoot.db"), a_scan())
    result = cli("drain")
    assert "1 scan whose process had died. 2 delivered" in result.out
    sent = {received.message["event_type"]: received.message["data"] for received in team.got}
    assert sorted(sent) == ["scan_failed", "scan_started"]
    assert sent["scan_failed"]["receipt"]["last_sequence"] == 2


def test_drain_reports_no_end_while_it_cannot_be_known(
    cli: Callable[..., Result], configure: Callable[..., Path], outbox: Outbox, receive: Callable[..., Team]
) -> None:
    team = receive()
    configure(section("team", team.url))
    started = an_event(id=lifecycle_id("5C4A0001", "started"), type="scan_started", severity=Severity.INFO)
    outbox.scans.begin_scan(a_scan(), started, (Wanted("team", "scan_started"),), NOW)
    outbox.path.with_name("spiderfoot.db").write_bytes(b"rubbish" * 1000)
    cli("drain")
    assert ([received.message["event_type"] for received in team.got], len(outbox.scans.open_scans())) == (
        ["scan_started"],
        1,
    )


@pytest.mark.parametrize(("keys", "open_scans"), [({"events": "nonsense"}, 1), ({"timeout": "nonsense"}, 0)])
def test_drain_reports_no_end_only_while_the_events_of_an_endpoint_are_not_known(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    outbox: Outbox,
    receive: Callable[..., Team],
    keys: dict[str, str],
    open_scans: int,
) -> None:
    configure(section("team", receive().url) + section("wrong", "https://wrong.example.test/", **keys))
    started = an_event(id=lifecycle_id("5C4A0001", "started"), type="scan_started", severity=Severity.INFO)
    outbox.scans.begin_scan(a_scan(), started, (Wanted("team", "scan_started"),), NOW)
    a_host_database(outbox.path.with_name("spiderfoot.db"), a_scan())
    cli("drain")
    assert len(outbox.scans.open_scans()) == open_scans


def test_drain_works_for_the_right_endpoints_and_shows_the_mistakes(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    configure(section("team", receive().url) + section("wrong", "nonsense"))
    fill(1)
    result = cli("drain")
    assert ("mistake: " in result.out, result.out.endswith("1 delivered, 0 waiting, 0 dead.")) == (True, True)


def test_drain_sends_nothing_when_webhooks_are_stopped(
    cli: Callable[..., Result],
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    team = receive()
    configure(section("team", team.url))
    fill(1)
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    assert (cli("drain").code, team.got) == (1, [])


@pytest.mark.sqlite("the file is damaged")
def test_drain_reports_an_outbox_that_cannot_be_used(
    cli: Callable[..., Result], configure: Callable[..., Path], tmp_path: Path
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    (tmp_path / FILE).mkdir()
    result = cli("drain")
    assert (result.code, f"outbox {tmp_path / FILE} cannot be used" in result.err) == (1, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_drain_can_be_ended(
    configure: Callable[..., Path],
    fill: Callable[..., None],
    receive: Callable[..., Team],
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    team = receive()
    team.answer = 500
    configure(section("team", team.url))
    fill(1)
    process = command("drain", "--folder", str(tmp_path), "--timeout", "1h")
    team.wait_for(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in out + err) == (code, False)


# --- receive


def command(*arguments: str) -> Process:
    """Start a command as a process of its own."""
    return Process(arguments, stdout=PIPE, stderr=PIPE)


def a_body(name: str) -> bytes:
    return json.dumps({"event_type": name, "data": {"target": "acme.example"}, "metadata": {}}).encode()


class Listening:
    """`sfwebhooks receive` as a process."""

    def __init__(self, *arguments: str, start: Start = Process) -> None:
        self.process = start(["receive", *arguments], stdout=PIPE, stderr=PIPE)
        self.first = self.line()
        self.url = self.first.partition("Listening on ")[2].partition(",")[0]

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip()

    def send(self, body: bytes | None = None, **values: Any) -> Reply:
        """Send a delivery; `values` are fields of the Endpoint."""
        endpoint = an_endpoint(url=self.url, **values)
        content = Content(a_body("high_risk_event") if body is None else body)
        return exchange(endpoint, sign(content, a_batch(), endpoint, time.time()))

    def post(self, body: bytes, headers: dict[str, str]) -> int | None:
        """Send a request as it is; return the reply's status."""
        endpoint = an_endpoint(url=self.url)
        return exchange(endpoint, Request(endpoint.url, headers, body)).status

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.wait(), out, err


def exchange(endpoint: Endpoint, request: Request) -> Reply:
    sender = Sender(endpoint)
    try:
        return sender.send(request)
    finally:
        sender.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listening]]:
    """Start receivers: `listen("--respond", "500")`."""
    started: list[Listening] = []

    def start(*arguments: object) -> Listening:
        port = () if "--port" in arguments or "--endpoint" in arguments else ("--port", "0")
        started.append(Listening(*port, *map(str, arguments)))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_receive_says_where_it_listens_and_ends_cleanly(
    listen: Callable[..., Listening], number: signal.Signals
) -> None:
    receiver = listen()
    code, out, err = receiver.end(number)
    assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+, any path; stop with Ctrl-C\.", receiver.first)
    assert (code, out, err) == (0, "Stopped.\n", "")


def test_receive_shows_at_most_as_many_messages_as_a_batch_can_have(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    assert receiver.send(b"[" + b",".join([b"{}"] * 3000) + b"]").status == 200
    assert receiver.send(b"[" + b",".join([b"{}"] * 600_000) + b"]").status == 200
    lines = receiver.end()[1].splitlines()
    assert "  3000 messages" in lines[0] and lines[1:1001] == ["  a message  "] * 1000
    assert [line.strip() for line in lines[1002:1004]][1] == "It has too many values to be shown."
    assert len(lines) < 1010


@slow
def test_receive_ends_cleanly_with_a_connection_open(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    endpoint = an_endpoint(url=receiver.url)
    sender = Sender(endpoint)
    sender.send(sign(Content(b"{}"), a_batch(), endpoint, time.time()))
    code, _, err = receiver.end()
    sender.close()
    assert (code, err) == (0, "")


@slow
def test_receive_keeps_count_of_a_limited_number_of_scans_and_says_how_many_more_there_are(
    listen: Callable[..., Listening],
) -> None:
    about = {"scan_name": "s", "endpoint": "team", "delivery_id": "d", "series": "s", "sequence": 1}
    messages = [
        {"event_type": "high_risk_event", "data": {"scan_id": str(number)}, "metadata": about}
        for number in range(ACCOUNTS_MAX + 3)
    ]
    receiver = listen()
    endpoint = an_endpoint(url=receiver.url)
    sender = Sender(endpoint)
    for body in (json.dumps(messages), "{}"):  # the second one is answered once the first one is shown
        sender.send(sign(Content(body.encode()), a_batch(), endpoint, time.time()))
    sender.close()
    _, out, _ = receiver.end()
    assert out.count("its closing event has not arrived") == ACCOUNTS_MAX
    assert "3 more unfinished scans: too many at once to check for completeness.\nStopped.\n" in out


def test_receive_shows_a_delivery_that_is_verified(listen: Callable[..., Listening]) -> None:
    receiver = listen("--secret", SECRET)
    reply = receiver.send(secrets=[SECRET])
    _, out, _ = receiver.end()
    assert (reply.status, "high_risk_event  acme.example" in out, "  verified, " in out) == (200, True, True)


def test_receive_verifies_and_shows_a_delivery_by_the_security_audit_guide(
    listen: Callable[..., Listening], configure: Callable[..., Path]
) -> None:
    path = configure(section("team", "http://127.0.0.1:1/x", secret=SECRET, format="security-audit"))
    receiver = listen("--config", path, "--endpoint", "team", "--port", 0)
    body = a_body("finding.high")
    statuses = [receiver.send(body, secrets=[text], format="security-audit").status for text in (SECRET, "another one")]
    _, out, _ = receiver.end()
    assert (statuses, "finding.high  acme.example" in out, "  verified, " in out) == ([200, 401], True, True)
    assert "NOT VERIFIED: X-Security-Signature does not fit" in out


@slow
def test_receive_takes_a_message_that_has_a_guides_signature_only(listen: Callable[..., Listening]) -> None:
    receiver = listen("--secret", SECRET)
    body = b'{"event_type":"scan.completed","data":{"target":"acme.example"}}'
    headers = {"X-Security-Signature": guide_signature(SECRET, body), "X-Security-Event": "finding.critical"}
    status = receiver.post(body, headers)
    _, out, _ = receiver.end()
    assert (status, "scan.completed  acme.example" in out, "finding.critical" in out) == (200, True, False)
    assert "  verified by X-Security-Signature alone, which does not cover the time, " in out


@slow
def test_receive_says_that_a_replay_is_not_signed(listen: Callable[..., Listening]) -> None:
    receiver = listen("--secret", SECRET)
    body = b'{"event_type":"scan.completed","data":{}}'
    receiver.post(body, {"X-SpiderFoot-Signature": guide_signature(SECRET, body), "X-SpiderFoot-Replay": "true"})
    _, out, _ = receiver.end()
    assert "(X-SpiderFoot-Replay, not signed: sent again)" in out


def test_receive_says_why_a_delivery_is_not_verified(listen: Callable[..., Listening]) -> None:
    receiver = listen("--secret", SECRET)
    reply = receiver.send(secrets=["another one"])
    _, out, _ = receiver.end()
    assert (reply.status, "NOT VERIFIED: X-SpiderFoot-Signature does not fit" in out) == (401, True)


def test_receive_without_a_secret_calls_nothing_verified(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    receiver.send(secrets=[SECRET])
    _, out, _ = receiver.end()
    assert "  signed, not verified: no secret given, " in out


@slow
def test_receive_takes_its_secret_from_the_environment(
    listen: Callable[..., Listening], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_SECRET", SECRET)
    assert listen("--secret", "env:TEAM_SECRET").send(secrets=[SECRET]).status == 200


def test_receive_answers_with_the_statuses_in_turn_and_stays_with_the_last(listen: Callable[..., Listening]) -> None:
    receiver = listen("--respond", "500,503,204")
    assert [receiver.send().status for _ in range(4)] == [500, 503, 204, 204]


@slow
def test_receive_takes_secret_and_key_of_an_endpoint(
    listen: Callable[..., Listening], configure: Callable[..., Path]
) -> None:
    path = configure(section("team", "http://127.0.0.1:1/x", secret=SECRET, api_key="the-key"))
    receiver = listen("--config", path, "--endpoint", "team", "--port", 0)
    statuses = [
        receiver.send(secrets=[SECRET], api_key=Secret("the-key")).status,
        receiver.send(secrets=[SECRET]).status,
        receiver.send(api_key=Secret("the-key")).status,
    ]
    assert statuses == [200, 401, 401]


@slow
def test_receive_takes_the_port_of_an_endpoint(
    listen: Callable[..., Listening], configure: Callable[..., Path], receive: Callable[..., Team]
) -> None:
    free = receive()
    free.receiver.stop()
    path = configure(section("team", free.url))
    assert f"{listen('--config', path, '--endpoint', 'team').url}/webhook" == free.url


@pytest.mark.parametrize("port", ["abc", "99999", "-1"])
def test_a_port_that_there_cannot_be_is_wrong_usage(capsys: pytest.CaptureFixture[str], port: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["receive", f"--port={port}"])
    assert (ended.value.code, "expected a whole number from 0 to 65535" in capsys.readouterr().err) == (2, True)


def test_receive_does_not_await_in_plain_http_what_is_sent_by_https(
    cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", "https://hooks.example.test:8443/secret-path"))
    result = cli("receive", "--endpoint", "team")
    assert (result.code, result.out, "secret-path" in result.err) == (1, "", False)
    assert 'the url of endpoint "team" is https (https://hooks.example.test:8443): give --cert' in result.err


@slow
def test_receive_by_https_takes_the_settings_of_an_endpoint(
    listen: Callable[..., Listening], configure: Callable[..., Path], authority: Authority, server_identity: Identity
) -> None:
    path = configure(section("team", "https://hooks.example.test/hook", secret=SECRET))
    files = ("--cert", server_identity.cert, "--key", server_identity.key)
    receiver = listen("--config", path, "--endpoint", "team", "--port", 0, *files)
    assert receiver.send(ca_bundle=authority.cert, secrets=[SECRET]).status == 200


def test_receive_serves_https_and_demands_a_client_certificate(
    listen: Callable[..., Listening], authority: Authority, server_identity: Identity, client_identity: Identity
) -> None:
    receiver = listen("--cert", server_identity.cert, "--key", server_identity.key, "--client-ca", authority.cert)
    reply = receiver.send(ca_bundle=authority.cert, client_cert=client_identity.cert, client_key=client_identity.key)
    _, out, _ = receiver.end()
    assert (reply.status, "client certificate of spiderfoot" in out) == (200, True)


@slow
@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_receive_listens_on_an_address_of_either_kind(listen: Callable[..., Listening], host: str) -> None:
    receiver = listen("--host", host)
    assert receiver.url.startswith("http://[::1]:" if ":" in host else "http://127.0.0.1:")
    assert receiver.send().status == 200


@slow
def test_receive_says_why_it_refused_a_client(
    listen: Callable[..., Listening], authority: Authority, server_identity: Identity
) -> None:
    receiver = listen("--cert", server_identity.cert, "--key", server_identity.key, "--client-ca", authority.cert)
    receiver.send(ca_bundle=authority.cert)
    assert receiver.line().endswith("refused in the TLS handshake: PEER_DID_NOT_RETURN_A_CERTIFICATE")


def test_receive_saves_each_request(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "got.jsonl"
    receiver = listen("--save", path)
    receiver.send(b'{"number":1}')
    receiver.send(b'{"number":2}')
    receiver.end()
    saved = [json.loads(line) for line in path.read_text().splitlines()]
    assert [json.loads(one["body"])["number"] for one in saved] == [1, 2]


@slow
def test_receive_saves_requests_in_a_pipe_that_is_read(listen: Callable[..., Listening], tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE, text=True) as reader:
        try:
            with path.open("w"):  # it reads now
                receiver = listen("--save", path)
            for number in (1, 2):
                receiver.send(json.dumps({"number": number}).encode())
            receiver.end()
            assert reader.stdout
            saved = [json.loads(line) for line in reader.stdout]
        finally:
            reader.kill()  # it would read for as long as the receiver lives
    assert [json.loads(one["body"])["number"] for one in saved] == [1, 2]


@slow
def test_receive_says_that_a_request_could_not_be_saved(listen: Callable[..., Listening]) -> None:
    receiver = listen("--save", "/dev/full")
    status = receiver.send(b"{}").status
    _, out, _ = receiver.end()
    assert (status, "not stored: No space left on device; answered 503" in out) == (503, True)


@slow
def test_receive_shows_the_whole_message_if_it_is_asked_to(listen: Callable[..., Listening]) -> None:
    receiver = listen("--full")
    receiver.send(json.dumps({"data": {"data": "[bold]x" * 100}}).encode())
    _, out, _ = receiver.end()
    assert json.dumps("[bold]x" * 100) in out


@slow
def test_receive_says_of_a_chat_message_what_it_says(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    body = FORMATS["slack"].render(a_delivery(an_event(data={"message": "a < b & c"}, type="else")), an_endpoint()).body
    receiver.send(body)
    _, out, _ = receiver.end()
    assert "  Else (high) on acme.example: a < b & c" in out.splitlines()


@slow
def test_receive_shows_values_as_json_has_them(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    receiver.send(b'{"data":{"target":null,"will_retry":false,"branch":null,"score":8.1,"reason":"it died"}}')
    receiver.send(b'{"data":{"event_type":"","data":true},"metadata":{"severity":"high"}}')
    receiver.send(b'{"data":{"data":"found"}}')
    _, out, _ = receiver.end()
    assert "  will_retry false, score 8.1, reason it died" in out.splitlines()
    assert {"  high: true", "  found"} <= set(out.splitlines())
    assert "None" not in out


@slow
def test_receive_shows_a_finding_of_several_lines_in_one(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    receiver.send(b'{"data":{"data":"hacked by nobody\\r\\nhttp://zone.test/1\\n","target":"acme\\texample"}}')
    receiver.send(b'{"data":{"message":"one\\ntwo"}}')
    _, out, _ = receiver.end()
    assert {"  hacked by nobody http://zone.test/1", "  message one two"} <= set(out.splitlines())
    assert ("a message  acme example" in out, "\ufffd" in out) == (True, False)


@slow
def test_receive_says_so_where_it_answers_something_else_than_success(listen: Callable[..., Listening]) -> None:
    receiver = listen("--respond", "503,200")
    replies = [receiver.send().body for _ in range(2)]
    _, out, _ = receiver.end()
    assert (replies, "bytes, answered 503 as asked" in out) == ([b"answering 503 as asked", b"ok"], True)


def a_message(number: int, event_type: str = "high_risk_event") -> bytes:
    event = an_event(number, type=event_type, data={"scan_id": "5C4A0001"})
    return generic.render(replace(a_delivery(event), sequence=number), an_endpoint()).body


def test_receive_says_at_a_scans_end_whether_it_has_all(listen: Callable[..., Listening]) -> None:
    receiver = listen()
    end = a_message(4, "scan_completed")
    batch = b"[" + a_message(1) + b"," + a_message(2) + b"]"
    for body in (batch, end, end, a_message(3)):
        receiver.send(body)
    _, out, _ = receiver.end()
    assert [line.strip() for line in out.splitlines() if "scan 5C4A0001" in line] == [
        "scan 5C4A0001 for team: incomplete so far, 3 of 4 messages, 1 missing (#3)",
        "scan 5C4A0001 for team: complete, 4 of 4 messages, none missing; 1 repeated",
    ]


@slow
@pytest.mark.parametrize(
    ("arguments", "secrets"), [(("--respond", "500,200"), []), (("--secret", SECRET), ["another one"])]
)
def test_receive_does_not_count_what_it_did_not_take(
    listen: Callable[..., Listening], arguments: tuple[str, ...], secrets: list[str]
) -> None:
    receiver = listen(*arguments)
    receiver.send(a_message(1), secrets=secrets)
    receiver.send(a_message(2, "scan_completed"), secrets=[SECRET])
    _, out, _ = receiver.end()
    said = "scan 5C4A0001 for team: incomplete so far, 1 of 2 messages, 1 missing (#1)"
    assert [line.strip() for line in out.splitlines() if "scan 5C4A0001" in line] == [said] * 2, (
        "at its end, and at ours"
    )


HOSTILE = (
    b"",
    b"no JSON",
    b'{"data":"text","metadata":[]}',
    b'{"data":null,"metadata":null}',
    b'{"data":{"data":"\\ud800 \\u001b[31m \\u009b31m","target":["x"]}}',
    '{"data":{"data":"\x9b31m\x7f"}}'.encode(),
)


@pytest.mark.parametrize("arguments", [(), ("--full",)], ids=["short", "full"])
def test_receive_takes_any_message_and_keeps_the_terminal_safe(
    listen: Callable[..., Listening], arguments: tuple[str, ...]
) -> None:
    receiver = listen(*arguments)
    assert [receiver.send(body).status for body in HOSTILE] == [200] * len(HOSTILE)
    code, out, err = receiver.end()
    assert (code, err, [char for char in out if not char.isprintable() and char != "\n"]) == (0, "", [])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--api-key", "file:/nowhere"], "--api-key: /nowhere cannot be read"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1:0"),
        (["--secret", "env:NOT_SET_ANYWHERE"], "the environment variable NOT_SET_ANYWHERE is not set"),
        (["--secret", "whsec_short"], "expected base64 of 24 to 64 bytes after whsec_"),
        (["--client-ca", "ca.pem"], "need --cert"),
        (["--cert", "/nowhere.pem"], "cannot be used for https: /nowhere.pem"),
        (["--save", "/nowhere/got.jsonl"], "--save /nowhere/got.jsonl cannot be written"),
    ],
)
def test_receive_says_what_is_wrong_with_its_arguments(
    cli: Callable[..., Result], arguments: list[str], problem: str
) -> None:
    result = cli("receive", *arguments)
    assert (result.code, problem in result.err) == (1, True)


def test_receive_shows_no_wrong_secret(cli: Callable[..., Result]) -> None:
    assert "hush" not in cli("receive", "--secret", "whsec_hush!").err


def test_receive_names_the_endpoints_that_there_are(cli: Callable[..., Result], configure: Callable[..., Path]) -> None:
    configure(section("team", "http://127.0.0.1:1/"))
    result = cli("receive", "--endpoint", "other")
    assert (result.code, 'there is no endpoint "other"; there are: team' in result.err) == (1, True)


def test_receive_says_that_its_port_is_taken(cli: Callable[..., Result], receive: Callable[..., Team]) -> None:
    port = receive().receiver.server_address[1]
    result = cli("receive", "--port", str(port))
    assert (result.code, "Address already in use" in result.err) == (1, True)


# --- test, enable


def test_a_test_message_goes_to_each_endpoint_signed(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team]
) -> None:
    one, other = receive(secrets=["hush"]), receive(secrets=["hush"])
    configure(section("one", one.url, secret="hush") + section("other", other.url, secret="hush"))
    result = cli("test")
    assert (result.code, "one (http" in result.out, "hush" in result.out) == (0, True, False)
    for team in (one, other):
        assert [(received.message["data"]["alert"], received.problems) for received in team.got] == [("test", ())]


def test_a_test_message_to_one_endpoint_spares_the_others(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team]
) -> None:
    one, other = receive(), receive()
    configure(section("one", one.url) + section("other", other.url))
    cli("test", "one")
    assert (len(one.got), len(other.got)) == (1, 0)


def test_a_test_message_to_a_paused_endpoint_is_sent_and_that_is_said(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team]
) -> None:
    team = receive()
    configure(section("team", team.url))
    cli("pause", "team")
    result = cli("test")
    assert (result.code, len(team.got)) == (0, 1)
    assert result.out.startswith("team is paused until sfwebhooks resume; the test is sent anyway. team (http")


def test_a_test_message_that_is_not_taken_says_why(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team]
) -> None:
    team = receive()
    team.answer = 404
    configure(section("team", team.url))
    result = cli("test")
    assert (result.code, "not delivered, http_404" in result.out) == (1, True)
    assert "what to do: correct the path in url" in result.out


def test_a_test_says_where_a_redirect_points(
    cli: Callable[..., Result], configure: Callable[..., Path], hostile: Callable[..., Hostile]
) -> None:
    receiver = hostile(answering(reply(302, "Location: https://login.example.test/sso?token=hidden")))
    configure(section("team", receiver.url))
    result = cli("test")
    assert (result.code, "hidden" in result.out) == (1, False)
    assert 'not delivered, http_302, it said "Location: https://login.example.test", ' in result.out
    assert "redirects are never followed: set its new address in url" in result.out


def test_a_test_shows_the_title_of_a_page(
    cli: Callable[..., Result], configure: Callable[..., Path], hostile: Callable[..., Hostile]
) -> None:
    page = b"<html>\n<head><title>502 Bad\n Gateway</title></head><body>...</body></html>"
    configure(section("team", hostile(answering(reply(502, body=page))).url))
    assert 'not delivered, http_502, it said "502 Bad Gateway", ' in " ".join(cli("test").out.split())


def test_a_test_message_leaves_no_trace_in_the_outbox(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team], tmp_path: Path
) -> None:
    configure(section("team", receive().url))
    cli("test")
    assert not (tmp_path / FILE).exists()


def test_a_paused_endpoint_is_sent_nothing_until_it_is_resumed(
    cli: Callable[..., Result], configure: Callable[..., Path], receive: Callable[..., Team], tmp_path: Path
) -> None:
    team = receive()
    configure(section("team", team.url))
    outbox = Outbox(place_in(tmp_path))
    accept([an_event()], Screen((an_endpoint(),)), outbox, time.time())
    assert "team is paused until 20" in cli("pause", "team", "--for", "2h").out
    assert "paused until 20" in cli("check").out
    paused = cli("drain", "--timeout", "1s")
    assert (paused.code, "team: 1 waiting: paused until 20" in paused.out, team.got) == (0, True, [])
    cli("resume", "team")
    assert (cli("drain").code, len(team.got)) == (0, 1)
    outbox.close()


def test_an_endpoint_can_be_paused_before_it_has_deliveries_and_forever(
    cli: Callable[..., Result], configure: Callable[..., Path], tmp_path: Path
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    assert "team is paused until sfwebhooks resume" in cli("pause", "team").out
    assert Outbox(place_in(tmp_path)).endpoints.orders("team").paused_until == float("inf")


def test_that_there_is_nothing_to_resume_is_said(
    cli: Callable[..., Result], configure: Callable[..., Path], outbox: Outbox
) -> None:
    configure(section("team", "https://hooks.example.test/"))
    assert cli("resume", "team").out == "team was neither paused nor failing."
    cli("pause", "team")
    assert cli("resume", "team").out == "team is in use again."
    outbox.queue.settle([], {"team": Health(Condition.HELD, "http_401")})
    put(outbox, 1)
    idle = "no process is sending: sfwebhooks drain sends once, sfwebhooks run keeps sending"
    assert cli("resume", "team").out == f"team is in use again. team: 1 waiting: {idle}"


@pytest.mark.parametrize("command", ["check", "deliveries", "pause team", "replay --all"])
def test_a_data_folder_that_is_not_there_is_reported(cli: Callable[..., Result], tmp_path: Path, command: str) -> None:
    path = tmp_path / "nowhere"
    result = cli(*command.split(), "--folder", path)
    assert (result.code, result.err) == (1, f"sfwebhooks: --folder {path}: there is no such folder")


@pytest.mark.parametrize("command", ["test", "enable", "resume", "pause"])
def test_an_endpoint_that_is_not_there_is_an_error(
    command: str, cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", "http://127.0.0.1:1/"))
    result = cli(command, "taem")
    assert (result.code, "there are: team" in result.err) == (1, True)


def test_a_test_without_an_endpoint_is_an_error(cli: Callable[..., Result], configure: Callable[..., Path]) -> None:
    configure("[webhooks]\nenabled = true\n")
    result = cli("test")
    assert (result.code, "no usable endpoint" in result.err) == (1, True)


def test_an_endpoint_that_was_gone_is_sent_to_again_after_enable(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive()
    configure(section("team", team.url, max_age="365d"))
    fill(1)
    team.answer = 410
    assert "sfwebhooks enable team" in cli("drain").out
    team.answer = 200
    assert cli("drain").out.startswith("0 delivered, 1 waiting")
    cli("enable", "team")
    assert cli("drain").out.startswith("1 delivered, 0 waiting")


# --- what check warns of


@pytest.mark.parametrize(
    ("url", "keys", "warning"),
    [
        ("http://hooks.example.test/", {}, "anyone on the network path can read"),
        ("https://hooks.slack.com/services/T/B/x", {}, "accepts only format = slack"),
    ],
)
def test_check_warns_of_what_is_usable_but_odd(
    url: str, keys: dict[str, str], warning: str, cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", url, secret="a secret of some length", **keys))
    result = cli("check")
    assert (result.code, warning in result.out) == (0, True)


@pytest.mark.parametrize(("name", "warned"), [("security-audit", True), ("generic", False)])
def test_check_warns_of_a_guides_receiver_that_gets_no_signature_it_knows(
    cli: Callable[..., Result], configure: Callable[..., Path], name: str, warned: bool
) -> None:
    configure(section("team", "https://hooks.example.test/", secret=new_whsk(), format=name))
    words = "team has whsk_ secrets only: its messages have no X-Security-Signature"
    assert (words in cli("check").out) is warned


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost/", "https://hooks.example.test/"])
def test_check_has_no_warning_for_what_stays_here_or_is_encrypted(
    url: str, cli: Callable[..., Result], configure: Callable[..., Path]
) -> None:
    configure(section("team", url, secret="a secret of some length"))
    assert "anyone on the network path" not in cli("check").out


def test_check_shows_what_the_receiver_said_last(
    cli: Callable[..., Result], configure: Callable[..., Path], fill: Callable[..., None], receive: Callable[..., Team]
) -> None:
    team = receive()
    team.answer = 401
    configure(section("team", team.url, max_age="365d"))
    fill(5)
    cli("drain", "--timeout", "1s")
    result = cli("check")
    assert re.search(r"held, http_401, unhealthy since 20\S+ \S+ UTC", result.out)
    assert "team: what to do: correct secret, api_key or header.NAME" in result.out
    assert (result.code, result.out.endswith("No mistakes, but these need attention: team.")) == (3, True)


def test_check_says_when_the_environment_stops_everything(
    cli: Callable[..., Result], configure: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("[webhooks]\nenabled = true\n" + section("team", "https://hooks.example.test/"))
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    assert "webhooks are off (SFWEBHOOKS_DISABLED is set)" in cli("check").out
