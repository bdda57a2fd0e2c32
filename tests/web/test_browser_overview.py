"""Sign-in and the overview, in a real browser at a real server: what it shows while messages are sent, receivers break
and are repaired, and hostile text comes in."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import a_scan, an_event
from tests.conftest import Team
from tests.filled import begin, put_event, send
from tests.scanning import Scanning
from tests.web.browser import NARROW, SCRIPT, WIDE, Tab, tab_of
from tests.web.serving import OPERATOR, VIEWER, Web, served

ONE_STORE = "the page asks the API, whose tests run on both"

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.slow
SETTINGS = """\
[webhooks]
enabled = true
events = all
secret = a secret of the tests
retry_schedule = 1s, 1s, 1s, 1s, 1s, 1s
max_age = 1d

"""


def configure(folder: Path, **urls: str) -> None:
    """Write settings with an endpoint for each name."""
    sections = (f"[webhooks.{name}]\nurl = {url}\n" for name, url in urls.items())
    path = folder / "webhooks.ini"
    path.write_text(SETTINGS + "\n".join(sections), encoding="utf-8")
    path.chmod(0o600)


def report(web: Web, number: int, title: str = "Private key in the source code", target: str = "acme.test") -> None:
    """Have another tool report a finding."""
    data = {"finding_id": f"f-{number}", "title": title, "severity": "high", "target": target}
    web.client.post("/v1/events", json={"type": "high_risk_event", "data": data}).raise_for_status()


@pytest.fixture
def web(tmp_path: Path, receive: Callable[..., Team]) -> Iterator[Web]:
    """A server with two endpoints."""
    configure(tmp_path, siem=receive().url, soc_chat=receive().url)
    with served(tmp_path) as found:
        yield found


# --- sign-in


def test_the_printed_link_signs_in_once_and_leaves_the_address_bar(
    browser: Any, tmp_path: Path, receive: Callable[..., Team]
) -> None:
    configure(tmp_path, siem=receive().url)
    with served(tmp_path, token="") as web:
        with tab_of(browser, web) as tab:
            tab.page.goto(web.printed)
            expect(tab.page.get_by_role("heading", level=1)).to_have_text("The endpoint is ready")
            assert tab.page.url == f"{web.url}/"
            tab.page.go_back()
            assert tab.page.url == "about:blank"  # the link is not in the history either
            tab.open()
        with tab_of(browser, web) as other:
            other.page.goto(web.printed)
            expect(other.page.get_by_role("alert")).to_contain_text("used before")
            assert other.page.url == f"{web.url}/login"


def test_a_wrong_token_is_refused_in_words_and_the_right_one_opens_the_page_that_was_asked_for(
    browser: Any, web: Web
) -> None:
    with tab_of(browser, web) as tab:
        tab.open("/scans")
        expect(tab.page).to_have_url(re.compile(r"/login\?next=%2Fscans$"))
        tab.page.get_by_label("Token").fill("a token that is wrong")
        tab.page.keyboard.press("Enter")
        expect(tab.page.get_by_role("alert")).to_be_visible()
        tab.page.get_by_label("Token").fill(OPERATOR)
        tab.page.keyboard.press("Enter")
        expect(tab.page).to_have_url(f"{web.url}/scans")
        assert tab.page.evaluate("document.cookie") == ""


def test_sign_in_never_leads_to_another_host(browser: Any, web: Web) -> None:
    with tab_of(browser, web) as tab:
        for path in ("//evil.test/", "/\\evil.test/", "https://evil.test/", "javascript:alert(1)", "//["):
            tab.page.context.clear_cookies()
            tab.open(f"/login?next={path}")
            tab.page.get_by_label("Token").fill(OPERATOR)
            tab.page.keyboard.press("Enter")
            tab.page.get_by_role("navigation", name="Pages").wait_for()
            assert tab.page.url.startswith(f"{web.url}/")


def test_sign_out_ends_the_session_at_the_server(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Sign out").click()
    expect(tab.page.get_by_label("Token")).to_be_visible()
    tab.open("/")
    expect(tab.page.get_by_label("Token")).to_be_visible()


def test_a_viewer_is_offered_nothing_that_changes_anything(browser: Any, web: Web) -> None:
    with tab_of(browser, web) as tab:
        tab.sign_in(VIEWER)
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("All 2 endpoints are ready")
        expect(tab.page.get_by_text("viewer")).to_be_visible()
        expect(tab.page.get_by_role("link", name="Create an endpoint")).to_have_count(0)


# --- what is shown


def test_attempts_arrive_as_messages_are_sent(tab: Tab, web: Web) -> None:
    attempts = tab.page.locator("#attempts > li")
    expect(tab.page.get_by_text("No attempt yet")).to_be_visible()
    for number in range(3):
        report(web, number)
    expect(attempts).to_have_count(6)
    expect(attempts.first).to_contain_text("delivered")
    row = tab.page.get_by_role("row", name="siem")
    expect(row.locator("[data-title='Last minute']")).to_have_text("3")
    expect(row.locator("[data-title='Last success']")).not_to_have_text("never")
    tab.picture("overview-live")


def test_the_last_minute_is_known_when_the_page_is_opened(tab: Tab, web: Web) -> None:
    for number in range(3):
        report(web, number)
    minute = tab.page.get_by_role("row", name="siem").locator("[data-title='Last minute']")
    expect(minute).to_have_text("3")
    for _ in range(2):
        tab.open()
        expect(minute).to_have_text("3")
    report(web, 3)
    expect(minute).to_have_text("4")


def test_a_paused_list_of_attempts_stays_as_it_is(tab: Tab, web: Web) -> None:
    report(web, 1)
    attempts = tab.page.locator("#attempts > li")
    expect(attempts).to_have_count(2)
    tab.page.get_by_role("button", name="Pause").click()
    report(web, 2)
    expect(tab.page.get_by_role("row", name="siem").locator("[data-title='Last minute']")).to_have_text("2")
    assert attempts.count() == 2
    tab.page.get_by_role("button", name="Go on").click()
    expect(attempts).to_have_count(4)


def test_health_follows_a_receiver_that_breaks_and_is_repaired(
    browser: Any, tmp_path: Path, receive: Callable[..., Team]
) -> None:
    team = receive()
    configure(tmp_path, siem=team.url, soc_chat=receive().url)
    with served(tmp_path) as web, tab_of(browser, web) as tab:
        tab.sign_in()
        team.answer = 503
        for number in range(6):
            report(web, number)
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("1 of 2 endpoints needs attention")
        notice = tab.page.get_by_role("region", name="siem needs attention")
        expect(notice).to_contain_text("failing")
        expect(notice).to_contain_text("What to do:")
        assert tab.violations() == []
        tab.picture("overview-failing")
        team.answer = 200
        notice.get_by_role("button", name="Send now").click()
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("All 2 endpoints are ready")
        expect(notice).to_have_count(0)


def test_a_scan_is_shown_while_it_runs(tab: Tab, web: Web, tmp_path: Path) -> None:
    expect(tab.page.get_by_text("No scan yet")).to_be_visible()
    scanning = Scanning(tmp_path)
    scanning.begin()
    scan = tab.page.get_by_role("listitem").filter(has_text="Weekly Security Scan")
    expect(scan).to_contain_text("running")
    scanning.find(20)
    attempts = tab.page.locator("#attempts > li")
    expect(attempts.filter(has_text="acme.example").first).to_contain_text("high_risk_event")
    scanning.finish()
    expect(attempts.filter(has_text="scan_completed").first).to_be_visible()
    expect(scan).to_contain_text("finished")
    accepted = len(web.client.get("/v1/deliveries?endpoint=siem").json()["items"])
    assert accepted > 20
    row = tab.page.get_by_role("row", name="siem")
    expect(row.locator("[data-title='Last minute']")).to_have_text(str(accepted))
    expect(row.locator("[data-title='Delivered, 24 h']")).to_have_text(str(accepted))
    tab.picture("overview-scan")


def test_it_says_when_it_is_not_live_and_goes_on_when_the_server_is_back(
    browser: Any, tmp_path: Path, receive: Callable[..., Team]
) -> None:
    configure(tmp_path, siem=receive().url)
    with served(tmp_path) as web:
        port = web.port
        tab_at = tab_of(browser, web)
        tab = tab_at.__enter__()
        tab.sign_in()
        expect(tab.page.locator(".signal")).to_have_text("Live")
    expect(tab.page.locator(".signal")).to_have_text("Not live")
    expect(tab.page.locator("#banner")).to_contain_text("Not live: what you see is from")
    assert tab.violations() == []
    tab.picture("overview-not-live")
    with served(tmp_path, "--listen", f"127.0.0.1:{port}"):
        tab.page.get_by_role("button", name="Try now").click()
        expect(tab.page.get_by_label("Token")).to_be_visible()  # sessions are in the memory of the process
    tab.complaints = [one for one in tab.complaints if "ERR_CONNECTION" not in one and "INCOMPLETE_CHUNKED" not in one]
    tab_at.__exit__(None, None, None)


def test_a_tab_in_the_background_gives_its_connection_up_and_reads_everything_again(browser: Any, web: Web) -> None:
    with tab_of(browser, web) as tab:
        tab.page.clock.install()
        tab.sign_in()
        signal = tab.page.locator(".signal")
        expect(signal).to_have_text("Live")
        turn = (
            "hidden => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange'))}"
        )
        tab.page.evaluate(turn, True)
        tab.page.clock.fast_forward(11_000)
        expect(signal).to_have_text("Paused")
        report(web, 1)
        tab.page.evaluate(turn, False)
        expect(signal).to_have_text("Live")
        expect(tab.page.locator("#attempts > li")).to_have_count(2)


def test_sentences_of_the_server_have_the_times_and_words_of_the_page(tab: Tab) -> None:
    read = """async () => {
      const { words, h, momentText } = await import("/page/app.js");
      const { stateReason } = await import("/page/words.js");
      const text = "held, http_401 since 2026-11-30 00:56:47 UTC: sfwebhooks resume siem";
      const made = h("p", null, words(text, "siem"));
      const mistake = stateReason({ state: "off", reason: "client_cert: there is no such file" });
      const time = made.querySelector("time").dateTime;
      return [made.textContent, momentText(time), time, made.querySelector("code").textContent, mistake];
    }"""
    tab.open()
    text, shown, time, command, mistake = tab.page.evaluate(read)
    assert (time, command) == ("2026-11-30T00:56:47Z", "sfwebhooks resume siem")
    assert text == f"held, HTTP 401 since {shown}: sfwebhooks resume siem"
    assert mistake == "client_cert: there is no such file"


def test_a_stream_is_read_in_whatever_pieces_it_comes(tab: Tab) -> None:
    stream = (
        ': a comment\r\nevent: one\ndata: {"a":\ndata: 1}\n\nretry: 5\n\ndata:2\n\nevent: end\ndata: ["\u2026"]\n\n'
    )
    read = """async ([text, size]) => {
        const {parser} = await import("/page/live.js"), found = [];
        const parse = parser((name, data) => found.push([name, data]));
        for (let at = 0; at < text.length; at += size) parse(text.slice(at, at + size));
        return found;
    }"""
    for size in (1, 2, 3, 7, 1000):
        assert tab.page.evaluate(read, [stream, size]) == [["one", {"a": 1}], ["message", 2], ["end", ["\u2026"]]]


def test_an_event_without_an_end_is_not_collected_for_ever(tab: Tab) -> None:
    flood = """async () => {
        const {parser} = await import("/page/live.js"), parse = parser(() => {});
        for (let times = 0; times < 100; times += 1) {
            try { parse("x".repeat(100_000)); } catch (error) { return [times, error.name]; }
        }
    }"""
    assert tab.page.evaluate(flood) == [41, "RangeError"]


# --- for everybody


def test_each_look_of_sign_in_is_accessible(browser: Any, web: Web) -> None:
    with tab_of(browser, web) as tab:
        tab.open("/login")
        tab.check_each_look("login")


def test_each_look_of_the_overview_is_accessible(browser: Any, tmp_path: Path, receive: Callable[..., Team]) -> None:
    team = receive()
    team.answer = 401
    configure(tmp_path, siem=team.url, soc_chat=receive().url)
    with (tmp_path / "webhooks.ini").open("a") as settings:
        settings.write("[webhooks-expect]\nnightly = 0 2 * * *\n    acme.example\n    192.0.2.0/24\n")
    with closing(Outbox(tmp_path / FILE)) as outbox:
        begin(outbox, a_scan())
    with served(tmp_path) as web, tab_of(browser, web) as tab:
        tab.sign_in()
        for number in range(4):
            report(web, number)
        expect(tab.page.get_by_role("region", name="siem needs attention")).to_contain_text("held")
        expect(tab.page.locator("#attempts").get_by_text("delivered").first).to_be_visible()
        expect(tab.page.get_by_role("region", name="Expected scans")).to_contain_text("acme.example, 192.0.2.0/24")
        expect(tab.page.get_by_role("region", name="Last scans")).to_contain_text("acme.example")
        tab.check_each_look("overview")


def test_everything_can_be_done_with_the_keyboard(tab: Tab) -> None:
    page = tab.page
    tab.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.ariaLabel"))
        outlined = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outlined != "none" or reached[-1] == page.evaluate("document.body.textContent.trim()")
    assert {"Overview", "Deliveries", "Scans", "siem", "soc_chat", "Pause", "Sign out"} <= {*reached}
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    tab.picture("keys")
    assert tab.violations() == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page).to_have_url(f"{tab.web.url}/scans")


def test_shortcuts_of_single_keys_can_be_switched_off(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Keyboard shortcuts").click()
    tab.page.get_by_label("Shortcuts of single keys").uncheck()
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("?")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)


def test_the_chosen_theme_is_there_before_the_first_paint(tab: Tab) -> None:
    tab.theme("light")
    for name in ("light", "dark"):
        tab.page.get_by_role("button", name=re.compile("^Theme")).click()
        expect(tab.page.get_by_role("button", name=f"Theme: {name}")).to_be_visible()
    tab.page.reload(wait_until="commit")
    expect(tab.page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(14, 17, 21)"


def test_nothing_has_to_be_scrolled_sideways_at_any_width(tab: Tab, web: Web) -> None:
    report(web, 1, title="x" * 300, target="a" * 250)
    expect(tab.page.locator("#attempts > li")).to_have_count(2)
    tab.page.evaluate(  # the longest count of dead letters
        "Object.assign(document.getElementById('dead-count'), {hidden: false, textContent: '999+'})"
    )
    for width in range(NARROW[0], WIDE[0] + 400, 40):
        tab.resize((width, 800))
        assert not tab.is_too_wide, f"{width} px"


# --- hostile text


@contextmanager
def replying(body: str) -> Iterator[str]:
    """A receiver that refuses everything with a page of its own; yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def test_text_of_scans_receivers_and_settings_is_only_text(browser: Any, tmp_path: Path) -> None:
    with replying(SCRIPT) as url:
        configure(tmp_path, siem=url)
        with closing(Outbox(tmp_path / FILE)) as outbox:
            scan = a_scan(name=SCRIPT, target=f"{SCRIPT}.test")
            begin(outbox, scan)
            put_event(outbox, an_event(scan=scan, data={"event_type": SCRIPT, "data": SCRIPT}), SCRIPT)
            send(outbox, reason=f"http_503: {SCRIPT}", excerpt=SCRIPT, endpoint=SCRIPT)
            put_event(outbox, an_event(2, scan=scan), SCRIPT)
        with served(tmp_path) as web, tab_of(browser, web) as tab:
            tab.sign_in()
            for number in range(6):
                report(web, number, title=SCRIPT, target=SCRIPT)
            expect(tab.page.get_by_role("heading", level=1)).to_have_text("2 of 2 endpoints need attention")
            expect(tab.page.locator("#attention")).to_contain_text(SCRIPT)
            expect(tab.page.locator("main")).to_contain_text(f"{SCRIPT}.test")
            assert tab.page.title() == "Overview · sfwebhooks"
            assert tab.page.locator("main img, main script").count() == 0
            assert not tab.is_too_wide
            tab.picture("overview-hostile")
