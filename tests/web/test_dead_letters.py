"""The API's dead letters: what a dry run says is what then happens, and nothing is chosen by mistake."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sfwebhooks.cli import main
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from tests.builders import NOW, a_scan
from tests.conftest import Team
from tests.filled import begin, end, put, send
from tests.stores import BOTH
from tests.tiers import quick_first
from tests.web.serving import served
from tests.web.test_deliveries import DELIVERIES, LETTERS, Site, got, ids

STORES = BOTH

DEAD = Selection(states=(State.DEAD,))
RUNNING = a_scan("5C4A0009")


@pytest.fixture
def site(outbox: Outbox, team: Team) -> Site:
    """Return a site with ten dead letters to two endpoints, two of which are of a running scan, and one delivered."""
    found = Site(outbox.path.parent, outbox)
    found.set(team=f"url = {team.url}", siem=f"url = {team.url}\nrate = 100/s")
    for scan in (a_scan(), RUNNING):
        begin(outbox, scan)
    put(outbox, *range(1, 6), at=NOW)
    put(outbox, *range(6, 9), endpoint="siem", at=NOW + 60)
    put(outbox, 9, 10, scan=RUNNING, at=NOW + 120)
    for _ in range(5):
        send(outbox, State.DEAD, "http_400", at=NOW + 200)
    for _ in range(3):
        send(outbox, State.DEAD, "http_410", endpoint="siem", at=NOW + 300)
    for _ in range(2):
        send(outbox, State.DEAD, "http_400", at=NOW + 400)
    put(outbox, 11)
    send(outbox)
    end(outbox, a_scan())
    return found


CHOICES: tuple[dict[str, Any], ...] = (
    {"all": True},
    {"endpoint": "team"},
    {"endpoint": "nobody"},
    {"scan": RUNNING.id},
    {"scan": "nothing"},
    {"type": "high_*"},
    {"reason": "http_410"},
    {"since": "2026-11-21T10:01:00Z"},
    {"until": "2026-11-21T10:01:00Z", "endpoint": "team"},
)


def without_changes(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("dry_run", "seconds", "erased")}


@pytest.mark.parametrize("choice", quick_first(CHOICES, 2))
@pytest.mark.parametrize("work", ["replay", "drop"])
def test_a_dry_run_says_what_then_happens(site: Site, work: str, choice: dict[str, Any]) -> None:
    before = site.outbox.listing.counts(DEAD)
    with site.served() as web:
        path = f"{LETTERS}/{work}"
        said = got(web.client.post(path, json={**choice, "dry_run": True}), 202)
        assert said["dry_run"] and site.outbox.listing.counts(DEAD) == before
        done = got(web.client.post(path, json=choice), 202)
    assert without_changes(done) == without_changes(said) and not done["dry_run"]
    after = site.outbox.listing.counts(DEAD)
    gone = {name: before[name]["dead"] - after.get(name, {}).get("dead", 0) for name in before}
    assert {name: number for name, number in gone.items() if number} == {
        name: states["dead"] for name, states in done["endpoints"].items()
    }
    assert sum(gone.values()) == done["deliveries"]


def test_those_of_a_running_scan_are_not_dropped(site: Site) -> None:
    with site.served() as web:
        found = got(web.client.post(f"{LETTERS}/drop", json={"all": True}), 202)
        assert (found["deliveries"], found["left"], found["erased"]) == (8, 2, True)
        assert [one["scan"] for one in got(web.client.get(LETTERS))["items"]] == [RUNNING.id] * 2


def test_a_dry_run_is_that_of_the_command(site: Site, cli: Any) -> None:
    printed = json.loads(cli("dead", "drop", "--all", "--dry-run", "--json").out)
    with site.served() as web:
        found = got(web.client.post(f"{LETTERS}/drop", json={"all": True, "dry_run": True}), 202)
    assert {name: found[name] for name in printed} == printed


def test_some_are_chosen_by_their_ids(site: Site) -> None:
    with site.served() as web:
        first = ids(web.client.get(LETTERS))[:3]
        delivered = ids(web.client.get(DELIVERIES, params={"state": "delivered"}))
        choice = {"ids": [*first, *delivered, "00000000-0000-8000-8000-000000000000"]}
        assert got(web.client.post(f"{LETTERS}/replay", json=choice), 202)["deliveries"] == 3
        assert not {*first} & {*ids(web.client.get(LETTERS))}
        assert ids(web.client.get(DELIVERIES, params={"state": "delivered"})) == delivered


def test_they_are_sent_again_in_order_and_at_a_rate(site: Site) -> None:
    before = time.time()
    with site.served() as web:
        found = got(web.client.post(f"{LETTERS}/replay", json={"endpoint": "siem", "rate": "2/m"}), 202)
    assert (found["deliveries"], found["seconds"]) == (3, 60.0)
    records = site.outbox.listing.deliveries(Selection(endpoint="siem"), 10)[::-1]
    assert [round(one.due_at - records[0].due_at) for one in records] == [0, 30, 60]
    assert before <= records[0].due_at <= time.time()


def test_they_arrive_under_the_same_ids(site: Site, team: Team) -> None:
    wanted = {one.id for one in site.outbox.listing.deliveries(DEAD, 100)}
    with site.served() as web:
        got(web.client.post(f"{LETTERS}/replay", json={"all": True}), 202)
        assert got(web.client.get(f"{LETTERS}/groups")) == {"items": []}
    site.outbox.close()
    assert main(["drain", "--folder", str(site.folder)]) == 0
    assert wanted < {*team.ids}  # drain reports the end of the scan as well


@pytest.mark.parametrize(
    "body",
    quick_first(
        [
            {},
            {"dry_run": True},
            {"all": False},
            {"endpoints": "team"},
            {"ids": []},
            {"ids": ["3f2a91"]},
            {"ids": ["x" * 36]},
            {"ids": "all"},
            {"ids": ["00000000-0000-8000-8000-000000000000"] * 1001},
            {"endpoint": None},
            {"endpoint": "\ud800"},
            {"all": "team"},
            {"all": True, "rate": "fast"},
            {"all": True, "rate": "0/s"},
            {"all": True, "since": "1h", "until": "2h"},
            {"type": "a*b*c*"},
            [],
            "all",
            None,
        ],
        5,
    ),
)
def test_nothing_is_chosen_by_mistake(site: Site, body: object) -> None:
    before = site.outbox.listing.counts(Selection())
    with site.served() as web:
        content = json.dumps(body)
        reply = web.client.post(f"{LETTERS}/replay", content=content, headers={"Content-Type": "application/json"})
        assert got(reply, 422)["errors"]
    assert site.outbox.listing.counts(Selection()) == before


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"", b'{"all": true', b"[" * 100_000])
def test_what_is_not_json_changes_nothing(site: Site, body: bytes) -> None:
    with site.served() as web:
        reply = web.client.post(f"{LETTERS}/drop", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code in (400, 422)
    assert len(site.outbox.listing.deliveries(DEAD, 100)) == 10


def test_a_drop_has_no_rate(site: Site) -> None:
    with site.served() as web:
        got(web.client.post(f"{LETTERS}/drop", json={"all": True, "rate": "1/s"}), 422)


def test_they_are_listed_in_the_order_of_their_death_and_by_reason(site: Site) -> None:
    with site.served() as web:
        items = got(web.viewer.get(LETTERS))["items"]
        assert [one["settled_at"] for one in items] == sorted((one["settled_at"] for one in items), reverse=True)
        assert ids(web.viewer.get(LETTERS, params={"endpoint": "siem"})) == [
            one["delivery"] for one in items if one["endpoint"] == "siem"
        ]
        groups = got(web.viewer.get(f"{LETTERS}/groups"))["items"]
        assert [(one["endpoint"], one["reason"], one["deliveries"]) for one in groups] == [
            ("team", "http_400", 7),
            ("siem", "http_410", 3),
        ]
        assert all(one["what_to_do"] and one["newest_at"].startswith("2026-11-21T10:") for one in groups)


def test_an_operator_of_the_running_server_replays_while_it_delivers(site: Site, team: Team) -> None:
    with served(site.folder) as web:
        number = got(web.client.post(f"{LETTERS}/replay", json={"all": True}), 202)["deliveries"]
        assert len(team.wait_for(number)) == number == 10
