"""Kills at each step of the forwarding: whatever is repeated after them, nothing is lost and nothing comes twice."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.outbox.spool import Spool
from tests.conftest import Team
from tests.dying import KILLED_SCAN
from tests.postgres import Postgres, demand, stopped
from tests.processes import run
from tests.scan.test_isolation import make_unfit
from tests.scan.test_spool import AWAY, a_scan_of
from tests.scanning import Scanning
from tests.tiers import slow

#: forwards all that is in a spool, and dies before or after a step was done so many times
FORWARDING = """
import sys
from pathlib import Path
from sfwebhooks.config.settings import load
from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.scan import forwarder
from tests.dying import die_at
folder = Path(sys.argv[1])
forwarder.GROUP_MAX = 4
die_at(*sys.argv[2:5], int(sys.argv[5]))
settings = load(folder / "webhooks.ini")
one = forwarder.Forwarder(folder / SPOOL_FILE, settings.place(folder), settings)
one.forward_here(float("inf"))
assert not one.has_work
"""
SPOOL, SERVER = "sfwebhooks.outbox.spool:Spool", "sfwebhooks.outbox.outbox:Outbox"
STEPS = (
    (SPOOL, "first"),
    (SPOOL, "forget"),
    (SPOOL, "forget_scan"),
    (SPOOL, "end"),
    (SERVER, "accept"),
    ("sfwebhooks.outbox.postgres.advisory_locks:AdvisoryLocks", "vouch"),
    ("sfwebhooks.outbox.scans:Scans", "begin_scan"),
    ("sfwebhooks.outbox.scans:Scans", "end_scan"),
    ("sfwebhooks.scan.spooled_scans", "replay_scan"),
    ("sfwebhooks.scan.spooled_scans", "report_end"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that may be stopped."""
    demand()
    with Postgres.running() as running:
        yield running


def forward(folder: Path, *kill: object) -> int:
    """Forward all in a process of its own; return its exit code."""
    return run([folder, *(kill or (SPOOL, "first", "never", 0))], FORWARDING, timeout=60).returncode


def a_spool(folder: Path, team: Team) -> list[Scanning]:
    """Return two scans that wait in a spool: one that is over, and one whose process was killed."""
    scans = [a_scan_of(folder, AWAY, team, f"5C4A{folder.name}{number}") for number in (1, 2)]
    scans[0].begin()
    scans[0].find(6)
    scans[0].finish()
    assert run([folder, scans[1].scan.id], KILLED_SCAN).returncode == -signal.SIGKILL
    return scans


#: steps around an event that is set aside
OF_ASIDE = (
    (SPOOL, "set_aside"),
    (SPOOL, "forget"),
    (SERVER, "accept"),
    ("sfwebhooks.scan.isolation:Isolation", "count"),
    ("sfwebhooks.outbox.scans:Scans", "end_scan"),
)


@slow
@pytest.mark.parametrize(("place", "name"), OF_ASIDE, ids=lambda word: word.rpartition(":")[2])
def test_an_event_that_is_set_aside_is_kept_and_the_others_arrive(
    place: str, name: str, server: Postgres, tmp_path: Path, team: Team
) -> None:
    with server.database() as dsn:
        folder = tmp_path / "a"
        scan, _ = a_spool(folder, team)
        make_unfit(folder, 3)
        a_scan_of(folder, dsn, team, "5C4A0000")
        codes = [forward(folder, place, name, moment, left) for moment in ("before", "after") for left in (1, 2)]
        assert -signal.SIGKILL in codes
        assert forward(folder) == 0
        assert run(["drain", "--folder", folder], timeout=60).returncode == 0
        assert len(team.ids) == len(set(team.ids))
        its = [one.message for one in team.got if one.message["data"]["scan_id"] == scan.scan.id]
        assert sorted(one["metadata"]["sequence"] for one in its) == [*range(1, len(its) + 1)]
        found = sorted(one["data"]["hash"] for one in its if "hash" in one["data"])
        assert found == ["hash-0", "hash-1", "hash-2", "hash-4", "hash-5"]
        (end,) = (one["data"] for one in its if one["event_type"] == "scan_completed")
        assert end["receipt"]["withheld_by_reason"]["set_aside"] == 1
        with closing(Spool(folder / SPOOL_FILE, listing=True)) as spool:
            assert [one.event.data["hash"] for one in spool.aside()] == ["hash-3"]
            assert spool.backlog().waiting == 0


@slow
@pytest.mark.parametrize(("place", "name"), STEPS, ids=lambda word: word.rpartition(":")[2])
def test_nothing_is_lost_and_nothing_comes_twice(
    place: str, name: str, server: Postgres, tmp_path: Path, team: Team
) -> None:
    with server.database() as dsn:
        folders = [tmp_path / letter for letter in "ab"]
        scans = [scan for folder in folders for scan in a_spool(folder, team)]
        for folder in folders:
            a_scan_of(folder, dsn, team, "5C4A0000")
        codes = []
        for moment in ("before", "after"):
            codes += [forward(folder, place, name, moment, left) for left in (1, 2) for folder in folders]
            with stopped(server):
                pass
        assert -signal.SIGKILL in codes
        assert [forward(folder) for folder in folders] == [0, 0]
        assert run(["drain", "--folder", folders[0]], timeout=60).returncode == 0
        assert len(team.ids) == len(set(team.ids))
        for scan in scans:
            its = sorted((one.message["metadata"]["sequence"], one.message["event_type"]) for one in team.got
                         if one.message["data"]["scan_id"] == scan.scan.id)  # fmt: skip
            assert [number for number, _ in its] == [*range(1, len(its) + 1)]
            words = Counter(word for _, word in its)
            assert words["scan_started"] == 1
            assert words["high_risk_event"] == (6 if scan in scans[::2] else 3)
            assert its[-1][1] == ("scan_completed" if scan in scans[::2] else "scan_failed")
            assert sum(words[end] for end in ("scan_completed", "scan_aborted", "scan_failed")) == 1
        for folder in folders:
            with closing(Spool(folder / SPOOL_FILE, listing=True)) as spool:
                assert spool.backlog().waiting == 0
