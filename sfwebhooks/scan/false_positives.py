"""False positives: what users marked as one in SpiderFoot, in any scan of a target, comes in from the host's database;
the fingerprints of it go out, by which `screening` withholds it.

A scan reads them before its first event, so the time for that is limited. The host marks the children of a finding with
it.
"""

from __future__ import annotations

import logging
import sqlite3

from sfwebhooks import fingerprints
from sfwebhooks.endpoints import RISK_NAMES, SPECIALS, Endpoint, subscribed_name
from sfwebhooks.events import Scan
from sfwebhooks.scan.escapes import unescaped
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.screening import Screen

log = logging.getLogger("spiderfoot.webhooks")
#: most that are read
MARKED_MAX = 100_000


def screen_for(scan: Scan, endpoints: tuple[Endpoint, ...], database: HostDatabase) -> Screen:
    """Return the screen of a scan, with what users marked as false positive if an endpoint wants findings."""
    kinds = [(name, severity, special) for severity, name in RISK_NAMES.items() for special in SPECIALS]
    asks = any(subscribed_name(one.events, *kind) for one in endpoints for kind in kinds)
    return Screen(endpoints, marked_in(scan, database) if asks else frozenset())


def marked_in(scan: Scan, database: HostDatabase) -> frozenset[bytes]:
    """Return the fingerprints of what users marked as false positive, in the newest scans of the target first.

    What could not be read in the database's limit of time is logged.
    """
    target, found = fingerprints.canonical(scan.target), set[bytes]()
    why = ""
    try:
        for marked in database.false_positives(lambda text: fingerprints.canonical(unescaped(text)) == target):
            event = event_of_finding(Finding(*marked, "", 0.0, 0, 0, 0, ()), scan, "")
            key = fingerprints.of_event(event)
            if key:
                found.add(key)
            if len(found) >= MARKED_MAX:
                why = f"there are more than {MARKED_MAX:,}"
                break
    except sqlite3.Error as error:
        why = "that took too long" if str(error) == "interrupted" else str(error)
    if why:
        log.warning(
            "webhooks: only %d of the findings marked as false positive in SpiderFoot were read, others are sent: %s",
            *(len(found), why),
            extra={"scanId": scan.id},
        )
    return frozenset(found)
