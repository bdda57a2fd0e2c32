"""What many tests share: certificates, a receiver that keeps what it got, an outbox, a clock that is told the time."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.outbox import FILE, Outbox
from sfwebhooks.receiver import Checks, Received, Receiver, server_context
from tests.builders import NOW

#: seconds after which a test gives up waiting; never reached when all is well
PATIENCE = 20.0


class Clock:
    """Epoch seconds that only a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Team:
    """A receiver, what it got, and what it answers."""

    def __init__(self, secrets: Sequence[str] = (), tls: ssl.SSLContext | None = None, **checks: Any) -> None:
        self.got: list[Received] = []
        self.refused: list[str] = []
        #: the answer to a delivery, or what makes it
        self.answer: int | Callable[[Received], int] = 200
        self._news = threading.Condition()
        self.receiver = Receiver(
            Checks(secrets, **checks), tls=tls, status=self._answer, on_receive=self._keep, on_refuse=self._refuse
        )
        self.receiver.start()

    @property
    def url(self) -> str:
        return self.receiver.url

    @property
    def ids(self) -> list[str]:
        return [received.headers["webhook-id"] for received in self.got]

    @property
    def sequences(self) -> list[int]:
        return [received.message["metadata"]["sequence"] for received in self.got]

    def wait_for(self, count: int) -> list[Received]:
        """Return what was got once it is so many."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.got) >= count, PATIENCE), f"{len(self.got)} of {count} came"
        return self.got

    def wait_for_refusal(self) -> str:
        """Return why the first TLS handshake failed once it did."""
        with self._news:
            assert self._news.wait_for(lambda: self.refused, PATIENCE)
        return self.refused[0]

    def _answer(self, received: Received) -> int:
        self._note(received)
        return self.answer if isinstance(self.answer, int) else self.answer(received)

    def _keep(self, received: Received) -> None:
        if received.problems:  # the others were noted before they were answered
            self._note(received)

    def _note(self, received: Received) -> None:
        with self._news:
            self.got.append(received)
            self._news.notify_all()

    def _refuse(self, reason: str) -> None:
        with self._news:
            self.refused.append(reason)
            self._news.notify_all()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SFWEBHOOKS_CONFIG", "SFWEBHOOKS_DISABLED", "SPIDERFOOT_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of the receivers and of their clients."""
    return Authority.create(tmp_path_factory.mktemp("ca"), "Test CA")


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that no receiver trusts."""
    return Authority.create(tmp_path_factory.mktemp("other-ca"), "Other CA")


@pytest.fixture(scope="session")
def server_identity(authority: Authority) -> Identity:
    return authority.issue("receiver")


@pytest.fixture(scope="session")
def client_identity(authority: Authority) -> Identity:
    return authority.issue("spiderfoot", client=True)


@pytest.fixture(scope="session")
def https(server_identity: Identity) -> ssl.SSLContext:
    """The TLS context of a receiver that asks for no client certificate."""
    return server_context(server_identity.cert, server_identity.key)


@pytest.fixture(scope="session")
def mtls(server_identity: Identity, authority: Authority) -> ssl.SSLContext:
    """The TLS context of a receiver that demands a client certificate."""
    return server_context(server_identity.cert, server_identity.key, authority.cert)


@pytest.fixture
def receive() -> Iterator[Callable[..., Team]]:
    """Make receivers: `receive(secrets, tls, api_key=...)`."""
    teams: list[Team] = []

    def start(*args: Any, **kwargs: Any) -> Team:
        teams.append(Team(*args, **kwargs))
        return teams[-1]

    yield start
    for team in teams:
        team.receiver.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / FILE)
    yield outbox
    outbox.close()
