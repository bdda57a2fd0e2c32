"""Pictures of the page of `sfwebhooks web`, at a real server after a scan that a broken and a refusing receiver got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.pages.pictures import FOLDER, prepared
from tests.scanning import Scanning
from tests.web.browser import Tab, browsing, tab_of
from tests.web.serving import served

#: name of a picture -> address, theme, width and height of the window
WEB = {
    "web-overview": ("/", "light", (1100, 830)),
    "web-deliveries": ("/deliveries", "dark", (1100, 400)),
    "web-narrow": ("/", "light", (360, 640)),
}


def write_web() -> int:
    """Write the pictures of the page; return how many."""
    with prepared() as folder, served(folder) as web, browsing() as browser, tab_of(browser, web) as tab:
        tab.sign_in()
        _scan(folder, tab)
        for name, (path, theme, size) in WEB.items():
            tab.resize(size)
            tab.theme(theme)
            tab.open(path)
            tab.page.locator(".signal").get_by_text("Live").wait_for()
            tab.page.screenshot(path=FOLDER / f"{name}.png")
    return len(WEB)


def _scan(folder: Path, tab: Tab) -> None:
    """Let a scan run, and its events arrive."""
    scanning = Scanning(folder)
    scanning.begin()
    scanning.find(40)
    scanning.finish()
    attempts: Any = tab.page.locator("#attempts > li")
    attempts.filter(has_text="security_team").nth(5).wait_for()
    tab.page.get_by_role("region", name="siem_system needs attention").wait_for()
