"""Settings that are wrong somewhere hold whom they can be about: it accepts, is not sent to, and loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.location import find_file
from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.emission import keep
from sfwebhooks.emitted_event import Emission
from sfwebhooks.events import Scan
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.run import ScanRun
from tests.builders import PATIENCE, a_finding, a_host_database, a_scan, an_endpoint
from tests.conftest import Result, Team, put, sql
from tests.rows import in_one
from tests.stores import place_in

STORES = ("sqlite", "postgres")

pytestmark = pytest.mark.usefixtures("own_signals")
SECRET = "Zeppelin-over-Ithaca-1937"
A, B = "[webhooks.a]\nurl = https://a.example/\n", "[webhooks.b]\nurl = https://b.example/\n"
OF_B = f"{B}secret = {SECRET}\n"


def written(folder: Path, text: str, name: str = "webhooks.ini") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Write and read settings: `settings(text, name="spiderfoot.conf")`."""
    return lambda text, **how: load(written(tmp_path, text, **how))


def held(found: Settings) -> list[str]:
    return sorted(found.held)


def problems(found: Settings) -> str:
    return "\n".join(map(str, found.mistakes))


# --- who is held


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("secret = env:NOT_SET_ANYWHERE", "secret: the environment variable NOT_SET_ANYWHERE is not set"),
        ("secret = file:nowhere", "nowhere cannot be read: No such file or directory"),
        ("secret = changeme", "secret: this is a sample"),
        ("timeout = soon", "timeout: expected a duration"),
        ("hmac = x", "hmac: there is no such key."),
        ("secret hush", 'secret: line 3 is not "key = value"'),
        ("client_key = key.pem", "client_key requires client_cert"),
    ],
)
def test_an_endpoint_with_a_mistake_is_there_and_says_why_it_is_held(
    settings: Callable[..., Settings], line: str, words: str
) -> None:
    found = settings(f"{A}{line}\n{OF_B}")
    assert (held(found), found.is_complete, found.unused) == (["a"], True, frozenset())
    assert words in found.held["a"]


@pytest.mark.parametrize("line", ["", "url = nowhere", "url = env:NOT_SET_ANYWHERE", "ulr = https://a.example/"])
def test_one_without_a_usable_url_says_so_where_others_show_the_place(
    settings: Callable[..., Settings], line: str
) -> None:
    (endpoint,) = settings(f"[webhooks.a]\nsecret = {SECRET}\n{line}\n").endpoints
    assert (endpoint.place, endpoint.url.reveal(), bool(endpoint.mistake)) == ("no usable url", "", True)


@pytest.mark.parametrize(
    "line",
    [
        "events = nothing",
        "events = !*",
        "evnts = all",
        "event_types = all",
        "events all",
        "timeout = 5s\n  events = all",
    ],
)
def test_one_whose_events_cannot_be_known_accepts_nothing(settings: Callable[..., Settings], line: str) -> None:
    found = settings(f"{A}{line}\n{OF_B}")
    assert ([one.name for one in found.endpoints], found.unused, found.is_complete) == (["b"], frozenset({"a"}), False)


def test_one_that_is_switched_off_is_not_held(settings: Callable[..., Settings]) -> None:
    found = settings(f"{A}enabled = false\nsecret = changeme\n{OF_B}")
    assert ([one.name for one in found.endpoints], found.unused, len(found.mistakes)) == (["b"], frozenset({"a"}), 1)


def test_a_mistake_that_is_inherited_is_the_reason(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(f"[webhooks]\nsecret = env:NOT_SET_ANYWHERE\n{A}{OF_B}")
    assert found.held == {"a": "secret: the environment variable NOT_SET_ANYWHERE is not set ([webhooks])"}


def test_another_endpoints_fallback_may_be_held(settings: Callable[..., Settings]) -> None:
    found = settings(f"{A}fallback = b\n{B}secret = changeme\n")
    assert (held(found), found.endpoints[0].fallback) == (["b"], "b")


# --- keys that nobody knows


@pytest.mark.parametrize(
    "key", ["hmac", "token", "password", "signature", "cacert", "mtls", "cert", "tls", "sign", "key"]
)
def test_an_unknown_key_holds_all_that_it_could_have_protected(settings: Callable[..., Settings], key: str) -> None:
    assert held(settings(f"[webhooks]\n{key} = {SECRET}\n{A}{OF_B}")) == ["a", "b"]


@pytest.mark.parametrize("key", ["hmac", "token", "password", "signature", "cacert", "mtls"])
def test_an_unknown_key_of_an_endpoint_holds_it_alone(settings: Callable[..., Settings], key: str) -> None:
    assert held(settings(f"[webhooks]\na.{key} = {SECRET}\na.url = https://a.example/\n{OF_B}")) == ["a"]


def test_a_typo_holds_those_that_would_inherit_what_was_meant(settings: Callable[..., Settings]) -> None:
    assert held(settings(f"[webhooks]\nsecert = {SECRET}\n{A}{OF_B}")) == ["a"]


def test_a_typo_of_a_key_that_protects_nobody_holds_nobody(settings: Callable[..., Settings]) -> None:
    found = settings(f"[webhooks]\ndrain_timout = 5s\n{A}{OF_B}")
    assert (held(found), len(found.mistakes)) == ([], 1)


@pytest.mark.parametrize("key", ["default_ulr", "url"])
def test_a_misspelt_default_url_loses_no_events(settings: Callable[..., Settings], key: str) -> None:
    found = settings(f"[webhooks]\n{key} = https://x.example/\n{OF_B}")
    assert (held(found), 'Did you mean "default_url"?' in problems(found)) == (["default"], True)


@pytest.mark.parametrize("typo", ["taem", "Team", "tema", "team_a"])
def test_a_dotted_key_of_a_misspelt_endpoint_holds_the_one_that_was_meant(
    settings: Callable[..., Settings], typo: str
) -> None:
    found = settings(f"[webhooks]\nteam.url = https://a.example/\n{typo}.secret = {SECRET}\n{OF_B}")
    assert (held(found), [one.name for one in found.endpoints]) == (["team"], ["team", "b"])
    assert f"[webhooks.{typo}]: this endpoint has no url" in problems(found)
    assert "may be meant for it" in found.held["team"]


def test_a_section_of_a_misspelt_endpoint_holds_both(settings: Callable[..., Settings]) -> None:
    found = settings(f"[webhooks.team]\nurl = https://a.example/\n[webhooks.taem]\nsecret = {SECRET}\n{OF_B}")
    assert held(found) == ["taem", "team"]


def test_an_endpoint_that_lost_its_url_does_not_hold_one_that_lacks_nothing(settings: Callable[..., Settings]) -> None:
    found = settings(f"[webhooks.team1]\nurl = https://a.example/\nsecret = {SECRET}\n[webhooks.team2]\nsecret = x7\n")
    assert held(found) == ["team2"]


def test_a_dotted_key_the_wrong_way_round_holds_its_endpoint(settings: Callable[..., Settings]) -> None:
    assert held(settings(f"[webhooks]\nsecret.a = {SECRET}\n{A}{OF_B}")) == ["a"]


def test_a_misspelt_header_holds_those_that_would_send_it(settings: Callable[..., Settings]) -> None:
    assert held(settings(f"[webhooks]\nhedaer.X-Token = {SECRET}\n{A}{OF_B}")) == ["a", "b"]


# --- sections that nobody knows


@pytest.mark.parametrize(
    ("section", "keys", "right", "who"),
    [
        ("b", "url", "[webhooks.b]", ["b"]),
        ("webhooks b", "url", "[webhooks.b]", ["b"]),
        ("webhook.b", "url", "[webhooks.b]", ["b"]),
        ("WEBHOOKS.b", "url", "[webhooks.b]", ["b"]),
        ("webhook_b", "url", "[webhooks.b]", ["b"]),
        ('webhooks "b"', "url", "[webhooks.NAME]", []),
        ("[webhooks.b", "url", "[webhooks.b]", ["b"]),
        ("a", "secret", "[webhooks.a]", ["a"]),
        ("webhooks a", "secret", "[webhooks.a]", ["a"]),
        ("webhooks.", "url", "[webhooks.NAME]", []),
        ("webhooks.", "secret", "[webhooks.NAME]", ["a"]),
        ("DEFAULT", "secret", "[webhooks]", ["a"]),
        ("default", "secret", "[webhooks]", ["a"]),
        ("DEFAULT", "hmac", "[webhooks]", ["a", "c"]),
        ("Webhooks", "secret", "[webhooks]", ["a"]),
        ("tls", "client_cert", "[webhooks.NAME]", ["a", "c"]),
        ("security", "hmac", "[webhooks.NAME]", ["a", "c"]),
    ],
)
def test_a_section_that_is_not_known_holds_whom_it_can_be_about(
    settings: Callable[..., Settings], section: str, keys: str, right: str, who: list[str]
) -> None:
    value = "https://b.example/" if keys == "url" else SECRET
    text = f"{A}[webhooks.c]\nurl = https://c.example/\nsecret = {SECRET}-c\n"
    found = settings(f"{text}\n[{section}]\n{keys} = {value}\n")
    assert held(found) == who
    assert ("line 7" in problems(found), right in problems(found)) == (True, True)


def test_a_section_of_another_name_alone_turns_off_nobody_else(settings: Callable[..., Settings]) -> None:
    found = settings(f"{OF_B}[webhooks c]\nurl = https://c.example/\n")
    assert [(one.name, bool(one.mistake)) for one in found.endpoints] == [("b", False), ("c", True)]


@pytest.mark.parametrize("section", ["sfp_x", "globals", "b2", "DEFAULT"])
def test_sections_of_other_programs_are_ignored_where_they_may_be(
    settings: Callable[..., Settings], section: str
) -> None:
    found = settings(f"[{section}]\n_x = 1\n{OF_B}", name="spiderfoot.conf")
    assert found.mistakes == ()


@pytest.mark.parametrize(("section", "who"), [("DEFAULT", ["a"]), ("a", ["a"]), ("webhook a", ["a"])])
def test_what_looks_like_ours_is_a_mistake_there_too(
    settings: Callable[..., Settings], section: str, who: list[str]
) -> None:
    assert held(settings(f"[{section}]\nsecret = {SECRET}\n{A}{OF_B}", name="spiderfoot.conf")) == who


def test_what_others_have_in_default_is_not_our_matter(settings: Callable[..., Settings]) -> None:
    found = settings(f"[DEFAULT]\n_debug = 1\nsecret = {SECRET}\n{OF_B}", name="spiderfoot.conf")
    assert (held(found), len(found.mistakes)) == ([], 1)


def test_a_spiderfoot_conf_whose_only_section_of_ours_is_misspelt_is_not_passed_over(tmp_path: Path) -> None:
    conf = written(tmp_path, f"[globals]\nx = 1\n[webhook.a]\nsecret = {SECRET}\n", "spiderfoot.conf")
    assert find_file("", tmp_path) == conf
    own = written(tmp_path, OF_B)
    assert find_file("", tmp_path) == own


# --- what is inherited and not wanted


@pytest.mark.parametrize(
    ("key", "value", "field", "without"),
    [
        ("secret", SECRET, "secrets", ()),
        ("api_key", SECRET, "api_key", None),
        ("proxy", "http://127.0.0.1:9", "proxy", None),
        ("header.X-Team", "blue", "headers", {}),
        ("metadata.user", "admin", "metadata", {}),
        ("events", "all", "events", an_endpoint().events),
        ("format", "siem", "format", "generic"),
        ("verify_tls", "false", "verify_tls", True),
        ("ca_bundle", "ca.pem", "ca_bundle", None),
        ("client_cert", "c.pem", "client_cert", None),
        ("client_key_password", SECRET, "client_key_password", None),
        ("allow_private", "false", "allow_private", True),
        ("timeout", "3s", "timeout", 15.0),
        ("concurrency", "2", "concurrency", 4),
        ("rate", "1/s", "interval", 0.0),
        ("retry_schedule", "7s", "retry_schedule", an_endpoint().retry_schedule),
        ("max_retries", "1", "retry_schedule", an_endpoint().retry_schedule),
        ("retry_after_max", "5m", "retry_after_max", 3600.0),
        ("max_age", "1d", "max_age", 7 * 86400.0),
        ("batch_size", "5", "batch_size", 1),
        ("batch_wait", "5s", "batch_wait", 2.0),
        ("fallback", "b", "fallback", ""),
        ("ui_url", "https://ui.example", "ui_url", ""),
    ],
)
def test_an_empty_value_takes_an_inherited_one_away(
    settings: Callable[..., Settings], key: str, value: str, field: str, without: object
) -> None:
    found = settings(f"[webhooks]\n{key} = {value}\n{A}{key} =\n{B}")
    assert found.mistakes == ()
    own, other = (getattr(one, field) for one in found.endpoints)
    assert own == without and (other != without or key == "fallback")


def test_it_takes_a_wrong_one_away_too(settings: Callable[..., Settings]) -> None:
    assert held(settings(f"[webhooks]\nproxy = nonsense\n{A}proxy =\n{B}")) == ["b"]


def test_an_empty_value_that_takes_nothing_away_is_a_mistake(settings: Callable[..., Settings]) -> None:
    assert held(settings(f"{A}secret =\n{OF_B}")) == ["a"]


# --- env: and file:


@in_one("blank", ["\n", "\r\n", " ", "\t", " \n", "\n\n"])
@pytest.mark.parametrize("source", ["env", "file"])
@pytest.mark.parametrize("key", ["secret", "api_key", "client_key_password", "header.X-Key", "url"])
def test_blanks_around_a_value_are_removed_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, key: str, blank: str
) -> None:
    value = "https://a.example/x" if key == "url" else SECRET
    monkeypatch.setenv("VALUE", f" {value}{blank}")
    (tmp_path / "VALUE").write_bytes(f" {value}{blank}".encode())
    own = {"url": "https://a.example/", key: f"{source}:VALUE"}
    found = load_mapping({"a": own}, folder=tmp_path)
    assert (found.mistakes, f"{blank}" in found.endpoints[0].fingerprint) == ((), False)
    texts = [one.reveal() for one in (found.endpoints[0].url, *found.endpoints[0].secrets)]
    texts += [one.reveal() for one in found.endpoints[0].headers.values()]
    texts += [one.reveal() for one in (found.endpoints[0].api_key, found.endpoints[0].client_key_password) if one]
    assert value in texts


def test_the_files_with_values_are_known_also_while_they_are_missing(tmp_path: Path) -> None:
    found = load(written(tmp_path, f"{A}secret = file:there\n{B}secret = file:/nowhere/to/be/found\n"))
    assert found.files.keys() == {tmp_path / "webhooks.ini", tmp_path / "there", Path("/nowhere/to/be/found")}
    assert found.files[tmp_path / "there"] == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_in_place_of_a_secret_holds_its_endpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = load(written(tmp_path, f"{A}secret = file:pipe\n{OF_B}"))
    assert found.held == {
        "a": f"secret: {tmp_path / 'pipe'} cannot be read: it is a named pipe; expected a regular file"
    }


# --- what becomes of what waits


@pytest.fixture
def two(receive: Callable[..., Team], tmp_path: Path) -> Iterator[tuple[Team, Team]]:
    """Two receivers; the settings of the first one have a mistake until $TEAM_SECRET is set."""
    first, second = receive([SECRET]), receive()
    text = f"[webhooks]\nevents = all\n[webhooks.a]\nurl = {first.url}\nsecret = env:TEAM_SECRET\n"
    written(tmp_path, f"{text}[webhooks.b]\nurl = {second.url}\n")
    yield first, second


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", scan, "FINISHED")
    return scan


def test_a_scan_keeps_what_a_held_endpoint_wants_and_says_why_it_waits(
    two: tuple[Team, Team], scan: Scan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = ScanRun(scan, load(tmp_path / "webhooks.ini"), tmp_path)
    with caplog.at_level("INFO"):
        run.begin()
        run.accept(a_finding())
        run.end()
    last = caplog.records[-1].getMessage()
    words = "4 for a: config_mistake, secret: the environment variable TEAM_SECRET is not set"
    assert last == f"webhooks: 4 delivered, 4 waiting ({words}), 0 dead"
    assert (two[0].got, len(two[1].got)) == ([], 4)


def test_what_waited_is_sent_by_a_process_with_the_right_settings(
    two: tuple[Team, Team], cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"finding_id": "f1", "title": "t", "severity": "high", "message": "m"}
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    keep(Emission("high_risk_event", data))
    first = cli("drain")
    assert (first.code, "1 delivered, 1 waiting" in first.words) == (1, True)
    assert "a: 1 waiting: config_mistake, secret: the environment variable TEAM_SECRET is not set" in first.words
    monkeypatch.setenv("TEAM_SECRET", SECRET + "\n")
    assert (cli("drain").code, [one.problems for one in two[0].got]) == (0, [()])


def test_nothing_is_written_about_its_health(
    two: tuple[Team, Team], cli: Callable[..., Result], outbox: Outbox, tmp_path: Path
) -> None:
    put(outbox, *load(tmp_path / "webhooks.ini").endpoints)
    cli("drain")
    assert "a" not in json.dumps(sql(outbox, "SELECT endpoint FROM health"))


def test_no_thread_is_made_for_it(dispatch: Callable[..., Any], team: Team) -> None:
    dispatcher = dispatch(an_endpoint("held", mistake="secret: it is a sample"), an_endpoint(url=team.url))
    assert [line.endpoint.name for queue in dispatcher.queues for line in queue.states] == ["team"]


def test_it_is_alerted_of_the_trouble_of_others(outbox: Outbox, dispatch: Callable[..., Any], team: Team) -> None:
    team.answer = 410
    held = an_endpoint("held", events=("system_alert",), mistake="secret: it is a sample")
    put(outbox, an_endpoint(url=team.url))
    dispatcher = dispatch(an_endpoint(url=team.url), held)
    dispatcher.wake()
    team.wait_for(1)
    dispatcher.stop(PATIENCE)
    assert sql(outbox, "SELECT endpoint, state FROM delivery WHERE name = 'system_alert'") == [("held", "waiting")]


@pytest.mark.parametrize("command", ["check", "deliveries", "show", "test a", "test", "receive --endpoint a"])
def test_commands_name_the_mistake(
    two: tuple[Team, Team], cli: Callable[..., Result], outbox: Outbox, tmp_path: Path, command: str
) -> None:
    put(outbox, *load(tmp_path / "webhooks.ini").endpoints)
    ((delivery,),) = sql(outbox, "SELECT id FROM delivery WHERE endpoint = 'a'")
    result = cli(*command.split(), *([delivery] if command == "show" else []))
    assert "the environment variable TEAM_SECRET is not set" in " ".join((result.out + result.err).split())
    assert result.code == (0 if command in ("deliveries", "show") else 1)
    assert two[0].got == []


def test_check_shows_its_state(two: tuple[Team, Team], cli: Callable[..., Result]) -> None:
    assert "config_mistake: see below" in cli("check").words


def test_pause_takes_it_too(two: tuple[Team, Team], cli: Callable[..., Result], tmp_path: Path) -> None:
    assert cli("pause", "a", "--for", "2h").code == 0
    with closing(Outbox(place_in(tmp_path))) as outbox:
        assert outbox.endpoints.orders("a").paused_until > 0
