"""The page of dead letters in a real browser: select, see what will happen, replay, drop."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.retry import State
from tests.builders import a_scan
from tests.conftest import Team
from tests.filled import begin
from tests.web.browser import NARROW, Tab, tab_of
from tests.web.filling import XSS, accepted, attempted, opened
from tests.web.serving import VIEWER, Web, served

pytestmark = pytest.mark.slow


@pytest.fixture
def web(folder: Path, ids: dict[str, str]) -> Iterator[Web]:
    """A server that also sends."""
    with served(folder) as web:
        yield web


@pytest.fixture
def tab(tab: Tab) -> Tab:
    tab.open("/dead")
    tab.page.locator(".dead-group").first.wait_for()
    return tab


def group(tab: Tab, endpoint: str) -> Any:
    return tab.page.locator(".dead-group", has_text=endpoint)


def number_of_dead(web: Web) -> int:
    return len(web.client.get("/v1/dead-letters", params={"limit": 500}).json()["items"])


def test_dead_letters_are_grouped_by_endpoint_and_reason(tab: Tab) -> None:
    counts = [one.inner_text() for one in tab.page.locator(".group-count").all()]
    assert counts == ["12", "1"]
    assert "retries exhausted: timeout" in group(tab, "tickets").inner_text()
    assert "refused: HTTP 400" in group(tab, "siem").inner_text()


def test_one_is_replayed_and_seen_delivered_live(tab: Tab, team: Team, ids: dict[str, str]) -> None:
    group(tab, "siem").locator("summary").click()
    tab.page.get_by_role("checkbox", name=re.compile("^Select (?!all)")).check()
    tab.page.get_by_text("1 selected").wait_for()
    tab.press("Replay")
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_text("Replay 1 dead letter?").wait_for()
    assert "siem" in dialog.get_by_role("table").inner_text()
    assert team.ids.count(ids["refused"]) == 0
    dialog.get_by_role("button", name="Replay 1").click()
    tab.page.get_by_text("1 dead letter will be sent again.").wait_for()
    team.wait_for(1)
    group(tab, "siem").wait_for(state="detached")
    tab.open(f"/deliveries/{ids['refused']}")
    tab.page.locator(".notice.ok", has_text="Delivered").wait_for()


def test_a_whole_group_is_replayed_at_a_rate(tab: Tab, web: Web, team: Team) -> None:
    tab.page.get_by_role("checkbox", name="Select all to tickets").check()
    tab.page.get_by_text("12 selected").wait_for()
    tab.press("Replay")
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("At most").select_option("1/m")
    dialog.get_by_text("The last one is due in 11 min.").wait_for()
    dialog.get_by_role("button", name="Replay 12").click()
    tab.page.get_by_text("12 dead letters will be sent again.").wait_for()
    group(tab, "tickets").wait_for(state="detached")
    assert number_of_dead(web) == 1
    waiting = web.client.get("/v1/deliveries", params={"state": "waiting", "endpoint": "tickets"}).json()["items"]
    assert len(waiting) >= 11


def test_nothing_is_dropped_before_the_dialog_is_answered(tab: Tab, web: Web) -> None:
    tab.press("Drop all")
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_text("Drop 13 dead letters for good?").wait_for()
    tab.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert number_of_dead(web) == 13
    tab.press("Drop all")
    dialog.get_by_role("button", name="Drop 13").click()
    tab.page.get_by_text("13 dead letters dropped.").wait_for()
    tab.page.get_by_text("No dead letters", exact=True).wait_for()
    assert number_of_dead(web) == 0


def test_those_that_cannot_be_dropped_yet_are_named(browser: Any, folder: Path, ids: dict[str, str]) -> None:
    now, scan = time.time(), a_scan("5C4A0002")
    with opened(folder) as outbox:
        begin(outbox, scan)
        accepted(outbox, "gone", [401, 402], now, scan)
        for _ in range(2):
            attempted(outbox, "gone", State.DEAD, "endpoint_removed", now)
    with served(folder, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/dead")
        tab.page.get_by_role("checkbox", name="Select all to gone").check()
        tab.press("Drop")
        tab.page.get_by_role("dialog").get_by_text("2 dead letters cannot be dropped yet").wait_for()


def test_letters_are_selected_by_keys(tab: Tab) -> None:
    group(tab, "tickets").locator("summary").focus()
    tab.page.keyboard.press("Enter")
    group(tab, "tickets").locator(".long-row a").first.focus()
    tab.page.keyboard.press("x")
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("x")
    tab.page.get_by_text("2 selected").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.locator(".selection-bar").wait_for(state="hidden")


def test_filters_change_what_all_means(tab: Tab) -> None:
    tab.page.get_by_label("Endpoint").select_option("siem")
    tab.page.wait_for_url("**/dead?endpoint=siem")
    group(tab, "tickets").wait_for(state="detached")
    tab.press("Replay all")
    tab.page.get_by_role("dialog").get_by_text("Replay 1 dead letter?").wait_for()


def test_a_viewer_sees_no_button_that_changes_anything(browser: Any, web: Web) -> None:
    with tab_of(browser, web) as tab:
        tab.sign_in(VIEWER)
        tab.open("/dead")
        tab.page.locator(".dead-group").first.wait_for()
        assert tab.page.locator("main").get_by_role("checkbox").count() == 0
        assert tab.page.locator("main button").all_inner_texts() == []


def test_names_and_reasons_are_only_text(browser: Any, folder: Path, ids: dict[str, str]) -> None:
    with opened(folder) as outbox:
        accepted(outbox, XSS, [9007], time.time(), data=XSS)
        attempted(outbox, XSS, State.DEAD, f"refused: {XSS}", time.time(), excerpt=XSS)
    with served(folder, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/dead")
        hostile = group(tab, "onerror")
        hostile.locator("summary").click()
        hostile.locator(".long-row").wait_for()
        tab.page.get_by_role("checkbox", name=re.compile("^Select all to <img")).check()
        tab.press("Drop")
        tab.page.get_by_role("dialog").get_by_text("<script>window.owned=1</script>").wait_for()
        assert tab.page.evaluate("window.owned") is None
        assert tab.page.locator("main img, dialog img, main script, main iframe").count() == 0
        tab.resize(NARROW)
        assert not tab.is_too_wide


def test_each_look(tab: Tab) -> None:
    group(tab, "tickets").locator("summary").click()
    tab.page.locator(".long-row").first.wait_for()
    tab.page.get_by_role("checkbox", name="Select all to tickets").check()
    tab.check_each_look("dead")
    tab.press("Drop")
    tab.page.get_by_role("dialog").wait_for()
    tab.check_each_look("dead-dialog")
