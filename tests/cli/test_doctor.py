"""`sfwebhooks doctor`: each check, green and not, through the command."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest

from sfwebhooks import __version__
from sfwebhooks.config.settings import load
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.doctor.examination import CHECKS
from sfwebhooks.health import Condition, Health
from sfwebhooks.host.install import SHIM
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.schema import VERSION
from sfwebhooks.scan.host_address import DATABASE
from tests.builders import PATIENCE, a_host_database, a_scan
from tests.conftest import Result
from tests.filled import begin, end, put
from tests.processes import Process
from tests.test_docs import OPERATIONS
from tests.test_service import Run
from tests.tiers import slow
from tests.users import NOBODY, command_as, needs_root, open_folder

ONE_STORE = "it is about files; test_outbox_on_postgres.py has the server"

URL = "http://127.0.0.1:9/hush-path"
TEAM = f"[webhooks.team]\nurl = {URL}\nsecret = hush-secret-of-the-team\n"
SETTINGS = f"[webhooks]\nenabled = true\n{TEAM}"
#: the name of each check in an installation without trouble, in order
NAMES = [
    *("version", "SpiderFoot", "module", "configuration", "enabled", "data folder", "file system", "disk", "outbox"),
    *("queue", "endpoint team", "address", "sender", "last scan", "clock", "limits"),
]


@pytest.fixture
def spiderfoot(spiderfoot: Path) -> Path:
    """A SpiderFoot of which the tests need the version, and which has the module."""
    (spiderfoot / "spiderfoot").mkdir()
    (spiderfoot / "spiderfoot" / "__version__.py").write_text("VERSION = (4, 4, 10)\n\n__version__ = '...'\n")
    return spiderfoot


class Doctor:
    """`sfwebhooks doctor --json`, run for a healthy installation that a test spoils."""

    def __init__(self, cli: Callable[..., Result]) -> None:
        self._cli = cli
        self.code = 0
        self.err = ""

    def __call__(self, *arguments: str) -> dict[str, dict[str, str]]:
        """Run the command; return name -> the report, the worst one if there are several of a name."""
        result = self._cli("doctor", "--json", *arguments)
        self.code, self.err = result.code, result.err
        order = ["ok", "warning", "error"]
        found = sorted(result.objects, key=lambda one: order.index(one["state"]))
        assert all(set(one) == {"name", "state", "words", "cure"} for one in found)
        return {one["name"]: one for one in found}

    def state(self, name: str) -> tuple[int, str]:
        """Return the exit code, and the state of one thing."""
        found = self()[name]["state"]
        return self.code, found


@pytest.fixture
def doctor(cli: Callable[..., Result], configure: Any, spiderfoot: Path, outbox: Outbox) -> Doctor:
    configure(SETTINGS)
    assert cli("install", "--spiderfoot", str(spiderfoot)).code == 0
    begin(outbox, a_scan())
    end(outbox, a_scan())
    return Doctor(cli)


# --- as a whole


def test_an_installation_without_trouble_is_green(doctor: Doctor, cli: Callable[..., Result]) -> None:
    found = doctor()
    assert {one["name"]: one["words"] for one in found.values() if one["state"] != "ok"} == {}
    assert (list(found), doctor.code, doctor.err) == (NAMES, 0, "")
    result = cli("doctor")
    assert (result.code, result.out.splitlines()[-1]) == (0, "All is well.")
    assert all(line.startswith("ok ") for line in result.out.splitlines()[:-1])


def test_the_cure_is_below_what_is_wrong(doctor: Doctor, cli: Callable[..., Result], configure: Any) -> None:
    configure("")
    lines = cli("doctor").out.splitlines()
    (at,) = [at for at, line in enumerate(lines) if line.startswith("error    configuration: ")]
    assert lines[at + 1].strip().startswith("what to do: ")
    assert lines[-1] == "These need attention: configuration."


def test_no_secret_is_shown(doctor: Doctor, cli: Callable[..., Result]) -> None:
    assert "hush" not in cli("doctor").out + cli("doctor", "--json").out


@pytest.mark.parametrize("name", [name for name, _ in CHECKS])
def test_the_documents_have_each_check(name: str) -> None:
    assert f"\n| `{name}` |" in OPERATIONS


def test_a_folder_that_does_not_exist_is_reported(cli: Callable[..., Result], tmp_path: Path) -> None:
    result = cli("doctor", "--folder", str(tmp_path / "nowhere"))
    assert (result.code, result.out, "there is no such folder" in result.err) == (1, "", True)


# --- the host


def test_the_versions_are_named(doctor: Doctor, spiderfoot: Path) -> None:
    found = doctor()
    assert found["version"]["words"].startswith(f"sfwebhooks {__version__}, Python 3.")
    assert found["SpiderFoot"]["words"] == f"4.4.10 in {spiderfoot}"


def test_a_spiderfoot_without_a_known_version_is_named(doctor: Doctor, spiderfoot: Path) -> None:
    (spiderfoot / "spiderfoot" / "__version__.py").write_text("VERSION = (" + "1," * 100_000)
    assert doctor()["SpiderFoot"]["words"] == f"unknown version in {spiderfoot}"


def test_without_a_spiderfoot_the_command_for_one_is_named(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "another-home"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = doctor()
    assert (doctor.code, found["SpiderFoot"]["state"], "module" in found) == (3, "warning", False)
    assert found["SpiderFoot"]["cure"] == "sfwebhooks install --spiderfoot DIR"


def test_a_module_that_is_missing_is_an_error(doctor: Doctor, spiderfoot: Path) -> None:
    (spiderfoot / "modules" / SHIM).unlink()
    assert doctor.state("module") == (1, "error")
    assert doctor()["module"]["cure"] == f"sfwebhooks install --spiderfoot {spiderfoot}"


def test_a_module_that_is_outdated_needs_attention(doctor: Doctor, spiderfoot: Path) -> None:
    (spiderfoot / "modules" / SHIM).write_text("sfwebhooks install")
    assert doctor.state("module") == (3, "warning")


def test_a_module_that_another_spiderfoot_has_needs_attention(
    doctor: Doctor, spiderfoot: Path, cli: Callable[..., Result], tmp_path: Path
) -> None:
    other = shutil.copytree(spiderfoot, tmp_path / "other")
    assert cli("install", "--spiderfoot", str(other)).code == 0
    (other / "modules" / SHIM).unlink()
    assert doctor.state("module") == (3, "warning")
    assert doctor("--spiderfoot", str(spiderfoot))["module"]["state"] == "ok"


def test_a_folder_that_is_not_a_spiderfoot_is_an_error(doctor: Doctor, tmp_path: Path) -> None:
    assert doctor("--spiderfoot", str(tmp_path)) == {}
    assert (doctor.code, "is not a SpiderFoot folder" in doctor.err) == (1, True)


# --- the settings


def test_without_settings_the_places_that_were_looked_at_are_named(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").unlink()
    found = doctor()
    assert (doctor.code, found["configuration"]["state"]) == (1, "error")
    assert (
        f"no [webhooks] in {tmp_path / 'spiderfoot.conf'}, no {tmp_path / 'webhooks.ini'}"
        in (found["configuration"]["words"])
    )
    assert found["configuration"]["cure"] == "sfwebhooks init, then sfwebhooks create"
    assert [name for name, one in found.items() if one["state"] != "ok"] == ["configuration"]


@slow
def test_settings_whose_place_cannot_be_known_now_are_an_error_without_a_wrong_cure(
    doctor: Doctor, tmp_path: Path
) -> None:
    a_host_database(tmp_path / DATABASE, a_scan())
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        found = doctor()["configuration"]
        other.execute("ROLLBACK")
    assert (doctor.code, found["state"], found["cure"]) == (1, "error", "")
    assert "is locked: try again" in found["words"]


def test_a_mistake_needs_attention_while_another_endpoint_is_right(doctor: Doctor, configure: Any) -> None:
    configure(f"{SETTINGS}[webhooks.other]\nurl = {URL}\ntimeout = 5 apples\n")
    found = doctor()
    assert (doctor.code, found["configuration"]["state"], found["endpoint other"]["state"]) == (3, "warning", "warning")
    assert '1 mistake, such as: [webhooks.other] timeout = "5 apples"' in found["configuration"]["words"]
    assert found["configuration"]["cure"] == "sfwebhooks check shows all of them"


def test_settings_without_a_right_endpoint_are_an_error(doctor: Doctor, configure: Any) -> None:
    configure(f"{SETTINGS}timeout = 5 apples\n")
    assert doctor.state("configuration") == (1, "error")


def test_settings_that_are_not_used_are_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.ini"
    other.touch(0o600)
    other.write_text(SETTINGS)
    monkeypatch.setenv("SFWEBHOOKS_CONFIG", str(other))
    found = doctor()["configuration"]
    assert (found["state"], found["words"]) == ("ok", f"{other}, 1 endpoint, {tmp_path / 'webhooks.ini'} is not used")


def off_by_environment(configure: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")


def off_by_file(configure: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    configure(SETTINGS.replace("enabled = true", "enabled = false"))


def off_by_module(configure: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    a_host_database(folder / DATABASE, a_scan(), "FINISHED")
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute("INSERT INTO tbl_config VALUES ('sfp__stor_webhooks', 'enabled', '0')")


@pytest.mark.parametrize(
    ("switch", "words", "cure"),
    [
        (off_by_environment, "SFWEBHOOKS_DISABLED is set", "unset SFWEBHOOKS_DISABLED"),
        (off_by_file, "(enabled = false)", "remove that line from "),
        (off_by_module, "SpiderFoot's settings page", "select the option of the module Webhooks there"),
    ],
)
def test_webhooks_that_are_off_are_an_error(
    doctor: Doctor,
    configure: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    switch: Callable[..., None],
    words: str,
    cure: str,
) -> None:
    switch(configure, monkeypatch, tmp_path)
    found = doctor()["enabled"]
    assert (doctor.code, found["state"], words in found["words"]) == (1, "error", True)
    assert found["cure"].startswith(cure)


def test_a_list_of_cves_that_cannot_be_used_needs_attention(doctor: Doctor, configure: Any, tmp_path: Path) -> None:
    configure(SETTINGS.replace("enabled", f"kev_file = {tmp_path / 'kev.csv'}\nenabled"))
    assert doctor.state("kev_file") == (3, "warning")
    (tmp_path / "kev.csv").write_text("cveID,dueDate\nCVE-2026-0001,2026-12-01\n")
    assert doctor.state("kev_file") == (0, "ok")


@pytest.mark.parametrize(
    ("days", "state", "cure"), [(-1, "warning", "renew"), (20, "warning", "renew"), (60, "ok", "")]
)
def test_certificates_have_their_days(
    doctor: Doctor, configure: Any, authority: Authority, days: float, state: str, cure: str
) -> None:
    identity = authority.issue(f"doctor{days}", client=True, days=days + 0.1)
    files = f"client_cert = {identity.cert}\nclient_key = {identity.key}\nca_bundle = {authority.cert}\n"
    configure(f"{SETTINGS.replace('http:', 'https:')}{files}")
    found = doctor()["certificate"]
    assert (doctor.code, found["state"]) == (3 if state == "warning" else 0, state)
    assert "expired on" in found["words"] if days < 0 else "expires on" in found["words"]


def test_a_certificate_that_cannot_be_used_needs_attention(doctor: Doctor, configure: Any) -> None:
    configure(f"{SETTINGS.replace('http:', 'https:')}client_cert = nowhere.pem\n")
    found = doctor()["certificate"]
    assert (doctor.code, "nowhere.pem cannot be read" in found["words"], found["cure"] != "") == (3, True, True)


# --- the data folder and its disk


@needs_root
def test_a_folder_that_cannot_be_written_is_an_error() -> None:
    with open_folder() as folder:
        (folder / "webhooks.ini").write_text(SETTINGS)
        with closing(Outbox(folder / FILE)) as outbox:
            outbox.database.check()
        code, text = command_as(NOBODY, folder, "doctor")
    assert (code, f"error data folder: {folder / FILE} belongs to root" in text) == (1, True), text
    assert "what to do: run it as root" in text


@needs_root
def test_a_folder_that_others_can_write_to_needs_attention(doctor: Doctor, tmp_path: Path) -> None:
    os.chown(tmp_path, -1, NOBODY)
    tmp_path.chmod(0o770)
    found = doctor()["data folder"]
    assert (doctor.code, found["state"], found["cure"]) == (3, "warning", f"chmod go-w {tmp_path}")


def test_a_folder_that_is_not_there_yet_needs_attention(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path / "nowhere"))
    found = doctor("--config", str(tmp_path / "webhooks.ini"))
    assert (doctor.code, found["data folder"]["state"]) == (3, "warning")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no file system in memory here")
def test_a_folder_in_memory_needs_attention(doctor: Doctor, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        found = doctor("--folder", folder, "--config", str(tmp_path / "webhooks.ini"))["file system"]
    assert (doctor.code, found["state"]) == (3, "warning")
    assert found["words"].startswith("tmpfs, in memory: undelivered messages are lost")


def test_a_disk_with_less_room_than_the_outbox_may_take_needs_attention(doctor: Doctor, configure: Any) -> None:
    configure(SETTINGS.replace("enabled", "outbox_max_mb = 1000000\nenabled"))
    if shutil.disk_usage("/").free > 10**12:
        pytest.skip("a disk of more than a terabyte")
    assert doctor.state("disk") == (3, "warning")


# --- the outbox


def test_an_outbox_that_is_not_there_yet_is_green(doctor: Doctor, outbox: Outbox, tmp_path: Path) -> None:
    outbox.close()
    for file in tmp_path.glob(f"{FILE}*"):
        file.unlink()
    found = doctor()
    assert (doctor.code, found["outbox"]["words"]) == (0, f"there is no {FILE} yet: no scan has had webhooks")
    assert found["last scan"]["words"] == "no scan has had webhooks yet"
    assert not (tmp_path / FILE).exists()


def test_an_outbox_that_is_not_a_database_is_an_error_and_is_not_changed(
    doctor: Doctor, outbox: Outbox, tmp_path: Path
) -> None:
    outbox.close()
    (tmp_path / FILE).write_bytes(b"rubbish" * 1000)
    found = doctor()["outbox"]
    assert (doctor.code, found["state"], "is corrupt" in found["words"]) == (1, "error", True)
    assert (tmp_path / FILE).read_bytes() == b"rubbish" * 1000


@pytest.mark.parametrize("arguments", [(), ("--full",)])
def test_damage_inside_of_the_outbox_is_an_error(
    doctor: Doctor, outbox: Outbox, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    put(outbox, *range(2000), at=time.time())
    outbox.close()
    assert doctor(*arguments)["outbox"]["words"] == f"{tmp_path / FILE} is sound"
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_event_1'"
        (page,) = connection.execute(query).fetchone()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 100)
    found = doctor(*arguments)["outbox"]
    assert (doctor.code, found["state"]) == (1, "error"), found


def test_an_outbox_of_a_newer_version_is_an_error(doctor: Doctor, outbox: Outbox) -> None:
    outbox.close()
    with closing(sqlite3.connect(outbox.path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    found = doctor()["outbox"]
    assert (doctor.code, "was created by a newer sfwebhooks" in found["words"]) == (1, True)


def test_an_outbox_that_is_locked_is_an_error(doctor: Doctor, outbox: Outbox) -> None:
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        found = doctor()["outbox"]
        writer.execute("ROLLBACK")
    assert (doctor.code, "locked" in found["words"]) == (1, True)


def test_a_filling_outbox_needs_attention(doctor: Doctor, configure: Any, outbox: Outbox) -> None:
    configure(SETTINGS.replace("enabled", "outbox_max_mb = 1\nenabled"))
    fill(outbox, 0, 750_000)
    assert doctor.state("queue") == (3, "warning")
    fill(outbox, 100_000, 1_000_000)
    found = doctor()["queue"]
    assert (doctor.code, found["state"]) == (1, "error")
    assert re.search(r"; [\d,]+ waiting, the oldest for \d+ s; new findings are refused", found["words"])


def fill(outbox: Outbox, first: int, size: int) -> None:
    """Put deliveries into the outbox until it has at least so many bytes."""
    while outbox.database.fullness() * outbox.database.max_bytes < size:
        put(outbox, *range(first, first + 100), at=time.time())
        first += 100


# --- what is sent


def test_an_endpoint_that_fails_needs_attention(doctor: Doctor, outbox: Outbox, tmp_path: Path) -> None:
    (endpoint,) = load(tmp_path / "webhooks.ini").endpoints
    health = Health(Condition.FAILING, "http_503", since=time.time(), fingerprint=endpoint.fingerprint)
    outbox.queue.settle([], {"team": health})
    found = doctor()["endpoint team"]
    assert (doctor.code, found["state"]) == (3, "warning")
    assert found["words"].startswith("failing, http_503, unhealthy since 20")
    assert found["cure"] == "the proxy in front of the receiver cannot reach it: check whether it runs"


def test_deliveries_for_an_unknown_endpoint_need_attention(doctor: Doctor, outbox: Outbox) -> None:
    put(outbox, 1, endpoint="old", at=time.time())
    found = doctor()["endpoint old"]
    assert (doctor.code, found["state"], "sfwebhooks move" in found["words"]) == (3, "warning", True)


def test_the_address_from_which_a_receiver_is_reached_is_named(doctor: Doctor, configure: Any) -> None:
    assert doctor()["address"]["words"] == "team: reached from 127.0.0.1"
    configure(f"{SETTINGS}[webhooks.other]\nurl = https://nowhere.invalid/\nsecret = Zeppelin-over-Ithaca\n")
    found = doctor()["address"]
    assert (doctor.code, found["state"], "other: dns_failed" in found["words"]) == (3, "warning", True)


@slow
def test_name_servers_that_never_answer_are_named_and_hold_nobody(
    doctor: Doctor, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, over = [], threading.Event()

    def look(host: str, port: int, *args: Any) -> list[Any]:
        asked.append(host)
        over.wait(PATIENCE)
        return []

    monkeypatch.setattr("sfwebhooks.network.route.getaddrinfo", look)
    monkeypatch.setattr("sfwebhooks.doctor.sending.LOOKUPS_SECONDS", 0.5)
    sections = [f"[webhooks.e{number}]\nurl = https://h{number // 2}.example/\n" for number in range(200)]
    configure("".join(sections))
    found = doctor()["address"]
    assert found["words"].startswith("e0, e1, e2, ")
    assert found["words"].endswith(", e199: dns_failed, no name server answered in time")
    assert found["cure"].startswith("correct the host name in url, or this machine's resolver")
    assert sorted(asked) == sorted(f"h{number}.example" for number in range(len(asked)))
    waiting = [thread for thread in threading.enumerate() if thread.name in ("doctor-address", "webhooks-lookup")]
    over.set()
    assert (waiting != [], all(thread.daemon for thread in waiting)) == (True, True)


def test_the_process_that_sends_is_named(doctor: Doctor, tmp_path: Path) -> None:
    assert doctor()["sender"]["words"].startswith("no process is sending: sfwebhooks drain")
    run = Run(tmp_path)
    try:
        run.wait_for("webhooks: sending")
        assert doctor()["sender"]["words"] == f"sending: sfwebhooks run (process {run.process.pid})"
    finally:
        run.process.kill()
        run.process.wait()


def test_the_last_scan_is_named_with_its_end(doctor: Doctor) -> None:
    assert doctor()["last scan"]["words"].startswith(f"{a_scan().id} of acme.example: ")


def test_a_scan_whose_process_has_died_needs_attention(doctor: Doctor, outbox: Outbox) -> None:
    begin(outbox, a_scan("5C4A0002"))
    sqlite = "UPDATE scan SET begun_at = begun_at + (id = '5C4A0002')"
    with closing(sqlite3.connect(outbox.path)) as connection, connection:
        connection.execute(sqlite)
    found = doctor()["last scan"]
    assert (doctor.code, found["state"]) == (3, "warning")
    assert found["words"] == "5C4A0002 of acme.example: its process has died, and its end is not reported yet"
    lock = outbox.locks.scan("5C4A0002")
    assert lock.take()
    try:
        command = Process(["doctor", "--json", "--folder", str(outbox.path.parent)], stdout=PIPE)
        lines = command.communicate(timeout=60)[0].splitlines()
        assert "5C4A0002 of acme.example: running" in [json.loads(line)["words"] for line in lines]
    finally:
        lock.release()


@pytest.mark.parametrize(("enabled", "code"), [("enabled = true", 3), ("", 0)])
def test_a_later_scan_without_webhooks_is_named(
    doctor: Doctor, configure: Any, tmp_path: Path, enabled: str, code: int
) -> None:
    configure(SETTINGS.replace("enabled = true", enabled))
    a_host_database(tmp_path / DATABASE, a_scan("NEWER"), "FINISHED")
    found = doctor()["last scan"]
    assert doctor.code == code
    if code:
        assert (found["words"], found["cure"]) == (
            "SpiderFoot's last one, NEWER, had no webhooks",
            "sfwebhooks backfill NEWER --endpoint NAME sends it",
        )


def test_a_clock_that_is_behind_needs_attention(doctor: Doctor, outbox: Outbox) -> None:
    outbox.close()
    later = time.time() + 7260
    os.utime(outbox.path, (later, later))
    found = doctor()["clock"]
    assert (doctor.code, found["state"], "is 2 h behind the time of" in found["words"]) == (3, "warning", True)


def test_too_few_open_files_need_attention(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50, 50))
    found = doctor()["limits"]
    assert (doctor.code, found["state"], found["cure"]) == (3, "warning", "ulimit -n 68, or lower concurrency")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert doctor()["limits"]["words"].startswith("any number of open files")
