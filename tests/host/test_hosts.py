"""Which SpiderFoots have the module: `host/install` records them, commands find them and their data folders again."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.cli import main
from sfwebhooks.scan.host_address import given_for
from tests.builders import a_host_database, a_scan
from tests.postgres import PASSWORD

SETTINGS = "[webhooks.team]\nurl = https://hooks.example.test/\n"
FOLLOWS = "class SpiderFootHelpers:\n    def dataPath():\n        return os.environ.get('SPIDERFOOT_DATA')\n"
OWN = "class SpiderFootHelpers:\n    def dataPath():\n        return os.path.abspath('data')\n"
#: what an unsupported SpiderFoot lacks
LACKS = (
    "startSpiderFootScanner, which starts scans, in sfscan.py or spiderfoot/scan/scanner.py"
    " or spiderfoot/scan_service/scanner.py"
)
#: forks without sfscan.py: their files -> where scans start, and whether the database is on PostgreSQL
FORKS = {
    "5.9": (
        {"spiderfoot/scan_service/scanner.py": "def startSpiderFootScanner(loggingQueue, *args): ..."},
        "spiderfoot/scan_service/scanner.py",
        False,
    ),
    "6.0": (
        {
            "spiderfoot/scan/scanner.py": "def startSpiderFootScanner(loggingQueue, *args): ...",
            "spiderfoot/scan_service/__init__.py": "from spiderfoot.scan.scanner import SpiderFootScanner",
            "spiderfoot/db/db_core.py": 'raise ValueError(f"Unsupported: {db_type}. Only PostgreSQL is supported.")',
        },
        "spiderfoot/scan/scanner.py",
        True,
    ),
}
Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command; return its exit code and what it printed, in one line."""

    def run(*arguments: object) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where SpiderFoot's data are, unless somebody says something else."""
    return tmp_path / "own-home" / ".spiderfoot"


def a_spiderfoot(folder: Path, helpers: str = FOLLOWS) -> Path:
    """A folder that looks like a SpiderFoot."""
    files = {"modules/sfp__stor_db.py": "", "sfscan.py": "", "spiderfoot/helpers.py": helpers}
    for name, text in files.items():
        put(folder / name, text)
    return folder


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def shim(spiderfoot: Path) -> Path:
    return spiderfoot / "modules" / "sfp__stor_webhooks.py"


def test_check_looks_for_the_module_where_it_was_installed(cli: Cli, tmp_path: Path, home: Path) -> None:
    spiderfoot = a_spiderfoot(tmp_path / "spider foot")
    cli("install", "--spiderfoot", spiderfoot)
    put(home / "webhooks.ini", SETTINGS)
    code, text = cli("check")
    assert (code, f"The module is in SpiderFoot: {shim(spiderfoot)}" in text) == (0, True)

    shim(spiderfoot).unlink()
    code, text = cli("check")
    again = f"sfwebhooks install --spiderfoot '{spiderfoot}'"
    assert f"warning: the module is not installed in SpiderFoot, as {shim(spiderfoot)}: {again}" in text
    assert (code, text.endswith("these need attention: the module.")) == (3, True)


def test_check_finds_an_old_copy_of_the_module(cli: Cli, tmp_path: Path, home: Path) -> None:
    spiderfoot = a_spiderfoot(tmp_path / "spiderfoot")
    cli("install", "--spiderfoot", spiderfoot)
    put(home / "webhooks.ini", SETTINGS)
    put(shim(spiderfoot), '"""Put here by `sfwebhooks install`, long ago."""')
    for command in (("check",), ("check", "--spiderfoot", spiderfoot)):
        code, text = cli(*command)
        again = f"sfwebhooks install --spiderfoot {spiderfoot}"
        assert f"warning: the module in SpiderFoot is from another version: {shim(spiderfoot)}: {again}" in text
        assert code == 3
    cli("install", "--spiderfoot", spiderfoot)
    assert cli("check")[0] == 0


def test_check_looks_at_each_spiderfoot_that_has_the_module(cli: Cli, tmp_path: Path, home: Path) -> None:
    one, other, third = (a_spiderfoot(tmp_path / name) for name in ("one", "other", "third"))
    for spiderfoot in (one, other):
        cli("install", "--spiderfoot", spiderfoot)
    put(home / "webhooks.ini", SETTINGS)
    shim(other).unlink()
    code, text = cli("check")
    assert (code, str(shim(one)) in text, str(shim(other)) in text) == (3, True, True)
    _, text = cli("check", "--spiderfoot", third)
    assert (str(shim(third)) in text, str(shim(one)) in text) == (True, False)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_commands_use_the_data_folder_of_a_spiderfoot_that_has_its_own(
    elsewhere: bool, cli: Cli, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere:
        monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path / "elsewhere"))
    spiderfoot = a_spiderfoot(tmp_path / "spiderfoot", OWN)
    data = spiderfoot / "data"
    assert (
        f"Settings are read from {data / 'spiderfoot.conf'} or {data / 'webhooks.ini'}."
        in cli("install", "--spiderfoot", spiderfoot)[1]
    )
    put(data / "webhooks.ini", f"{SETTINGS}events = high_risk_event\n")
    put(tmp_path / "finding.json", '{"finding_id": "f", "title": "t", "severity": "high"}')
    assert f"{data / 'webhooks.ini'}: webhooks are on in scans" in cli("check")[1]
    assert cli("emit", "high_risk_event", "--data", tmp_path / "finding.json")[0] == 0
    assert "1 waiting" in cli("deliveries")[1]
    assert (data / "webhooks.db").is_file()


def test_commands_use_the_data_folder_of_the_installation(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    put(data / "webhooks.ini", SETTINGS)
    monkeypatch.setenv("SPIDERFOOT_DATA", str(data))
    cli("install", "--spiderfoot", a_spiderfoot(tmp_path / "spiderfoot"))
    monkeypatch.delenv("SPIDERFOOT_DATA")
    assert f"{data / 'webhooks.ini'}: webhooks are on in scans" in cli("check")[1]
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path / "other"))
    assert f"there is no [webhooks] in {tmp_path / 'other' / 'spiderfoot.conf'}" in cli("check")[1]


def test_of_two_data_folders_none_is_guessed(cli: Cli, tmp_path: Path, home: Path) -> None:
    one, other = a_spiderfoot(tmp_path / "one"), a_spiderfoot(tmp_path / "other", OWN)
    for spiderfoot in (one, other):
        cli("install", "--spiderfoot", spiderfoot)
        put((home if spiderfoot == one else other / "data") / "webhooks.ini", SETTINGS)
    for command in ("check", "drain", "deliveries"):
        code, text = cli(command)
        assert (code, "name a data folder with --folder" in text) == (1, True)
        assert f"{home} is that of {one}; {other / 'data'} is that of {other}" in text
    assert f"{other / 'data' / 'webhooks.ini'}: webhooks are on in scans" in cli("check", "--folder", other / "data")[1]
    cli("uninstall", "--spiderfoot", other)
    assert f"{home / 'webhooks.ini'}: webhooks are on in scans" in cli("check")[1]


def test_a_spiderfoot_that_is_gone_has_no_data_folder_and_can_be_forgotten(
    cli: Cli, tmp_path: Path, home: Path
) -> None:
    gone = a_spiderfoot(tmp_path / "gone", OWN)
    cli("install", "--spiderfoot", gone)
    gone.rename(tmp_path / "removed")
    put(home / "webhooks.ini", SETTINGS)
    assert cli("check")[0] == 3
    code, text = cli("uninstall", "--spiderfoot", gone)
    assert (code, text) == (0, f"{gone} is no longer a SpiderFoot; it was removed from the list of installations.")
    assert (cli("check")[0], list(home.iterdir())) == (0, [home / "webhooks.ini"])
    assert cli("uninstall", "--spiderfoot", gone)[0] == 1


def test_a_damaged_record_is_reported(cli: Cli, tmp_path: Path, home: Path) -> None:
    put(home / "webhooks.hosts", "[]")
    code, text = cli("check")
    assert (code, f"{home / 'webhooks.hosts'} is damaged: delete it" in text) == (1, True)
    code, text = cli("install", "--spiderfoot", a_spiderfoot(tmp_path / "spiderfoot"))
    assert (code, "Commands need --spiderfoot and --folder" in text, "is damaged" in text) == (0, True, True)


def test_without_a_home_folder_that_can_be_written_the_module_is_installed_all_the_same(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "file", "")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    spiderfoot = a_spiderfoot(tmp_path / "spiderfoot")
    code, text = cli("install", "--spiderfoot", spiderfoot)
    assert (code, "Commands need --spiderfoot and --folder" in text, shim(spiderfoot).exists()) == (0, True, True)


def a_fork(folder: Path, version: str) -> Path:
    """A folder that looks like a SpiderFoot without sfscan.py."""
    spiderfoot = a_spiderfoot(folder, OWN)
    (spiderfoot / "sfscan.py").unlink()
    for name, text in FORKS[version][0].items():
        put(spiderfoot / name, text)
    return spiderfoot


def test_what_an_unsupported_spiderfoot_lacks_is_shown(cli: Cli, tmp_path: Path) -> None:
    spiderfoot = a_spiderfoot(tmp_path / "spiderfoot", OWN)
    (spiderfoot / "sfscan.py").unlink()
    assert cli("install", "--spiderfoot", spiderfoot) == (
        1,
        f"sfwebhooks: {spiderfoot} is not supported, and nothing was installed: it lacks {LACKS}",
    )
    assert not shim(spiderfoot).exists()


@pytest.mark.parametrize("version", FORKS)
def test_what_works_in_a_fork_without_sfscan_is_said_at_install(version: str, cli: Cli, tmp_path: Path) -> None:
    _, start, is_server = FORKS[version]
    code, text = cli("install", "--spiderfoot", a_fork(tmp_path / "fork", version))
    assert code == 0
    assert f"starts scans in {start}. Scans that select the module are reported" in text
    assert "start workers with --include modules.sfp__stor_webhooks" in text
    assert ("Its database is on PostgreSQL" in text and "$SF_POSTGRES_DSN" in text) is is_server
    assert "pip install 'sfwebhooks[postgres]'" not in text


def test_install_names_the_package_that_reads_postgresql_if_it_is_missing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.scan.host_address.DRIVER", "no_such_driver")
    assert "pip install 'sfwebhooks[postgres]'" in cli("install", "--spiderfoot", a_fork(tmp_path / "fork", "6.0"))[1]


def test_doctor_reads_the_database_of_a_fork(cli: Cli, tmp_path: Path, host_server: str) -> None:
    a_host_database(host_server, a_scan())
    given = given_for(host_server).reveal()
    spiderfoot = a_fork(tmp_path / "fork", "6.0")
    cli("install", "--spiderfoot", spiderfoot)
    put(spiderfoot / "data" / "webhooks.ini", f"[webhooks]\nhost_database = {given}\n{SETTINGS}")
    _, text = cli("doctor")
    assert f"SpiderFoot: its database {host_server} can be read: 1 scan" in text
    put(spiderfoot / "data" / "webhooks.ini", f"[webhooks]\nhost_database = {given}x\n{SETTINGS}")
    _, text = cli("doctor")
    assert f"{host_server}x cannot be read: " in text
    assert "correct host_database in the settings, or $SF_POSTGRES_DSN" in text and PASSWORD not in text


def test_check_says_so_after_an_upgrade_to_one_that_is_not_supported(cli: Cli, tmp_path: Path, home: Path) -> None:
    spiderfoot = a_spiderfoot(tmp_path / "spiderfoot")
    cli("install", "--spiderfoot", spiderfoot)
    (spiderfoot / "sfscan.py").unlink()
    put(home / "webhooks.ini", SETTINGS)
    code, text = cli("check")
    assert (code, f"warning: {spiderfoot} is not supported: it lacks {LACKS}" in text) == (
        3,
        True,
    )
    assert cli("uninstall", "--spiderfoot", spiderfoot) == (0, f"Removed {shim(spiderfoot)}.")
