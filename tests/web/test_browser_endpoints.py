"""The pages of endpoints in a real browser: created, tested, paused, changed by two at once, deleted."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.builders import an_event
from tests.conftest import Team
from tests.filled import begin, end, put, put_event, send
from tests.hostile import Hostile, Way, refusing, silent
from tests.web.browser import NARROW, SCRIPT, WIDE, Tab, tab_of
from tests.web.serving import VIEWER, Web, served

ONE_STORE = "the page asks the API, whose tests run on both"

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.slow
SECRET = "a secret of the tests"


def configure(folder: Path, **endpoints: str) -> Path:
    """Write settings: the lines of each endpoint."""
    path = folder / "webhooks.ini"
    path.touch(0o600)
    sections = (f"[webhooks.{name}]\n{lines}\n" for name, lines in endpoints.items())
    path.write_text("[webhooks]\nevents = all\n\n" + "\n".join(sections), encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path: Path, team: Team) -> Path:
    """Settings with one endpoint, whose receiver is `team`."""
    lines = f"url = {team.url}?path-of-the-url\nsecret = {SECRET}\ntimeout = 5s\ndescription = the SIEM of the SOC"
    return configure(tmp_path, siem=lines)


@pytest.fixture
def web(tmp_path: Path, settings: Path) -> Iterator[Web]:
    with served(tmp_path) as found:
        yield found


# --- a new one


def test_an_endpoint_is_created_and_its_secret_never_comes_back(
    tab: Tab, settings: Path, receive: Callable[..., Team]
) -> None:
    other = receive()
    tab.open("/endpoints")
    tab.page.get_by_role("link", name="New endpoint").click()
    tab.page.get_by_label("Name", exact=True).fill("case_system")
    url = tab.page.get_by_label("URL", exact=True)
    assert url.get_attribute("type") == "password"
    assert url.get_attribute("autocomplete") == "off"
    url.fill(f"{other.url}?hidden-path")
    expect(tab.page.get_by_text(f"Sends to http://{other.url.split('/')[2]}, without TLS")).to_be_visible()
    tab.page.get_by_label("Events", exact=True).fill("scan_*")
    tab.page.get_by_text("Choose from the list").click()
    tab.page.get_by_role("checkbox", name="high_risk_event").check()
    expect(tab.page.get_by_label("Events", exact=True)).to_have_value("scan_*, high_risk_event")
    tab.press("Generate")
    secret = tab.page.get_by_label("Secret", exact=True).input_value()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", secret)
    tab.picture("endpoint-new")
    tab.press("Create endpoint")
    expect(tab.page).to_have_url(re.compile("/endpoints/case_system$"))
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("case_system")
    made = {one.name: one for one in load(settings).known}["case_system"]
    assert made.url.reveal() == f"{other.url}?hidden-path"
    assert [one.reveal() for one in made.secrets] == [secret]
    assert made.events == ("scan_*", "high_risk_event")
    tab.press("Edit")
    expect(tab.page.get_by_label("Secret", exact=True)).to_have_value("")
    content = tab.page.content()
    assert secret not in content
    assert "hidden-path" not in content


def test_what_the_api_refuses_is_shown_at_its_field(tab: Tab, settings: Path) -> None:
    before = settings.read_bytes()
    tab.open("/endpoints/+new")
    tab.press("Create endpoint")
    expect(tab.page.get_by_label("URL", exact=True)).to_be_focused()
    expect(tab.page.get_by_label("URL", exact=True)).to_have_attribute("aria-invalid", "true")
    tab.page.get_by_label("URL", exact=True).fill("https://siem.example.com/in")
    tab.page.locator("summary", has_text="Pace, retries and batches").click()
    timeout = tab.page.get_by_label("timeout", exact=True)
    timeout.fill("5 apples")
    tab.press("Create endpoint")
    expect(timeout).to_have_attribute("aria-invalid", "true")
    expect(timeout).to_be_focused()
    expect(timeout).to_have_accessible_description(re.compile("expected a duration above zero"))
    tab.check_each_look("endpoint-refused")
    assert settings.read_bytes() == before
    timeout.fill("5s")
    tab.page.get_by_label("Name", exact=True).fill("a siem")
    tab.press("Create endpoint")
    expect(tab.page.get_by_text("Marked above: Name")).to_be_visible()
    tab.page.get_by_label("Name", exact=True).fill("")
    tab.press("Create endpoint")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("siem_example_com")


def test_the_form_says_in_full_where_a_url_leads_and_what_an_endpoint_gets_by_itself(tab: Tab) -> None:
    tab.open("/endpoints/+new")
    tab.page.get_by_label("URL", exact=True).fill("http://a-receiver-with-a-long-name.example.com:8443/secret-path")
    words = tab.page.get_by_text("Sends to http://a-receiver-with-a-long-name.example.com:8443, without TLS")
    assert words.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    events = tab.page.get_by_label("Events", exact=True)
    expect(events).to_have_attribute("placeholder", "scan_*, high_risk_event, correlation_found")


# --- tests


def send_test(tab: Tab) -> Any:
    """Send a test and return the part of the page that shows its result."""
    part = tab.section("Test")
    part.get_by_role("button", name="Send test").click()
    part.locator(".notice").wait_for()
    return part


def test_a_test_shows_each_step_and_the_reply(tab: Tab, team: Team) -> None:
    tab.open("/endpoints/siem")
    part = send_test(tab)
    expect(part.locator(".notice")).to_contain_text("Delivered")
    steps = part.locator(".step .name").all_inner_texts()
    assert steps == ["Resolve", "Connect", "Send", "Wait", "Read"]
    assert [one.message["event_type"] for one in team.got] == ["system_alert"]
    tab.check_each_look("endpoint-tested")


def test_a_test_sends_the_example_that_is_chosen(tab: Tab, team: Team) -> None:
    tab.open("/endpoints/siem")
    tab.section("Test").get_by_label("Message").select_option("scan_completed")
    send_test(tab)
    assert [one.message["event_type"] for one in team.got] == ["scan_completed"]


def test_a_refused_test_names_the_reason_and_what_to_do(tab: Tab, team: Team) -> None:
    team.answer = 401
    tab.open("/endpoints/siem")
    part = send_test(tab)
    expect(part.locator(".notice")).to_contain_text("Not delivered")
    expect(part.locator(".notice")).to_contain_text("HTTP 401")
    expect(part.locator(".notice")).to_contain_text("What to do: correct secret, api_key or header.NAME")


@pytest.mark.parametrize(
    "way, words, step",
    [(refusing, "connection failed", "Connect"), (silent, "timeout", "Wait")],
    ids=["refused", "slow"],
)
def test_a_failed_test_ends_at_its_step(
    way: Way, words: str, step: str, tab: Tab, settings: Path, hostile: Callable[..., Hostile]
) -> None:
    configure(settings.parent, siem=f"url = {hostile(way).url}\nsecret = {SECRET}\ntimeout = 1s")
    tab.open("/endpoints/siem")
    part = send_test(tab)
    expect(part.locator(".notice")).to_contain_text(words)
    expect(part.locator(".step.failed .name")).to_have_text(step)
    expect(part.locator(".step").last).to_have_class(re.compile("failed"))


def test_a_test_shows_the_certificate_that_is_not_trusted(
    tab: Tab, settings: Path, receive: Callable[..., Team], https: ssl.SSLContext
) -> None:
    configure(settings.parent, siem=f"url = {receive(tls=https).url}\nsecret = {SECRET}")
    tab.open("/endpoints/siem")
    part = send_test(tab)
    expect(part.locator(".notice")).to_contain_text("tls unverified")
    failed = part.locator(".step.failed")
    expect(failed.locator(".name")).to_have_text("TLS")
    expect(failed).to_contain_text("issued by CN=Test CA")
    tab.check_each_look("endpoint-tls")


# --- orders


def test_a_pause_ends_with_resume(tab: Tab, web: Web, team: Team) -> None:
    tab.open("/endpoints/siem")
    tab.press("Pause…")
    dialog = tab.page.get_by_role("dialog")
    assert tab.violations() == []
    dialog.get_by_label("2 hours").check()
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(tab.page.locator(".title .badge")).to_have_text("paused")
    data = {"finding_id": "f-1", "title": "Private key", "severity": "high", "target": "acme.test"}
    web.client.post("/v1/events", json={"type": "high_risk_event", "data": data}).raise_for_status()
    waiting = tab.section("Now").locator(".tile", has_text="Waiting").get_by_role("link")
    expect(waiting).to_have_text("1")
    assert team.got == []
    tab.check_each_look("endpoint-paused")
    tab.press("Resume")
    team.wait_for(1)
    expect(tab.page.locator(".title .badge")).to_have_text("ready")
    expect(waiting).to_have_count(0)


def test_a_wrong_time_of_a_pause_is_refused_in_its_dialog(tab: Tab) -> None:
    tab.open("/endpoints/siem")
    tab.press("Pause…")
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Another time, such as 45m").fill("two apples")
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("expected a duration")
    dialog.get_by_label("Another time, such as 45m").fill("45m")
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(tab.page.locator(".title .badge")).to_have_text("paused")


def test_disable_and_enable_change_the_settings(tab: Tab, settings: Path) -> None:
    tab.open("/endpoints/siem")
    tab.press("Disable…")
    tab.page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(tab.page.locator(".title .badge")).to_have_text("off")
    assert "enabled = false" in settings.read_text()
    tab.press("Enable")
    expect(tab.page.locator(".title .badge")).to_have_text("ready")
    assert [one.enabled for one in load(settings).known] == [True]


def test_delete_says_what_becomes_of_waiting_deliveries(
    browser: Any, tmp_path: Path, hostile: Callable[..., Hostile]
) -> None:
    settings = configure(tmp_path, siem=f"url = {hostile(refusing).url}", other="url = https://other.example.com/")
    with closing(Outbox(tmp_path / FILE)) as outbox:
        put(outbox, 1, 2, endpoint="siem")
    with served(tmp_path, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/endpoints/siem")
        tab.press("Delete…")
        dialog = tab.page.get_by_role("dialog")
        expect(dialog).to_contain_text("2 deliveries are waiting for it")
        assert tab.violations() == []
        tab.picture("endpoint-delete")
        dialog.get_by_role("button", name="Cancel").click()
        assert "[webhooks.siem]" in settings.read_text()
        tab.press("Delete…")
        dialog.get_by_role("button", name="Delete", exact=True).click()
        expect(tab.page).to_have_url(f"{web.url}/endpoints")
        expect(tab.page.get_by_role("row", name="siem")).to_contain_text("removed")
        assert [one.name for one in load(settings).known] == ["other"]


# --- changes


def test_nobodys_change_is_lost(tab: Tab, web: Web, settings: Path) -> None:
    tab.open("/endpoints/siem")
    tab.press("Edit")
    tab.page.get_by_label("Description").fill("changed in the browser")
    assert web.client.patch("/v1/webhooks/siem", json={"events": ["scan_*"], "settings": {"timeout": "9s"}}).is_success
    before = settings.read_bytes()
    tab.press("Save changes")
    problem = tab.page.locator(".form-problem")
    expect(problem).to_contain_text("Nothing was saved: somebody else changed this endpoint after you opened it.")
    expect(problem).to_contain_text("timeout: 5s → 9s")
    expect(problem).to_contain_text("events: all → scan_*")
    expect(tab.page.get_by_label("Events", exact=True)).to_have_value("scan_*")
    expect(tab.page.get_by_label("Description")).to_have_value("changed in the browser")
    assert settings.read_bytes() == before
    tab.page.evaluate("scrollTo(0, 0)")  # else the head of the page covers a part of a field
    tab.check_each_look("endpoint-conflict")
    tab.press("Save changes")
    expect(tab.section("Settings")).to_contain_text("9s")
    made = load(settings).known[0]
    assert (made.description, made.events, made.timeout) == ("changed in the browser", ("scan_*",), 9.0)


def test_a_key_that_both_changed_is_marked(tab: Tab, web: Web) -> None:
    tab.open("/endpoints/siem")
    tab.press("Edit")
    description = tab.page.get_by_label("Description")
    description.fill("mine")
    assert web.client.patch("/v1/webhooks/siem", json={"description": "theirs"}).is_success
    tab.press("Save changes")
    expect(description).to_have_attribute("aria-invalid", "true")
    expect(description).to_have_accessible_description(re.compile("Somebody else made this theirs"))
    expect(description).to_have_value("mine")


def test_an_endpoint_that_was_deleted_meanwhile_is_not_made_again(tab: Tab, web: Web, settings: Path) -> None:
    tab.open("/endpoints/siem")
    tab.press("Edit")
    tab.page.get_by_label("Description").fill("mine")
    assert web.client.delete("/v1/webhooks/siem").is_success
    tab.press("Save changes")
    expect(tab.page.locator(".form-problem")).to_contain_text("Nothing was saved")
    assert "siem" not in settings.read_text()


def test_only_what_was_changed_is_written(tab: Tab, settings: Path) -> None:
    before = settings.read_text()
    tab.open("/endpoints/siem")
    tab.press("Edit")
    tab.check_each_look("endpoint-edit")
    tab.page.get_by_label("Description").fill("another one")
    tab.press("Save changes")
    expect(tab.page.get_by_role("button", name="Edit")).to_be_focused()
    assert settings.read_text() == before.replace("the SIEM of the SOC", "another one")


def test_the_keys_of_a_format_appear_with_it(tab: Tab) -> None:
    tab.open("/endpoints/+new")
    expect(tab.page.get_by_label("routing_key", exact=True)).to_be_hidden()
    tab.page.get_by_label("Format", exact=True).select_option("pagerduty")
    expect(tab.page.get_by_label("routing_key", exact=True)).to_have_attribute("type", "password")


def test_a_second_secret_is_typed_for_a_rotation(tab: Tab, settings: Path) -> None:
    tab.open("/endpoints/siem")
    tab.press("Edit")
    tab.page.get_by_label("Secret", exact=True).fill("the next secret of the tests")
    tab.press("Add another secret")
    second = tab.page.get_by_label("Secret 2", exact=True)
    expect(second).to_be_focused()
    expect(second).to_have_attribute("type", "password")
    second.fill(SECRET)
    tab.check_each_look("endpoint-secrets")
    tab.press("Save changes")
    expect(tab.page.get_by_role("button", name="Edit")).to_be_focused()
    (made,) = load(settings).known
    assert [one.reveal() for one in made.secrets] == ["the next secret of the tests", SECRET]


def test_an_endpoint_whose_name_is_new_has_its_page(browser: Any, tmp_path: Path, team: Team) -> None:
    configure(tmp_path, new=f"url = {team.url}")
    with served(tmp_path, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/endpoints")
        tab.page.get_by_role("link", name="new", exact=True).click()
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("new")
        expect(tab.section("Test")).to_be_visible()
        tab.open("/endpoints")
        tab.page.get_by_role("link", name="New endpoint").click()
        expect(tab.page.get_by_role("button", name="Create endpoint")).to_be_visible()


# --- for everybody


def test_a_viewer_sees_all_and_can_change_nothing(browser: Any, web: Web) -> None:
    with tab_of(browser, web) as tab:
        tab.sign_in(VIEWER)
        tab.open("/endpoints")
        expect(tab.page.get_by_role("link", name="siem")).to_be_visible()
        assert tab.page.locator("main").get_by_role("button").count() == 0
        expect(tab.page.get_by_role("link", name="New endpoint")).to_have_count(0)
        tab.open("/endpoints/siem")
        expect(tab.section("Receipts")).to_contain_text("No receipts yet")
        assert tab.page.locator("main").get_by_role("button").count() == 0
        tab.open("/endpoints/+new")
        expect(tab.page.get_by_text("Only an operator can create endpoints.")).to_be_visible()
        assert tab.page.locator("main").get_by_role("textbox").count() == 0


def test_nothing_can_be_changed_where_the_server_is_read_only(browser: Any, tmp_path: Path, settings: Path) -> None:
    with served(tmp_path, "--read-only") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/endpoints/siem")
        expect(tab.section("Test")).to_contain_text("An operator can send a test message here.")
        assert tab.page.locator("main").get_by_role("button").count() == 0


def test_each_look_of_the_list_is_accessible(browser: Any, tmp_path: Path, receive: Callable[..., Team]) -> None:
    configure(
        tmp_path,
        siem=f"url = {receive().url}\ndescription = all findings",
        soc_chat="url = https://hooks.slack.com/services/T0/B0/x\nformat = slack",
        mistaken="url = https://siem.example.com/\ntimeout = apples",
        off="url = https://off.example.com/\nenabled = false",
    )
    with closing(Outbox(tmp_path / FILE)) as outbox:
        put(outbox, 1, 2, endpoint="siem")
        send(outbox, endpoint="siem")
        send(outbox, State.DEAD, "refused: http_400", endpoint="siem")
        put(outbox, *range(3, 900), endpoint="soc_chat")
        put(outbox, 1, endpoint="gone")
    with served(tmp_path, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/endpoints")
        names = tab.page.locator("main tbody a.name")
        expect(names).to_have_text(["gone", "mistaken", "soc_chat", "off", "siem"])
        tab.check_each_look("endpoints")


def test_each_look_of_an_endpoint_is_accessible(tab: Tab, tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / FILE)) as outbox:
        scan = an_event().scan
        assert scan
        begin(outbox, scan)
        end(outbox, scan)
    tab.open("/endpoints/siem")
    expect(tab.section("Route of a past scan").get_by_label("Scan")).to_contain_text("Weekly Security Scan")
    tab.check_each_look("endpoint")
    for width in range(NARROW[0], WIDE[0] + 400, 80):
        tab.resize((width, 800))
        assert not tab.is_too_wide, f"{width} px"


def test_without_endpoints_the_list_says_what_one_is(browser: Any, tmp_path: Path) -> None:
    configure(tmp_path)
    with served(tmp_path) as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/endpoints")
        expect(tab.page.get_by_text("No endpoints yet")).to_be_visible()
        tab.check_each_look("endpoints-none")


def test_an_endpoint_that_is_not_there_is_a_problem_in_words(tab: Tab) -> None:
    tab.open("/endpoints/nobody")
    expect(tab.page.get_by_role("alert")).to_contain_text('there is no webhook "nobody"')


def test_text_of_settings_and_receivers_is_only_text(browser: Any, tmp_path: Path) -> None:
    lines = (
        f"url = https://siem.example.com/in\ndescription = {SCRIPT}\nheader.X-Team = {SCRIPT}\nmetadata.team = {SCRIPT}"
    )
    configure(tmp_path, siem=lines)
    with closing(Outbox(tmp_path / FILE)) as outbox:
        put_event(outbox, an_event(1), "siem")
        send(outbox, State.DEAD, "refused: http_400", excerpt=SCRIPT, endpoint="siem")
        put_event(outbox, an_event(2), SCRIPT)
    with served(tmp_path, "--no-deliver") as web, tab_of(browser, web) as tab:
        tab.sign_in()
        tab.open("/endpoints")
        expect(tab.page.locator("main")).to_contain_text(SCRIPT)
        tab.page.get_by_role("link", name="siem").click()
        expect(tab.section("Settings")).to_contain_text(SCRIPT)
        expect(tab.section("Now")).to_contain_text(SCRIPT)
        tab.press("Edit")
        expect(tab.page.get_by_label("Description")).to_have_value(SCRIPT)
        assert tab.page.title() == "siem · sfwebhooks"
        assert tab.page.locator("main img, main script").count() == 0
        assert not tab.is_too_wide
