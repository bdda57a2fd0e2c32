"""Kills while an outbox is upgraded, or made, and what must be in it then."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import median

from sfwebhooks.database import FILE
from sfwebhooks.outbox import Outbox
from sfwebhooks.schema import STEPS
from tests.crash.worker import Worker, open_outbox

#: an outbox as the first release left it
RELEASED = Path(__file__).parents[1] / "outboxes" / "v1.sql"
#: how many times as many rows make an upgrade that takes a while
TIMES = 400
#: table -> its columns that hold an id, which must be another one in each copy of a row
IDS = {
    "scan": ("id",),
    "event": ("id", "scan_id"),
    "delivery": ("id", "event_id"),
    "attempt": ("delivery_id",),
    "sequence": ("scan_id",),
}
#: what stood in the table `attempt` before that version of the schema
MOVED = """
    (SELECT d.id AS delivery_id, a.at, a.seconds, a.status, a.reason, a.excerpt, a.cause
     FROM main.delivery_attempt a JOIN main.delivery d ON d.number = a.number)
"""
MOVED_IN = 3


class Upgrades:
    """Processes that are killed while they open an outbox.

    Args:
        original: an outbox of the first release, of which they open copies; if there is none, they make one.
    """

    def __init__(self, original: Path, random: Random) -> None:
        self._original = original
        self._random = random
        #: within which it is killed
        self._seconds = median(self._undisturbed() for _ in range(5))
        #: schema version that a kill left -> how often
        self.left: Counter[int] = Counter()

    def kill(self) -> None:
        """Kill a process on its way; then, and once the file was opened again, nothing may be missing in it."""
        with tempfile.TemporaryDirectory(dir=self._original.parent) as folder:
            path = self._new(Path(folder) / "killed")
            worker = Worker(open_outbox, path)
            worker.start()
            assert worker.hear() == "begins"
            threading.Event().wait(self._random.uniform(0.0, self._seconds))
            worker.kill()
            worker.ended()
            # to look at it is to open it, and the log is written back: another copy is to be had for that
            seen = Path(shutil.copytree(path.parent, Path(folder) / "seen")) / FILE
            self._learn(version(seen))
            self._check(seen)
            Outbox(path).tallies()
            assert version(path) == len(STEPS)
            self._check(path)

    def _learn(self, left: int) -> None:
        """Follow a machine that is more busy, or less: of six kills about one is to come after the commit."""
        self.left[left] += 1
        self._seconds *= 0.9 if left == len(STEPS) else 1.02

    def _undisturbed(self) -> float:
        """Return how many seconds a process takes that is not killed."""
        with tempfile.TemporaryDirectory(dir=self._original.parent) as folder:
            worker = Worker(open_outbox, self._new(Path(folder) / "whole"))
            worker.start()
            assert worker.hear() == "begins"
            begin = time.monotonic()
            assert worker.hear() == "ends"
            seconds = time.monotonic() - begin
            worker.ended()
        return seconds

    def _new(self, folder: Path) -> Path:
        folder.mkdir()
        if self._original.exists():
            shutil.copy(self._original, folder / FILE)
        return folder / FILE

    def _check(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as sql:
            assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not self._original.exists():
                return
            sql.execute("ATTACH ? AS original", (str(self._original),))
            for table in (*IDS, "health"):
                names = ", ".join(row[1] for row in sql.execute(f"PRAGMA original.table_info({table})"))
                now = MOVED if table == "attempt" and version(path) >= MOVED_IN else f"main.{table}"
                both = f"SELECT {names} FROM original.{table} EXCEPT SELECT {names} FROM {now}"
                assert sql.execute(both).fetchall() == []


def released(path: Path) -> Path:
    """Make an outbox of the first release, with some thousand deliveries; return it."""
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.executescript(RELEASED.read_text(encoding="utf-8"))
        for table, ids in IDS.items():
            names = [row[1] for row in sql.execute(f"PRAGMA table_info({table})")]
            new = ["NULL" if name == "number" else f"{name} || '-' || copy" if name in ids else name for name in names]
            sql.execute(
                "WITH RECURSIVE copies (copy) AS (SELECT 2 UNION ALL SELECT copy + 1 FROM copies WHERE copy < ?)"
                f" INSERT INTO {table} SELECT {', '.join(new)} FROM {table}, copies",
                (TIMES,),
            )
        sql.commit()
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as sql:
        return int(sql.execute("PRAGMA user_version").fetchone()[0])
