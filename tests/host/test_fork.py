"""Scans of a fork without sfscan.py, whose database is on PostgreSQL: a stand-in with the entry points of the fork 6.0.

Its workers import nothing of the modules before their first scan, and run one scan after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.host.install import SHIM, install
from sfwebhooks.scan.host_address import given_for
from tests.conftest import Team
from tests.host_databases import make_evidence, make_tables
from tests.postgres import PASSWORD
from tests.processes import ROOT

SCANNER = """
import importlib, time
import psycopg
from spiderfoot import SpiderFootEvent, SpiderFootTarget

def startSpiderFootScanner(loggingQueue, *args, **kwargs):
    return SpiderFootScanner(*args, **kwargs)

class SpiderFootScanner:
    def __init__(self, scanName, scanId, targetValue, targetType, moduleList, globalOpts):
        self.__scanName, self.__scanId, self.__targetValue = scanName, scanId, targetValue
        self.__targetType, self.__moduleList, self.__config = targetType, moduleList, globalOpts
        self.__moduleInstances = {}
        self.status = "STARTING"
        now = time.time() * 1000
        self.store("INSERT INTO tbl_scan_instance VALUES (%s, %s, %s, %s, %s, 0, 'RUNNING')",
                   scanId, scanName, targetValue, now, now)
        for name in moduleList:
            importlib.import_module(f"modules.{name}")
        self.__startScan()

    @property
    def scanId(self):
        return self.__scanId

    def store(self, query, *values):
        with psycopg.connect(self.__config["__database"]) as connection:
            connection.execute(query, values)

    def __startScan(self):
        root = SpiderFootEvent("ROOT", self.__targetValue, "", None)
        found = [SpiderFootEvent("VULNERABILITY_CVE_HIGH", f"CVE-2026-000{n}", "sfp_x", root) for n in (1, 2)]
        for name in self.__moduleList:
            module = getattr(importlib.import_module(f"modules.{name}"), name)()
            module.setScanId(self.__scanId)
            module.setup(None, {**self.__config, **self.__config["__modules__"][name]["opts"]})
            module.setTarget(SpiderFootTarget(self.__targetValue, self.__targetType))
            self.__moduleInstances[name] = module
            if found[0].eventType in module.watchedEvents():
                module.handleEvent(found[0])  # the second one is lost on the way, and has to be recovered
        for one in found:
            self.store("INSERT INTO tbl_scan_results VALUES (%s, %s, %s, %s, 100, 100, 0, 'sfp_x', %s, 0, 'ROOT')",
                       self.__scanId, one.hash, one.eventType, one.generated * 1000, one.data)
        if self.__scanName == "broken":
            raise ValueError("it broke")
        self.status = "FINISHED"
        self.store("UPDATE tbl_scan_instance SET status = 'FINISHED', ended = %s WHERE guid = %s",
                   time.time() * 1000, self.__scanId)
"""
LOGGER = "def logWorkerSetup(queue): assert queue == 'queue'\n"
WORKER = """
import json, os, sys
sys.modules["sfscan"] = None  # the one of this environment
import spiderfoot
spiderfoot.__path__.insert(0, sys.argv[1] + "/spiderfoot")
spiderfoot.__file__ = sys.argv[1] + "/spiderfoot/__init__.py"
sys.path.insert(0, sys.argv[1])
for name in json.loads(sys.argv[3]):
    __import__(name)
from spiderfoot.scan.scanner import startSpiderFootScanner
module = "sfp__stor_webhooks"
opts = {"config": "", "enabled": True}
options = {"__database": os.environ["SF_POSTGRES_DSN"], "__modules__": {module: {"opts": opts}}}
for scan_id, name, modules in json.loads(sys.argv[2]):
    try:
        scanner = startSpiderFootScanner("queue", name, scan_id, "acme.test", "INTERNET_NAME", modules, options)
        print(scan_id, scanner.status)
    except ValueError as error:
        print(scan_id, error)
"""
CHOSEN = ["sfp__stor_webhooks"]

pytest.importorskip("spiderfoot", reason="the stand-in has the scanner's events and base class")


@pytest.fixture
def team(receive: Callable[..., Team]) -> Team:
    return receive()


@pytest.fixture
def fork(tmp_path: Path, host_server: str, team: Team) -> Path:
    """The fork's folder, with the module, settings and an empty database."""
    folder = tmp_path / "fork"
    files = {
        "spiderfoot/scan/__init__.py": "",
        "spiderfoot/scan/scanner.py": SCANNER,
        "spiderfoot/observability/__init__.py": "",
        "spiderfoot/observability/logger.py": LOGGER,
        "spiderfoot/helpers.py": "def dataPath(): ...",
        "modules/__init__.py": "",
        "modules/sfp__stor_db.py": "",
        "data/webhooks.ini": f"[webhooks]\ndetach_timeout = 0\n[webhooks.team]\nurl = {team.url}\nevents = all\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "data" / "webhooks.ini").chmod(0o600)
    install(folder / "modules")
    make_tables(host_server)
    make_evidence(host_server)
    return folder


@pytest.fixture
def work(fork: Path, host_server: str) -> Callable[..., str]:
    """Run scans in a worker: id, name and modules of each; return what it printed."""

    def run(*scans: tuple[str, str, list[str]], loaded: tuple[str, ...] = ()) -> str:
        environment = {**os.environ, "SF_POSTGRES_DSN": given_for(host_server).reveal(), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", WORKER, str(fork), json.dumps(scans), json.dumps(loaded)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def events_of(team: Team, scan_id: str) -> Counter[str]:
    return Counter(
        one.message["data"].get("data", one.message["event_type"])
        for one in team.got
        if one.message["data"].get("scan_id") == scan_id
    )


WHOLE = Counter(["scan_started", "CVE-2026-0001", "CVE-2026-0002", "correlation_completed", "surface_changed",
                 "scan_completed"])  # fmt: skip


def test_each_scan_of_a_worker_is_reported_also_the_first_within_which_the_module_is_loaded(
    work: Callable[..., str], team: Team, fork: Path
) -> None:
    printed = work(("F0000001", "first", CHOSEN), ("F0000002", "second", CHOSEN))
    assert "F0000001 FINISHED" in printed and "F0000002 FINISHED" in printed
    assert [events_of(team, scan_id) for scan_id in ("F0000001", "F0000002")] == [WHOLE, WHOLE]
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in (fork / "data").glob("webhooks.db*"))


def test_a_scan_that_fails_in_a_worker_is_reported_as_failed(work: Callable[..., str], team: Team) -> None:
    assert "F0000001 it broke" in work(("F0000001", "broken", CHOSEN))
    (end,) = [one.message for one in team.got if one.message["event_type"] == "scan_failed"]
    assert end["data"]["error"] == "it broke"


@pytest.mark.parametrize("is_loaded", [True, False])
def test_enabled_adds_the_module_to_every_scan_of_a_worker_that_has_loaded_it(
    is_loaded: bool, work: Callable[..., str], team: Team, fork: Path
) -> None:
    settings = fork / "data" / "webhooks.ini"
    settings.write_text(settings.read_text().replace("[webhooks]", "[webhooks]\nenabled = true"), encoding="utf-8")
    work(("F0000001", "without", []), loaded=(f"modules.{SHIM[:-3]}",) if is_loaded else ())
    assert events_of(team, "F0000001") == (WHOLE if is_loaded else Counter())


def test_a_worker_without_the_package_scans_without_webhooks(work: Callable[..., str], team: Team, fork: Path) -> None:
    shim = fork / "modules" / SHIM
    shim.write_text(shim.read_text().replace("from sfwebhooks.", "from no_such_package."), encoding="utf-8")
    printed = work(("F0000001", "first", CHOSEN))
    assert "F0000001 FINISHED" in printed and "the package cannot be loaded" in printed
    assert team.got == []
