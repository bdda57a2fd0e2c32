"""The pages of deliveries in a real browser: the list, its filters, what is new, one delivery in detail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.retry import State
from tests.builders import an_event
from tests.conftest import Team
from tests.filled import put_event
from tests.web.browser import NARROW, Tab, tab_of
from tests.web.filling import XSS, accepted, attempted, opened
from tests.web.serving import VIEWER, Web, served

pytestmark = pytest.mark.slow
#: most rows that are in the document at once
ROWS_MAX = 80


@pytest.fixture
def web(folder: Path, ids: dict[str, str]) -> Iterator[Web]:
    """A server that sends nothing: what it shows stays."""
    with served(folder, "--no-deliver") as web:
        yield web


def rows(tab: Tab) -> Any:
    return tab.page.locator(".long-row")


def wait_for_list(tab: Tab) -> None:
    tab.page.locator(".list-panel:not([aria-busy])").wait_for()


def address(tab: Tab) -> str:
    return str(tab.page.evaluate("location.pathname + location.search"))


def focused(tab: Tab) -> str:
    return str(tab.page.evaluate("document.activeElement.getAttribute('href') ?? document.activeElement.tagName"))


def test_a_delivery_is_opened_and_left_by_keys(tab: Tab) -> None:
    tab.open("/deliveries")
    rows(tab).first.wait_for()
    tab.page.keyboard.press("j")
    first = focused(tab)
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("k")
    second = focused(tab)
    assert first.startswith("/deliveries/")
    assert second != first
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(f"**{second}")
    tab.page.locator(".delivery-marks").wait_for()
    tab.page.keyboard.press("k")
    tab.page.wait_for_url(f"**{first}")
    tab.page.locator(".delivery-marks").wait_for()
    tab.page.keyboard.press("j")
    tab.page.wait_for_url(f"**{second}")
    tab.page.locator(".delivery-marks").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.locator(f".long-row a[href='{second}']:focus").wait_for()
    assert address(tab) == "/deliveries"


def test_filters_are_in_the_address_and_reached_by_keys(tab: Tab) -> None:
    tab.open("/deliveries")
    rows(tab).first.wait_for()
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("tickets")
    tab.page.wait_for_url("**/deliveries?q=tickets")
    wait_for_list(tab)
    assert rows(tab).count() == 12
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_url("**/deliveries?q=tickets&state=waiting")
    tab.page.get_by_text("No delivery matches these filters").wait_for()
    tab.page.get_by_role("button", name="Clear filters").last.click()
    tab.page.wait_for_url("**/deliveries")
    rows(tab).first.wait_for()
    tab.page.get_by_label("Endpoint").select_option("team")
    tab.page.wait_for_url("**/deliveries?endpoint=team")
    wait_for_list(tab)
    tab.page.reload()
    rows(tab).first.wait_for()
    assert rows(tab).count() == 3
    assert tab.page.get_by_label("Endpoint").input_value() == "team"


def test_a_filter_of_the_address_without_a_field_can_be_removed(tab: Tab) -> None:
    tab.open("/deliveries?scan=5C4A0001&reason=http_503")
    wait_for_list(tab)
    assert rows(tab).count() == 1
    tab.page.get_by_role("button", name="Remove the filter reason").click()
    tab.page.wait_for_url("**/deliveries?scan=5C4A0001")


def test_a_wrong_filter_is_explained(tab: Tab) -> None:
    tab.open("/deliveries?since=yesterday")
    tab.page.get_by_role("alert").get_by_text("expected a duration such as 2h or 7d").wait_for()


def test_what_is_new_is_on_top_and_moves_nothing_under_a_reader(tab: Tab, folder: Path) -> None:
    tab.open("/deliveries")
    rows(tab).first.wait_for()
    tab.page.mouse.move(5, 5)
    with opened(folder) as outbox:
        accepted(outbox, "team", [301], time.time())
    tab.page.locator(".long-row[aria-posinset='1'][aria-setsize='56']").wait_for()
    tab.page.evaluate("scrollTo(0, 700)")
    before = tab.page.evaluate("[scrollY, document.elementFromPoint(400, 500).closest('a').href]")
    with opened(folder) as outbox:
        accepted(outbox, "team", [302, 303], time.time())
    pill = tab.page.get_by_role("button", name="2 new")
    pill.wait_for()
    assert tab.page.evaluate("[scrollY, document.elementFromPoint(400, 500).closest('a').href]") == before
    pill.click()
    tab.page.locator(".long-row[aria-posinset='1'][aria-setsize='58']").wait_for()
    assert tab.page.evaluate("scrollY") == 0


def test_a_list_of_thousands_has_few_rows_in_the_document(tab: Tab, folder: Path) -> None:
    now = time.time()
    with opened(folder) as outbox:
        accepted(outbox, "siem", range(1000, 3000), now)
    tab.open("/deliveries?endpoint=siem")
    rows(tab).first.wait_for()
    tab.page.keyboard.press("j")
    for number in (*range(200, 2001, 100), 2040):
        tab.page.keyboard.press("End")
        tab.page.locator(f".long-row[aria-setsize='{number}']").first.wait_for()
        assert rows(tab).count() <= ROWS_MAX
    tab.page.get_by_text("2,040 deliveries in all").wait_for()


def test_a_delivery_shows_why_and_what_to_do_and_each_attempt(tab: Tab, ids: dict[str, str]) -> None:
    tab.open(f"/deliveries/{ids['refused']}")
    text = tab.page.locator("main").inner_text()
    assert "Dead: refused: HTTP 400" in text
    assert "What to do:" in text
    assert tab.page.locator(".attempt").count() == 3
    assert 'error": "field severity: unknown value' in text
    widths = tab.page.evaluate("[...document.querySelectorAll('.attempt-fill')].map((one) => one.style.width)")
    assert widths == ["12%", "100%", "36%"]
    assert "X-SpiderFoot-Signature" in text
    assert "a-secret-of-siem" not in tab.page.content()


def test_a_message_is_drawn_as_its_chat_does_in_a_frame_that_can_do_nothing(tab: Tab, ids: dict[str, str]) -> None:
    tab.open(f"/deliveries/{ids['chat']}")
    frame = tab.page.locator("iframe")
    assert frame.get_attribute("sandbox") == ""
    tab.page.frame_locator("iframe").get_by_text("dev203.acme.example").first.wait_for()
    assert "path-token" not in tab.page.content()


def test_a_delivery_is_replayed_and_seen_delivered_live(
    browser: Any, folder: Path, ids: dict[str, str], team: Team
) -> None:
    with served(folder) as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open(f"/deliveries/{ids['refused']}")
        tab.page.get_by_role("button", name="Replay").click()
        tab.page.get_by_role("dialog").get_by_role("button", name="Replay").click()
        tab.page.locator(".notice.ok", has_text="Delivered").wait_for()
        assert ids["refused"] in team.ids
        assert tab.page.locator(".attempt").count() == 4


def test_a_viewer_can_change_nothing(browser: Any, web: Web, ids: dict[str, str]) -> None:
    with tab_of(browser, web) as tab:
        tab.sign_in(VIEWER)
        tab.open(f"/deliveries/{ids['refused']}")
        tab.page.locator(".attempts").wait_for()
        assert tab.page.get_by_role("button", name="Replay").count() == 0


def test_data_replies_and_names_are_only_text(browser: Any, folder: Path, ids: dict[str, str]) -> None:
    now = time.time()
    with opened(folder) as outbox:
        accepted(outbox, XSS, [9007], now, module=XSS, data=XSS)
        hostile = attempted(outbox, XSS, State.DEAD, f"refused: {XSS}", now, 0.1, XSS)
        put_event(outbox, an_event(9008, data={XSS: XSS, "event_type": XSS, "data": XSS}), "siem", at=now)
        sent = attempted(outbox, "siem", State.WAITING, f"{XSS}", now + 7200, 0.1, XSS)
    with served(folder, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        for path in ("/deliveries", f"/deliveries/{hostile}", f"/deliveries/{sent}", f"/deliveries?scan={XSS[:40]}"):
            tab.open(path)
            tab.page.locator(".delivery-marks, .long-row, .list-foot .empty").first.wait_for()
            assert tab.page.evaluate("window.owned") is None
            assert tab.page.locator("main img, main script, main svg[onload], iframe[srcdoc]").count() == 0
        tab.open(f"/deliveries/{hostile}")
        text = tab.page.locator("main").inner_text()
        assert "<script>window.owned=1</script>" in text
        assert r"\u202eevil" in text
        assert "<script>window.owned=1</script>" in tab.page.locator(".delivery-finding").inner_text()
        tab.resize(NARROW)
        assert not tab.is_too_wide


def test_each_look(tab: Tab, ids: dict[str, str]) -> None:
    tab.open("/deliveries")
    rows(tab).first.wait_for()
    tab.check_each_look("deliveries")
    for name in ("refused", "retried", "chat"):
        tab.open(f"/deliveries/{ids[name]}")
        tab.check_each_look(f"delivery-{name}")
