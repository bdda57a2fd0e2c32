"""False positives: what users marked as one in SpiderFoot, in any scan of a target, comes in from the host's database;
the fingerprints of it go out, by which `screening` withholds it.

A scan reads them before its first event, so the time for that is limited. The host marks the children of a finding with
it.
"""

from __future__ import annotations

import logging

from sfwebhooks import fingerprints
from sfwebhooks.endpoints import Endpoint, takes_findings
from sfwebhooks.errors import SlowReadError
from sfwebhooks.events import Scan
from sfwebhooks.scan.escapes import unescaped
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.screening import Screen

log = logging.getLogger("spiderfoot.webhooks")
#: most that are read
MARKED_MAX = 100_000


def screen_for(scan: Scan, endpoints: tuple[Endpoint, ...], database: HostDatabase) -> Screen:
    """Return the screen of a scan, with what users marked as false positive if an endpoint wants findings.

    Raises:
        HostDatabaseError: the host's database cannot be read.
    """
    asks = any(takes_findings(one.events) for one in endpoints)
    return Screen(endpoints, marked_in(scan, database) if asks else frozenset())


def marked_in(scan: Scan, database: HostDatabase) -> frozenset[bytes]:
    """Return the fingerprints of what users marked as false positive, in the newest scans of the target first.

    If the database's limit of time cuts that short, a line in the log says so.
    """
    target, found, why = fingerprints.canonical(scan.target), set[bytes](), ""
    try:
        for marked in database.false_positives(lambda text: fingerprints.canonical(unescaped(text)) == target):
            event = event_of_finding(Finding(*marked, "", 0.0, 0, 0, 0, ()), scan, "")
            key = fingerprints.of_event(event)
            if key:
                found.add(key)
            if len(found) >= MARKED_MAX:
                why = f"there are more than {MARKED_MAX:,}"
                break
    except SlowReadError:
        why = "reading them took too long"
    if why:
        log.warning(
            "webhooks: %s findings that are marked as false positive in SpiderFoot are not sent, but others may be: %s",
            *(f"{len(found):,}", why),
            extra={"scanId": scan.id},
        )
    return frozenset(found)
