"""The catalogue lists exactly the keys that `scan/run` and `scan/findings` build, in both directions."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.catalogue import EVENT_TYPES, WATCH_TYPES, EventType, Origin, type_named
from sfwebhooks.catalogue.fields import Field
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery import alerts
from sfwebhooks.delivery.proving import prove
from sfwebhooks.endpoints import Secret, names_of, subscribed_name
from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT
from sfwebhooks.events import Scan, WebhookEvent, delivery_id
from sfwebhooks.fingerprints import of_finding
from sfwebhooks.formats.content import event_data
from sfwebhooks.health import Condition, Health
from sfwebhooks.network.tls import Expiry
from sfwebhooks.outbox.accepted import AcceptedScan
from sfwebhooks.outbox.claim import END_SECONDS, Limits
from sfwebhooks.outbox.finding_counts import FindingCounts
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.sightings import Surface
from sfwebhooks.retry import Settlement, State
from sfwebhooks.scan import correlations, progress
from sfwebhooks.scan import lifecycle as scan_life
from sfwebhooks.scan.findings import DATA_MAX, Finding, Source, event_of_finding
from sfwebhooks.scan.from_host import ScanResult, result_of
from sfwebhooks.scan.host_address import DATABASE
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_log import ModuleError, unset_event
from sfwebhooks.scan.host_log import event_of_error as error_event
from sfwebhooks.scan.progress import Progress
from sfwebhooks.scan.surface import surface_event
from sfwebhooks.scan.watch import Watch
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity, severity_of
from sfwebhooks.signing_keys import new_whsk
from tests.builders import (
    CVE,
    NOW,
    a_correlation,
    a_finding,
    a_host_database,
    a_scan,
    add_past_scan,
    an_endpoint,
    an_enrichment,
    an_event,
    claim_one,
)
from tests.hosted import add_scan
from tests.rows import in_one

ONE_STORE = "fields of events are the same wherever they are stored"

GUIDES = """scan_started scan_completed scan_failed scan_progress high_risk_event medium_risk_event vulnerability_found
malware_detected correlation_completed cti_report_generated workspace_created multi_scan_completed system_alert
resource_warning module_error scan.started scan.completed scan.failed finding.critical finding.high
remediation.started remediation.completed hephaestus.phase_completed"""
OURS = ("scan_aborted", "low_risk_event", "info_event", "correlation_found")
FINDINGS = [entry for entry in EVENT_TYPES if any(field.name == "generated" for field in entry.fields)]
BY_OTHERS = [entry for entry in EVENT_TYPES if entry.by_others]
ENDS = ("scan_completed", "scan_failed", "scan_aborted")
LIFE = ("scan_started", "scan_progress", *ENDS)
JSON_TYPES: dict[str, tuple[type, ...]] = {
    **{"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,)},
    "object": (dict,),
}
#: one for each severity that a module's own risk can raise a finding to
RISKS = (0, 10, 40, 70, 90)


def the(name: str) -> EventType:
    entry = type_named(name)
    assert entry is not None
    return entry


def seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def host_database(path: Path, data: dict[str, Any]) -> str:
    """Write a scanner's database whose only scan is as an example's `data` says; return its path."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE tbl_scan_instance (guid, name, seed_target, created, started, ended, status)")
        connection.execute("CREATE TABLE tbl_scan_config (scan_instance_id, component, opt, val)")
        connection.execute("CREATE TABLE tbl_scan_log (scan_instance_id, generated, component, type, message)")
        began, ended = (1000 * seconds(data[key]) if key in data else 0 for key in ("started", "ended"))
        row = (data["scan_id"], "Weekly", data["target"], began, began, ended, data["status"])
        connection.execute("INSERT INTO tbl_scan_instance VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        modules = ",".join([*data["modules_used"], "sfp__stor_db"])
        connection.execute(
            "INSERT INTO tbl_scan_config VALUES (?, 'GLOBAL', '_modulesenabled', ?)", (data["scan_id"], modules)
        )
        if "error" in data:
            message = f"Scan [{data['scan_id']}] failed: {data['error']}"
            connection.execute("INSERT INTO tbl_scan_log VALUES (?, 1, 's', 'STATUS', ?)", (data["scan_id"], message))
        for module in data.get("modules_failed", ()):
            message = f"Exception (KeyError) in module {module}.Traceback"
            connection.execute("INSERT INTO tbl_scan_log VALUES (?, 2, 'p', 'ERROR', ?)", (data["scan_id"], message))
        _found(connection, data)
    return str(path)


def _found(connection: sqlite3.Connection, data: dict[str, Any]) -> None:
    """Write what was found: the example's top findings, the rest as plain as can be."""
    connection.execute("CREATE TABLE tbl_scan_results (scan_instance_id, hash, type, data, module, generated, risk)")
    connection.execute("CREATE TABLE tbl_scan_correlation_results (scan_instance_id, rule_risk, rule_id, title)")
    top = data.get("top_findings", ())
    rows = [(one["hash"], one["event_type"], one["data"], one["module"], -at) for at, one in enumerate(top)]
    left = Counter({"ROOT": 1, **data.get("events_by_type", {})}) - Counter(row[1] for row in rows)
    rows += [(f"hash-{at}", host_type, "d", "m", 0) for at, host_type in enumerate(left.elements())]
    insert = "INSERT INTO tbl_scan_results VALUES (?, ?, ?, ?, ?, ?, 0)"
    connection.executemany(insert, [(data["scan_id"], *row) for row in rows])
    risks = Counter(data.get("correlations_by_risk", {})).elements()
    connection.executemany(
        "INSERT INTO tbl_scan_correlation_results VALUES (?, ?, 'rule', ?)",
        [(data["scan_id"], risk, str(number)) for number, risk in enumerate(risks)],
    )


def scan_of(data: dict[str, Any], database: str = "/nonexistent/spiderfoot.db") -> Scan:
    return Scan(data["scan_id"], "Weekly", data["target"], data["target_type"], "4.0.0", database)


def events_sent(name: str, folder: Path) -> list[WebhookEvent]:
    """Return the event as the code makes it from the example's scan: in the plain case first, then in odd ones.

    The plain case is as an endpoint is sent it that wants all but plain facts.
    """
    data = the(name).example
    whole = scan_of(data, host_database(folder / "whole.db", data))
    if name == "scan_started":
        return [linked(scan_life.started(whole)), scan_life.started(scan_of(data))]
    if name == "scan_progress":
        return [linked(a_progress(whole, data)), a_progress(whole, data)]
    database = HostDatabase(whole.database)
    events = [
        scan_life.ended(whole, known(whole, database)),
        scan_life.ended(whole, known(whole, database), late="process_died"),
    ]
    if name == "scan_failed":  # of an unknown reason; of a scan that the host has forgotten
        unknown = host_database(folder / "unknown.db", {key: data[key] for key in data if key != "error"})
        events.append(scan_life.ended(whole, known(whole, HostDatabase(unknown))))
        events.append(forgotten(whole, database, late="process_died"))
    if name == "scan_aborted":
        events.append(forgotten(whole, database))
    outbox = Outbox(folder / "webhooks.db", accepting=True)
    return [linked(receipted(outbox, events[0], data["receipt"])), *events[1:]]


def known(scan: Scan, database: HostDatabase) -> ScanResult:
    return result_of(scan, database, AcceptedScan())


def forgotten(scan: Scan, database: HostDatabase, late: str = "") -> WebhookEvent:
    """Return the end of a scan that the host has forgotten."""
    other = replace(scan, id="FORGOTTEN")
    return scan_life.ended(other, known(other, database), late=late)


def a_progress(scan: Scan, data: dict[str, Any]) -> WebhookEvent:
    """Return the first event of a scan's progress as an example says it."""
    began = seconds(data["started"])
    event = Progress(scan, 1.0, began, FindingCounts()).look(began + data["elapsed"])
    assert event
    return event


def receipted(outbox: Outbox, event: WebhookEvent, receipt: dict[str, Any]) -> WebhookEvent:
    """Return the end as it comes to an endpoint to which happened what its receipt says."""
    assert event.scan
    before = [an_event(number, scan=event.scan) for number in range(receipt["accepted"] - 2)]
    begin = an_event(100, type="scan_started", severity=Severity.INFO, scan=event.scan)
    outbox.scans.begin_scan(event.scan, begin, [Wanted("team", begin.type)], NOW)
    outbox.accept([(one, [Wanted("team", one.type)]) for one in before], NOW)
    with closing(sqlite3.connect(outbox.path)) as sql, sql:
        rows = [(event.scan.id, "team", *pair) for pair in receipt["withheld_by_reason"].items()]
        sql.executemany("INSERT INTO withheld VALUES (?, ?, ?, ?)", rows)
    assert outbox.scans.end_scan(event, [Wanted("team", event.type)], NOW)
    got, busy = None, [""]
    while busy[-1] != delivery_id(event.id, "team"):
        got = claim_one(outbox, Limits("team"), busy, NOW + END_SECONDS)
        assert got
        busy.append(got.id)
    outbox.close()
    assert got
    return got.deliveries[0].event


def linked(event: WebhookEvent) -> WebhookEvent:
    """Return an event with its data as it is sent by an endpoint that has the address of the web interface."""
    return replace(event, data=event_data(event, an_endpoint(ui_url="https://spiderfoot.acme.test")))


@cache
def all_findings() -> tuple[WebhookEvent, ...]:
    """Return an event of each of the scanner's types, at each risk, plain and with all that can be beside it: a CVE
    that only has a score, and one that is known to be exploited."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        scores = an_enrichment(Path(folder), epss=(0.5, 0.75))
        all_lists = an_enrichment(Path(folder), due="2026-12-01", epss=(0.5, 0.75))
        for host_type in SEVERITY_OF_TYPE.keys() - {"ROOT"}:
            for risk in RISKS:
                plain = a_finding(type=host_type, risk=risk)
                rich = plain._replace(data=f"{CVE} ".ljust(DATA_MAX + 1, "x"), data_source="a feed", recovered=True)
                pairs = [(plain, NO_ENRICHMENT), (rich, scores), (rich, all_lists)]
                made += [event_of_finding(finding, a_scan(), "Words", known) for finding, known in pairs]
    return tuple(made)


def system_alerts() -> list[WebhookEvent]:
    """Return an alert of each kind."""
    endpoint = an_endpoint()
    healths = [Health(one, "" if one is Condition.HEALTHY else "http_503", NOW) for one in Condition]
    made = [alerts.health_alert([(endpoint, health)] * number, NOW) for health in healths for number in (1, 2)]
    made += [alerts.died_alert("team", "expired", number, NOW) for number in (1, 7)]
    expiries = [Expiry("client_cert", Path("client.pem"), "", NOW + days * 86400, days * 86400) for days in (-1, 20)]
    made += [alerts.certificate_alert(endpoint, expiry, NOW) for expiry in expiries]
    return made


def warnings_of_resources() -> list[WebhookEvent]:
    """Return a warning of each kind."""
    marks = [
        alerts.outbox_warning(mark, 10**8, mark, "x", scan, NOW) for mark in (0.7, 1.0) for scan in (None, a_scan())
    ]
    ages = [alerts.age_warning(an_endpoint(), NOW - 7200, 3600.0, scan, NOW) for scan in (None, a_scan())]
    return [*marks, *ages, alerts.trouble_warning(a_scan(), "it is locked", 3.0, 2, NOW)]


def module_errors() -> list[WebhookEvent]:
    """Return an error that an exception caused, one that a module logged by itself, and modules that lack settings."""
    found = [ModuleError("sfp_x", exception, "text", NOW) for exception in ("KeyError", "")]
    return [*(error_event(error, a_scan(), (), ()) for error in found), unset_event(["sfp_x", "sfp_y"], a_scan())]


@cache
def watched() -> tuple[WebhookEvent, ...]:
    """Return the events of the watch over a target that is scanned each day, each trouble with its end."""
    begun, day = NOW - NOW % 86400 + 7200, 86400
    with tempfile.TemporaryDirectory() as folder, closing(Outbox(Path(folder) / "webhooks.db")) as outbox:
        database = Path(folder) / DATABASE
        a_host_database(database, a_scan())
        named = {"team": {"url": "https://a.test", "events": list(WATCH_TYPES)}}
        daily = load_mapping({**named, "webhooks-expect": {"daily": ["0 2 * * *", "acme.test", "never.test"]}})
        watch, made = Watch(daily, outbox, timezone.utc), []

        def scan(number: int, **values: Any) -> None:
            add_past_scan(database, f"S{number}", begun + number * day, **{"findings": 40, **values})
            made.extend(watch.look(begun + number * day + 4000))

        watch.look(begun - 3600)
        for number in range(4):
            scan(number)
        scan(4, findings=5, failed=["sfp_shodan"])
        scan(5)
        made += watch.look(begun + 7 * day)
        scan(7)
        scan(8, seconds=0)
        made += watch.look(begun + 9 * day - 4000)  # a later one finishes first
        scan(9)
        scan(10, seconds=0)
        made += watch.look(begun + 10 * day + 9000)
        with closing(sqlite3.connect(database)) as sql, sql:
            sql.execute("DELETE FROM tbl_scan_instance WHERE guid = 'S10'")
        made += Watch(load_mapping(named), outbox, timezone.utc).look(begun + 11 * day)
    return tuple(made)


def all_correlations() -> list[WebhookEvent]:
    """Return a correlation of each risk, and what counts them."""
    found = [a_correlation(rule_risk=risk) for risk in ("HIGH", "MEDIUM", "LOW", "INFO")]
    evidence = (Source("INTERNET_NAME", "acme.example", "SpiderFoot UI", "h"),)
    events_sent = [correlations.event_of_correlation(one, evidence, a_scan(), NOW) for one in found]
    return [*events_sent, correlations.completed(a_scan(), found, NOW)]


def all_of_watch(name: str) -> Iterator[WebhookEvent]:
    """Yield the events of the watch of a type, each with and without a link."""
    for event in watched():
        if event.type == name:
            yield from (event, linked(event))


def comparisons(folder: Path) -> list[WebhookEvent]:
    """Return the comparison of the example's scan with the one before as it is, then those of two that differ in
    nothing, and of one with nothing."""
    data = the("surface_changed").example
    database, earlier, scan = folder / "surface.db", data["compared_with"]["scan_id"], scan_of(data)
    for id, side in ((earlier, "gone"), (scan.id, "new")):
        target = a_finding("target", type=data["target_type"], data=data["target"], sources=())
        source = (Source(target.type, target.data, target.module, target.hash),)
        found = [
            a_finding(one["hash"], type=one["event_type"], data=one["data"], module=one["module"], sources=source)
            for one in data[side]["items"]
        ]
        add_scan(database, replace(scan, id=id), [target, *found])
    host = HostDatabase(str(database))
    result = replace(known(scan, host), modules_failed=data["modules_failed"])
    new, gone = (
        tuple((key_of_item(one), one["event_type"]) for one in data[side]["items"]) for side in ("new", "gone")
    )
    before = seconds(data["compared_with"]["ended"])
    compared = [
        Surface(earlier, before, new, gone),
        Surface(earlier, before, unchanged_since=before),
        Surface(not_comparable="first_scan"),
    ]
    made = [surface_event(scan, result, one, host, NOW, float("inf")) for one in compared]
    return [linked(made[0]), *made[1:]]


def key_of_item(item: dict[str, Any]) -> bytes:
    return of_finding(item["event_type"], item["data"])


def goes_by(event: WebhookEvent, name: str) -> bool:
    return subscribed_name((name,), event.type, event.severity, event.special) == name


def statements(folder: Path) -> list[WebhookEvent]:
    """Return the statement about the example's scan, to endpoints without and with a link to it."""
    scan = scan_of(the("scan_proof").example)
    outbox = Outbox(folder / "webhooks.db")
    endpoint = an_endpoint(proof=Secret(new_whsk()))
    outbox.scans.begin_scan(scan, an_event(scan=scan), [Wanted("team", "high_risk_event")], NOW, "scan_completed")
    batch = claim_one(outbox, Limits("team"))
    assert batch
    settled = [Settlement(State.DELIVERED, "", NOW, True)]
    outbox.queue.settle([Result(batch, Attempt(NOW, 0.1, 200, "", ""), settled, sha256=bytes(32))])
    assert prove(outbox, [endpoint], NOW + endpoint.proof_after) == 1
    batch = claim_one(outbox, Limits("team"))
    outbox.close()
    assert batch
    event = batch.deliveries[0].event
    return [event, replace(event, data=event_data(event, replace(endpoint, ui_url="https://spiderfoot.acme.test")))]


def compare(entry: EventType, events: list[WebhookEvent]) -> None:
    """Compare the fields with events: no key unknown, none that never comes, none wrongly called always there."""
    keys = [set(event.data) for event in events]
    assert set.union(*keys) == {field.name for field in entry.fields}
    assert set.intersection(*keys) == {field.name for field in entry.fields if field.required}
    for event in events:
        conforms(dict(event.data), entry.fields)


def conforms(value: dict[str, Any], fields: tuple[Field, ...]) -> None:
    """Check that an object has only these fields, in this order and of their types, and all that are required."""
    assert list(value) == [field.name for field in fields if field.name in value]
    assert {field.name for field in fields if field.required} <= value.keys()
    for field in fields:
        if value.get(field.name, field) is None:
            assert field.nullable
        elif field.name in value:
            has_type(value[field.name], field)


def has_type(value: object, field: Field) -> None:
    is_type(value, field.type)
    if isinstance(value, list):
        for item in value:
            is_type(item, field.of)
            if field.parts:
                conforms(item, field.parts)
    elif isinstance(value, dict) and field.parts:
        conforms(value, field.parts)
    elif isinstance(value, dict):
        for item in value.values():
            is_type(item, field.of)


def is_type(value: object, json_type: str) -> None:
    assert isinstance(value, JSON_TYPES[json_type]), (value, json_type)
    assert isinstance(value, bool) == (json_type == "boolean"), (value, json_type)


@in_one("word", [*GUIDES.split(), *OURS])
def test_every_type_of_the_guides_and_of_ours_is_in_it(word: str) -> None:
    assert type_named(word) is not None


def test_no_word_means_two_types() -> None:
    words = [word for entry in EVENT_TYPES for word in {entry.name, entry.alias}]
    assert len(words) == len(set(words))


@in_one("entry", EVENT_TYPES)
def test_the_example_conforms_to_the_fields(entry: EventType) -> None:
    conforms(entry.example, entry.fields)
    assert json.loads(json.dumps(entry.example)) == entry.example


@in_one("entry", BY_OTHERS)
def test_the_example_of_an_event_of_another_tool_conforms_to_its_fields(entry: EventType) -> None:
    conforms({field.name: field.example for field in entry.by_others if field.example is not None}, entry.by_others)


@in_one("entry", EVENT_TYPES)
@pytest.mark.parametrize("table", ["fields", "by_others"])
def test_every_field_is_typed_and_explained_once(table: str, entry: EventType) -> None:
    known: tuple[Field, ...] = getattr(entry, table)
    assert len({field.name for field in known}) == len(known)
    parts = [part for field in known for part in field.parts]
    for field in (*known, *parts):
        assert field.type in JSON_TYPES
        assert field.meaning.endswith(".")
        assert not field.when.endswith(".")
        assert bool(field.of or field.parts) == (field.type in ("array", "object")), field.name


@pytest.mark.parametrize("name", LIFE)
def test_the_fields_of_a_scans_life_are_what_scans_builds(name: str, tmp_path: Path) -> None:
    events = events_sent(name, tmp_path)
    assert {event.type for event in events} == {name}
    compare(the(name), events)


@pytest.mark.parametrize("name", LIFE)
def test_the_example_of_a_scans_life_is_what_scans_builds_of_that_scan(name: str, tmp_path: Path) -> None:
    event = events_sent(name, tmp_path)[0]
    data, example = dict(event.data), the(name).example
    if "receipt" in example:
        data["receipt"] = {**data["receipt"], "series": example["receipt"]["series"]}
    assert data == example
    assert (event.severity,) == the(name).severities


@in_one("entry", FINDINGS)
def test_the_fields_of_a_finding_are_what_findings_builds(entry: EventType) -> None:
    compare(entry, [event for event in all_findings() if goes_by(event, entry.name)])


@pytest.mark.parametrize("entry", FINDINGS, ids=lambda entry: entry.name)
def test_the_example_of_a_finding_is_what_findings_builds_of_that_finding(entry: EventType, tmp_path: Path) -> None:
    data = entry.example
    sources = tuple(Source(each["event_type"], each["data"], each["module"], each["hash"]) for each in data["sources"])
    generated = seconds(data["generated"])
    finding = Finding(data["event_type"], data["data"], data["module"], data["hash"], generated, data["confidence"],
                      data["visibility"], data["risk"], sources)  # fmt: skip
    known = NO_ENRICHMENT
    if "known_exploited" in data:
        known = an_enrichment(
            tmp_path,
            data["data"].partition("\n")[0],
            data["kev_due_date"],
            (data["epss_score"], data["epss_percentile"]),
        )
    event = event_of_finding(finding, scan_of(data), data["description"], known)
    assert event.data == data
    assert goes_by(event, entry.name)


@in_one("entry", FINDINGS)
def test_a_finding_has_no_other_severities_than_the_catalogue_says(entry: EventType) -> None:
    reached = {event.severity for event in all_findings() if goes_by(event, entry.name)}
    assert reached == set(entry.severities) if entry.severities else len(reached) > 1


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("system_alert", system_alerts),
        ("resource_warning", warnings_of_resources),
        ("module_error", module_errors),
        *((name, lambda name=name: [*all_of_watch(name)]) for name in sorted(WATCH_TYPES)),
    ],
)
def test_events_about_trouble_are_as_the_catalogue_says(name: str, made: Callable[[], list[WebhookEvent]]) -> None:
    compare(the(name), made())
    assert {event.severity for event in made()} == set(the(name).severities)


@pytest.mark.parametrize("name", ["correlation_found", "correlation_completed"])
def test_the_fields_of_correlations_are_what_correlations_builds(name: str) -> None:
    compare(the(name), [event for event in all_correlations() if event.type == name])


def test_the_examples_of_correlations_are_what_correlations_builds_of_that_one() -> None:
    data = the("correlation_found").example
    keys = ("title", "rule_id", "rule_name", "rule_risk", "description", "event_count")
    found = a_correlation(**{key: data[key] for key in keys})
    evidence = [Source(one["event_type"], one["data"], one["module"], one["hash"]) for one in data["evidence"]]
    assert correlations.event_of_correlation(found, evidence, scan_of(data), NOW).data == data
    assert correlations.completed(scan_of(data), [found], NOW).data == the("correlation_completed").example


def test_the_fields_of_a_comparison_are_what_surface_builds(tmp_path: Path) -> None:
    compare(the("surface_changed"), comparisons(tmp_path))


def test_the_example_of_a_comparison_is_what_surface_builds_of_those_scans(tmp_path: Path) -> None:
    event = comparisons(tmp_path)[0]
    assert (event.data, event.severity) == (the("surface_changed").example, Severity.HIGH)


def test_the_fields_of_a_statement_are_what_proving_builds(tmp_path: Path) -> None:
    compare(the("scan_proof"), statements(tmp_path))


def test_what_the_catalogue_has_is_what_the_code_can_send(tmp_path: Path) -> None:
    reachable = {"scan_started", progress.NAME, "scan_failed", *scan_life.END_OF_STATUS.values()}
    alerts_and_more = (system_alerts(), warnings_of_resources(), module_errors(), all_correlations(), watched())
    for events in (*alerts_and_more, comparisons(tmp_path), statements(tmp_path)):
        reachable |= {event.type for event in events}
    for event in all_findings():
        reachable |= {the(word).name for word in names_of(event.type, event.severity, event.special)}
    reachable |= {entry.name for entry in EVENT_TYPES if entry.sender is Origin.EMIT}  # see test_emission.py
    assert {entry.name for entry in EVENT_TYPES} == reachable


@pytest.mark.parametrize("name", ENDS)
def test_the_severity_of_an_end_is_the_one_that_scans_gives_it(name: str) -> None:
    assert the(name).severities == (scan_life.SEVERITY_OF_END[name],)


def test_what_only_scans_or_we_ourselves_know_is_not_for_other_tools_to_emit() -> None:
    refused = {entry.name for entry in EVENT_TYPES} - {entry.name for entry in BY_OTHERS}
    ours = {"correlation_found", "correlation_completed", "system_alert", "resource_warning", "module_error"}
    assert refused == {*ours, *WATCH_TYPES, "surface_changed", "scan_proof"}


def test_the_counts_of_an_example_are_those_of_its_types() -> None:
    data = the("scan_completed").example
    counts = FindingCounts((name, severity_of(name), number) for name, number in data["events_by_type"].items())
    assert counts.data.items() <= data.items()


def test_scan_completed_has_all_that_the_guide_promises() -> None:
    promised = "scan_id target target_type status events_found high_risk_events duration modules_used"
    assert set(promised.split()) <= the("scan_completed").example.keys()


def test_the_examples_use_the_scanners_own_words_for_its_types() -> None:
    spiderfoot = pytest.importorskip("spiderfoot")
    words = {row[0]: row[1] for row in spiderfoot.SpiderFootDb.eventDetails}
    for entry in FINDINGS:
        assert entry.example["description"] == words[entry.example["event_type"]]
        assert {source["event_type"] for source in entry.example["sources"]} <= words.keys()
    for name in ENDS:
        assert the(name).example["events_by_type"].keys() <= words.keys()


def test_the_catalogue_pulls_in_nothing_but_severities() -> None:
    code = "import sys, sfwebhooks.catalogue; print(*sorted(m for m in sys.modules if not m.startswith('_')))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    ours = {name for name in loaded if name.startswith("sfwebhooks.") and ".catalogue" not in name}
    assert ours == {"sfwebhooks.severity"}
    assert not {"json", "sqlite3", "requests", "rich"} & set(loaded)
