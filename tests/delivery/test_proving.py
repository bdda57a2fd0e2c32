"""Statements about scans: when they are made, what they say, and that each is made once, whatever dies."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.maintenance import Maintenance
from sfwebhooks.delivery.proving import prove
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import WebhookEvent, lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.receive.capture import Captured
from sfwebhooks.receive.proof import Examination
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.signing_keys import new_whsk, receiver_form
from sfwebhooks.statements import unsealed
from tests.builders import NOW, a_scan, an_endpoint, an_event
from tests.conftest import Clock, Team, put, sql

STORES = ("sqlite", "postgres")

KEY = new_whsk()
SCAN = a_scan()
ENDED = NOW + 60
Statement = dict[str, Any]


def prover(team: Team, **values: Any) -> Endpoint:
    return an_endpoint("auditor", url=team.url, concurrency=1, proof=Secret(KEY), **values)


class Deadly(list[tuple[WebhookEvent, str]]):
    """Statements of which the process commits the first, and is killed."""

    def __iter__(self) -> Iterator[tuple[WebhookEvent, str]]:
        yield self[0]
        os.kill(os.getpid(), signal.SIGKILL)


def end(outbox: Outbox, endpoint: Endpoint, scan: Any = SCAN) -> None:
    """Begin and end a scan, of which something may be accepted already."""
    data = {**scan.about, "started": "2026-11-21T10:00:00.000Z", "modules_used": ["sfp_dns", "sfp_ssl"]}
    event = WebhookEvent(lifecycle_id(scan.id, "ended"), "scan_completed", Severity.INFO, ENDED, data, scan)
    outbox.scans.end_scan(event, [Wanted(endpoint.name, "scan_completed")], ENDED)


def send(endpoint: Endpoint, outbox: Outbox, clock: Clock) -> None:
    """Send all that is due."""
    queue = SendQueue([endpoint], outbox, clock)
    while queue.step():
        pass
    queue.stop(0)


def statements(team: Team) -> list[Statement]:
    """Return the statements that the receiver got, each with its SHA-256."""
    found = []
    for received in team.got:
        for message in received.messages:
            if message["event_type"] == "scan_proof":
                payload, is_signed = unsealed(message["data"], [receiver_form(KEY)])
                assert is_signed
                found.append({**json.loads(payload), "sha256": hashlib.sha256(payload).hexdigest()})
    return found


def subjects(*found: Statement) -> dict[str, str]:
    return {one["name"]: one["digest"]["sha256"] for each in found for one in each["subject"]}


def bodies(team: Team) -> dict[str, str]:
    """Return the id and the SHA-256 of what the receiver got, without statements."""
    others = [one for one in team.got if b'"event_type":"scan_proof"' not in one.body]
    return {one.id: hashlib.sha256(one.body).hexdigest() for one in others}


def test_a_statement_names_each_message_and_its_hash(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint, events=5)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED) == 1
    send(endpoint, outbox, clock)
    (found,) = statements(team)
    assert subjects(found) == bodies(team)
    assert [one["name"] for one in found["subject"]] == sorted(bodies(team))
    said = found["predicate"]
    assert (said["endpoint"], said["delivered"], said["pending"], said["dead"]) == ("auditor", 6, [], [])
    assert said["scan"]["id"] == SCAN.id and said["scan"]["result"] == "scan_completed"
    assert said["modules"] == ["sfp_dns", "sfp_ssl"]
    assert said["receipt"]["last_sequence"] == 6
    assert (said["chain"]["number"], said["chain"]["previous"]) == (1, None)


def test_it_is_made_once(team: Team, outbox: Outbox, clock: Clock, tmp_path: Path) -> None:
    endpoint = prover(team)
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    other = Outbox(outbox.place)
    (number,) = other.evidence.ripe("auditor", ENDED, 3600)  # two processes see that it is due
    late = other.evidence.ground("auditor", number)
    assert prove(outbox, [endpoint], ENDED) == 1
    assert other.evidence.state("auditor", late, [(an_event(9), "00" * 32)], ENDED) == 0
    assert other.evidence.ground("auditor", number).subjects == []
    assert prove(other, [endpoint], ENDED + 86400) == 0
    other.close()
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED + 86400) == 0
    assert len(statements(team)) == 1


def test_an_endpoint_without_proof_leaves_no_evidence(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = replace(prover(team), proof=None)
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    assert sql(outbox, "SELECT count(*) FROM evidence") == [(0,)]
    assert prove(outbox, [endpoint], ENDED + 86400) == 0


def test_a_running_scan_is_not_stated(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    started = an_event(1, type="scan_started")
    outbox.scans.begin_scan(SCAN, started, [Wanted("auditor", "scan_started")], NOW)
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], NOW + 86400) == 0
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED) == 1


def test_it_waits_for_messages_that_are_not_settled_but_not_for_long(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team, proof_after=600.0)
    put(outbox, endpoint, events=3)
    end(outbox, endpoint)
    team.answer = lambda received: 503 if b"CVE-2026-0002" in received.body else 200
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED + 599) == 0
    assert prove(outbox, [endpoint], ENDED + 600) == 1
    team.answer = 200
    clock.now += 60
    send(endpoint, outbox, clock)
    (first,) = statements(team)
    late = next(one for one in first["subject"] if one.get("annotations"))
    assert late["annotations"] == {"accepted": False}
    assert first["predicate"]["pending"] == [late["name"]]
    assert prove(outbox, [endpoint], ENDED + 601) == 1, "what was delivered later is in a further statement"
    send(endpoint, outbox, clock)
    first, second = statements(team)
    assert subjects(second) == {late["name"]: bodies(team)[late["name"]]}
    assert second["predicate"]["chain"]["previous"] == first["sha256"]
    assert second["predicate"]["pending"] == []


def test_dead_messages_are_listed(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint, events=2)
    end(outbox, endpoint)
    sql(outbox, "UPDATE delivery SET state = 'dead', settled_at = 1 WHERE number = 1")
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED) == 1
    send(endpoint, outbox, clock)
    (found,) = statements(team)
    (dead,) = found["predicate"]["dead"]
    assert dead not in bodies(team) and len(found["subject"]) == 2


def test_a_replay_with_the_same_bytes_is_stated_already(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint, events=3)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    prove(outbox, [endpoint], ENDED)
    send(endpoint, outbox, clock)
    before = bodies(team)
    outbox.retention.replay(Selection(), clock.now)
    send(endpoint, outbox, clock)
    assert bodies(team) == before and len(team.got) == 10
    assert prove(outbox, [endpoint], ENDED + 86400) == 0


def test_a_body_that_other_settings_made_is_stated_too(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint)
    end(outbox, endpoint)
    team.answer = lambda received: 503 if received.message["metadata"]["sequence"] == 1 else 200
    send(endpoint, outbox, clock)  # the receiver has it, and its answer says that it has not
    team.answer, clock.now = 200, clock.now + 60
    changed = replace(endpoint, metadata={"team": "blue"})
    send(changed, outbox, clock)
    assert prove(outbox, [changed], ENDED) == 1
    send(changed, outbox, clock)
    (found,) = statements(team)
    its = [one["digest"]["sha256"] for one in found["subject"] if one["name"] == team.got[0].id]
    sent = [hashlib.sha256(one.body).hexdigest() for one in team.got if one.id == team.got[0].id]
    assert len({*sent}) == 2 and {*its} == {*sent}


def test_a_batch_is_one_body_of_several_messages(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team, batch_size=10, batch_wait=0.0)
    put(outbox, endpoint, events=4)
    end(outbox, endpoint)
    clock.now += 60
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED) == 1
    clock.now += 60
    send(endpoint, outbox, clock)
    (found,) = statements(team)
    assert subjects(found) == bodies(team)
    assert sum(one.get("annotations", {}).get("messages", 1) for one in found["subject"]) == 5


def test_gzip_does_not_matter(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team, compress="gzip")
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    prove(outbox, [endpoint], ENDED)
    send(endpoint, outbox, clock)
    (found,) = statements(team)
    assert subjects(found) == bodies(team)


def test_it_has_what_was_deleted_before(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint, events=3)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    outbox.retention.prune(clock.now + 10, keep_delivered=1, keep_dead=1)
    assert sql(outbox, "SELECT count(*) FROM delivery") == [(0,)]
    assert prove(outbox, [endpoint], ENDED + 3600) == 1
    send(endpoint, outbox, clock)
    (found,) = statements(team)
    assert subjects(found) == bodies(team)
    assert found["predicate"]["receipt"] is None


def test_a_purge_takes_the_evidence_too(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    outbox.retention.purge(Selection())
    assert sql(outbox, "SELECT count(*) FROM evidence") == [(0,)]


def test_statements_about_a_target_are_a_chain(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    scans = [a_scan("A"), a_scan("B", target="other.example"), a_scan("C", target="ACME.example.")]
    for scan in scans:
        outbox.accept([(an_event(1, scan=scan), [Wanted("auditor", "high_risk_event")])], NOW)
        end(outbox, endpoint, scan)
        send(endpoint, outbox, clock)
        assert prove(outbox, [endpoint], ENDED) == 1
        send(endpoint, outbox, clock)
    first, other, second = statements(team)
    chains = [one["predicate"]["chain"] for one in (first, other, second)]
    assert [one["number"] for one in chains] == [1, 1, 2]
    assert [one["previous"] for one in chains] == [None, None, first["sha256"]]
    assert chains[0]["id"] == chains[2]["id"] != chains[1]["id"]


def test_many_messages_are_stated_in_parts_that_fit(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team, max_body=32_000)
    put(outbox, endpoint, events=300)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED) > 1
    send(endpoint, outbox, clock)
    found = statements(team)
    assert subjects(*found) == bodies(team) and len(bodies(team)) == 301
    assert max(len(one.body) for one in team.got) <= 32_000
    parts = [(one["predicate"]["part"], one["predicate"]["parts"]) for one in found]
    assert parts == [(place, len(found)) for place in range(1, len(found) + 1)]
    previous = [one["predicate"]["chain"]["previous"] for one in found]
    assert previous == [None, *(one["sha256"] for one in found[:-1])]


@pytest.mark.parametrize("form", ["generic", "siem", "security-audit", "cloudevents"])
def test_a_name_and_a_target_of_megabytes_make_no_larger_statement(
    team: Team, outbox: Outbox, clock: Clock, form: str
) -> None:
    endpoint = prover(team, max_body=32_000, format=form)
    scan = a_scan("BIG", name="\x01" * 10**6, target="\x01" * 10**6)
    outbox.accept([(an_event(1, scan=scan), [Wanted("auditor", "high_risk_event")])], NOW)
    end(outbox, endpoint, scan)
    send(endpoint, outbox, clock)
    assert prove(outbox, [endpoint], ENDED) == 1
    send(endpoint, outbox, clock)
    examination = Examination([receiver_form(KEY)])
    for one in team.got:
        examination.add(Captured("", one.headers, one.body))
    assert len(examination.claims) == 1 and [*examination.problems()] == []
    assert max(len(one.body) for one in team.got) <= 32_000


def test_a_statement_has_no_more_than_the_endpoint_may_get(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team, redact=("/acme\\.example/: mask, /[A-Za-z0-9+=]{30,}/: mask",))
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    prove(outbox, [endpoint], ENDED)
    send(endpoint, outbox, clock)
    (found,) = statements(team)  # the rule for long words has not touched the payload
    assert not any(b"acme" in one.body for one in team.got)
    assert "acme" not in json.dumps(found)
    message = next(one for one in team.got if b"scan_proof" in one.body).message
    assert b"acme" not in base64.b64decode(message["data"]["payload"])


def test_maintenance_makes_it_after_a_kill(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)  # and here the process is killed
    maintenance = Maintenance(Settings(endpoints=(endpoint,)), outbox.place)
    maintenance.look(ENDED)
    maintenance.look(ENDED + 2)
    maintenance.close()
    send(endpoint, outbox, clock)
    assert len(statements(team)) == 1


def test_a_kill_while_it_is_made_leaves_all_to_be_stated(team: Team, outbox: Outbox, clock: Clock) -> None:
    endpoint = prover(team)
    put(outbox, endpoint)
    end(outbox, endpoint)
    send(endpoint, outbox, clock)
    outbox.close()
    if not os.fork():
        (number,) = outbox.evidence.ripe("auditor", ENDED, 3600)
        ground = outbox.evidence.ground("auditor", number)
        made = [(an_event(place, type="scan_proof"), "00" * 32) for place in (7, 8)]
        outbox.evidence.state("auditor", ground, Deadly(made), ENDED)
        os._exit(0)
    _, status = os.wait()
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert prove(outbox, [endpoint], ENDED) == 1
    send(endpoint, outbox, clock)
    (found,) = statements(team)
    assert subjects(found) == bodies(team)
