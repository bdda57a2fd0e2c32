"""Where webhooks stay out of a scan, the scan's log says why; and what else the log says is our module's."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.host.conftest import SECRET, Scanner, Team, free_port
from tests.tiers import quick_first, slow

MODULE = "sfp__stor_webhooks"
PASSWORD = "hunter2-of-the-database"
#: addresses of databases: on PostgreSQL, and others
SERVERS = [
    f"postgresql://spiderfoot:{PASSWORD}@127.0.0.1:5432/spiderfoot",
    f"host=127.0.0.1 dbname=spiderfoot user=spiderfoot password={PASSWORD}",
]
OTHERS = [
    f"mysql+pymysql://spiderfoot:{PASSWORD}@127.0.0.1/spiderfoot.db",
    ":memory:",
    "",
]
#: a host that keeps its data on a server: a scan of it has our module alone, or none
SFSCAN = """
from spiderfoot import SpiderFootEvent, SpiderFootTarget

def startSpiderFootScanner(queue, name, scan_id, target, target_type, chosen, options):
    for name in chosen:
        module = getattr(__import__("modules." + name, fromlist=[name]), name)()
        module.setScanId(scan_id)
        module.setup(object(), {"__database": options["__database"], "enabled": True, "config": ""})
        module.setTarget(SpiderFootTarget(target, target_type))
        print("watched:", list(module.watchedEvents()))
        module.handleEvent(SpiderFootEvent("ROOT", target, "", None))
        module.finish()
"""
SCAN = """
import logging, sys
folder, database, chosen = sys.argv[1:]
sys.path.insert(0, folder)
import sfscan

class Printing(logging.Handler):
    def emit(self, record):
        print(record.levelname, record.module, getattr(record, "scanId", "-"), record.getMessage())

logging.getLogger("spiderfoot").addHandler(Printing())
logging.getLogger("spiderfoot").setLevel(logging.DEBUG)
if LACKS_SFSCAN:
    start, sys.modules["sfscan"] = sfscan.startSpiderFootScanner, None
import modules.sfp__stor_webhooks
opts = {"__database": database, "__modules__": {"sfp__stor_webhooks": {"opts": {"config": "", "enabled": True}}}}
scan = (None, "name", "SCAN1", "acme.test", "INTERNET_NAME", chosen.split(), opts)
(start if LACKS_SFSCAN else sfscan.startSpiderFootScanner)(*scan)
"""


def save_option(scanner: Scanner, name: str, value: str) -> None:
    """Save an option of our module as the settings page does."""
    with closing(sqlite3.connect(scanner.home.database)) as connection, connection:
        connection.execute("INSERT INTO tbl_config (scope, opt, val) VALUES (?, ?, ?)", (MODULE, name, value))


def lines(scanner: Scanner) -> list[tuple[str, str]]:
    """Component and text of our lines in the scan's log."""
    return [(row[0], row[1]) for row in scanner.rows(
        "SELECT component, message FROM tbl_scan_log WHERE message LIKE 'webhooks: %'")]  # fmt: skip


@slow
def test_our_lines_in_a_scans_log_are_our_modules(scanner: Scanner) -> None:
    scanner.configure(f"[webhooks]\nenabled = true\ndefault_url = http://127.0.0.1:{free_port()}/\nnonsense = 1\n")
    code, log = scanner.scan(modules=("sfp_pageinfo",))
    assert (code, len(lines(scanner)) >= 2) == (0, True)
    assert {component for component, _ in lines(scanner)} == {MODULE}
    assert {line.split("] ")[1].split(" : ")[0] for line in log.splitlines() if "webhooks: " in line} == {MODULE}


@slow
@pytest.mark.parametrize("modules", [("sfp_pageinfo",), ("sfp_pageinfo", MODULE)])
def test_a_scan_says_that_the_modules_option_is_off(
    modules: tuple[str, ...], scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    scanner.configure(f"[webhooks]\nenabled = true\ndefault_url = {team.receiver.url}\nsecret = {SECRET}\n")
    save_option(scanner, "enabled", "0")
    assert scanner.scan(modules=modules)[0] == 0
    assert lines(scanner) == [(MODULE, "webhooks: disabled: by the module's option on SpiderFoot's settings page")]
    assert team.got == []


@slow
def test_a_scan_that_chooses_the_module_says_that_the_settings_have_it_off(scanner: Scanner) -> None:
    scanner.configure("[webhooks]\nenabled = false\n")
    assert scanner.scan(modules=("sfp_pageinfo", MODULE))[0] == 0
    assert lines(scanner) == [(MODULE, "webhooks: disabled: enabled = false")]


@slow
def test_the_modules_option_names_a_file_in_the_data_folder(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    (scanner.home.data / "sub").mkdir()
    scanner.configure(
        f"[webhooks]\nenabled = true\ndefault_url = {team.receiver.url}\nsecret = {SECRET}\n", "sub/hooks.ini"
    )
    save_option(scanner, "config", "sub/hooks.ini")
    assert scanner.scan(modules=("sfp_pageinfo",))[0] == 0
    assert team.ends() == ["scan_completed"]
    done = scanner.command("check")
    assert f"{scanner.home.data / 'sub' / 'hooks.ini'}: webhooks are on in every scan" in done.stdout


@pytest.mark.parametrize("chosen", ["", MODULE])
@pytest.mark.parametrize("database", quick_first(OTHERS))
def test_a_host_whose_database_cannot_be_read_gets_one_line_and_no_secret(
    database: str, chosen: str, tmp_path: Path
) -> None:
    said = run_host(tmp_path, database, chosen)
    why = "this SpiderFoot is not supported: its database is neither a file nor on PostgreSQL"
    assert our_lines(said) == [f"WARNING {MODULE} SCAN1 webhooks: disabled: {why}"]
    assert ("watched: []" in said) == bool(chosen)


@pytest.mark.parametrize("database", SERVERS)
def test_a_host_on_postgresql_is_supported_and_its_password_is_not_shown(database: str, tmp_path: Path) -> None:
    assert not any("not supported" in line for line in our_lines(run_host(tmp_path, database, MODULE)))


def test_a_host_without_a_known_start_of_scans_gets_a_line_at_its_start_and_one_in_the_scan(tmp_path: Path) -> None:
    said = run_host(tmp_path, SERVERS[0], MODULE, lacks_sfscan=True)
    starts = "sfscan, spiderfoot.scan.scanner, spiderfoot.scan_service.scanner, which start scans"
    why = f"webhooks: disabled: this SpiderFoot is not supported: it has none of {starts}"
    assert our_lines(said) == [f"WARNING {MODULE} - {why}", f"WARNING {MODULE} SCAN1 {why}"]
    assert "watched: []" in said


def run_host(folder: Path, database: str, chosen: str, lacks_sfscan: bool = False) -> str:
    """Run a scan of such a host in an empty folder; return what it printed and logged: nothing secret, and no file."""
    (folder / "sfscan.py").write_text(SFSCAN)
    (folder / "empty").mkdir()
    script = SCAN.replace("LACKS_SFSCAN", str(lacks_sfscan))
    command = [sys.executable, "-c", script, str(folder), database, chosen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder / "empty")
    said = done.stdout + done.stderr
    assert (done.returncode, PASSWORD in said, "Traceback" in said) == (0, False, False), said
    assert list((folder / "empty").iterdir()) == []
    return said


def our_lines(said: str) -> list[str]:
    return [line for line in said.splitlines() if "webhooks: " in line]
