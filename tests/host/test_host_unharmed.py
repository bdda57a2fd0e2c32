"""Whatever is wrong with us, the scanner starts, scans and exits as without us."""

from __future__ import annotations

import copy
import os
import pickle
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.host import around_scan
from tests.conftest import host_shim
from tests.host.conftest import SECRET, Scanner, Team, WebUi, free_port, until
from tests.tiers import quick_first, slow

ENABLED = "[webhooks]\nenabled = true\nevents = all, !surface_changed\n"
#: root may write anywhere; without this capability it is like everybody else
WITHOUT_ROOTS_RIGHTS = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
MODULES = ("sfp_pageinfo", "sfp__stor_webhooks")
#: modules of ours that raise when they are called: first one at each door through which the host or a thread of ours
#: comes in, in the order of a scan
FAULTS = [
    *("scan.run", "scan.lifecycle", "scan.host_database", "pipeline", "outbox.outbox", "delivery.dispatcher"),
    *("network.sender", "scan.correlations", "delivery.background", "delivery.maintenance", "outbox.scan_end"),
    *("scan.escapes", "scan.progress", "config.settings", "scan.host_log", "scan.findings"),
    *("scan.outbox_failure", "scan.recovery", "scan.from_host", "outbox.accepted", "outbox.finding_counts"),
    *("scan.parentage", "host.risks", "outbox.claim", "outbox.queue", "outbox.scans", "outbox.endpoint_state"),
    *("outbox.file", "outbox.rows", "delivery.send_queue", "sending", "delivery.workers"),
]
#: what is no configuration; first those that fail at different steps of reading it
RUBBISH = [b"\xff\xfe[webhooks]\0", b"webhooks\n=\n[", os.urandom(5000), b"{" * 999, b""]


def fine(scanner: Scanner, **options: Any) -> str:
    """Run a scan that must end well; return its log."""
    code, log = scanner.scan(**{"modules": MODULES, **options})
    assert code == 0, log
    assert scanner.status() == "FINISHED"
    assert len(scanner.hashes()) >= 1
    return log


def hide_package(folder: Path) -> None:
    """Hide our package, as if it were not installed, from processes that look for it in this folder first."""
    (folder / "sfwebhooks").mkdir(parents=True)
    (folder / "sfwebhooks" / "__init__.py").write_text("raise ModuleNotFoundError('No module named sfwebhooks')")


@slow
def test_with_no_configuration(scanner: Scanner) -> None:
    fine(scanner)


@pytest.mark.parametrize("content", quick_first(RUBBISH, 0, 1), ids=range(len(RUBBISH)))
def test_with_a_configuration_that_is_none(content: bytes, scanner: Scanner) -> None:
    (scanner.home.data / "webhooks.ini").write_bytes(content)
    (scanner.home.data / "spiderfoot.conf").write_bytes(content)
    fine(scanner)


@slow
def test_with_a_configuration_that_cannot_be_read(scanner: Scanner) -> None:
    (scanner.home.data / "spiderfoot.conf").mkdir()
    log = fine(scanner)
    assert "spiderfoot.conf" in log and "cannot be read" in log


@slow
def test_a_mistake_that_hides_the_switch_is_logged_by_a_scan_without_the_module(scanner: Scanner) -> None:
    scanner.configure(f"[webhooks]\nenabled = ture\ndefault_url = http://127.0.0.1:{free_port()}/\n")
    log = fine(scanner, modules=("sfp_pageinfo",))
    assert "webhooks: no webhooks were sent for this scan: " in log and 'enabled = "ture"' in log


@slow
def test_with_an_outbox_that_cannot_be_opened(scanner: Scanner) -> None:
    scanner.configure(f"{ENABLED}default_url = http://127.0.0.1:{free_port()}/\n")
    (scanner.home.data / "webhooks.db").mkdir()
    log = fine(scanner)
    assert "webhooks.db" in log


@slow
def test_with_a_data_folder_that_cannot_be_written(scanner: Scanner) -> None:
    scanner.configure(f"{ENABLED}default_url = http://127.0.0.1:{free_port()}/\n")
    scanner.home.data.chmod(0o555)
    try:
        with_us, _ = scanner.scan(modules=MODULES, prefix=WITHOUT_ROOTS_RIGHTS)
        without_us, _ = scanner.scan(modules=("sfp_pageinfo",), prefix=WITHOUT_ROOTS_RIGHTS)
    finally:
        scanner.home.data.chmod(0o755)
    assert with_us == without_us
    assert not (scanner.home.data / "webhooks.db").exists()


@slow
def test_with_a_locked_outbox(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    scanner.configure(f"{ENABLED}default_url = {team.receiver.url}\nsecret = {SECRET}\n")
    fine(scanner)
    before = len(team.got)
    lock = sqlite3.connect(scanner.home.data / "webhooks.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    log = fine(scanner)
    lock.execute("ROLLBACK")
    lock.close()
    assert "locked" in log
    assert len(team.got) == before


@pytest.mark.parametrize("fault", quick_first(FAULTS, 0, 4))
def test_with_every_method_of_a_module_of_ours_raising(fault: str, scanner: Scanner) -> None:
    scanner.configure(f"{ENABLED}default_url = http://127.0.0.1:{free_port()}/\n")
    log = fine(scanner, environment=scanner.environment(fault=fault))
    assert "forced by a test" in log, "the fault was met"


@slow
def test_with_the_package_gone_and_the_shim_left(scanner: Scanner) -> None:
    scanner.configure(f"{ENABLED}default_url = http://127.0.0.1:{free_port()}/\n")
    missing = scanner.folder / "missing"
    hide_package(missing)
    log = fine(scanner, environment=scanner.environment(PYTHONPATH=str(missing)))
    assert "webhooks: disabled: the package cannot be loaded" in log


@slow
@pytest.mark.parametrize("uninstalled", ["package", "module"])
def test_with_something_uninstalled_under_a_running_web_ui(
    uninstalled: str,
    scanner: Scanner,
    checkout: Path,
    web_ui: Callable[..., WebUi],
    new_team: Callable[..., Team],
) -> None:
    team = new_team(tls=False)
    scanner.configure(f"{ENABLED}default_url = {team.receiver.url}\nsecret = {SECRET}\n")
    missing = scanner.folder / "missing"
    ui = web_ui(checkout, PYTHONPATH=str(missing))
    ui.start_scan(modules=("sfp_pageinfo",))
    until(team.ends)
    before = len(team.got)
    if uninstalled == "package":
        hide_package(missing)
    else:
        (checkout / "modules" / "sfp__stor_webhooks.py").unlink()
    scan_id = ui.start_scan(modules=("sfp_pageinfo",))
    until(lambda: scanner.status() == "FINISHED")
    assert (len(scanner.hashes()) >= 2, len(team.got)) == (True, before)
    if uninstalled == "package":
        ui.start_scan(modules=("sfp_pageinfo",))  # the host keeps the last lines of a log in memory until others come
        query = "SELECT component FROM tbl_scan_log WHERE scan_instance_id = ? AND message LIKE ?"
        words = "webhooks: disabled: the package cannot be loaded%"
        until(lambda: scanner.rows(query, scan_id, words) == [("sfp__stor_webhooks",)])


@slow
def test_with_a_nonsensical_ca_bundle_in_the_environment(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    scanner.configure(f"{ENABLED}default_url = {team.receiver.url}\nsecret = {SECRET}\n")
    fine(scanner, environment=scanner.environment(REQUESTS_CA_BUNDLE="/nonsense", CURL_CA_BUNDLE="/nonsense"))
    assert team.ends() == ["scan_completed"]


@slow
def test_with_a_dead_endpoint_the_scan_ends_and_says_how_many_deliveries_wait(scanner: Scanner) -> None:
    scanner.configure(f"{ENABLED}default_url = http://127.0.0.1:{free_port()}/\n")
    log = fine(scanner)
    idle = "no process is sending now, sfwebhooks drain delivers them"
    why = rf"({idle}|\d+ for default: failing, connection_failed, unhealthy since 20\S+ \S+ UTC)"
    assert re.search(rf"webhooks: 0 delivered, \d+ waiting \({why}\), 0 dead", log)


@slow
def test_the_host_logs_what_it_logs_without_us(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    logs, rows = [], []
    for enabled in ("false", "true"):
        scanner.configure(f"{ENABLED.replace('true', enabled)}default_url = {team.receiver.url}\nsecret = {SECRET}\n")
        logs.append(normal(fine(scanner, modules=("sfp_pageinfo",)).splitlines()))
        rows.append(normal(row[0] for row in scanner.rows(
            "SELECT message FROM tbl_scan_log WHERE scan_instance_id ="
            " (SELECT guid FROM tbl_scan_instance ORDER BY created DESC LIMIT 1)")))  # fmt: skip
    for without, with_us in (logs, rows):
        assert without - with_us == set()
        assert {line for line in with_us - without if "webhooks" not in line} == set()
    assert any("webhooks: " in line for line in rows[1]), "our summary is in the scan's own log"


def normal(lines: Iterable[str]) -> set[str]:
    """Leave out of log lines what differs from scan to scan: times, ids, counts of modules."""
    found = set()
    for line in lines:
        text = re.sub(r"^[\d\- :,]+(?=\[)", "", line)
        text = re.sub(r"Scan \[\w+\]|scan \w{8}\b", "Scan", text)
        text = re.sub(r"[\w,]*sfp__stor[\w,]*(?= |$)|enabled \(\d+\)|correlation '.*", "", text)
        found.add(text)
    return found


def test_the_modules_instance_can_be_copied_and_pickled() -> None:
    code = (
        "import copy, pickle; from modules.sfp__stor_webhooks import sfp__stor_webhooks as made;"
        "pickle.loads(pickle.dumps(copy.deepcopy(made()))); print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "fine\n", done.stderr
    assert copy and pickle


@slow
def test_an_uninstalled_module_leaves_nothing_behind(alone: None) -> None:
    shim = host_shim()
    run = [sys.executable, "-m", "sfwebhooks"]
    assert shim.exists()
    done = subprocess.run([*run, "uninstall"], check=True, capture_output=True, text=True)
    assert str(shim) in done.stdout
    assert list(shim.parent.rglob("*sfp__stor_webhooks*")) == []
    done = subprocess.run([*run, "install"], check=True, capture_output=True, text=True)
    assert str(shim) in done.stdout


@pytest.mark.parametrize("given", [(), ("name",), range(7), ("name", "id", "target", "type", None, None)])
def test_a_host_that_starts_scans_with_other_arguments_starts_them(
    given: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(around_scan, "LOGS", ())  # its handler would stay in this process
    monkeypatch.setattr(around_scan, "_original", lambda queue, *args, **named: (args, named))
    assert around_scan.start_scan(None, *given, start=True) == (tuple(given), {"start": True})
