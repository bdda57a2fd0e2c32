"""The keys `outbox` and `spool`: where the outbox is, and when that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfwebhooks.config.settings import Settings, load_text
from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.file import FILE, SPOOL_FILE
from sfwebhooks.outbox.postgres.dsn import Dsn

HIDDEN = "hidden9Password"
ADDRESS = f"postgresql://hooks:{HIDDEN}@db.acme.example:5433/hooks"
TEAM = "[webhooks.team]\nurl = https://team.acme.example/\n"


def settings(folder: Path, lines: str, head: str = "[webhooks]") -> Settings:
    return load_text(folder / "webhooks.ini", f"{head}\n{lines}\n{TEAM}")


def test_without_an_address_the_outbox_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    assert settings(tmp_path, "").place(tmp_path) == tmp_path / FILE


def test_an_address_is_the_place_and_is_shown_without_its_password(tmp_path: Path) -> None:
    found = settings(tmp_path, f"outbox = {ADDRESS}\nspool = none")
    place = found.place(tmp_path)
    assert found.mistakes == ()
    assert place == Dsn(ADDRESS, tmp_path)
    assert str(place) == "db.acme.example:5433/hooks"
    assert HIDDEN not in f"{place!r} {found!r}"


@pytest.mark.parametrize("source", ["env:A_DATABASE", "file:address"])
def test_an_address_may_be_elsewhere(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_DATABASE", ADDRESS)
    (tmp_path / "address").write_text(f"{ADDRESS}\n")
    assert settings(tmp_path, f"outbox = {source}\nspool = none").place(tmp_path) == Dsn(ADDRESS, tmp_path)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (f"outbox = {ADDRESS}", "requires spool = sqlite (a scan stores its events in a local file"),
        (f"outbox = {ADDRESS}\nspool = non", 'Did you mean "none"?'),
        (f"outbox = {ADDRESS}\nspool =", "expected one of sqlite, none"),
        ("outbox = env:NOT_SET\nspool = none", "the environment variable NOT_SET is not set"),
        ("outbox = webhooks.db\nspool = none", "without this key the outbox is a file"),
        (f"outbox = mysql://u:{HIDDEN}@h/d\nspool = none", "expected an address such as postgresql://"),
        (f"outbox = postgresql://u:{HIDDEN}@h\nspool = none", "names no database"),
        (f"outbox = postgresql://u:{HIDDEN}@h:a b/d\nspool = none", "cannot be understood"),
        (f"outbox = postgresql://u:{HIDDEN}@h/d?nothing=1\nspool = none", "cannot be understood"),
        ("outbox = postgresql://u:changeme@h/d\nspool = none", "never filled in"),
        (f"outbx = {ADDRESS}\nspool = none", 'Did you mean "outbox"?'),
        (f"outbox = {ADDRESS}\noutbox = {ADDRESS}\nspool = none", "given twice"),
    ],
)
def test_a_mistake_makes_the_place_unknown(lines: str, problem: str, tmp_path: Path) -> None:
    found = settings(tmp_path, lines)
    with pytest.raises(ConfigError) as raised:
        found.place(tmp_path)
    said = f"{raised.value} {' '.join(map(str, found.mistakes))}"
    assert problem in said
    assert HIDDEN not in said
    assert found.held == {}, "events are not held for it: there is no place to accept them"


def test_an_address_in_a_section_with_a_wrong_name_makes_the_place_unknown(tmp_path: Path) -> None:
    found = settings(tmp_path, f"outbox = {ADDRESS}\nspool = none", head="[webhook]")
    with pytest.raises(ConfigError, match="Did you mean"):
        found.place(tmp_path)


def test_spool_alone_has_no_effect(tmp_path: Path) -> None:
    found = settings(tmp_path, "spool = none")
    assert found.place(tmp_path) == tmp_path / FILE
    assert any("no effect" in warning for warning in found.warnings)


def test_two_databases_on_one_host_have_notes_of_their_own(tmp_path: Path) -> None:
    paths = {Dsn(ADDRESS.replace("5433", port), tmp_path).path for port in ("5432", "5433")}
    assert len(paths) == 2


def test_settings_are_compared_with_the_place_in_use(tmp_path: Path) -> None:
    on_file, on_server = settings(tmp_path, ""), settings(tmp_path, f"outbox = {ADDRESS}\nspool = none")
    places = [one.place(tmp_path) for one in (on_file, on_server)]
    assert [on_file.is_at(place) for place in places] == [True, False]
    assert [on_server.is_at(place) for place in places] == [False, True]
    assert not settings(tmp_path, f"outbox = {ADDRESS}").is_at(places[1])


def test_a_spool_is_in_the_data_folder(tmp_path: Path) -> None:
    found = settings(tmp_path, f"outbox = {ADDRESS}\nspool = sqlite")
    assert found.spool_in(tmp_path) == found.spool_left_in(tmp_path) == tmp_path / SPOOL_FILE
    assert found.place(tmp_path) == Dsn(ADDRESS, tmp_path)


def test_what_is_left_in_a_spool_is_forwarded_without_the_setting(tmp_path: Path) -> None:
    found = settings(tmp_path, f"outbox = {ADDRESS}\nspool = none")
    assert found.spool_left_in(tmp_path) is None
    (tmp_path / SPOOL_FILE).touch()
    assert found.spool_in(tmp_path) is None
    assert found.spool_left_in(tmp_path) == tmp_path / SPOOL_FILE


@pytest.mark.parametrize("kind", ["overlay", "tmpfs"])
def test_a_spool_that_goes_with_its_container_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.system.proc", lambda name: f"1 2 0:3 / {tmp_path} rw - {kind} none rw\n")
    found = settings(tmp_path, f"outbox = {ADDRESS}\nspool = sqlite")
    with pytest.raises(ConfigError, match=f"is on {kind}.*mount a volume there, or set spool = none"):
        found.spool_in(tmp_path)
    assert found.spool_left_in(tmp_path) == tmp_path / SPOOL_FILE
