"""A scan that runs in the test's process, as the host has it, with settings in a file that changes meanwhile."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfwebhooks.config.settings import load
from sfwebhooks.scan.run import ScanRun
from sfwebhooks.scan.terms import Terms
from tests.builders import NOW, PATIENCE, a_finding, a_host_database, a_scan
from tests.threads import until

if TYPE_CHECKING:
    from tests.conftest import Team


class Scanning:
    """A scan as the host has it, with settings in a file.

    Args:
        id: of the scan; a host may have several.
    """

    def __init__(self, folder: Path, id: str = "5C4A0001") -> None:
        self.folder = folder
        self.scan = a_scan(id, database=str(folder / "spiderfoot.db"))
        if (folder / "spiderfoot.db").exists():
            row = (id, self.scan.name, self.scan.target, NOW * 1000, NOW * 1000, 0, "RUNNING")
            with closing(self._writing()) as connection, connection:
                connection.execute("INSERT INTO tbl_scan_instance VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        else:
            a_host_database(folder / "spiderfoot.db", self.scan)
        self.run: ScanRun | None = None
        self.terms: list[Terms] = []
        self._number = 0

    def configure(self, general: str = "", **teams: str) -> None:
        """Write the settings: the lines of each endpoint."""
        sections = (f"[webhooks.{name}]\n{lines}\n" for name, lines in teams.items())
        draft = self.folder / "draft"
        draft.touch(0o600)
        draft.write_text(f"[webhooks]\n{general}\n" + "".join(sections))
        draft.replace(self.folder / "webhooks.ini")

    def begin(self) -> ScanRun:
        """Begin with the settings of the file."""
        settings = load(self.folder / "webhooks.ini")
        assert settings.mistakes == ()
        self.run = ScanRun(self.scan, settings, self.folder)
        self.run.begin()
        self.run.watch(self.terms.append)
        return self.run

    def takes_up(self, general: str = "", **teams: str) -> None:
        """Change the settings, and wait until the scan uses them."""
        before = len(self.terms)
        self.configure(general, **teams)
        until(lambda: len(self.terms) > before)

    def find(self, count: int, host_type: str = "VULNERABILITY_CVE_HIGH", received: bool = True) -> None:
        """Find something as the host does: it asks which types are watched."""
        assert self.run
        hashes = [f"hash-{number}" for number in range(self._number, self._number + count)]
        self._number += count
        rows = [(self.scan.id, one, host_type, NOW, 100, 100, 0, "m", one, 0, "ROOT") for one in hashes]
        with closing(self._writing()) as connection, connection:
            connection.executemany(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", rows)
        for one in hashes if received and self.run.terms.wants[host_type, 0] else ():
            self.run.accept(a_finding(hash=one, data=one, type=host_type))

    def _writing(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "spiderfoot.db", timeout=PATIENCE)

    def finish(self, status: str = "FINISHED", error: str = "") -> None:
        """End with the host's word for it."""
        assert self.run
        self.finish_in_host(status)
        self.run.end(error)

    def vanish(self) -> None:
        """End our threads as if the process were gone, but for the lock of the scan: nothing is reported."""
        run = self.run
        assert run
        run._ended.set()
        run._keeper.join(PATIENCE)
        assert run._dispatcher.stop(PATIENCE)
        run._intake.close(PATIENCE)

    def finish_in_host(self, status: str = "FINISHED") -> None:
        """Let the host have the end."""
        with closing(self._writing()) as connection, connection:
            change = "UPDATE tbl_scan_instance SET status = ?, ended = ? WHERE guid = ?"
            connection.execute(change, (status, time.time() * 1000, self.scan.id))


def lines(team: Team, events: str = "all, !surface_changed, !system_alert", **keys: Any) -> str:
    return "\n".join([f"url = {team.url}", f"events = {events}", *(f"{key} = {value}" for key, value in keys.items())])


def types(team: Team) -> list[str]:
    """Return the types of a team's messages by number."""
    got = sorted(team.got, key=lambda one: one.message["metadata"]["sequence"])
    return [one.message["event_type"] for one in got]


def hashes(team: Team) -> list[str]:
    return sorted(one.message["data"]["hash"] for one in team.got if "hash" in one.message["data"])
