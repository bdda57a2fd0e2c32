"""`sfwebhooks run` as a process: it delivers, follows its configuration, and loses nothing when it is ended."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, TimeoutExpired
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.process import service_lock
from sfwebhooks.endpoints import Secret
from sfwebhooks.outbox.database import StoreLock
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.service import IDLE_SECONDS, Need, Service
from tests import processes
from tests.builders import NOW, PATIENCE, a_host_database, a_scan, an_endpoint, an_event
from tests.conftest import Gate, Team, put, sql
from tests.processes import Process, Start
from tests.stores import BOTH, place_in
from tests.threads import until
from tests.tiers import slow

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

SECRET = "a secret of the team"


class Run:
    """A running service, what it said, and its end."""

    def __init__(self, folder: Path, start: Start = Process, more: Sequence[object] = ()) -> None:
        self.said: list[str] = []
        self._news = threading.Condition()
        self.process = start(["run", "--folder", folder, *more], stderr=PIPE, stdout=PIPE)
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_for(self, words: str) -> None:
        """Return once the service has said this."""
        with self._news:
            heard = self._news.wait_for(lambda: any(words in line for line in self.said), PATIENCE)
        assert heard, f"{words!r} is not in: {''.join(self.said)}"

    def end(self, *signals: int) -> int:
        """Send signals; return the exit code."""
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._news:
                self.said.append(line)
                self._news.notify_all()


def test_what_another_process_accepts_is_not_found_by_polling(
    outbox: Outbox, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.delivery.send_queue.POLL_SECONDS", 100 * PATIENCE)
    monkeypatch.setattr("sfwebhooks.service.ROUND_SECONDS", 100 * PATIENCE)
    endpoint, stop = an_endpoint(url=team.url, events=("all",)), threading.Event()
    put(outbox, endpoint)
    service = Service(lambda: Settings((endpoint,)), outbox.place)
    running = threading.Thread(target=service.run, args=(stop, threading.Event()))
    running.start()
    try:
        for number in (1, 2, 3):
            assert team.wait_for(number)
            put(outbox, endpoint, start=number + 1)
    finally:
        stop.set()
        running.join(PATIENCE)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start services on the test's folder, with more arguments."""
    started: list[Run] = []

    def start(*more: object) -> Run:
        started.append(Run(tmp_path, more=more))
        started[-1].wait_for("webhooks: sending")
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., None]:
    """Write the configuration: `configure(name=team, ..., more="", general="")`."""

    def write(more: str = "", general: str = "", **teams: Team) -> None:
        sections = (f"[webhooks.{name}]\nurl = {team.url}\nevents = all\n{more}" for name, team in teams.items())
        draft = tmp_path / "draft"
        draft.touch(0o600)
        draft.write_text(f"[webhooks]\nsecret = {SECRET}\n{general}" + "".join(sections))
        draft.replace(tmp_path / "webhooks.ini")

    return write


@pytest.fixture
def signed(receive: Callable[..., Team]) -> Team:
    return receive([SECRET])


EVERYONE = an_endpoint(events=("all",))

# --- sending


def test_it_delivers_waiting_deliveries_and_new_ones(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox
) -> None:
    configure(team=signed)
    put(outbox, EVERYONE, events=5)
    run()
    signed.wait_for(5)
    put(outbox, EVERYONE, start=6, events=5)
    signed.wait_for(10)
    assert [received.problems for received in signed.got] == [()] * 10


def test_it_reports_the_end_of_a_scan_that_died(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox, tmp_path: Path
) -> None:
    configure(team=signed)
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", scan)
    outbox.scans.begin_scan(scan, an_event(type="scan_started", scan=scan), [], NOW)
    run()
    messages = {one.message["event_type"]: one.message for one in signed.wait_for(3)}
    assert sorted(messages) == ["scan_failed", "scan_started", "surface_changed"], "its start, too, which was not sent"
    assert messages["scan_failed"]["data"]["reason"] == "process_died"


def test_a_second_one_takes_over_when_the_first_is_killed(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox
) -> None:
    configure(team=signed)
    first, _ = run(), run()
    put(outbox, EVERYONE)
    signed.wait_for(1)
    first.process.kill()
    put(outbox, EVERYONE, start=2)
    while 2 not in signed.sequences:  # the first one may come again: it may not have been noted
        signed.wait_for(len(signed.got) + 1)


# --- its configuration


def test_it_follows_a_configuration_that_changes(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, receive: Callable[..., Team], outbox: Outbox
) -> None:
    other = receive([SECRET])
    configure(team=signed)
    service = run()
    configure(team=other)
    service.wait_for("configuration reloaded")
    put(outbox, EVERYONE)
    other.wait_for(1)
    assert signed.got == []


def test_it_keeps_the_configuration_that_works_if_the_new_one_is_wrong(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox
) -> None:
    configure(team=signed)
    service = run()
    configure(team=signed, more="timeout = soon\n")
    service.wait_for("keeping the previous one")
    put(outbox, EVERYONE)
    signed.wait_for(1)
    assert any('timeout = "soon": expected a duration' in line for line in service.said)


@slow
def test_it_follows_a_secret_that_changes_in_its_file(
    run: Callable[[], Run], tmp_path: Path, receive: Callable[..., Team], outbox: Outbox
) -> None:
    changed = receive(["the new secret"])
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "webhooks.ini").write_text(f"[webhooks]\ndefault_url = {changed.url}\nsecret = file:secret\n")
    service = run()
    (tmp_path / "secret").write_text("the new secret\n")
    service.wait_for("configuration reloaded")
    put(outbox, an_endpoint("default", events=("all",)))
    assert changed.wait_for(1)[0].problems == ()


@slow
def test_it_sends_waiting_deliveries_once_a_missing_file_is_there(
    run: Callable[[], Run], tmp_path: Path, signed: Team, outbox: Outbox
) -> None:
    (tmp_path / "webhooks.ini").write_text(f"[webhooks]\ndefault_url = {signed.url}\nsecret = file:secret\n")
    put(outbox, an_endpoint("default", events=("all",)))
    service = run()
    service.wait_for(f"default (config_mistake, secret: {tmp_path / 'secret'} cannot be read: No such file")
    (tmp_path / "secret").write_text(SECRET)
    assert signed.wait_for(1)[0].problems == ()


@slow
def test_it_keeps_the_secret_that_works_while_its_file_is_away(
    run: Callable[[], Run], tmp_path: Path, signed: Team, outbox: Outbox
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "webhooks.ini").write_text(f"[webhooks]\ndefault_url = {signed.url}\nsecret = file:secret\n")
    service = run()
    (tmp_path / "secret").unlink()
    service.wait_for("keeping the previous one")
    put(outbox, an_endpoint("default", events=("all",)))
    assert signed.wait_for(1)[0].problems == ()


@slow
def test_it_takes_a_change_though_an_old_mistake_is_still_there(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, tmp_path: Path
) -> None:
    configure(team=signed)
    path = tmp_path / "webhooks.ini"
    path.write_text(f"{path.read_text()}[webhooks.late]\nurl = {signed.url}\nsecret = env:NOT_SET_ANYWHERE\n")
    service = run()
    path.write_text(path.read_text().replace("events = all", "events = scan_*"))
    service.wait_for("configuration reloaded")


@slow
def test_a_url_that_changes_is_logged_without_its_path(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, tmp_path: Path
) -> None:
    configure(team=signed)
    service = run()
    path, place = tmp_path / "webhooks.ini", signed.url.rpartition("/")[0]
    path.write_text(path.read_text().replace(signed.url, f"{place}/hidden-path"))
    service.wait_for(f"deliveries to endpoint team now go to {place} (its path changed)")
    path.write_text(path.read_text().replace(place, place.replace("127.0.0.1", "localhost")))
    service.wait_for(f"now go to {place.replace('127.0.0.1', 'localhost')} instead of {place}")
    assert not any("hidden" in line for line in service.said)


@slow
def test_no_configuration_that_is_half_written_is_used(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox, tmp_path: Path
) -> None:
    configure(team=signed)
    service = run()
    path, text, over = tmp_path / "webhooks.ini", (tmp_path / "webhooks.ini").read_text(), threading.Event()
    cut = text.index("/webhook") + 4

    def write() -> None:
        while not over.wait(0.01):
            with path.open("w") as file:
                file.write(text[:cut])
                file.flush()
                over.wait(0.05)
                file.write(text[cut:])

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(1, 41):
        put(outbox, EVERYONE, start=number)
        signed.wait_for(number)
    over.set()
    writer.join()
    assert {received.path for received in signed.got} == {"/webhook"}
    assert service.end(signal.SIGTERM) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_it_reads_the_configuration_again_on_request(
    run: Callable[[], Run], tmp_path: Path, receive: Callable[..., Team], outbox: Outbox
) -> None:
    changed = receive(["the new secret"])
    (tmp_path / "secret").write_text(SECRET)
    text = f"[webhooks]\ndefault_url = {changed.url}\nsecret = file:{tmp_path / 'secret'}\n"
    (tmp_path / "webhooks.ini").write_text(text)
    service = run()
    (tmp_path / "secret").write_text("the new secret")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("configuration reloaded")
    put(outbox, an_endpoint("default", events=("all",)))
    assert changed.wait_for(1)[0].problems == ()


@slow
def test_it_sends_nothing_once_the_configuration_switches_webhooks_off(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox, tmp_path: Path
) -> None:
    configure(team=signed)
    service = run()
    path = tmp_path / "webhooks.ini"
    path.write_text(path.read_text().replace("[webhooks]\n", "[webhooks]\nenabled = false\n"))
    service.wait_for("none, since enabled = false")
    put(outbox, EVERYONE)
    assert (service.end(signal.SIGTERM), signed.got) == (0, [])


@slow
@pytest.mark.parametrize("text", [None, "", "[webhooks]\n"])
def test_it_keeps_the_configuration_that_works_if_there_is_none_any_more(
    run: Callable[[], Run],
    configure: Callable[..., None],
    signed: Team,
    outbox: Outbox,
    tmp_path: Path,
    text: str | None,
) -> None:
    configure(team=signed)
    service, path = run(), tmp_path / "webhooks.ini"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    service.wait_for("keeping the previous")
    put(outbox, EVERYONE)
    signed.wait_for(1)
    assert service.end(signal.SIGTERM) == 0


@slow
@pytest.mark.skipif(os.name != "posix", reason="what cannot be looked at is made with a link")
def test_it_goes_on_while_its_configuration_cannot_be_looked_at(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox, tmp_path: Path
) -> None:
    configure(team=signed)
    service = run()
    (tmp_path / "draft").symlink_to("x" * 300)  # as a folder that nobody may search, or a lost network drive
    (tmp_path / "draft").replace(tmp_path / "webhooks.ini")
    service.wait_for("cannot be read: File name too long")
    put(outbox, EVERYONE)
    signed.wait_for(1)
    assert service.end(signal.SIGTERM) == 0


@pytest.mark.sqlite("the file is locked")
@slow
def test_it_waits_for_who_has_locked_the_outbox(configure: Callable[..., None], signed: Team, tmp_path: Path) -> None:
    configure(team=signed)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        (tmp_path / FILE).chmod(0o600)
        other.execute("BEGIN IMMEDIATE")
        service = Run(tmp_path)
        try:
            service.wait_for("database is locked; waiting until it can be used")
            other.execute("ROLLBACK")
            service.wait_for("webhooks: sending")
        finally:
            service.process.kill()
            service.process.wait()


# --- its end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_all_that_is_in_flight_is_settled(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox, gate: Gate, number: int
) -> None:
    signed.answer = gate
    configure(team=signed)
    put(outbox, EVERYONE, events=500)
    service = run()
    signed.wait_for(4)  # as many as may be in flight
    service.process.send_signal(number)
    gate.open()
    assert service.end() == 0
    sent = len(set(signed.ids))
    assert 4 <= sent == len(signed.ids) < 500  # the signal may be slower than the gate
    assert outbox.scans.tallies() == {"waiting": 500 - sent, "delivered": sent, "dead": 0}


def test_a_second_sigint_ends_it_at_once_and_loses_nothing(
    run: Callable[[], Run], configure: Callable[..., None], signed: Team, outbox: Outbox, gate: Gate
) -> None:
    signed.answer = gate
    configure(team=signed)
    put(outbox, EVERYONE, events=20)
    service = run()
    signed.wait_for(4)
    service.process.send_signal(signal.SIGINT)
    assert not ended_within(service, 0.5), "it waits for what is in flight"
    assert service.end(signal.SIGINT) == 130
    gate.open()
    in_flight = set(signed.ids)
    run()
    signed.wait_for(24)
    assert (len(set(signed.ids)), {id for id in signed.ids if signed.ids.count(id) > 1}) == (20, in_flight)


@slow
@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT)])
def test_nothing_is_lost_when_it_is_ended_under_load(
    run: Callable[[], Run],
    configure: Callable[..., None],
    signed: Team,
    outbox: Outbox,
    tmp_path: Path,
    signals: tuple[int, ...],
) -> None:
    configure(team=signed)
    load = Load(tmp_path)
    for _ in range(3):
        service, before = run(), len(signed.got)
        signed.wait_for(before + 100)
        assert service.end(*signals) in (0, 130)
    accepted = load.end()
    assert processes.run(["drain", "--folder", tmp_path], timeout=PATIENCE).returncode == 0
    assert {one.message["metadata"]["sequence"] for one in signed.got} == set(range(1, accepted + 1))
    assert sql(outbox, "SELECT count(*), sum(CASE state WHEN 'delivered' THEN 1 ELSE 0 END) FROM delivery") == [
        (accepted, accepted)
    ]


class Load:
    """Somebody who accepts one event after the other."""

    def __init__(self, folder: Path) -> None:
        self._outbox = Outbox(place_in(folder))
        self._over = threading.Event()
        self._count = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def end(self) -> int:
        """Stop; return how many events were accepted."""
        self._over.set()
        self._thread.join(PATIENCE)
        self._outbox.close()
        return self._count

    def _accept(self) -> None:
        while not self._over.is_set():
            put(self._outbox, EVERYONE, start=self._count + 1, events=5)
            self._count += 5
            self._over.wait(0.01)


def ended_within(service: Run, seconds: float) -> bool:
    try:
        service.process.wait(seconds)
    except TimeoutExpired:
        return False
    return True


# --- what it cannot do


def test_without_a_configuration_it_does_not_start(tmp_path: Path) -> None:
    assert ran(tmp_path) == (1, True)


@slow
def test_it_does_not_start_while_everything_is_switched_off(
    tmp_path: Path, configure: Callable[..., None], signed: Team
) -> None:
    configure(team=signed)
    assert ran(tmp_path, SFWEBHOOKS_DISABLED="1") == (1, True)


def test_it_does_not_start_without_an_endpoint(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks]\nenabled = true\n")
    assert ran(tmp_path) == (1, True)


@pytest.mark.sqlite("the file is damaged")
@slow
def test_it_does_not_start_without_its_outbox(tmp_path: Path, configure: Callable[..., None], signed: Team) -> None:
    configure(team=signed)
    (tmp_path / FILE).mkdir()
    assert ran(tmp_path) == (1, True)


def ran(folder: Path, **environment: str) -> tuple[int, bool]:
    """Return the exit code of a service, and whether it said why."""
    result = processes.run(["run", "--folder", folder], env={**os.environ, **environment}, timeout=PATIENCE)
    return result.returncode, "sfwebhooks: " in result.stderr


# --- while it is needed


@pytest.fixture
def need(outbox: Outbox, tmp_path: Path) -> Need:
    (tmp_path / "module.py").touch()
    return Need(outbox.place, tmp_path / "module.py", now=0.0)


def lasts(need: Need, outbox: Outbox, now: float, detach: float = 900.0, **keys: Any) -> bool:
    """Return whether the need lasts, with settings of one endpoint."""
    settings = Settings((replace(EVERYONE, **keys),), detach_timeout=detach)
    dispatcher = Dispatcher(settings.endpoints, outbox.place)
    try:
        return need.lasts(dispatcher, settings, now)
    finally:
        dispatcher.stop(0.0)


def begun(outbox: Outbox, settings: Settings) -> StoreLock:
    """Begin a scan as a process does that has these settings; return its lock."""
    lock = outbox.locks.scan(a_scan().id)
    assert lock.take()
    lock.note(f"mark {settings.digest}")
    outbox.scans.begin_scan(a_scan(), an_event(type="scan_started"), [], NOW)
    return lock


def test_without_scans_and_deliveries_the_need_is_over_after_a_while(need: Need, outbox: Outbox) -> None:
    outbox.database.check()
    assert [lasts(need, outbox, now) for now in (IDLE_SECONDS - 1, IDLE_SECONDS)] == [True, False]


def test_what_can_be_sent_is_needed_until_the_time_after_the_last_scan_is_over(need: Need, outbox: Outbox) -> None:
    put(outbox, EVERYONE)
    assert [lasts(need, outbox, now) for now in (899.0, 900.0)] == [True, False]


@pytest.mark.parametrize(("seconds", "needed"), [(600, True), (1200, False)])
def test_what_is_due_later_than_that_is_not_waited_for(
    need: Need, outbox: Outbox, seconds: float, needed: bool
) -> None:
    put(outbox, EVERYONE)
    sql(outbox, f"UPDATE delivery SET attempts = 1, due_at = {time.time() + seconds}")
    assert lasts(need, outbox, IDLE_SECONDS) is needed


def test_a_running_scan_needs_it_however_long_it_takes(need: Need, outbox: Outbox) -> None:
    lock = begun(outbox, Settings((EVERYONE,)))
    try:
        assert lasts(need, outbox, 10_000.0)
    finally:
        lock.release()
    assert [lasts(need, outbox, now) for now in (10_899.0, 10_900.0)] == [True, False], "its end is to be reported"


def test_a_scan_with_other_settings_sends_itself(need: Need, outbox: Outbox) -> None:
    other = Settings((replace(EVERYONE, secrets=(Secret("another secret in the environment"),)),))
    lock = begun(outbox, other)
    try:
        assert not lasts(need, outbox, 1.0)
    finally:
        lock.release()


def test_a_scan_with_settings_from_before_a_change_needs_it_too(need: Need, outbox: Outbox) -> None:
    lock = begun(outbox, Settings((EVERYONE,)))
    try:
        assert lasts(need, outbox, 1.0)
        assert lasts(need, outbox, 2.0, timeout=1.0)
    finally:
        lock.release()


@pytest.mark.sqlite("the file is lost")
@pytest.mark.parametrize("gone", ["module.py", FILE])
def test_without_the_module_or_the_outbox_it_is_not_needed(
    need: Need, outbox: Outbox, tmp_path: Path, gone: str
) -> None:
    put(outbox, EVERYONE)
    assert lasts(need, outbox, 1.0)
    (tmp_path / gone).unlink()
    assert not lasts(need, outbox, 2.0)


def test_it_is_not_needed_where_none_is_to_be_started(need: Need, outbox: Outbox) -> None:
    put(outbox, EVERYONE)
    assert not lasts(need, outbox, 0.0, detach=0.0)


def test_it_delivers_and_ends_by_itself(
    run: Callable[..., Run], configure: Callable[..., None], signed: Team, outbox: Outbox
) -> None:
    configure(team=signed, general="detach_timeout = 2s\n")
    put(outbox, EVERYONE, events=3)
    service = run("--while-needed")
    assert service.end() == 0
    assert len(signed.got) == 3
    assert service_lock(outbox.path).is_free


def test_without_scans_it_waits_for_no_batch_to_fill(
    run: Callable[..., Run], configure: Callable[..., None], signed: Team, outbox: Outbox
) -> None:
    configure(team=signed, general="batch_size = 10\nbatch_wait = 1h\n")
    put(outbox, EVERYONE)
    service = run("--while-needed")
    signed.wait_for(1)
    assert service.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("first", [[], ["--while-needed"]])
def test_a_second_one_ends_at_once(
    run: Callable[..., Run], configure: Callable[..., None], signed: Team, outbox: Outbox, first: list[str]
) -> None:
    configure(team=signed)
    outbox.database.check()
    run(*first)
    found = processes.run(["run", "--while-needed", "--folder", outbox.path.parent], timeout=PATIENCE)
    assert (found.returncode, "sending" in found.stderr) == (0, False)


@slow
def test_it_takes_the_place_of_one_that_was_killed(
    run: Callable[..., Run], configure: Callable[..., None], signed: Team, outbox: Outbox
) -> None:
    configure(team=signed)
    outbox.database.check()
    killed = run("--while-needed")
    killed.process.kill()
    killed.process.wait(PATIENCE)
    run("--while-needed")
    put(outbox, EVERYONE)
    signed.wait_for(1)


def test_it_ends_when_its_folder_is_gone_and_creates_none(
    configure: Callable[..., None], signed: Team, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    configure(team=signed)
    own = Outbox(place_in(folder))
    put(own, EVERYONE)
    (tmp_path / "webhooks.ini").rename(folder / "webhooks.ini")
    service = Run(folder, more=["--while-needed"])
    until(lambda: sql(own, "SELECT state FROM delivery") == [("delivered",)])
    shutil.rmtree(folder)
    assert service.end() == 0
    assert not folder.exists()
