"""What many tests share: certificates, receivers that keep what they got, an outbox, senders, commands, a clock that is
given the time."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, cast

import pytest

from sfwebhooks import text_file
from sfwebhooks.cli import main
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import key_of
from sfwebhooks.health import REFUSALS_MAX
from sfwebhooks.host.install import SHIM
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Place
from sfwebhooks.outbox.postgres.schema import statements
from sfwebhooks.pipeline import accept
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from sfwebhooks.receive.server import Receiver, server_context
from sfwebhooks.scan import host_address
from sfwebhooks.screening import Screen
from sfwebhooks.signing_keys import WHSEC, WHSK
from tests.builders import NOW, PATIENCE, an_endpoint, an_event
from tests.host_databases import host_database, host_server  # noqa: F401  # fixtures
from tests.hostile import Hostile, Way
from tests.outbox_rows import rows_of
from tests.postgres import name_of, own_server, postgres, postgres_dsn  # noqa: F401  # fixtures
from tests.stores import ADDRESS, Databases, name_the_server, place_in

# a process that a test starts would compile the package again, and pytest each file of tests
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# jsonschema would compile 38 grammars of IRIs in each worker, for seconds; no schema of ours or of others has one
sys.modules.setdefault("rfc3987_syntax", cast(Any, None))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="of the random choices of tests/crash, to make them again")
    parser.addoption("--kills", type=int, help="number of kills of each campaign of tests/crash")


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
            Checks(secrets, **checks), tls=tls, respond=self._respond, on_receive=self._keep, on_refuse=self._refuse
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

    def _respond(self, received: Received) -> Response:
        self._note(received)
        return Response(self.answer if isinstance(self.answer, int) else self.answer(received))

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


class Gate:
    """An answer that a receiver gives only once the test lets it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self._open = threading.Event()

    def __call__(self, received: Received) -> int:
        self._open.wait(PATIENCE)
        return self.status

    def open(self) -> None:
        self._open.set()


def put(outbox: Outbox, *endpoints: Endpoint, events: int = 1, start: int = 1) -> None:
    """Accept events for endpoints."""
    accept([an_event(number) for number in range(start, start + events)], Screen(endpoints), outbox, NOW)


#: where tests take longest, the longest first
LONG = ("tests/crash/", "tests/host/", "tests/scan/test_tickets_model.py", "tests/web/test_browser",
        "tests/network/test_hostile", "tests/cli/test_cli.py", "tests/delivery/test_send_queue.py", "tests/secrecy/",
        "tests/scan/test_backfill.py", "tests/network/", "tests/test_system.py", "tests/test_service.py")  # fmt: skip
#: for a test of tests/crash with all that is killed before it: on a busy machine that takes long
CRASH_SECONDS = 2400
#: whether the module is in the scanner already, or this is a worker of pytest-xdist: others may still need it
IS_TO_STAY = pytest.StashKey[bool]()


def pytest_xdist_auto_num_workers() -> int:
    """Use two workers more than there are processors: a third of the time of many tests is waiting."""
    return (os.cpu_count() or 1) + 2


def pytest_configure(config: pytest.Config) -> None:
    config.stash[IS_TO_STAY] = hasattr(config, "workerinput") or host_shim().exists()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a row after a secret's kind: one that is made at random would be another row in each worker."""
    kinds = [kind for kind in (WHSEC, WHSK) if isinstance(val, str) and val.startswith(kind)]
    return kinds[0] if kinds else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take longest, so that no worker is left alone with one of them at the end; leave
    tests of the campaign to it."""
    items.sort(key=lambda item: next((at for at, long in enumerate(LONG) if item.nodeid.startswith(long)), len(LONG)))
    for item in items:
        if item.get_closest_marker("campaign"):
            item.own_markers = [one for one in item.own_markers if one.name != "slow"]  # that of its store
            item.add_marker(pytest.mark.timeout(0))
        elif item.nodeid.startswith("tests/crash/"):
            item.add_marker(pytest.mark.timeout(CRASH_SECONDS))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the module out of the scanner again, once all workers have ended."""
    if not config.stash.get(IS_TO_STAY, True) and host_shim().exists():
        with tempfile.TemporaryDirectory() as home:
            shim_command("uninstall", Path(home))


def shim_command(name: str, home: Path) -> None:
    """Put the module into the scanner of this environment, or take it out, as a user does."""
    environment = {**os.environ, "HOME": str(home)}
    subprocess.run([sys.executable, "-m", "sfwebhooks", name], env=environment, check=True, capture_output=True)


def host_shim() -> Path:
    """Return where the module is in the scanner of this environment; there may be no scanner."""
    spec = importlib.util.find_spec("sfscan")
    return Path(spec.origin if spec and spec.origin else "no scanner").parent / "modules" / SHIM


def soon() -> float:
    """Return a deadline in monotonic seconds."""
    return time.monotonic() + PATIENCE


def sql(outbox: Outbox, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement at the outbox's file."""
    return rows_of(outbox, query)


def spoil(outbox: Outbox, number: int = 1) -> None:
    """Let an event's data be no JSON in the outbox: to make a message of it is a bug."""
    sql(outbox, f"UPDATE event SET data = 'rubbish' WHERE id = x'{key_of(an_event(number).id).hex()}'")


def senders() -> list[str]:
    """Return the names of all sending threads of this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("webhooks-")]


def fail(queue: SendQueue, team: Team, status: int, times: int = 1) -> None:
    """Let a receiver answer with a status, and a queue make attempts at it."""
    team.answer = status
    for _ in range(times):
        assert queue.step()


def hold(queue: SendQueue, team: Team, clock: Clock, status: int = 401) -> None:
    """Let a receiver refuse an endpoint's messages until it is held."""
    team.answer = status
    for _ in range(REFUSALS_MAX):
        clock.now += 120
        assert queue.step()


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of who runs the tests: neither settings nor the SpiderFoots that have the module. Nor does a test wait
    until the file that it has just written is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SFWEBHOOKS_CONFIG", "SFWEBHOOKS_DISABLED", "SPIDERFOOT_DATA", "SF_POSTGRES_DSN"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "no-home"))
        patch.setattr(text_file, "QUIET_SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True)
def _own_home(request: pytest.FixtureRequest) -> None:
    """A home of its own for each test that has a folder; to make folders for all takes as long as many of them do."""
    host_address._given.clear()
    if "tmp_path" in request.fixturenames:
        home = request.getfixturevalue("tmp_path") / "own-home"
        request.getfixturevalue("monkeypatch").setenv("HOME", str(home))


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    """A test leaves no thread of ours but sessions with a server, which end by themselves: that of a scan would report
    for the scans of other tests, which have its id."""
    before = {*threading.enumerate()}
    yield
    ours = [one for one in threading.enumerate() if one.name.startswith("webhooks-")]
    begun = [one for one in ours if one not in before and one.name != "webhooks-locks"]
    for one in begun:
        one.join(PATIENCE)
    assert [one.name for one in begun if one.is_alive()] == []


@pytest.fixture(autouse=True)
def _own_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """A file for each test that is about one, while a fixture of its module has a database."""
    if ADDRESS not in os.environ or not request.node.get_closest_marker("sqlite"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ADDRESS)
        yield


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module with STORES on each of them, but those that are about SQLite's file."""
    stores: tuple[Any, ...] = getattr(metafunc.module, "STORES", ())
    if metafunc.definition.get_closest_marker("postgres"):
        stores = ("postgres",)
    if len(stores) > 1:
        stores = (*stores[:-1], pytest.param(stores[-1], marks=pytest.mark.slow))
    if stores and not metafunc.definition.get_closest_marker("sqlite"):
        if "shared_store" in metafunc.fixturenames:
            metafunc.parametrize("shared_store", stores, indirect=True, scope="module")
        elif "store" in metafunc.fixturenames:
            metafunc.parametrize("store", stores, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The place of an outbox: a file, or a database on a PostgreSQL server, which settings name too."""
    with _stored(request):
        yield place_in(tmp_path)


@pytest.fixture(scope="module")
def shared_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same for the data folders of a module's fixtures, which its tests share."""
    with _stored(request):
        yield


@contextmanager
def _stored(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the outboxes of all data folders be where the parameter of a fixture says."""
    with pytest.MonkeyPatch.context() as patch:
        if getattr(request, "param", "sqlite") == "sqlite":
            patch.delenv(ADDRESS, raising=False)
            yield
            return
        with request.getfixturevalue("outbox_databases").one() as address:
            patch.setenv(ADDRESS, address)
            name_the_server(patch.setattr)
            yield


@pytest.fixture(scope="session")
def outbox_databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Databases with the tables of an outbox."""
    server = request.getfixturevalue("postgres")
    with server.database() as address:
        server.execute(f"SET search_path = {SCHEMA}; {statements(SCHEMA)}", address)
        databases = Databases(server, name_of(address))
        yield databases
        databases.close()


@pytest.fixture
def outbox(store: Place) -> Iterator[Outbox]:
    outbox = Outbox(store)
    yield outbox
    outbox.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def team(receive: Callable[..., Team]) -> Team:
    return receive()


@pytest.fixture
def endpoint(team: Team) -> Endpoint:
    return an_endpoint(url=team.url, timeout=PATIENCE, retry_schedule=(5.0, 60.0))


@pytest.fixture
def queue(outbox: Outbox, endpoint: Endpoint, clock: Clock) -> Iterator[SendQueue]:
    """The queue of the endpoint, to be driven step by step, without threads."""
    queue = SendQueue([endpoint], outbox, clock)
    yield queue
    queue.stop(soon())


@pytest.fixture
def new_queue(outbox: Outbox, clock: Clock) -> Iterator[Callable[..., SendQueue]]:
    """Make queues with an outbox of their own, as other processes have: `new_queue(endpoint, ...)`."""
    queues: list[SendQueue] = []

    def make(*endpoints: Endpoint) -> SendQueue:
        queues.append(SendQueue(endpoints, Outbox(outbox.place), clock))
        return queues[-1]

    yield make
    for queue in queues:
        queue.stop(soon())


@pytest.fixture
def dispatch(outbox: Outbox, gate: Gate) -> Iterator[Callable[..., Dispatcher]]:
    """Make dispatchers with threads, at the real time: `dispatch(endpoint, ...)`."""
    made: list[Dispatcher] = []

    def make(*endpoints: Endpoint) -> Dispatcher:
        made.append(Dispatcher(endpoints, outbox.place))
        return made[-1]

    yield make
    gate.open()
    for dispatcher in made:
        dispatcher.stop(PATIENCE)


@pytest.fixture
def hostile() -> Iterator[Callable[..., Hostile]]:
    """Start hostile receivers: `hostile(way, tls)`."""
    started: list[Hostile] = []

    def start(way: Way, tls: ssl.SSLContext | None = None) -> Hostile:
        started.append(Hostile(way, tls))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Commands set handlers for the process that ends with them; here it goes on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@dataclass
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The output in one line."""
        return " ".join(self.out.split())

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The output as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def cli(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run a command with tmp_path as SpiderFoot's data folder: `cli("show", ...)`."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))

    def run(*arguments: str) -> Result:
        code = main(arguments)
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process have the time of Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names, as the name servers of this test give them."""
    answers: dict[str, list[str]] = {}

    def look(host: str, port: int, *args: Any) -> list[Any]:
        found = answers.get(host, [host])
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port)) for one in found]

    monkeypatch.setattr("sfwebhooks.network.route.getaddrinfo", look)
    return answers
