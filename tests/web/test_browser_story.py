"""An operator's day in one tab: a real scan arrives, a receiver breaks and is repaired, dead letters are replayed, an
endpoint is created, tested and paused."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sfwebhooks.demo import run as demo
from sfwebhooks.demo import scanner
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.demo.teams import Teams
from tests.conftest import Team, host_shim
from tests.web.browser import Tab, tab_of
from tests.web.serving import Web, served

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not host_shim().parent.exists(), reason="no scanner is installed"),
]
#: milliseconds for the scanner's start and its scan
SCAN_MS = 120_000
#: an endpoint whose first failure makes a dead letter, and the failures after which nothing more is tried
TICKETS = "[webhooks.tickets]\nurl = {url}\nevents = high_risk_event\nmax_retries = 0\n"
FAILURES, REPORTED = 5, 7


@contextmanager
def scanning(team: Team) -> Iterator[tuple[Web, threading.Thread]]:
    """Run a server for a real scanner, with a thread that runs its scan of a fictional company."""
    with demo.work_folder(keep=False) as place, FictionalWeb() as site, Teams(place / "certificates") as teams:
        home = scanner.prepare(place / "spiderfoot", site.port)
        settings = home.data / "spiderfoot.conf"
        settings.touch(0o600)
        settings.write_text(f"{teams.settings()}\n{TICKETS.format(url=team.url)}", encoding="utf-8")
        with demo.shim(), served(home.data) as web:
            yield web, threading.Thread(target=demo.scan, args=(home, teams, lambda *_: None, True))


def report(web: Web, number: int) -> None:
    """Have another tool report a finding."""
    data = {"finding_id": f"f-{number}", "title": "Private key in a repository", "severity": "high"}
    event = {"type": "high_risk_event", "data": {**data, "target": "acme.test"}}
    web.client.post("/v1/events", json=event).raise_for_status()


def test_an_operators_day(browser: Any, team: Team, receive: Callable[..., Team]) -> None:
    with scanning(team) as (web, scan), tab_of(browser, web) as tab:
        tab.open("/login")
        tab.check_each_look("story-login")
        tab.sign_in()
        watch_a_scan(tab, scan)
        open_a_delivery(tab)
        break_and_repair(tab, team)
        replay_dead_letters(tab, team)
        create_test_and_pause(tab, receive())


def watch_a_scan(tab: Tab, scan: threading.Thread) -> None:
    tab.open("/scans")
    expect(tab.page.get_by_text("No scan yet")).to_be_visible()
    scan.start()
    try:
        row = tab.page.get_by_role("row", name=demo.TARGET)
        expect(row).to_contain_text("running", timeout=SCAN_MS)
        row.get_by_role("link").first.click()
        expect(tab.page.locator(".title .badge")).to_have_text("finished", timeout=SCAN_MS)
    finally:
        scan.join()
    expect(tab.section("Timeline")).to_contain_text("scan completed")
    expect(tab.section("Receipts").get_by_role("row", name="siem_system")).to_be_visible()
    waiting = tab.page.locator(".tile", has_text="Waiting").locator("dd")
    expect(waiting).to_have_text("0", timeout=SCAN_MS)
    tab.check_each_look("story-scan")
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Scans").click()
    expect(tab.page.get_by_role("row", name=demo.TARGET)).to_contain_text("finished")
    tab.check_each_look("story-scans")
    tab.open("/endpoints/siem_system")
    tab.section("Route of a past scan").get_by_role("button", name="Show route").click()
    expect(tab.section("Route of a past scan")).to_contain_text("of this scan already")
    tab.check_each_look("story-endpoint")


def open_a_delivery(tab: Tab) -> None:
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Deliveries").click()
    tab.page.get_by_label("Endpoint").select_option("siem_system")
    first = tab.page.locator(".long-row").first
    expect(first).to_contain_text("siem_system")
    tab.check_each_look("story-deliveries")
    first.get_by_role("link").first.click()
    expect(tab.page.locator(".notice.ok")).to_contain_text("Delivered")
    expect(tab.page.locator("main")).to_contain_text("acme.test")
    tab.check_each_look("story-delivery")


def break_and_repair(tab: Tab, team: Team) -> None:
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview").click()
    title, got = tab.page.get_by_role("heading", level=1), len(team.got)
    expect(title).to_have_text("All 4 endpoints are ready")
    tab.check_each_look("story-overview")
    team.answer = 503
    for number in range(REPORTED):
        report(tab.web, number)
    expect(title).to_have_text("1 of 4 endpoints needs attention")
    notice = tab.page.get_by_role("region", name="tickets needs attention")
    expect(notice).to_contain_text("failing")
    team.wait_for(got + FAILURES)
    tab.check_each_look("story-overview-failing")
    team.answer = 200
    notice.get_by_role("button", name="Send now").click()
    expect(tab.page.get_by_role("row", name="tickets").locator(".badge").first).to_have_text("ready")


def replay_dead_letters(tab: Tab, team: Team) -> None:
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name=re.compile("Dead letters")).click()
    group = tab.page.locator(".dead-group", has_text="tickets")
    expect(group).to_contain_text("retries exhausted: HTTP 503")
    tab.check_each_look("story-dead")
    number, got = int(group.locator(".group-count").inner_text()), len(team.got)
    assert 0 < number <= REPORTED
    tab.page.get_by_role("checkbox", name="Select all to tickets").check()
    tab.press("Replay")
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Replay {number} dead letters?")
    dialog.get_by_role("button", name=f"Replay {number}").click()
    team.wait_for(got + number)
    expect(group).to_have_count(0)
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview").click()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("All 4 endpoints are ready")


def create_test_and_pause(tab: Tab, team: Team) -> None:
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Endpoints").click()
    expect(tab.page.get_by_role("row", name="siem_system")).to_contain_text("ready")
    tab.check_each_look("story-endpoints")
    tab.page.get_by_role("link", name="New endpoint").click()
    tab.page.get_by_label("Name", exact=True).fill("case_system")
    tab.page.get_by_label("URL", exact=True).fill(team.url)
    tab.page.get_by_label("Events", exact=True).fill("scan_completed")
    tab.check_each_look("story-endpoint-new")
    tab.page.get_by_role("button", name="Create endpoint").click()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("case_system")
    part = tab.section("Test")
    part.get_by_role("button", name="Send test").click()
    expect(part.locator(".notice")).to_contain_text("Delivered")
    assert [one.message["event_type"] for one in team.wait_for(1)] == ["system_alert"]
    tab.page.get_by_role("button", name="Pause…").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("2 hours").check()
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(tab.page.locator(".title .badge")).to_have_text("paused")
    tab.check_each_look("story-endpoint")
