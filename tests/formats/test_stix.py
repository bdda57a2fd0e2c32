from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import stix2
import stix2validator

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.formats.observables import OBSERVED, Observable
from sfwebhooks.formats.stix import read
from sfwebhooks.formats.stix_objects import observable_objects, pattern_of
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.scan.findings import Source
from tests.builders import a_batch, a_scan
from tests.formats.cases import each_text, mistakes_of
from tests.formats.conftest import Served, Start
from tests.formats.scans import a_whole_scan, batch_of, finding_of, message_of, sent
from tests.receivers.intelligence import Taxii
from tests.receivers.vendor import Json

#: what the specification advises and we do not do: random ids (a repeat would have others), and the port of the scanner
NOT_FOLLOWED = ["uuid-check", "network-traffic-ports"]


@pytest.fixture
def taxii(served: Served) -> Taxii:
    return served(Taxii())


def faults_of(text: str) -> list[str]:
    """Return what the validator of OASIS finds wrong."""
    options = stix2validator.ValidationOptions(version="2.1", strict=True, disabled=NOT_FOLLOWED)
    return [str(error) for error in stix2validator.validate_string(text, options).errors]


def objects(batch: Any, **keys: str) -> dict[str, list[Json]]:
    """Return the objects of a bundle by their types."""
    found: dict[str, list[Json]] = {}
    for one in message_of("stix", batch, **keys)["objects"]:
        found.setdefault(one["type"], []).append(one)
    return found


def test_a_scan_is_valid_for_the_validator_and_for_the_library() -> None:
    text = sent("stix", batch_of(a_whole_scan())).body.decode()
    assert faults_of(text) == []
    parsed = stix2.parse(text, version="2.1")
    assert parsed.type == "bundle" and "spec_version" not in json.loads(text)
    ids = [one["id"] for one in json.loads(text)["objects"]]
    assert len(ids) == len({*ids}) == len(parsed.objects)
    (report,) = objects(batch_of(a_whole_scan()))["report"]
    assert report["object_refs"] == ids[:-1] and ids[-1] == report["id"]


@pytest.mark.parametrize("events", [a_whole_scan(()), a_whole_scan(())[:1], a_whole_scan()[5:7]])
def test_a_scan_without_findings_and_a_part_of_one_are_valid(events: Any) -> None:
    assert faults_of(sent("stix", batch_of(events)).body.decode()) == []


def test_the_ids_of_observables_are_those_of_the_library() -> None:
    seen = [one for one in message_of("stix", batch_of(a_whole_scan()))["objects"] if "created" not in one]
    assert {one["type"] for one in seen} >= {
        "ipv4-addr", "ipv6-addr", "domain-name", "url", "email-addr", "autonomous-system", "user-account", "software",
        "file", "network-traffic",
    }  # fmt: skip
    for one in seen:
        assert stix2.parse({key: one[key] for key in one if key != "id"}, version="2.1").id == one["id"]


def test_a_malicious_address_is_an_indicator_based_on_what_was_observed() -> None:
    found = objects(batch_of(a_whole_scan([("MALICIOUS_IPADDR", "AbuseIPDB [198.51.100.7]")])))
    (indicator,), (relation,), (seen,) = found["indicator"], found["relationship"], found["observed-data"]
    assert indicator["pattern"] == "[ipv4-addr:value = '198.51.100.7']"
    assert (relation["relationship_type"], relation["source_ref"], relation["target_ref"]) == (
        "based-on",
        indicator["id"],
        seen["id"],
    )
    assert seen["object_refs"] == [found["ipv4-addr"][0]["id"]]
    assert [seen[key] for key in ("first_observed", "last_observed", "created")] == ["2026-11-21T10:00:00.000Z"] * 3


def test_a_cve_is_a_vulnerability_that_was_sighted_at_a_place() -> None:
    events = [
        finding_of("VULNERABILITY_CVE_HIGH", "CVE-2021-44228", sources=(Source("IP_ADDRESS", "192.0.2.7", "", "x"),))
    ]
    found = objects(batch_of([one.delivery.event for one in events]))
    (vulnerability,), (sighting,) = found["vulnerability"], found["sighting"]
    assert vulnerability["external_references"] == [{"source_name": "cve", "external_id": "CVE-2021-44228"}]
    assert sighting["sighting_of_ref"] == vulnerability["id"]
    assert sighting["observed_data_refs"] == [found["observed-data"][0]["id"]]
    assert found["ipv4-addr"][0]["value"] == "192.0.2.7"


def test_what_has_no_observable_is_a_note_about_the_target_unless_it_is_informational() -> None:
    found = objects(batch_of(a_whole_scan([("VULNERABILITY_GENERAL", "no limit"), ("WEBSERVER_BANNER", "nginx")])))
    assert [one["abstract"].partition(":")[0] for one in found["note"]][:1] == ["VULNERABILITY_GENERAL"]
    assert {ref for one in found["note"] for ref in one["object_refs"]} == {found["domain-name"][0]["id"]}
    assert "1 informational finding without an object" in found["report"][0]["description"]


@pytest.mark.parametrize(("colour", "id"), [("clear", "613f2e26"), ("amber", "f88d31f6"), ("red", "5e57c739")])
def test_all_but_observables_are_marked(colour: str, id: str) -> None:
    for type, ones in objects(batch_of(a_whole_scan()), tlp=colour).items():
        marks = [one["object_marking_refs"][0] for one in ones if "created" in one and type != "identity"]
        assert all(mark.startswith(f"marking-definition--{id}") for mark in marks)


@pytest.mark.parametrize("kind", sorted({kind for kinds in OBSERVED.values() for kind in kinds}))
def test_every_kind_of_observable_is_known_or_left_to_notes(kind: str) -> None:
    values = {"as": "64496", "tcp": "192.0.2.7", "udp": "192.0.2.7"}
    for one in observable_objects(Observable(kind, values.get(kind, "a'\\b"), 53)):
        assert one["id"].startswith(f"{one['type']}--")


def test_a_pattern_is_escaped() -> None:
    assert pattern_of(Observable("url", "https://a.example/'\\")) == r"[url:value = 'https://a.example/\'\\']"
    assert pattern_of(Observable("ipv4", "203.0.113.0/24")) == "[ipv4-addr:value ISSUBSET '203.0.113.0/24']"


@each_text
def test_hostile_texts_are_valid(text: str) -> None:
    finding = finding_of("MALICIOUS_IPADDR", f"{text} [198.51.100.7]").delivery.event
    clean = text.encode("utf-8", "replace").decode()
    scan = a_scan(target=clean, name=clean)
    events = [*a_whole_scan((), scan)[:1], finding, finding_of("VULNERABILITY_GENERAL", text).delivery.event]
    events = [replace(event, scan=scan) for event in (*events, *a_whole_scan((), scan)[1:])]
    assert faults_of(sent("stix", batch_of(events)).body.decode()) == []


def test_the_bytes_are_the_same_each_time_and_other_scans_have_other_objects() -> None:
    batch = batch_of(a_whole_scan())
    assert sent("stix", batch) == sent("stix", batch)
    made = [
        {
            one["id"]
            for one in message_of("stix", batch_of(a_whole_scan(scan=a_scan(id))))["objects"]
            if "created" in one
        }
        for id in ("A", "B")
    ]
    assert len(made[0] & made[1]) == 1  # SpiderFoot itself


# --- TAXII


def test_an_envelope_arrives_in_the_collection(taxii: Taxii, sending: Start) -> None:
    one = sending(taxii, events=("*",))
    one.accept(a_whole_scan())
    one.finish()
    assert {*one.states} == {("delivered", "http_202")} and len(taxii.got) == 1
    types = {stored["type"] for stored in taxii.objects.values()}
    assert {"report", "indicator", "vulnerability", "note"} <= types


def test_a_refused_object_does_not_hold_up_the_others(taxii: Taxii, sending: Start) -> None:
    one = sending(taxii, events=("*",))
    taxii.unwanted = {"CVE-2021-44228"}
    one.accept(a_whole_scan())
    one.finish()
    assert {*one.states} == {("delivered", "some_objects_refused")} and len(taxii.got) == 1


def test_what_the_server_has_already_is_not_refused(taxii: Taxii, sending: Start) -> None:
    one = sending(taxii, events=("*",))
    for number in range(2):  # of the second scan it has all observables
        one.accept(a_whole_scan(scan=a_scan(f"5C4A{number:04d}")))
        one.finish()
    assert {*one.states} == {("delivered", "http_202")}
    one.outbox.retention.replay(Selection(), one.clock.now)
    one.finish()
    assert {*one.states} == {("delivered", "stored_before")} and len(taxii.got) == 4


def test_what_is_too_large_goes_in_parts_of_which_each_is_valid(taxii: Taxii, sending: Start) -> None:
    one = sending(taxii, events=("*",))
    taxii.size_max = 20_000
    one.accept(a_whole_scan())
    one.finish()
    assert {*one.states} == {("delivered", "http_202")} and len(taxii.taken) > 1
    whole = {one["id"] for one in message_of("stix", batch_of(a_whole_scan()))["objects"] if one["type"] != "report"}
    assert {id for id, _ in taxii.objects} >= whole
    for asked in taxii.got:
        assert (
            faults_of(
                json.dumps({"type": "bundle", "id": f"bundle--{'1' * 8}-1111-4111-8111-{'1' * 12}", **asked.json})
            )
            == []
        )


def failures(count: int, words: str) -> bytes:
    """Return an answer with a number of failures, of which it lists two."""
    listed = [{"id": f"note--{number}", "version": "", "message": words} for number in range(2)]
    return json.dumps({"success_count": 0, "failure_count": count, "failures": listed}).encode()


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (202, b'{"id": "x", "status": "complete", "failure_count": 0}', None),
        (202, b'{"id": "x", "status": "pending"}', None),
        (202, b'{"status": "complete", "failure_count": 2}', Verdict(Outcome.REFUSED, "taxii_objects_refused")),
        (202, b'{"failure_count": 2, "success_count": 1}', Verdict(Outcome.DELIVERED, "some_objects_refused")),
        (202, failures(2, "collection is read-only"), Verdict(Outcome.REFUSED, "taxii_objects_refused")),
        (202, failures(2, "an identical entry already exists in x"), Verdict(Outcome.DELIVERED, "stored_before")),
        (202, failures(2, "Unable to process object"), Verdict(Outcome.DELIVERED, "stored_before")),
        (202, failures(2, "Unable to process object: no id"), Verdict(Outcome.REFUSED, "taxii_objects_refused")),
        (202, failures(3, "it already exists"), Verdict(Outcome.DELIVERED, "some_objects_refused")),
        (
            202,
            b'{"failure_count": 1, "failures": [7, {"message": 7}, {}]}',
            Verdict(Outcome.REFUSED, "taxii_objects_refused"),
        ),
        (202, b'{"failure_count": 1, "failures": 7}', Verdict(Outcome.REFUSED, "taxii_objects_refused")),
        (200, b"<!doctype html><title>Log in</title>", Verdict(Outcome.HOLD, "http_200_but_not_ok")),
        (200, b"", None),
        (401, b"", Verdict(Outcome.HOLD, "http_401")),
        (404, b"", Verdict(Outcome.HOLD, "http_404")),
        (413, b"", None),
        (422, b"", None),
    ],
)
def test_replies(status: int, body: bytes, verdict: Verdict | None) -> None:
    assert read(Reply(status, body=body), a_batch()) == verdict


def test_a_wrong_collection_is_one_mistake() -> None:
    (found,) = mistakes_of("stix", collection="indicators")
    assert "expected the id of a collection" in found
