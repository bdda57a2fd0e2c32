"""What is said of settings that are wrong, wherever a secret was put in them by mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sfwebhooks.config.endpoint import NAME
from sfwebhooks.config.options import GENERAL_OPTIONS, OPEN_OPTIONS, all_options
from sfwebhooks.config.settings import load
from tests.rows import in_one
from tests.secrecy.planted import API_KEY, BASIC, PATH, SECRETS, WATCHER, proxy_at, section, written
from tests.secrecy.witness import Witness
from tests.tiers import quick_first

#: how secrets are written
VALUES = (*SECRETS, f"https://hooks.test{PATH}", proxy_at("http://p.test"), f"Bearer {API_KEY}", f"Basic {BASIC}")
#: a value that could be the name of an endpoint, which is no secret, is taken for one
UNNAMEABLE = [value for value in VALUES if not NAME.fullmatch(value)]
KEYS = {key: option for table in (all_options(), GENERAL_OPTIONS) for key, option in table.items()}
KEYS |= {f"{name}X-Own": option for name, option in OPEN_OPTIONS.items()}
ENDPOINT = "[webhooks.team]\nurl = https://receiver.test/\n"
#: place -> settings with a line in it
PLACES = {
    "[webhooks]": f"[webhooks]\n{{}}\n{ENDPOINT}",
    "[webhooks.team]": f"{ENDPOINT}{{}}\n",
    "dotted": f"[webhooks]\nteam.{{}}\n{ENDPOINT}",
}


@pytest.fixture
def see(settings_folder: Path, witness: Witness) -> Callable[..., None]:
    """Look at what is said of settings."""

    def look(text: str) -> None:
        found = load(written(settings_folder, text))
        witness.see("mistakes", found.mistakes, *found.mistakes, *found.warnings, *found.held.values())

    return look


@in_one("place", PLACES)
@pytest.mark.parametrize("key", quick_first(KEYS, 8))
def test_a_secret_is_the_value_of_another_key(see: Callable[..., None], key: str, place: str) -> None:
    for value in VALUES:
        see(PLACES[place].format(f"{key} = {value}"))


def test_each_key_with_a_value_of_its_own_kind_says_that_a_secret_is_none(settings_folder: Path) -> None:
    free = {"description", "fallback", "default_url", "metadata.X-Own", "targets", "data_match", "data_not_match"}
    free |= {key for key, option in KEYS.items() if option.secret or option.parse.__name__ == "path"}
    for key in KEYS.keys() - free:
        assert load(written(settings_folder, f"{ENDPOINT}{key} = {API_KEY}\n")).mistakes, key


@pytest.mark.parametrize("source", ["env", "file"])
@pytest.mark.parametrize("key", [key for key, option in KEYS.items() if option.secret])
def test_a_secret_is_taken_for_the_name_of_a_place(see: Callable[..., None], key: str, source: str) -> None:
    for value in VALUES:
        see(f"{ENDPOINT}{key} = {source}:{value}\n")


@pytest.mark.parametrize(
    "line",
    [
        "header.Authorization Bearer {}=",
        "team.header.Authorization Bearer {}=",
        "secret {}",
        "secret {}=",
        "secret = old\n{}=",
        "timeout = 3s\n  secret = {}",
        "timeout = 3s\n  {}",
        "secret = {0}\nsecret = {0}",
        "{0} = x\n{0} = x",
        "{} = x",
        "team.{0} = x\n[webhooks.team]\n{0} = x",
        "{}",
        "[web-hooks {}]\nx = y",
        "[web-hooks {}]\nurl = https://receiver.test/",
        "[{}]\nx = y",
        "[a {}]\nurl = https://receiver.test/",
        "secret.{} = x",
        "team.x = {0}\n[webhooks.teem]\nsecret = {0}",
        "header.X-Own = {}\x01",
    ],
)
@pytest.mark.parametrize("beside", quick_first([ENDPOINT, ""]), ids=["beside an endpoint", "alone"])
def test_a_secret_is_something_else_than_a_value(see: Callable[..., None], line: str, beside: str) -> None:
    for value in VALUES:
        see(f"[webhooks]\n{line.format(value)}\n{beside}")


@pytest.mark.parametrize(
    "line", ["[webhooks.{}]\nsecret = x", "[webhooks.{0}]\n[webhooks.{0}]\nx = {0}", "metadata.{} = x"]
)
def test_a_secret_is_a_name(see: Callable[..., None], line: str) -> None:
    for value in UNNAMEABLE:
        see(f"[webhooks]\n{line.format(value)}\n{ENDPOINT}")


@pytest.mark.parametrize(
    "shape",
    [
        lambda value: {value: {"secret": value}},
        lambda value: {"team": {"url": "https://receiver.test/", value: "x"}},
        lambda value: {"team": {"url": "https://receiver.test/", "secret": {value: value}}},
        lambda value: {"team": {"url": "https://receiver.test/", "timeout": [value, 3]}},
        lambda value: {"team": {"url": "https://receiver.test/", "secret": [value, None]}},
        lambda value: {"team": [value]},
        lambda value: {value: value},
        lambda value: [value],
        lambda value: value,
    ],
)
def test_a_secret_is_anywhere_in_json(settings_folder: Path, witness: Witness, shape: Callable[[str], object]) -> None:
    path = settings_folder / "webhooks.json"
    for value in UNNAMEABLE:
        text = json.dumps(shape(value))
        for content in (text, text[:-1], f'{{"{API_KEY}": 1, "{API_KEY}": 2}}'):
            path.write_text(content, encoding="utf-8")
            witness.see("mistakes", *load(path).mistakes)


@pytest.mark.parametrize("place", ["http://169.254.169.254", "https://0xa9fea9fe:8443", "http://10.0.0.1"])
def test_a_url_has_an_address_that_is_refused(settings_folder: Path, witness: Witness, place: str) -> None:
    found = load(written(settings_folder, section("team", place, allow_private="false")))
    witness.see("mistakes", *found.mistakes)
    witness.see("held", found.held)
    assert (list(found.held), witness.run("check")) == (["team"], 1)


def test_commands_show_mistakes(settings_folder: Path, witness: Witness) -> None:
    wrong = dict.fromkeys(all_options().keys() - {"description"}, f"whsec_{API_KEY}")
    sections = (section("team", "http://127.0.0.1:1", **wrong), WATCHER, f"[webhooks.bad]\n{API_KEY} = x\n")
    written(settings_folder, *sections)
    commands = ("check", "drain --timeout 0.1s", "test", "test team", "pause team")
    assert [witness.run(*command.split()) for command in commands] == [1, 0, 1, 1, 1]


def test_settings_have_no_text_form(settings_folder: Path, witness: Witness) -> None:
    path = written(settings_folder)
    path.write_bytes(" ".join(SECRETS).encode("utf-16"))
    assert witness.run("check") == 1
