"""Builders: each noun of the package with defaults, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.enrichment.enrichment import Enrichment
from sfwebhooks.events import Batch, Delivery, Scan, WebhookEvent, delivery_id, finding_id
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.correlations import Correlation
from sfwebhooks.scan.findings import Finding, Source
from sfwebhooks.severity import Severity
from tests.host_databases import Place, make_tables, writing

#: 2026-11-21T10:00:00Z in epoch seconds: "now" in tests that do not care
NOW = 1795255200.0
#: of the numbers of a delivery that is in no outbox
SERIES = "series-one"
#: seconds after which a test gives up waiting; never reached when all is well
PATIENCE = 20.0
#: the one that a finding is about
CVE = "CVE-2026-0001"
URL = "https://hooks.example.test/services/T000/B000/url-path-token"


def an_endpoint(name: str = "team", url: str = URL, secrets: Sequence[str] = (), **values: Any) -> Endpoint:
    """Return an endpoint; `secrets` are plain texts, other values are fields of Endpoint. One of a format
    for whole scans is sent whole scans, as `config` makes it."""
    if FORMATS[values.get("format", "generic")].bundle:
        values = {"digest": Digesting(Rhythm.BUNDLE), "concurrency": 1, **values}
    return Endpoint(name=name, url=Secret(url), secrets=tuple(Secret(text) for text in secrets), **values)


def a_scan(id: str = "5C4A0001", **values: Any) -> Scan:
    """Return a scan of a fictional domain."""
    defaults = {
        "name": "Weekly Security Scan",
        "target": "acme.example",
        "target_type": "INTERNET_NAME",
        "version": "4.4.0",
        "database": "/nonexistent/spiderfoot.db",
    }
    return Scan(id=id, **{**defaults, **values})


def a_finding(hash: str = "f00d", **values: Any) -> Finding:
    """Return a finding of high severity with one source."""
    defaults: dict[str, Any] = {
        "type": "VULNERABILITY_CVE_HIGH",
        "data": f"{CVE} on mail.acme.example",
        "module": "sfp_example",
        "generated": NOW,
        "confidence": 100,
        "visibility": 100,
        "risk": 0,
        "sources": (Source("ROOT", "acme.example", "", "ROOT"),),
    }
    return Finding(hash=hash, **{**defaults, **values})


def an_enrichment(
    folder: Path, cve: str = CVE, due: str | None = None, epss: tuple[float, float] | None = None
) -> Enrichment:
    """Return what a catalogue (`due` is not None) and scores say that only know one CVE; the files are in a folder."""
    kev_file, epss_file = folder / "kev.csv", folder / "epss.csv"
    kev_file.write_text(f"cveID,dueDate\n{cve},{due}\n")
    epss_file.write_text(f"cve,epss,percentile\n{cve},{epss[0]},{epss[1]}\n" if epss else "")
    return Enrichment(kev_file if due is not None else None, epss_file if epss else None)


def a_correlation(**values: Any) -> Correlation:
    """Return a correlation of a rule about open buckets."""
    defaults: dict[str, Any] = {
        "host_id": "c1",
        "title": "Cloud storage bucket found open: acme",
        "rule_id": "cloud_bucket_open",
        "rule_name": "Cloud storage bucket open to the Internet",
        "rule_risk": "HIGH",
        "description": "A cloud bucket can be listed by anybody.",
        "event_count": 1,
    }
    return Correlation(**{**defaults, **values})


def an_event(number: int = 1, **values: Any) -> WebhookEvent:
    """Return an event of high severity; another `number` gives another id."""
    scan = values.pop("scan", a_scan())
    defaults: dict[str, Any] = {
        "id": finding_id(scan.id if scan else "", f"hash-{number}"),
        "type": "high_risk_event",
        "severity": Severity.HIGH,
        "at": NOW,
        "data": {"event_type": "VULNERABILITY_CVE_HIGH", "data": f"CVE-2026-{number:04d}"},
    }
    return WebhookEvent(scan=scan, **{**defaults, **values})


def a_delivery(event: WebhookEvent | None = None, endpoint: str = "team", **values: Any) -> Delivery:
    """Return the delivery of an event to the endpoint of that name, under the event's own name."""
    event = event or an_event()
    defaults = {"id": delivery_id(event.id, endpoint), "name": event.type, "series": SERIES, "sequence": 1}
    return Delivery(event=event, endpoint=endpoint, **{**defaults, **values})


def a_batch(event: WebhookEvent | None = None, **values: Any) -> Batch:
    return Batch((a_delivery(event, **values),))


def a_host_database(path: Place, scan: Scan, status: str = "RUNNING") -> None:
    """Make a database as the host has it, with one scan and nothing found."""
    make_tables(path)
    row = (scan.id, scan.name, scan.target, NOW * 1000, NOW * 1000, 0, status)
    with writing(path) as host:
        host.execute("INSERT INTO tbl_scan_instance VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def add_past_scan(path: Place, id: str, started: float, seconds: float = 600, findings: int = 0, **values: Any) -> None:
    """Add a scan to a host's database: its `name`, `target`, `status`, `modules` and those that `failed`.

    Args:
        seconds: its duration; 0: it has not ended.
    """
    row = {"name": "Acme perimeter", "target": "acme.test", "status": "FINISHED" if seconds else "RUNNING", **values}
    modules = row.get("modules", "sfp_dnsresolve,sfp_shodan,sfp_spider")
    ended = (started + seconds) * 1000 if seconds else 0
    with writing(path) as connection:
        connection.execute(
            "INSERT INTO tbl_scan_instance VALUES (?, ?, ?, ?, ?, ?, ?)",
            (id, row["name"], row["target"], started * 1000, started * 1000, ended, row["status"]),
        )
        connection.executemany(
            "INSERT INTO tbl_scan_config VALUES (?, 'GLOBAL', ?, ?)",
            [(id, "_debug", "0"), (id, "_modulesenabled", f"{modules},sfp__stor_db"), (id, "_dnsserver", "")],
        )
        connection.executemany(
            "INSERT INTO tbl_scan_results (scan_instance_id, hash, type, data, generated, module)"
            " VALUES (?, ?, ?, ?, ?, 'sfp_spider')",
            [
                (id, "ROOT", "ROOT", "acme.test", started),
                *((id, f"{id}{n}", "INTERNET_NAME", f"{n}.test", started) for n in range(findings)),
            ],
        )
        connection.executemany(
            "INSERT INTO tbl_scan_log VALUES (?, ?, ?, 'ERROR', 'it failed')",
            [(id, started * 1000, module) for module in row.get("failed", ())],
        )


def claim_one(outbox: Outbox, limits: Limits, busy: Collection[str] = (), now: float = NOW) -> Batch | None:
    """Return the next batch to send, as a thread claims it that takes one at a time."""
    if limits.size > 1:
        return outbox.queue.claim_batch(limits, busy, now)
    return next(iter(outbox.queue.claim(limits.endpoint, busy, now)), None)
