"""The witness of a test, and endpoints full of secrets."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.config.settings import Settings, load
from sfwebhooks.delivery.alert_timing import Alerting
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.outbox.outbox import Outbox
from tests.conftest import Clock, put, soon, sql
from tests.network.test_hostile_receiver import contexts
from tests.secrecy.planted import FROM_ENVIRONMENT, VARIABLE, WATCHER, section, written
from tests.secrecy.witness import Witness, watching

__all__ = ["contexts"]


@pytest.fixture
def settings_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The one place where secrets may stand; what is written to its webhooks.ini is what commands use."""
    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    monkeypatch.setenv("SFWEBHOOKS_CONFIG", str(folder / "webhooks.ini"))
    monkeypatch.setenv(VARIABLE, FROM_ENVIRONMENT)
    return folder


@pytest.fixture
def plant(settings_folder: Path) -> Callable[..., Settings]:
    """Write and read the settings of `team` at a place, full of secrets, and of one that is alerted of its trouble."""

    def make(place: str, **keys: object) -> Settings:
        found = load(written(settings_folder, section("team", place, **keys), WATCHER))
        assert (found.mistakes, len(found.endpoints)) == ((), 2)
        return found

    return make


@pytest.fixture
def witness(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Witness]:
    """See all that the test makes visible; at its end no secret may be among it."""
    witness = Witness(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with watching(witness):
        yield witness
    for number, handler in handlers.items():
        signal.signal(number, handler)
    witness.see("printed", *capfd.readouterr())
    witness.look_into_files()
    assert witness.seen
    if found := witness.secrets():
        pytest.fail("\n".join(found), pytrace=False)


@pytest.fixture
def attempt(outbox: Outbox, clock: Clock) -> Callable[..., None]:
    """Let the queue of the first endpoint make attempts, as in a scan."""

    def go(found: Settings, steps: int = 1, events: int = 1) -> None:
        endpoint = found.endpoints[0]
        queue, alerting = SendQueue([endpoint], outbox, clock), Alerting(found.endpoints, outbox, clock)
        put(outbox, endpoint, events=events)
        for _ in range(steps):
            queue.step()
            clock.now += 3600
            alerting.add_deaths(queue.deaths)
            alerting.look(queue.states, last=True)
        queue.stop(soon())

    return go


@pytest.fixture
def send(attempt: Callable[..., None], outbox: Outbox, witness: Witness) -> Callable[..., None]:
    """Let it make attempts, then ask all commands about it."""

    def go(found: Settings, steps: int = 1, events: int = 1) -> None:
        attempt(found, steps, events)
        ask(witness, outbox)

    return go


def ask(witness: Witness, outbox: Outbox) -> None:
    """Run the commands that tell of deliveries."""
    for (delivery,) in sql(outbox, "SELECT id FROM delivery"):
        witness.run("show", delivery)
        witness.run("show", "--json", delivery)
    for command in ("deliveries", "deliveries --json", "dead list", "dead list --json", "check", "test team"):
        witness.run(*command.split())
    witness.run("drain", "--timeout", "0.1s")
