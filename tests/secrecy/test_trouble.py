"""What is said when something of ours fails: a bug, the outbox, a scan, a service, a certificate that ends."""

from __future__ import annotations

import contextlib
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sfwebhooks import service
from sfwebhooks.config.settings import Settings, load
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.maintenance import Maintenance
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.outbox import opening, queue, set_aside
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.schema import VERSION
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.scan.run import ScanRun
from sfwebhooks.service import Service
from tests.builders import NOW, PATIENCE, a_finding, a_host_database, a_scan, an_event
from tests.conftest import Team, put, spoil, sql
from tests.hostile import Hostile
from tests.secrecy.conftest import ask
from tests.secrecy.planted import API_KEY, KEY_PASSWORD, SECRETS, echoing, proxy_at, section, written
from tests.secrecy.witness import Witness
from tests.threads import until
from tests.tiers import quick_first

ONE_STORE = "it is about the file"

# --- bugs


def with_a_header_of_two_lines(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, headers={**endpoint.headers, "X-Bug": Secret("one\ntwo")})


def with_what_json_cannot_write(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, metadata={"secret": endpoint.secrets[0]})  # type: ignore[dict-item]  # the bug


def with_a_secret_that_is_not_text(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, secrets=(*endpoint.secrets, Secret(b"bytes")))  # type: ignore[arg-type]  # the bug


def with_a_format_that_is_not_there(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, format="none")


@pytest.mark.parametrize(
    "bug",
    [
        with_a_header_of_two_lines,
        with_what_json_cannot_write,
        with_a_secret_that_is_not_text,
        with_a_format_that_is_not_there,
    ],
)
def test_a_sending_thread_meets_a_bug(
    plant: Callable[..., Settings],
    outbox: Outbox,
    dispatch: Callable[..., Dispatcher],
    witness: Witness,
    bug: Callable[[Endpoint], Endpoint],
) -> None:
    endpoint = bug(plant("http://127.0.0.1:1", proxy=proxy_at("http://127.0.0.1:1")).endpoints[0])
    put(outbox, endpoint)
    dispatch(endpoint).wake()
    until(lambda: witness.has_seen("bug in the sending thread"))
    assert witness.has_seen("Traceback")


def test_a_message_cannot_be_made(
    plant: Callable[..., Settings],
    outbox: Outbox,
    dispatch: Callable[..., Dispatcher],
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "CRASH_SECONDS", 0.0)
    endpoint = plant("http://127.0.0.1:1").endpoints[0]
    put(outbox, endpoint)
    spoil(outbox)
    dispatch(endpoint).wake()
    until(lambda: outbox.scans.tallies()["dead"])
    ask(witness, outbox)
    assert sql(outbox, "SELECT reason FROM delivery") == [("crashed_sender",)]


# --- the outbox


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextlib.contextmanager
def corrupt(path: Path) -> Iterator[None]:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"no database" * 1000)
    yield


@contextlib.contextmanager
def newer(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
        other.commit()
    yield


@contextlib.contextmanager
def in_the_way(path: Path) -> Iterator[None]:
    while not path.is_dir():  # a sender may make a new file between the two steps
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir()
    yield


@contextlib.contextmanager
def full(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    yield


@contextlib.contextmanager
def ended(run: ScanRun) -> Iterator[None]:
    """End a run, also where a test fails: its threads would go on beside the tests that follow."""
    try:
        yield
    finally:
        run.end()


@pytest.mark.parametrize("harm", quick_first([corrupt, locked, newer, in_the_way, full]))
def test_the_outbox_is_in_trouble(
    plant: Callable[..., Settings],
    hostile: Callable[..., Hostile],
    witness: Witness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], contextlib.AbstractContextManager[None]],
) -> None:
    for module in (set_aside, opening):
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    found = replace(plant(hostile(echoing(400)).place), drain_timeout=0.5)
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", scan)
    run = ScanRun(scan, found, tmp_path)
    with contextlib.ExitStack() as harmed, ended(run):
        run.begin()
        run.accept(a_finding())
        harmed.enter_context(harm(tmp_path / FILE))
        run.accept(a_finding("beef"))
        for command in ("deliveries", "drain --timeout 0.1s", "pause team"):
            witness.run(*command.split())


def test_a_scan_that_died_is_reported(
    plant: Callable[..., Settings], hostile: Callable[..., Hostile], outbox: Outbox, tmp_path: Path, witness: Witness
) -> None:
    found = plant(hostile(echoing(401)).place)
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    outbox.scans.begin_scan(scan, an_event(type="scan_started", scan=scan), [], NOW)
    (tmp_path / "spiderfoot.db").write_text("no database")
    report_dead_scans(outbox, found)
    assert witness.has_seen("its database cannot be read")
    (tmp_path / "spiderfoot.db").unlink()
    a_host_database(tmp_path / "spiderfoot.db", scan)
    assert found.file
    wrong = load(written(found.file.parent, f"[webhooks]\n{API_KEY}\n"))
    report_dead_scans(outbox, replace(found, mistakes=wrong.mistakes))
    report_dead_scans(outbox, found)
    ask(witness, outbox)


def test_a_scan_begins_with_settings_that_are_wrong(settings_folder: Path, tmp_path: Path, witness: Witness) -> None:
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", scan)
    wrong = section("team", "http://127.0.0.1:1", timeout=API_KEY, events=" ".join(SECRETS), header__Host="x")
    run = ScanRun(scan, load(written(settings_folder, wrong)), tmp_path)
    run.begin()
    run.end("failed")
    assert witness.has_seen("no endpoint can be used")


# --- a service


def test_a_service_reads_settings_that_became_wrong(
    plant: Callable[..., Settings],
    hostile: Callable[..., Hostile],
    outbox: Outbox,
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "ROUND_SECONDS", 0.02)
    found = plant(hostile(echoing(401)).place)
    assert found.file
    put(outbox, found.endpoints[0], events=3)
    stop, reload = threading.Event(), threading.Event()
    running = threading.Thread(target=Service(lambda: load(found.file), outbox.path).run, args=(stop, reload))
    running.start()
    try:
        until(lambda: witness.has_seen("is held"))
        written(found.file.parent, section("team", "http://127.0.0.1:1", rate=API_KEY, secret="whsec_" + API_KEY))
        reload.set()
        until(lambda: witness.has_seen("has mistakes"))
        plant("http://127.0.0.1:1")
        until(lambda: witness.has_seen("configuration reloaded"))
    finally:
        stop.set()
        running.join(PATIENCE)
    ask(witness, outbox)


# --- certificates


def test_a_certificate_ends_soon(
    plant: Callable[..., Settings],
    authority: Authority,
    receive: Callable[..., Team],
    mtls: ssl.SSLContext,
    outbox: Outbox,
    witness: Witness,
) -> None:
    ours = authority.issue("soon", client=True, days=5, password=KEY_PASSWORD.encode())
    place = receive((), mtls).receiver.url.rpartition("/")[0]
    found = plant(place, client_cert=ours.cert, client_key=ours.key, ca_bundle=authority.cert)
    maintenance = Maintenance(found, outbox.path)
    maintenance.look(time.time())
    maintenance.close()
    put(outbox, found.endpoints[0])
    ask(witness, outbox)
    assert witness.has_seen("expires on")
    assert "certificate_expiring" in str(sql(outbox, "SELECT data FROM event WHERE type = 'system_alert'"))
