"""The delivery process as a scan's process sees it; each is a real one."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config import settings as config
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.process import START_SECONDS, DeliveryProcess, Role, note_service, senders, service_lock
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.service import PACKAGE
from tests.builders import a_scan, an_endpoint
from tests.conftest import Team, put
from tests.filled import begin
from tests.threads import until
from tests.tiers import slow

ONE_STORE = "its processes have the settings of a file: tests/host/test_outbox_on_postgres.py"

SECRET = "a secret of the team"
EVERYONE = an_endpoint(events=("all",))


@pytest.fixture
def settings(tmp_path: Path, receive: Callable[..., Team], outbox: Outbox) -> Settings:
    """Settings in a file, with an endpoint that has one delivery waiting."""
    put(outbox, EVERYONE)
    (tmp_path / "module.py").touch()
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.team]\nurl = {receive([SECRET]).url}\nsecret = {SECRET}\n")
    return config.load(tmp_path / "webhooks.ini")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Callable[..., DeliveryProcess]]:
    """Make views of the delivery process of the test's folder; one that was started ends with the test."""
    made: list[DeliveryProcess] = []

    def make(settings: Settings, **changes: Any) -> DeliveryProcess:
        made.append(DeliveryProcess(replace(settings, **changes), tmp_path, str(tmp_path / "module.py")))
        return made[-1]

    yield make
    for child in (view._child for view in made):
        if child and child.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            child.wait()


@pytest.fixture
def lock(outbox: Outbox) -> Iterator[Lock]:
    """The lock of a process that sends, held."""
    made = service_lock(outbox.path)
    assert made.take()
    yield made
    made.release()


def is_there(pid: int) -> bool:
    """Return whether there is a process with this id, or a zombie."""
    return Path(f"/proc/{pid}").exists()


def test_it_is_started_once_and_ends_when_the_module_is_removed(
    one: Callable[..., DeliveryProcess], settings: Settings, tmp_path: Path
) -> None:
    view, other = one(settings), one(settings)
    view.ensure()
    pid = view.pid
    assert pid and view._child and view._child.pid == pid
    assert until(lambda: other.pid) == pid
    other.ensure()
    assert other._child is None
    (tmp_path / "module.py").unlink()
    until(lambda: not view.pid)
    until(lambda: not is_there(pid))


@slow
@pytest.mark.parametrize("change", [Path.unlink, Path.touch])
def test_it_ends_when_the_package_changes(
    one: Callable[..., DeliveryProcess],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
) -> None:
    shutil.copytree(PACKAGE.parent, tmp_path / "copy" / "sfwebhooks")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "copy"))
    view = one(settings)
    view.ensure()
    pid = view.pid
    until(lambda: service_lock(tmp_path / "webhooks.db").noted())
    change(tmp_path / "copy" / "sfwebhooks" / "__init__.py")
    until(lambda: not is_there(pid))


def test_a_scan_with_other_settings_is_not_served_by_it(
    one: Callable[..., DeliveryProcess], settings: Settings, lock: Lock
) -> None:
    note_service(lock, settings)
    other = one(settings, endpoints=(an_endpoint(secrets=["another one"]),))
    assert (one(settings).pid, other.pid) == (os.getpid(), 0)
    other.ensure()
    assert other._child is None, "two would share the receivers"


def test_one_that_is_gone_does_not_send(one: Callable[..., DeliveryProcess], settings: Settings, lock: Lock) -> None:
    note_service(lock, settings)
    lock.release()
    assert one(settings).pid == 0


@pytest.mark.parametrize(
    "changes",
    [{"detach_timeout": 0.0}, {"file": None}, {"endpoints": ()}, {"endpoints": (an_endpoint(mistake="no url"),)}],
)
def test_it_is_not_started_where_it_could_send_nothing(
    one: Callable[..., DeliveryProcess], settings: Settings, changes: dict[str, Any]
) -> None:
    view = one(settings, **changes)
    view.ensure()
    assert (view.pid, view._child) == (0, None)


@pytest.mark.parametrize(("name", "value"), [("executable", ""), ("executable", None), ("frozen", True)])
def test_it_is_not_started_without_a_python_that_could(
    one: Callable[..., DeliveryProcess], settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(sys, name, value, raising=False)
    view = one(settings)
    view.ensure()
    assert (view.pid, view._child) == (0, None)


def test_a_python_that_cannot_be_started_is_logged(
    one: Callable[..., DeliveryProcess],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    view = one(settings)
    with caplog.at_level(logging.WARNING):
        view.ensure()
    assert view.pid == 0
    (text,) = caplog.messages
    assert text.startswith("webhooks: no delivery process: /nonexistent/python: ")


def test_one_that_fails_at_its_start_is_not_waited_for(
    one: Callable[..., DeliveryProcess], settings: Settings, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(broken))
        view = one(settings)
        view.ensure()
    until(lambda: not view.pid, seconds=START_SECONDS / 2)


# --- who sends


def test_a_service_sends_in_its_role_and_other_owners_of_locks_are_commands(
    outbox: Outbox, settings: Settings, lock: Lock
) -> None:
    assert (senders(outbox, []), senders(outbox, [4711])) == ({}, {4711: Role.COMMAND})
    for role in (Role.RUN, Role.DELIVERY):
        note_service(lock, settings, role)
        assert senders(outbox, []) == {os.getpid(): role}
        assert senders(outbox, [os.getpid(), 4711]) == {os.getpid(): role, 4711: Role.COMMAND}


@pytest.mark.parametrize("note", ["", "4711", "soon digest run", "4711 digest nonsense"])
def test_a_note_that_is_incomplete_names_no_sender(outbox: Outbox, lock: Lock, note: str) -> None:
    lock.note(note)
    assert senders(outbox, []) == {}


def test_a_running_scan_sends_itself_only_where_nothing_else_does(outbox: Outbox) -> None:
    begin(outbox, a_scan())
    scan = outbox.locks.scan(a_scan().id)
    assert scan.take()
    scan.note("mark")
    assert senders(outbox, []) == {}
    scan.note("mark digest 4711")
    assert (senders(outbox, []), senders(outbox, [4711])) == ({4711: Role.SCAN}, {4711: Role.SCAN})
    assert senders(outbox, [1]) == {1: Role.COMMAND}
    scan.release()
    assert senders(outbox, []) == {}
