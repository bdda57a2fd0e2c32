"""Checks of the watch over scans: is each expected scan one that SpiderFoot knows, and does anything look for them?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.expectations import key_of_scan
from sfwebhooks.inspection.watched import LATE_CURE, watch_overview
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.escapes import unescaped
from sfwebhooks.scan.host_address import current_database
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase

#: expected scans that are reported as unknown
UNKNOWN_MAX = 5


def never_scanned(settings: Settings, folder: Path) -> list[str]:
    """Return a warning for each expected scan whose target or name no scan has had: it may be misspelt."""
    if not settings.expected:
        return []
    try:
        rows = HostDatabase(current_database(folder), READ_SECONDS).instances()
    except HostDatabaseError:
        return []  # there is none yet, or it is locked
    known = {key_of_scan(unescaped(text)) for row in rows for text in row[1:3]}
    new = [one for one in settings.expected if key_of_scan(one.of) not in known]
    more = [f"[webhooks-expect] and {len(new) - UNKNOWN_MAX:,} more"] if len(new) > UNKNOWN_MAX else []
    return [
        f'[webhooks-expect] {one.name}: SpiderFoot has no scan with the target or name "{one.of}" yet'
        for one in new[:UNKNOWN_MAX]
    ] + more


def expected_scans_report(found: Installation) -> Iterator[Report]:
    """Report whether a process looks for the expected scans, and those that no scan has had."""
    if not (found.settings and found.settings.expected):
        return
    with closing(Outbox(found.place, listing=True)) as outbox:
        overview = watch_overview(found.settings, outbox if found.has_outbox else None, found.now)
    *_, words = overview.lines(found.now)
    is_late = overview.is_late(found.now)
    yield Report("expected scans", words.partition(f": {LATE_CURE}")[0], Level.WARNING if is_late else Level.OK,
                 LATE_CURE if is_late else "")  # fmt: skip
    for text in never_scanned(found.settings, found.folder):
        yield Report("expected scans", text, Level.WARNING, "correct it, or wait for its first scan")
