"""Event types, and events of other tools through the API."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.cli import main
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from tests.conftest import Team
from tests.stores import BOTH, place_in
from tests.web.serving import Web, served

STORES = BOTH

DATA = {
    "finding_id": "F-1",
    "title": "Open bucket",
    "status": "completed",
    "repository_url": "https://git.acme.test/shop",
}
#: complete data of a type that another tool may report
TYPE = "remediation.completed"


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    team = Team()
    yield team
    team.receiver.stop()


@pytest.fixture(scope="module")
def folder(shared_store: None, tmp_path_factory: pytest.TempPathFactory, team: Team) -> Path:
    folder = tmp_path_factory.mktemp("emitting")
    (folder / "webhooks.ini").write_text(
        f"[webhooks.team]\nurl = {team.url}\nevents = remediation.*\n"
        f"[webhooks.other]\nurl = {team.url}/x\nevents = {TYPE}\n"
    )
    return folder


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Web]:
    with served(folder) as web:
        yield web


def example(word: str) -> dict[str, Any]:
    return next(one for one in EVENT_TYPES if one.name == word).example


def emitted(web: Web, body: Any, **headers: str) -> Any:
    return web.client.post("/v1/events", json=body, headers=headers)


def stored(folder: Path) -> int:
    with closing(Outbox(place_in(folder), listing=True)) as outbox:
        return sum(sum(one.values()) for one in outbox.listing.counts(Selection()).values())


# --- the catalogue


def test_the_types_are_those_of_the_command(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert web.viewer.get("/v1/events").json() == {"items": printed, "next": None}


def test_a_type_is_known_by_name_and_alias_with_fields_and_an_example(web: Web) -> None:
    for entry in EVENT_TYPES:
        found = web.viewer.get(f"/v1/events/{entry.name}").json()
        assert web.viewer.get(f"/v1/events/{entry.alias}").json()["fields"] == found["fields"]
        assert [one["name"] for one in found["fields"]] == [one.name for one in entry.fields]
        schema = web.viewer.get(f"/v1/events/{entry.alias}/schema")
        assert schema.headers["content-type"] == "application/schema+json"
        Draft202012Validator.check_schema(schema.json())
        Draft202012Validator(schema.json()).validate(found["example"])


@pytest.mark.parametrize("end", ["", "/schema"])
@pytest.mark.parametrize(
    "name", ["scan_complted", "%00", "%ED%A0%80", "..%2f..%2fetc%2fpasswd", "x" * 5000, "<script>"]
)
def test_an_unknown_type_is_a_404(web: Web, name: str, end: str) -> None:
    answer = web.viewer.get(f"/v1/events/{name}{end}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert len(answer.text) < 500
    assert ("scan_completed" in answer.text) is (name == "scan_complted")


# --- events of other tools


def test_an_event_goes_to_the_endpoints_that_subscribe_to_it(web: Web, team: Team) -> None:
    before = len(team.got)
    answer = emitted(web, {"type": TYPE, "data": example(TYPE), "severity": None})
    assert answer.status_code == 202, answer.text
    assert (sorted(answer.json()["endpoints"]), answer.json()["new"]) == (["other", "team"], 2)
    got = team.wait_for(before + 2)[before:]
    assert {one.message["metadata"]["event_id"] for one in got} == {answer.json()["id"]}


def test_the_same_id_is_sent_once_however_it_is_given(web: Web) -> None:
    first = emitted(web, {"type": TYPE, "data": example(TYPE), "id": "once"})
    again = emitted(web, {"type": TYPE, "data": example(TYPE), "id": "once"})
    keyed = emitted(web, {"type": TYPE, "data": example(TYPE)}, **{"Idempotency-Key": "once"})
    both = emitted(web, {"type": TYPE, "data": example(TYPE), "id": "once"}, **{"Idempotency-Key": "other"})
    other = emitted(web, {"type": "remediation.started", "data": example("remediation.started"), "id": "once"})
    assert [one.json()["new"] for one in (first, again, keyed, both)] == [2, 0, 0, 0]
    assert len({one.json()["id"] for one in (first, again, keyed, both)}) == 1
    assert other.json()["id"] != first.json()["id"]


def test_a_whole_message_is_taken_as_the_guide_shows_it(web: Web) -> None:
    whole = {"event_type": TYPE, "timestamp": "2026-11-21T10:00:00Z", "data": example(TYPE)}
    assert emitted(web, {"type": TYPE, "data": whole}).status_code == 202


def test_what_nobody_subscribes_to_is_not_stored(web: Web, folder: Path) -> None:
    before = stored(folder)
    answer = emitted(web, {"type": "workspace_created", "data": example("workspace_created")})
    assert (answer.status_code, answer.json()["endpoints"], answer.json()["new"]) == (202, [], 0)
    assert stored(folder) == before


DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "body.type"),
        ([], "body"),
        ("text", "body"),
        (None, "body"),
        ({"type": TYPE}, "body.data"),
        ({"type": TYPE, "data": []}, "body.data"),
        ({"type": TYPE, "data": "text"}, "body.data"),
        ({"type": 7, "data": {}}, "body.type"),
        ({"type": None, "data": {}}, "body.type"),
        ({"type": "x" * 201, "data": {}}, "body.type"),
        ({"type": "nonsense", "data": {}}, "no event type is called 'nonsense'"),
        ({"type": "a\0b", "data": {}}, "no event type"),
        ({"type": "system_alert", "data": {}}, "not accepted from other tools"),
        ({"type": TYPE, "data": {}}, "data does not match"),
        ({"type": TYPE, "data": {**DATA, "deep": DEEP}}, "data"),
        ({"type": TYPE, "data": {"event_type": "scan_completed", "data": {}}}, "must be equal"),
        ({"type": TYPE, "data": {}, "severity": "huge"}, "severity"),
        ({"type": TYPE, "data": {}, "severity": 3}, "body.severity"),
        ({"type": TYPE, "data": {}, "id": ""}, "body.id"),
        ({"type": TYPE, "data": {}, "id": 7}, "body.id"),
        ({"type": TYPE, "data": {}, "id": "x" * 1025}, "body.id"),
    ],
)
def test_what_is_no_event_is_refused_with_what_is_expected(web: Web, folder: Path, body: Any, words: str) -> None:
    before = stored(folder)
    answer = emitted(web, body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    assert words in answer.json()["detail"]
    assert stored(folder) == before


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"\0",
        b'{"type": "x", "data": {"a": ' + b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"type": "x", "type": "y"}',
        b'{"type": "remediation.completed", "data": {"finding_id": NaN}}',
        b'{"type": "remediation.completed", "data": {"finding_id": 1e999}}',
        b'{"type": "remediation.completed", "data": {"\\ud800": "x"}}',
        b'{"type": "remediation.completed", "data": {"title": "\\ud800"}}',
        b'{"type": "remediation.completed\\ud800", "data": {}}',
        b'{"type": "remediation.completed", "data": {}, "id": "\\udfff"}',
        b'{"type": "remediation.completed", "data": {"a": ' + b"9" * 5000 + b"}}",
    ],
    ids=range(14),
)
def test_what_is_no_json_or_no_text_is_refused(web: Web, folder: Path, raw: bytes) -> None:
    before = stored(folder)
    answer = web.client.post("/v1/events", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.text) < 5000
    assert stored(folder) == before


def test_hostile_texts_arrive_as_they_are(web: Web, team: Team) -> None:
    before = len(team.got)
    data = {**example(TYPE), "title": "a\0b\x1b[2J<script>\u202e", "extra": "\U0001f389"}
    answer = emitted(web, {"type": TYPE, "data": data})
    assert answer.status_code == 202, answer.text
    sent = team.wait_for(before + 2)[-1].message["data"]
    assert (sent["title"], sent["extra"]) == (data["title"], data["extra"])


@pytest.mark.parametrize(("size", "status"), [(900_000, 202), (1_100_000, 413), (2_000_000, 413)])
def test_large_data_are_taken_up_to_a_limit(web: Web, size: int, status: int) -> None:
    answer = emitted(web, {"type": TYPE, "data": {**example(TYPE), "notes": "x" * size}})
    assert (answer.status_code, answer.headers["content-type"].partition("+")[0]) == (
        status,
        "application/json" if status == 202 else "application/problem",
    )


@pytest.mark.sqlite("the file is locked")
@pytest.mark.slow
def test_while_the_outbox_is_locked_the_sender_is_asked_to_come_again(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.team]\nurl = http://127.0.0.1:9\nevents = {TYPE}\n")
    with closing(Outbox(place_in(tmp_path))) as outbox:
        outbox.database.check()
    body = {"type": TYPE, "data": example(TYPE), "id": "later"}
    with served(tmp_path, "--no-deliver") as web:
        with closing(sqlite3.connect(tmp_path / FILE)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = emitted(web, body)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            other.execute("ROLLBACK")
        assert emitted(web, body).json()["new"] == 1


def test_a_viewer_and_a_stranger_emit_nothing(web: Web, folder: Path) -> None:
    before, body = stored(folder), {"type": TYPE, "data": example(TYPE)}
    with web.anybody() as somebody:
        assert somebody.post("/v1/events", json=body).status_code == 401
    assert web.viewer.post("/v1/events", json=body).status_code == 403
    assert stored(folder) == before


def test_a_server_that_only_reads_stores_nothing(folder: Path) -> None:
    before = stored(folder)
    with served(folder, "--read-only") as web:
        answer = emitted(web, {"type": TYPE, "data": example(TYPE)})
        assert (answer.status_code, "read-only" in answer.json()["detail"]) == (403, True)
    assert stored(folder) == before


def test_while_webhooks_are_off_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text(
        f"[webhooks]\nenabled = false\n[webhooks.team]\nurl = http://127.0.0.1:9\nevents = {TYPE}\n"
    )
    with served(tmp_path, "--no-deliver") as web:
        answer = emitted(web, {"type": TYPE, "data": example(TYPE)})
        assert (answer.status_code, "webhooks are off" in answer.json()["detail"]) == (422, True)
