"""A real browser on the page: tabs that collect what they complain of, sign-in, axe, pictures.

A picture is only taken when SFWEBHOOKS_PICTURES names a folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.builders import PATIENCE
from tests.web.serving import OPERATOR, Web

#: environment variable with a folder for pictures
PICTURES = "SFWEBHOOKS_PICTURES"
#: width and height of a window: of a desk, and of a phone
WIDE, NARROW = (1280, 900), (360, 800)
THEMES = ("light", "dark")
#: what axe checks: WCAG 2.0, 2.1 and 2.2, A and AA, and its own best practices
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: the browser's own line about an answer of the API that is not a success; each is shown on the page
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (401|403|404|409|412|422|429)\b")
#: and the one about WATCH in a frame that may run no script
SANDBOXED = re.compile(r"Blocked script execution in '[^']*/preview' because the document's frame is sandboxed")
#: kept in each tab: the longest pause of its main thread in milliseconds, and what its policy forbade
WATCH = """
window.watched = {longest: 0, forbidden: []};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.watched.longest = Math.max(window.watched.longest, entry.duration);
}).observe({type: "longtask", buffered: true});
addEventListener("securitypolicyviolation", (event) => {
  window.watched.forbidden.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""
#: what every text could have
SCRIPT = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>'\"&amp;"
#: what is beyond the right border of the window
BEYOND = """[...document.querySelectorAll("*")].filter(one =>
  one.getBoundingClientRect().right > document.documentElement.clientWidth
).map(one => `${one.tagName} ${one.className}: ${one.textContent.slice(0, 100)}`)"""


@dataclass
class Tab:
    """A tab of the browser at a server."""

    page: Any
    web: Web
    #: errors on its console, exceptions, and requests to other hosts
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> None:
        """Open a path, and wait until its title is there."""
        self.page.goto(f"{self.web.url}{path}")
        self.page.locator("main:not([aria-busy]) h1").wait_for()

    def sign_in(self, token: str = OPERATOR) -> None:
        """Sign in by the form."""
        self.open("/login")
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("navigation", name="Pages").wait_for()
        self.page.locator("main:not([aria-busy]) h1").wait_for()

    def section(self, name: str) -> Any:
        return self.page.get_by_role("region", name=name, exact=True)

    def press(self, name: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def theme(self, name: str) -> None:
        """Let the system's theme be light or dark."""
        self.page.emulate_media(color_scheme=name)

    def resize(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def picture(self, name: str) -> None:
        """Take a picture of the whole page."""
        folder = os.environ.get(PICTURES)
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def violations(self) -> list[str]:
        """Return what axe finds wrong with the page as it is."""
        self.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        found = self.page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        return [
            f"{one['id']}: {node['target']}: {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    @property
    def is_too_wide(self) -> bool:
        """Whether the page has to be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    @property
    def longest_pause(self) -> float:
        """The longest pause of the main thread so far in milliseconds, of those over 50."""
        return float(self.page.evaluate("window.watched.longest"))

    def check_each_look(self, name: str) -> None:
        """Check the page in both themes and widths: nothing for axe to find, no scrolling sideways; take pictures."""
        for size in (WIDE, NARROW):
            self.resize(size)
            for theme in THEMES:
                self.theme(theme)
                found = self.violations()
                assert found == [], f"{name}, {size[0]} px, {theme}: {found}"
                assert not self.is_too_wide, f"{name}, {size[0]} px: {self.page.evaluate(BEYOND)}"
                self.picture(f"{name}-{size[0]}-{theme}")
        self.resize(WIDE)
        self.theme(THEMES[0])

    def hear(self, message: Any) -> None:
        """Keep what the console complains of."""
        is_expected = REFUSED.search(message.text) or SANDBOXED.search(message.text)
        if message.type in ("error", "warning") and not is_expected:
            self.complaints.append(message.text)

    def watch_address(self, request: Any) -> None:
        """Keep a request to another host."""
        if not request.url.startswith((f"{self.web.url}/", "data:")):
            self.complaints.append(request.url)


@contextmanager
def browsing() -> Iterator[Any]:
    """Run the machine's Chromium while the block runs; the test is skipped where there is none, except in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path and os.environ.get("CI") != "true":
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab_of(browser: Any, web: Web, size: tuple[int, int] = WIDE) -> Iterator[Tab]:
    """Open a tab without cookies while the block runs; at its end nothing may have been complained of."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE * 1000)
    context.add_init_script(WATCH)
    tab = Tab(context.new_page(), web)
    tab.page.on("console", tab.hear)
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("request", tab.watch_address)
    try:
        yield tab
        forbidden = tab.page.evaluate("window.watched.forbidden")
        assert forbidden == [], forbidden
        assert tab.complaints == [], tab.complaints
    finally:
        context.close()
