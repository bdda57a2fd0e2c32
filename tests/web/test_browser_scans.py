"""The pages of scans in a real browser at a real server: a real scan that arrives, its page, hostile text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import a_scan, an_event
from tests.conftest import Team
from tests.filled import begin, put_event
from tests.scanning import Scanning, lines
from tests.web.browser import NARROW, SCRIPT, WIDE, Tab, tab_of
from tests.web.serving import VIEWER, Web, served

ONE_STORE = "the page asks the API, whose tests run on both"

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.slow


@pytest.fixture
def scanning(tmp_path: Path, team: Team) -> Scanning:
    """A scan that one endpoint gets all of, and another one only some."""
    found = Scanning(tmp_path)
    siem = lines(team, events="all, !system_alert")
    found.configure(siem=siem, soc=lines(team, events="all", min_severity="critical"))
    return found


@pytest.fixture
def web(tmp_path: Path, scanning: Scanning) -> Iterator[Web]:
    with served(tmp_path, "--no-deliver") as found:
        yield found


def test_a_scan_is_listed_from_its_start_on_and_its_page_follows_it_to_its_end(tab: Tab, scanning: Scanning) -> None:
    tab.open("/scans")
    expect(tab.page.get_by_text("No scan yet")).to_be_visible()
    scanning.begin()
    row = tab.page.get_by_role("row", name="Weekly Security Scan")
    expect(row).to_contain_text("running")
    scanning.find(5)
    expect(row.locator("[data-title='Delivered']")).to_have_text("7")
    row.get_by_role("link", name="Weekly Security Scan").click()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Weekly Security Scan")
    expect(tab.page.locator(".title .badge")).to_have_text("running")
    scanning.find(2)
    expect(tab.section("Findings by severity")).to_contain_text("7")
    scanning.finish()
    expect(tab.page.locator(".title .badge")).to_have_text("finished")
    expect(tab.section("Timeline")).to_contain_text("scan completed")
    expect(tab.section("Withheld")).to_contain_text("below min_severity")
    receipt = tab.section("Receipts").get_by_role("row", name="soc")
    expect(receipt.locator("[data-title='Withheld']")).to_have_text("7")
    expect(tab.section("What changed since the scan before")).to_contain_text("first finished scan of this target")
    tab.check_each_look("scan")
    for width in range(NARROW[0], WIDE[0] + 400, 80):
        tab.resize((width, 800))
        assert not tab.is_too_wide, f"{width} px"


def test_older_scans_are_read_when_they_are_asked_for(browser: Any, tmp_path: Path, team: Team) -> None:
    with closing(Outbox(tmp_path / FILE)) as outbox:
        for number in range(70):
            begin(outbox, a_scan(f"5C4A{number:04X}", name=f"scan {number}"))
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.siem]\nurl = {team.url}\n")
    with served(tmp_path, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/scans")
        rows = tab.page.locator("main tbody tr")
        expect(rows).to_have_count(50)
        expect(rows.first).to_contain_text("scan 69")
        tab.page.get_by_role("button", name="Older scans").click()
        expect(rows).to_have_count(70)
        expect(rows.last).to_contain_text("scan 0")
        expect(tab.page.get_by_role("button", name="Older scans")).to_have_count(0)


def test_a_viewer_sees_a_scan_and_can_change_nothing(browser: Any, web: Web, scanning: Scanning) -> None:
    scanning.begin()
    scanning.find(1)
    scanning.finish()
    with tab_of(browser, web) as tab:
        tab.sign_in(VIEWER)
        for path in ("/scans", f"/scans/{scanning.scan.id}"):
            tab.open(path)
            expect(tab.page.locator("main")).to_contain_text("Weekly Security Scan")
            assert tab.page.locator("main").get_by_role("button").count() == 0


def test_a_scan_that_is_not_known_is_a_problem_in_words(tab: Tab) -> None:
    tab.open("/scans/nothing")
    expect(tab.page.get_by_role("alert")).to_contain_text('the outbox has no scan "nothing"')


def test_text_of_scans_is_only_text(browser: Any, tmp_path: Path, team: Team) -> None:
    scan = a_scan(name=SCRIPT, target=f"{SCRIPT}.test", target_type=SCRIPT)
    part = {
        "total": 1,
        "by_type": {SCRIPT: 1},
        "items": [dict.fromkeys(("event_type", "data", "severity", "module"), SCRIPT)],
    }
    data = {"message": SCRIPT, "new": part, "gone": part, "changed": part, "modules_failed": [SCRIPT]}
    with closing(Outbox(tmp_path / FILE)) as outbox:
        begin(outbox, scan)
        put_event(outbox, an_event(1, scan=scan), SCRIPT)
        put_event(outbox, an_event(2, scan=scan, type="surface_changed", data=data), SCRIPT)
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.siem]\nurl = {team.url}\n")
    with served(tmp_path, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/scans")
        expect(tab.page.locator("main tbody")).to_contain_text(SCRIPT)
        tab.page.locator("main tbody a").first.click()
        expect(tab.section("What changed since the scan before")).to_contain_text(SCRIPT)
        expect(tab.section("Deliveries by endpoint")).to_contain_text(SCRIPT)
        assert "owned ·" not in tab.page.title()
        assert tab.page.title() != "owned"
        assert tab.page.locator("main img, main script").count() == 0
        for size in (WIDE, NARROW):
            tab.resize(size)
            assert not tab.is_too_wide
