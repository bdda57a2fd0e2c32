"""The API's deliveries: lists with filters and pages, one in detail, its request, its look in a chat, its replay."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.cli import main
from sfwebhooks.events import delivery_id
from sfwebhooks.inspection.drawing import DRAWINGS
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import Settlement, State
from sfwebhooks.web.api.deliveries import DeliveryDetail, DeliveryPage
from tests.builders import NOW, URL, a_scan, an_event
from tests.conftest import Team, sql
from tests.filled import HOSTILE, begin, put, put_event, send
from tests.stores import BOTH, place_in
from tests.tiers import quick_first, slow
from tests.web.serving import Web, served

STORES = BOTH

DELIVERIES, LETTERS = "/v1/deliveries", "/v1/dead-letters"
PASSWORD, MAIL = "Tr0ub4dor&3-of-alice", "alice.mulligan@acme.example"
SECRETS = {
    "secret": "a-signing-secret-of-the-team",
    "api_key": "a-bearer-token-of-the-team",
    "header.X-Own": "a-header-of-the-team",
}
#: sections of the settings: each chat, and others
CHATS = {
    "slack": "https://hooks.slack.com/services/T000/B000/url-path-token",
    "discord": "https://discord.com/api/webhooks/1/url-path-token",
    "mattermost": "https://chat.acme.example/hooks/url-path-token",
    "teams": "https://acme.webhook.office.com/webhookb2/url-path-token",
    "telegram": "https://api.telegram.org/bot1:url-path-token-url-path-token/sendMessage",
}


def settings(**sections: str) -> str:
    """Return the settings with these sections of endpoints: name -> lines."""
    return "[webhooks]\n" + "".join(f"[webhooks.{name}]\nevents = all\n{lines}\n" for name, lines in sections.items())


@dataclass
class Site:
    """A data folder, and its outbox."""

    folder: Path
    outbox: Outbox

    def set(self, **sections: str) -> None:
        path = self.folder / "webhooks.ini"
        path.touch(0o600)
        path.write_text(settings(**sections))

    def served(self, *arguments: str) -> Any:
        return served(self.folder, "--no-deliver", *arguments)


@pytest.fixture
def site(outbox: Outbox) -> Site:
    found = Site(outbox.path.parent, outbox)
    keys = "".join(f"{key} = {value}\n" for key, value in SECRETS.items())
    found.set(
        team=f"url = {URL}?key=a-secret-key\n{keys}",
        **{name: f"url = {url}\nformat = {name}" + "\nchat_id = -100123" * (name == "telegram")
           for name, url in CHATS.items()},
    )  # fmt: skip
    return found


def leak(number: int = 1, text: str = f"{MAIL}:{PASSWORD} [acme.example]", **values: Any) -> Any:
    """Return the event of a leaked login."""
    data = {"event_type": "PASSWORD_COMPROMISED", "data": text, "module": "sfp_dehashed", **values}
    return an_event(number, data=data)


def got(reply: httpx.Response, status: int = 200) -> Any:
    assert reply.status_code == status, reply.text
    return reply.json()


def ids(reply: httpx.Response) -> list[str]:
    return [one["delivery"] for one in got(reply)["items"]]


# --- lists


def test_the_list_has_what_the_command_prints(site: Site, cli: Any) -> None:
    put(site.outbox, 1, 2, 3)
    send(site.outbox, State.DEAD, "http_400", excerpt="what?")
    printed = [json.loads(line) for line in cli("deliveries", "--json").out.splitlines()]
    with site.served() as web:
        found = got(web.client.get(DELIVERIES))
        assert found == {"items": printed, "next": None, "damaged": []}
        assert DeliveryPage.model_validate(found).model_dump(mode="json") == found
        for one in printed:
            one["last_attempt"] = one["last_attempt"] and {**one["last_attempt"], "excerpt": ""}
        assert got(web.viewer.get(DELIVERIES))["items"] == printed


@pytest.fixture(scope="module")
def listed(shared_store: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Outbox]]:
    """A server with deliveries of two scans to two endpoints, in all states, which no test changes."""
    folder = tmp_path_factory.mktemp("listed")
    with closing(Outbox(place_in(folder))) as outbox:
        Site(folder, outbox).set(team=f"url = {URL}")
        for scan in (a_scan(), a_scan("5C4A0002", target="other.example")):
            begin(outbox, scan)
            put(outbox, 1, 2, at=NOW, scan=scan)
            put(outbox, 3, endpoint="siem", at=NOW + 60, scan=scan)
        put_event(outbox, an_event(9, scan=None, type="system_alert"), "siem", at=NOW + 120)
        send(outbox, State.DELIVERED, "http_200", at=NOW)
        send(outbox, State.DEAD, "http_400", at=NOW)
        with served(folder, "--no-deliver") as web:
            yield web, outbox


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ({}, 7),
        ({"endpoint": "team"}, 4),
        ({"endpoint": "nobody"}, 0),
        ({"state": "dead"}, 1),
        ({"state": "waiting"}, 5),
        ({"scan": "5C4A0002"}, 3),
        ({"scan": "nothing"}, 0),
        ({"type": "system_alert"}, 1),
        ({"type": "high_*"}, 6),
        ({"since": "2026-11-21T10:01:00Z"}, 3),
        ({"until": "2026-11-21T10:01:00"}, 4),
        ({"since": "1h", "endpoint": "team"}, 0),
        ({"reason": "http_400"}, 1),
        ({"q": "OTHER.example"}, 3),
        ({"q": "sie"}, 3),
        ({"q": "\x00"}, 0),
        ({"q": "' OR 1=1 --"}, 0),
        ({"endpoint": "team", "state": "waiting", "scan": "5C4A0001"}, 0),
    ],
)
def test_filters(listed: tuple[Web, Outbox], filters: dict[str, str], number: int) -> None:
    web, _ = listed
    assert len(ids(web.client.get(DELIVERIES, params=filters))) == number
    assert ids(web.viewer.get(DELIVERIES, params=filters)) == ids(web.client.get(DELIVERIES, params=filters))


@pytest.mark.parametrize(
    ("filters", "where"),
    [
        ({"state": "gone"}, "query.state"),
        ({"limit": "0"}, "query.limit"),
        ({"limit": "501"}, "query.limit"),
        ({"limit": "x"}, "query.limit"),
        ({"since": "yesterday"}, "since"),
        ({"since": "9" * 30}, "since"),
        ({"until": "2026-13-01"}, "until"),
        ({"since": "1h", "until": "2h"}, "since"),
        ({"type": "a*b*c*d"}, "type"),
        ({"q": "x" * 201}, "query.q"),
    ],
)
def test_a_wrong_filter_is_named(listed: tuple[Web, Outbox], filters: dict[str, str], where: str) -> None:
    found = got(listed[0].client.get(DELIVERIES, params=filters), 422)
    assert [one["where"] for one in found["errors"]] == [where]


def test_pages_follow_each_other(listed: tuple[Web, Outbox]) -> None:
    web, _ = listed
    found, cursor = [], ""
    while cursor is not None:
        page = got(web.client.get(DELIVERIES, params={"limit": 3, "cursor": cursor}))
        found += [one["delivery"] for one in page["items"]]
        cursor = page["next"]
    assert found == ids(web.client.get(DELIVERIES))


@pytest.mark.parametrize("cursor", ["x", "\x00", "AAAA" * 9, "é"])
@pytest.mark.parametrize("path", [DELIVERIES, LETTERS])
def test_a_forged_cursor_is_refused(listed: tuple[Web, Outbox], path: str, cursor: str) -> None:
    assert "cursor" in got(listed[0].client.get(path, params={"cursor": cursor}), 422)["detail"]


@pytest.mark.sqlite("no outbox is created")
def test_an_outbox_that_is_not_there_is_empty(site_folder: Path) -> None:
    with served(site_folder, "--no-deliver") as web:
        for path in (DELIVERIES, LETTERS):
            assert got(web.client.get(path)) == {"items": [], "next": None, "damaged": []}
        assert got(web.client.get(f"{LETTERS}/groups")) == {"items": []}
        for name in ("replay", "drop"):
            assert got(web.client.post(f"{LETTERS}/{name}", json={"all": True}), 202)["deliveries"] == 0
        got(web.client.get(f"{DELIVERIES}/3f2a91"), 404)
        got(web.client.post(f"{DELIVERIES}/3f2a91/replay"), 404)
    assert not (site_folder / FILE).exists()


@pytest.mark.sqlite("the file is locked")
@slow
def test_a_locked_outbox_is_unavailable_for_a_while(site: Site) -> None:
    put(site.outbox, 1)
    send(site.outbox, State.DEAD, "http_400")
    (record,) = site.outbox.listing.deliveries(Selection(), 10)
    site.outbox.close()
    with site.served() as web:
        with closing(sqlite3.connect(site.outbox.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            reply = web.client.post(f"{DELIVERIES}/{record.id}/replay")
            assert got(web.client.get(f"{DELIVERIES}/{record.id}"))["state"] == "dead"
            connection.execute("ROLLBACK")
        got(reply, 503)
        assert int(reply.headers["Retry-After"]) >= 1
        got(web.client.post(f"{DELIVERIES}/{record.id}/replay"), 202)


@pytest.mark.sqlite("the file is locked")
@slow
def test_an_outbox_that_cannot_be_read_now_is_unavailable_for_a_while(site: Site) -> None:
    put(site.outbox, 1)
    site.outbox.close()
    with site.served() as web:
        with closing(sqlite3.connect(site.outbox.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # as a backup may do
            connection.execute("BEGIN EXCLUSIVE")
            for path in (DELIVERIES, LETTERS, f"{LETTERS}/groups"):
                reply = web.viewer.get(path)
                assert "locked" in got(reply, 503)["detail"]
                assert int(reply.headers["Retry-After"]) >= 1
        assert len(ids(web.viewer.get(DELIVERIES))) == 1


@pytest.mark.sqlite("the file is damaged")
def test_a_corrupt_outbox_is_unavailable_and_left_as_it_is(site: Site) -> None:
    site.outbox.close()
    site.outbox.path.write_bytes(b"SQLite format 3\x00" + b"rubbish" * 1000)
    before = site.outbox.path.read_bytes()
    with site.served() as web:
        for path in (DELIVERIES, LETTERS, f"{DELIVERIES}/3f2a91"):
            assert "corrupt" in got(web.client.get(path), 503)["detail"]
    assert site.outbox.path.read_bytes() == before


# --- one in detail


def test_an_operator_sees_what_the_endpoint_gets_and_a_viewer_what_people_may_see(site: Site, cli: Any) -> None:
    put_event(site.outbox, leak())
    id = send(site.outbox, State.DEAD, "http_400", excerpt=f"no account {MAIL} with {PASSWORD} here")
    printed = json.loads(cli("show", id, "--json").out)
    with site.served() as web:
        whole, redacted = got(web.client.get(f"{DELIVERIES}/{id}")), got(web.viewer.get(f"{DELIVERIES}/{id}"))
    assert {key: whole[key] for key in printed} == printed
    for shown in (whole, redacted):
        DeliveryDetail.model_validate(shown)
        assert {*shown} == {*DeliveryDetail.model_fields}
    assert MAIL in whole["data"]["data"] and PASSWORD in whole["request"]["body"] and not whole["explained"]
    assert PASSWORD not in json.dumps(redacted)
    assert MAIL not in json.dumps(redacted)
    assert "no account" in redacted["log"][0]["excerpt"]
    assert "PASSWORD_COMPROMISED" in redacted["explained"]
    assert redacted["meaning"] == whole["meaning"] and whole["what_to_do"]


@pytest.mark.parametrize("client", ["client", "viewer"])
def test_the_request_as_sent_shows_no_secret(site: Site, client: str) -> None:
    put(site.outbox, 1)
    (id,) = (one.id for one in site.outbox.listing.deliveries(Selection(), 1))
    with site.served() as web:
        reply = getattr(web, client).get(f"{DELIVERIES}/{id}")
    request = got(reply)["request"]
    assert request["method"] == "POST" and request["place"] == "https://hooks.example.test"
    assert json.loads(request["body"])["event_type"] == "high_risk_event"
    headers = {name.lower(): value for name, value in request["headers"]}
    assert headers["authorization"] == headers["x-own"] == "***"
    assert headers["x-spiderfoot-signature"].startswith("sha256=" if client == "client" else "***")
    for secret in (*SECRETS.values(), "url-path-token", "a-secret-key", "T000"):
        assert secret not in reply.text


def test_the_credentials_of_a_proxy_are_masked(site: Site) -> None:
    site.set(team="url = http://hooks.example.test/in\nproxy = http://user:a-proxy-password@proxy.example.test:3128")
    put(site.outbox, 1)
    with site.served() as web:
        (id,) = ids(web.client.get(DELIVERIES))
        reply = web.client.get(f"{DELIVERIES}/{id}")
    headers = {name.lower(): value for name, value in got(reply)["request"]["headers"]}
    assert headers["proxy-authorization"] == "***"


def test_replies_to_several_deliveries_are_not_for_viewers(site: Site) -> None:
    site.set(team=f"url = {URL}\nbatch_size = 2")
    put(site.outbox, 1, 2)
    batch = site.outbox.queue.claim_batch(Limits("team", size=2), (), NOW)
    assert batch and len(batch.deliveries) == 2
    attempt = Attempt(NOW, 0.1, 200, "http_200", f"thanks for {PASSWORD}")
    settled = [Settlement(State.DELIVERED, "http_200", NOW, True, batch.id)] * 2
    site.outbox.queue.settle([Result(batch, attempt, settled)])
    with site.served() as web:
        for id in ids(web.viewer.get(DELIVERIES)):
            shown = got(web.viewer.get(f"{DELIVERIES}/{id}"))
            assert shown["together"] == 1
            assert PASSWORD not in json.dumps(shown)
            assert PASSWORD in got(web.client.get(f"{DELIVERIES}/{id}"))["log"][0]["excerpt"]


def test_why_it_waits_and_what_keeps_its_endpoint(site: Site, cli: Any) -> None:
    put(site.outbox, 1)
    with site.served() as web:
        (id,) = ids(web.client.get(DELIVERIES))
        assert "no process is sending" in got(web.client.get(f"{DELIVERIES}/{id}"))["why_waiting"]
        assert cli("pause", "team", "--for", "2h").code == 0
        shown = got(web.viewer.get(f"{DELIVERIES}/{id}"))
    assert "paused" in shown["why_waiting"] and "paused" in shown["why_endpoint"]


def test_an_id_can_be_that_of_the_event_or_the_beginning_of_one(site: Site) -> None:
    put(site.outbox, 1)
    put(site.outbox, 1, endpoint="siem")
    event, wanted = an_event(1).id, delivery_id(an_event(1).id, "team")
    with site.served() as web:
        for id in (wanted, wanted[:8], wanted[:4]):
            assert got(web.client.get(f"{DELIVERIES}/{id}"))["delivery"] == wanted
        assert "more than one" in got(web.client.get(f"{DELIVERIES}/{event}"), 404)["detail"]
        for id in ("00000000", "abc", "%00%00%00%00", "..%2f..%2fetc%2fpasswd", "x" * 201, "%F0%9F%98%80%ff"):
            assert web.client.get(f"{DELIVERIES}/{id}").status_code in (404, 422)


def test_an_endpoint_that_the_settings_do_not_have(site: Site) -> None:
    put_event(site.outbox, leak(), "gone")
    with site.served() as web:
        (id,) = ids(web.client.get(DELIVERIES))
        for client in (web.client, web.viewer):
            shown = got(client.get(f"{DELIVERIES}/{id}"))
            assert shown["request"] is None and '"gone"' in shown["why_no_request"]
            assert PASSWORD not in json.dumps(shown)
            assert "gone" in got(client.get(f"{DELIVERIES}/{id}/preview"), 409)["detail"]


# --- hostile and damaged content

NASTY = (
    "\x00 null",
    '"\ud800" alone',
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    HOSTILE,
    "x" * 5_000_000,
    "{{ 7*7 }} %s ${7} \u2028\u2029",
)


@pytest.mark.parametrize("text", quick_first([pytest.param(one, id=str(at)) for at, one in enumerate(NASTY)], 2))
def test_hostile_data_come_as_they_are_or_clean(site: Site, text: str) -> None:
    put_event(site.outbox, an_event(1, data={"event_type": "TARGET_WEB_CONTENT", "data": text}))
    id = send(site.outbox, State.DEAD, "http_400", excerpt=text[:1000].replace("\ud800", "?"))
    with site.served() as web:
        for client in (web.client, web.viewer):
            reply = client.get(f"{DELIVERIES}/{id}")
            assert got(reply)["data"]["data"]
            assert reply.headers["Content-Type"] == "application/json"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert len(ids(client.get(DELIVERIES))) == 1
            assert client.get(f"{DELIVERIES}/{id}/preview").status_code == 200
        assert got(web.client.get(f"{DELIVERIES}/{id}"))["data"]["data"] == text.replace("\ud800", "\ufffd")


DAMAGES = (
    "UPDATE delivery_attempt SET at = 'abc', seconds = 'x', status = 'y'",
    "UPDATE delivery_attempt SET at = 9e999, seconds = 9e999",
    "UPDATE delivery_attempt SET reason = x'fffe', excerpt = x'ff', outcome = 'dead'",
    "UPDATE delivery SET endpoint = x'ff00' WHERE number = 1",
    "UPDATE delivery SET accepted_at = 'zz', due_at = 'yy'",
    "UPDATE delivery SET accepted_at = 9e999, due_at = -9e999, settled_at = 9e999",
    "UPDATE delivery SET settled_at = 'zz', reason = x'ff'",
    "UPDATE delivery SET attempts = 'many', replays = x'ff', sequence = 'x'",
    "UPDATE event SET data = 'rubbish'",
    "UPDATE event SET data = x'ff', at = 'x'",
    "UPDATE event SET data = '[1, 2'",
    'UPDATE event SET data = \'{"a": NaN, "b": Infinity, "c": 1e999}\'',
    "UPDATE event SET data = '" + "[" * 100_000 + "'",
    "UPDATE event SET id = 'abc' || number, severity = 'x'",
    "UPDATE scan SET target = x'ff', name = CAST(x'ff' AS TEXT)",
    "DELETE FROM event",
    "DELETE FROM scan",
    "DELETE FROM series",
)


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize("damage", quick_first([pytest.param(one, id=str(at)) for at, one in enumerate(DAMAGES)], 2))
def test_damaged_rows_are_no_mistake_of_the_server(site: Site, damage: str) -> None:
    put(site.outbox, 1, 2)
    id = send(site.outbox, State.DEAD, "http_400")
    sql(site.outbox, damage)
    with site.served() as web:
        for client in (web.client, web.viewer):
            for path in (DELIVERIES, LETTERS, f"{LETTERS}/groups", f"{DELIVERIES}?state=dead", f"{DELIVERIES}?q=team"):
                got(client.get(path))
            assert client.get(f"{DELIVERIES}/{id}").status_code in (200, 404, 409)
            assert client.get(f"{DELIVERIES}/{id}/preview").status_code in (200, 404, 409)
        assert web.client.post(f"{DELIVERIES}/{id}/replay").status_code in (202, 404, 409)
        got(web.client.post(f"{LETTERS}/drop", json={"all": True}), 202)


# --- the look of a message


class Tags(HTMLParser):
    """The tags and attributes of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"{name}=" for name, _ in attrs)}


def test_each_chat_has_its_look_in_which_nothing_can_run(site: Site) -> None:
    assert set(CHATS) == set(DRAWINGS)
    for name in CHATS:
        put_event(site.outbox, leak(text="<script>alert(1)</script> <img src=x onerror=alert(1)>"), name)
    with site.served() as web:
        for item in got(web.client.get(DELIVERIES))["items"]:
            for client in (web.client, web.viewer):
                reply = client.get(f"{DELIVERIES}/{item['delivery']}/preview")
                assert reply.status_code == 200
                assert reply.headers["Content-Security-Policy"] == (
                    "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
                )
                assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
                tags = Tags(reply.text).found
                assert not tags & {"script", "img", "iframe", "form", "link", "src=", "onerror="}
                assert "url-path-token" not in reply.text
                assert f"{item['endpoint']}: {item['endpoint']}" in reply.text


def test_a_viewers_look_is_redacted(site: Site) -> None:
    put_event(site.outbox, leak())
    with site.served() as web:
        (id,) = ids(web.client.get(DELIVERIES))
        assert PASSWORD in web.client.get(f"{DELIVERIES}/{id}/preview").text.replace("&amp;", "&")
        assert "Tr0ub4dor" not in web.viewer.get(f"{DELIVERIES}/{id}/preview").text


# --- replay


def test_a_delivery_is_sent_again_under_the_same_id(site: Site, team: Team) -> None:
    site.set(team=f"url = {team.url}")
    put(site.outbox, 1)
    id = send(site.outbox, State.DEAD, "http_400")
    with site.served() as web:
        found = got(web.client.post(f"{DELIVERIES}/{id}/replay"), 202)
        assert (found["replayed"], found["already_waiting"]) == (1, 0)
        assert "no process is sending" in found["waiting"][0]
        found = got(web.client.post(f"{DELIVERIES}/{id}/replay"), 202)
        assert (found["replayed"], found["already_waiting"]) == (0, 1)
        assert got(web.client.get(f"{DELIVERIES}/{id}"))["replays"] == 1
    assert main(["drain", "--folder", str(site.folder)]) == 0
    assert team.ids == [id]


def test_a_server_that_delivers_sends_it_at_once_and_says_so(site: Site, team: Team) -> None:
    site.set(team=f"url = {team.url}")
    put(site.outbox, 1)
    id = send(site.outbox, State.DELIVERED)
    with served(site.folder) as web:
        got(web.client.post(f"{DELIVERIES}/{id}/replay"), 202)
        team.wait_for(1)
        assert "no process is sending" not in got(web.client.get(f"{DELIVERIES}/{id}"))["why_waiting"]


@pytest.mark.parametrize("arguments", [["--read-only"], []])
def test_a_viewer_and_a_read_only_server_change_nothing(site: Site, arguments: list[str]) -> None:
    put(site.outbox, 1)
    id = send(site.outbox, State.DEAD, "http_400")
    with served(site.folder, *(arguments or ["--no-deliver"])) as web:
        client = web.client if arguments else web.viewer
        for path in (f"{DELIVERIES}/{id}/replay", f"{LETTERS}/replay", f"{LETTERS}/drop"):
            got(client.post(path, json={"all": True}), 403)
        assert got(client.get(f"{DELIVERIES}/{id}"))["state"] == "dead"
