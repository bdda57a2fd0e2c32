"""The forecast of a backfill: for any settings and any past, it is what the backfill then makes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan
from sfwebhooks.fingerprints import of_finding
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan.backfill import begin_backfill, past_scan, put
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.forecast import forecast
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.recovery import replay_scan, report_end
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_correlation, a_finding, a_scan, an_endpoint
from tests.hosted import add_scan, correlate
from tests.outbox_rows import rows_of
from tests.tiers import slow

ONE_STORE = "each example needs an outbox of its own"

KINDS = ("VULNERABILITY_CVE_HIGH", "MALICIOUS_IPADDR", "LEAKSITE_CONTENT", "TCP_PORT_OPEN", "EMAILADDR")
DATA = ("a.example", "b.example", "test-1 c.example")
MODULES = ("sfp_a", "sfp_b")


@dataclass(frozen=True)
class Past:
    """A scan of a history: what it found, how it ended, and how far it got to the outbox."""

    found: tuple[tuple[int, int, int, int], ...]
    status: str
    #: who was sent it live; None: it ran without us
    live: Endpoint | None
    correlates: bool


words = st.sampled_from(("all", "high_risk_event", "finding.critical", "medium.*", "scan_*", "correlation_*",
                         "vulnerability_found", "surface_changed", "!info_event", "!scan_started"))  # fmt: skip


def endpoints(name: str = "team") -> st.SearchStrategy[Endpoint]:
    return st.builds(
        an_endpoint,
        st.just(name),
        events=st.lists(words, min_size=1, max_size=3, unique=True).map(tuple),
        finding_types=st.sampled_from(((), ("!TCP_*",), ("VULN*", "EMAILADDR"))),
        min_severity=st.sampled_from((Severity.INFO, Severity.INFO, Severity.MEDIUM, Severity.HIGH)),
        min_confidence=st.sampled_from((0, 0, 60)),
        modules=st.sampled_from(((), (), ("sfp_a",))),
        targets=st.sampled_from(((), (), ("acme.*",), ("!acme.example",))),
        data_not_match=st.sampled_from(((), (r"\btest-\d",))),
        include_raw=st.booleans(),
        only_new=st.booleans(),
        baseline=st.sampled_from(("silent", "send")),
        only_if_changed=st.booleans(),
    )


finding = st.tuples(*(st.integers(0, len(values) - 1) for values in (KINDS, DATA, MODULES)), st.sampled_from((40, 100)))
scans = st.builds(
    Past,
    st.lists(finding, max_size=6).map(tuple),
    st.sampled_from(("FINISHED", "FINISHED", "ABORTED", "ERROR-FAILED")),
    st.one_of(st.none(), endpoints(), endpoints("other")),
    st.booleans(),
)


def findings_of(number: int, past: Past) -> list[Finding]:
    return [
        a_finding(
            f"S{number}-{at}", type=KINDS[kind], data=DATA[data], module=MODULES[module], confidence=sure, sources=()
        )
        for at, (kind, data, module, sure) in enumerate(past.found)
    ]


def run(folder: Path, outbox: Outbox, number: int, past: Past) -> Scan:
    """Let a scan happen, in the host and as far as it got in the outbox."""
    path, scan = folder / "spiderfoot.db", a_scan(f"S{number}", database=str(folder / "spiderfoot.db"))
    found = findings_of(number, past)
    add_scan(path, scan, found, NOW + 3600 * number, status=past.status)
    if past.correlates:
        correlate(path, scan, a_correlation(host_id=f"c{number}", title=f"Open: {number % 2}"), [])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO tbl_scan_correlation_results_events VALUES (?, 'x')", (f"c{number}",))
    if past.live:
        screen = screen_for(scan, (past.live,), HostDatabase(scan.database))
        begin = started(scan)
        outbox.scans.begin_scan(scan, begin, screen.of(begin)[0], NOW)
        accept([event_of_finding(one, scan, "") for one in found[::2]], screen, outbox, NOW)
        replay_scan(outbox, Settings((past.live,)), scan)
        report_end(outbox, Settings((past.live,)), scan)
    return scan


@contextmanager
def folders() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def names_of(path: Path, scan: Scan, endpoint: Endpoint) -> Counter[str]:
    query = "SELECT d.name FROM delivery d JOIN event e ON e.number = d.event WHERE e.scan_id = ? AND d.endpoint = ?"
    return Counter(row[0] for row in rows_of(path, query, scan.id, endpoint.name)) if path.exists() else Counter()


def withheld_in(outbox: Outbox, scan: Scan, endpoint: Endpoint) -> dict[str, int]:
    return outbox.scans.withheld(scan.id).get(endpoint.name, {})


def check(history: list[Past], endpoint: Endpoint, data: Any) -> None:
    """Check a forecast of one of some scans against what a backfill then makes."""
    with folders() as folder, closing(Outbox(folder / FILE)) as outbox:
        made = [run(folder, outbox, number, past) for number, past in enumerate(history, 1)]
        for kind, text in data.draw(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(DATA)), max_size=2)):
            name = data.draw(st.sampled_from(("", "team", "other")))
            outbox.sightings.mute("acme.example", (of_finding(kind, text), kind), name, None, NOW)
        marked = data.draw(st.sampled_from(("", *DATA)))
        with closing(sqlite3.connect(folder / "spiderfoot.db")) as connection, connection:
            connection.execute("UPDATE tbl_scan_results SET false_positive = 1 WHERE data = ?", (marked,))
        scan = data.draw(st.sampled_from(made))
        before = names_of(outbox.path, scan, endpoint)
        with closing(Outbox(folder / FILE, listing=True)) as listing:
            is_there = outbox.path.exists() and outbox.database.is_changed() in (True, False)
            foreseen = forecast(listing, endpoint, past_scan(listing, scan.id, dead=True))
        assert outbox.path.exists() == is_there
        assert not (is_there and outbox.database.is_changed()), "nothing is written"
        past = past_scan(outbox, scan.id, dead=True)
        missing = begin_backfill(outbox, endpoint, past)
        while chunk := list(islice(missing.events, 3)):
            assert put(outbox, missing, chunk)
        assert names_of(outbox.path, scan, endpoint) - before == Counter(foreseen.sent)
        assert foreseen.has == sum(before.values())
        counted = {Withheld(reason): number for reason, number in withheld_in(outbox, scan, endpoint).items()}
        if any(name.startswith("scan_") and name != "scan_started" for name in foreseen.sent):
            assert counted == foreseen.withheld
        with closing(Outbox(folder / FILE, listing=True)) as listing:
            again = forecast(listing, endpoint, past_scan(listing, scan.id, dead=True))
        assert (again.number, again.has) == (0, foreseen.has + foreseen.number)


@settings(max_examples=5, deadline=None)
@given(st.lists(scans, min_size=1, max_size=3), endpoints(), st.data())
def test_a_forecast_is_what_the_backfill_then_makes(history: list[Past], endpoint: Endpoint, data: Any) -> None:
    check(history, endpoint, data)


@slow
@settings(max_examples=150, deadline=None)
@given(st.lists(scans, min_size=1, max_size=3), endpoints(), st.data())
def test_a_forecast_is_what_the_backfill_makes_whatever_was_before(
    history: list[Past], endpoint: Endpoint, data: Any
) -> None:
    check(history, endpoint, data)
