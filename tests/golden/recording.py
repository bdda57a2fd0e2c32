"""The recorded events: a scan of the demo's company by the real scanner comes in, scan.json goes out.

Some 630 events become a few: one finding of each kind in FINDINGS, a correlation of each rule in CORRELATIONS, start,
progress and end. Whatever another run would give another value is replaced: ids, times, hashes, and what depends on how
fast the scanner was. So a recording differs from the last one only if the scanner or sfwebhooks does.

The company has neither a CVE nor a scan that fails: EXAMPLES names the events of the catalogue that fill these gaps.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from sfwebhooks.catalogue import type_named
from sfwebhooks.demo import scanner as host
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.events import Scan, WebhookEvent, clean_text, id_of, timestamp
from sfwebhooks.examples import example
from sfwebhooks.outbox.file import FILE
from sfwebhooks.redaction import for_everybody
from sfwebhooks.scan.lifecycle import TOP_DATA_MAX
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line
from tests.benchmarks.scanning import a_scanner
from tests.builders import NOW, SERIES
from tests.golden.showing import indented

Json = dict[str, Any]

FOLDER = Path(__file__).parent
SCAN = FOLDER / "scan.json"
TARGET = "acme.test"
SCAN_SECONDS = 300
SETTINGS = """
[webhooks]
enabled = true
events = *
drain_timeout = 1s
progress_interval = 2s
[webhooks.team]
url = http://127.0.0.1:9/
secret = {secret}
"""
#: host types of the findings that are kept, the worst first; of several the first one in the alphabet
FINDINGS = (
    "DEFACED_INTERNET_NAME",
    "MALICIOUS_INTERNET_NAME",
    "PASSWORD_COMPROMISED",
    "VULNERABILITY_DISCLOSURE",
    "INTERESTING_FILE",
    "EMAILADDR",
    "TARGET_WEB_CONTENT",
)
#: rules whose correlations are kept
CORRELATIONS = ("multiple_malicious", "outlier_webserver")
#: events of the catalogue of which the scan of the company has none
EXAMPLES = (
    *("finding.critical", "module_error", "scan_failed", "surface_changed", "system_alert", "resource_warning"),
    *("scan_missed", "scan_overdue", "scan_thin", "modules_degraded"),
)
#: what the scan is said to be, whatever its id and its speed
SCAN_ID = "5C4A0001"
#: event -> seconds after the scan's start; FOUND_AFTER for all findings
SECONDS = {
    "scan_started": 0.0,
    "scan_progress": 6.0,
    **dict.fromkeys(("correlation_found", "correlation_completed", "scan_completed"), 10.0),
}
FOUND_AFTER = 2.0


def record() -> Json:
    """Scan, and return the scan and its events.

    Raises:
        HostError: there is no scanner.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, FictionalWeb() as site:
        folder = Path(name)
        home = host.prepare(folder / "home", site.port)
        settings = home.data / "webhooks.ini"
        settings.touch(0o600)
        settings.write_text(SETTINGS.format(secret="s" * 32), encoding="utf-8")
        os.utime(settings, (0, 0))  # a file that was just written is read twice, with a pause
        subprocess.run(
            host.scan_command(TARGET),
            env={**home.environment, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=a_scanner(folder / "scanner", with_us=True),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SCAN_SECONDS,
            check=True,
        )
        with closing(sqlite3.connect(home.data / FILE)) as connection:
            connection.row_factory = sqlite3.Row
            scan = dict(connection.execute("SELECT id, name, target, target_type, version FROM scan").fetchone())
            rows = connection.execute("SELECT type, severity, special, data FROM event ORDER BY number").fetchall()
    found = [{**dict(row), "data": json.loads(row["data"])} for row in rows]
    kept = [_settled(event, found) for event in chosen(found)]
    return {"scan": {**scan, "id": SCAN_ID}, "events": kept}


def write(recorded: Json) -> None:
    """Write scan.json."""
    SCAN.write_text(indented(recorded) + "\n", encoding="utf-8")


def chosen(found: list[Json]) -> list[Json]:
    """Return the events that are kept, in their order."""

    def one_of(key: str, value: str) -> list[Json]:
        """Return the event with this value, of several the first one in the alphabet of what was found."""
        meant = [event for event in found if {**event["data"], "type": event["type"]}.get(key) == value]
        return sorted(meant, key=lambda event: str(event["data"].get("data", event["data"].get("title"))))[:1]

    return [
        *one_of("type", "scan_started"),
        *(event for kind in FINDINGS for event in one_of("event_type", kind)),
        *one_of("type", "scan_progress"),
        *(event for rule in CORRELATIONS for event in one_of("rule_id", rule)),
        *one_of("type", "correlation_completed"),
        *one_of("type", "scan_completed"),
    ]


def _settled(event: Json, found: list[Json]) -> Json:
    """Return an event in which nothing depends on the moment or the speed of its scan."""
    data = _without_chance({**event["data"], "scan_id": SCAN_ID})
    at = NOW + SECONDS.get(event["type"], FOUND_AFTER)
    if event["type"] == "scan_progress":
        data |= _progress(data, next(one["data"] for one in found if one["type"] == "scan_completed"))
    if event["type"] == "scan_completed":
        data |= {"ended": timestamp(at), "duration": int(SECONDS["scan_completed"])}
        data |= {"top_findings": _top(data["top_findings"], found), "receipts": _receipts(data["receipts"], found)}
    data |= {key: timestamp(when) for key, when in (("started", NOW), ("generated", at)) if key in data}
    special = {"special": event["special"]} if event["special"] else {}
    return {"type": event["type"], "severity": Severity(event["severity"]).label, **special, "at": at, "data": data}


def _progress(data: Json, end: Json) -> Json:
    """Return what is said by a progress at the moment when all is found and the rules have not run yet."""
    elapsed = SECONDS["scan_progress"]
    counts = {key: end[key] for key in data if key.startswith("events_by") or key.endswith(("_events", "_found"))}
    per_minute = round(end["events_found"] * 60 / elapsed)
    return {"status": "RUNNING", "number": 1, "elapsed": int(elapsed), "events_per_minute": per_minute, **counts}


def _receipts(receipts: Json, found: list[Json]) -> Json:
    """Return the receipts of the end, as if there had been one progress."""
    more = sum(event["type"] == "scan_progress" for event in found) - 1
    return {
        name: {
            **receipt,
            "series": SERIES,
            "last_sequence": receipt["last_sequence"] - more,
            "accepted": receipt["accepted"] - more,
        }
        for name, receipt in receipts.items()
    }


def _top(findings: list[Json], found: list[Json]) -> list[Json]:
    """Return one of the worst findings of each kind: of many that are equally bad a scan reports the first ones."""
    kinds = {finding["event_type"]: finding for finding in findings}
    worst = []
    for kind, finding in kinds.items():
        text = min(event["data"]["data"] for event in found if event["data"].get("event_type") == kind)
        data = in_line(clean_text(for_everybody(kind, text)), TOP_DATA_MAX)
        worst.append(_without_chance({**finding, "data": data, "module": _module_of(kind, text, found)}))
    return worst


def _module_of(kind: str, text: str, found: list[Json]) -> str:
    data = (event["data"] for event in found)
    return next(str(one["module"]) for one in data if one.get("event_type") == kind and one["data"] == text)


def _without_chance(value: Any) -> Any:
    """Return a value whose hashes, which the scanner makes with a random number, are of what they stand for, and whose
    lists of findings are sorted."""
    if isinstance(value, list):
        items = [_without_chance(item) for item in value]
        return sorted(items, key=_rank) if all(isinstance(one, dict) and "hash" in one for one in items) else items
    if not isinstance(value, dict):
        return value
    found = {key: _without_chance(item) for key, item in value.items() if key != "sources"}
    found |= {"sources": [_without_chance(item) for item in value["sources"]]} if "sources" in value else {}
    if "hash" in found:
        found["hash"] = hashlib.sha256(f"{found['event_type']} {found['data']}".encode()).hexdigest()
    return {key: found[key] for key in value}


def _rank(finding: Json) -> tuple[int, str, str]:
    severity = Severity.parse(finding["severity"]) if "severity" in finding else Severity.INFO
    return -severity, finding["event_type"], finding["data"]


def events() -> list[WebhookEvent]:
    """Return the recorded events, and the examples of the catalogue."""
    recorded = json.loads(SCAN.read_text(encoding="utf-8"))
    scan = Scan(**recorded["scan"], database="/var/lib/spiderfoot/spiderfoot.db")
    found = [
        WebhookEvent(
            id_of(f"golden/{number}"),
            one["type"],
            Severity.parse(one["severity"]),
            one["at"],
            one["data"],
            scan,
            one.get("special"),
        )
        for number, one in enumerate(recorded["events"], 1)
    ]
    return [*found, *(_example(name, scan) for name in EXAMPLES)]


def _example(name: str, scan: Scan) -> WebhookEvent:
    """Return the example of an event type, in the recorded scan if it is of a scan."""
    entry = type_named(name)
    assert entry
    made = example(entry, name).event
    data, own = dict(made.data), scan if made.scan else None
    data |= {key: text for key, text in scan.about.items() if key in data}
    return WebhookEvent(made.id, made.type, made.severity, made.at, data, own, made.special)
