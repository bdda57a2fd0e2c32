"""What it costs to accept a finding for an endpoint that wants only what is new, against one that wants everything."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.fingerprints import SIZE, lineage_of, of_finding
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.sightings import Seen
from sfwebhooks.scan.findings import Finding
from sfwebhooks.scan.run import ScanRun
from tests.benchmarks.accepting import DEAD, numbered, texts
from tests.benchmarks.delivering import ROOMY
from tests.benchmarks.measure import Measure, Row, each, with_null_row
from tests.builders import NOW, a_host_database, a_scan

ALL = "sightings: accept, every finding is wanted"
#: characters of a finding's data
DATA = 200
#: findings that are accepted among many sightings
FEW = 2000
#: sightings that are written in one go, in order, as the survey of a scan has some
GROUP = 100_000


def findings(number: int) -> list[Finding]:
    """Return so many findings, all of them different."""
    return [numbered(at)._replace(data=text) for at, text in enumerate(texts(number, DATA))]


def survey(folder: Path, found: Sequence[Finding]) -> None:
    """Record a first scan that found something."""
    record(folder, [(of_finding(one.type, one.data), one.type) for one in found])


def record(folder: Path, found: Sequence[Seen]) -> None:
    """Record a first scan."""
    with closing(Outbox(folder / FILE, storage=ROOMY)) as outbox:
        outbox.sightings.record("5C4AFFFF", a_scan().target, lineage_of(["sfp_example"]), found, NOW)
        outbox.sightings.finish("5C4AFFFF", True, "", NOW)


def accepted(folder: Path, number: int, only_new: bool) -> Measure:
    """Measure how another scan accepts findings."""
    scan = a_scan(database=str(folder / "spiderfoot.db"))
    a_host_database(Path(scan.database), scan)
    team = {"url": DEAD, "events": "all", "only_new": str(only_new).lower()}
    run = ScanRun(scan, load_mapping({"team": team, "outbox_max_mb": "100000"}), folder)
    run.begin()
    try:
        return each(findings(number), run.accept)
    finally:
        run.end()


def accepting(only_new: bool, known: bool = False) -> Callable[[int], Measure]:
    """Return a row: the findings of a second scan; the first one found all of them, or none."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            survey(Path(folder), findings(events if known else 0))
            return accepted(Path(folder), events, only_new)

    return row


def accepting_among(sightings: int) -> Measure:
    """Measure findings that are new among so many sightings, and the size of the file with these."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(shutil.copytree(filled(sightings).name, folder, dirs_exist_ok=True))
        size = (place / FILE).stat().st_size
        return replace(accepted(place, FEW, True), size=size)


@lru_cache(maxsize=1)
def filled(number: int) -> tempfile.TemporaryDirectory[str]:
    """Return a data folder with so many sightings of a target; it ends with this process."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    record(Path(folder.name), [(of_finding("VULNERABILITY_CVE_HIGH", "first"), "VULNERABILITY_CVE_HIGH")])
    query = (
        "INSERT INTO sighting SELECT target, ?, lineage, kind, version, first, last, whole"
        " FROM (SELECT * FROM sighting LIMIT 1)"
    )
    with closing(Outbox(Path(folder.name) / FILE, storage=ROOMY)) as outbox:
        for begin in range(0, number, GROUP):
            keys = sorted(hashlib.sha256(b"%d" % at).digest()[:SIZE] for at in range(begin, min(begin + GROUP, number)))
            with outbox.database.writing() as sql:
                sql.executemany(query, ((key,) for key in keys))
            outbox.database.checkpoint()
    return folder


ROWS = {
    **with_null_row(ALL, accepting(False), compares="p50"),
    "sightings: accept, only_new, all are new": Row(accepting(True), ALL, compares="p50"),
    "sightings: accept, only_new, all are known": Row(accepting(True, known=True), ALL, compares="p50"),
    "sightings: accept, only_new, all are new, among 5 times the backlog": Row(
        accepting_among, ALL, "backlog", 5.0, compares="p50"
    ),
}
