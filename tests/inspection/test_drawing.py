"""Chat messages as a page: all of their text is there, and nothing of it is HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.cli import main
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.examples import example
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.chat import notice
from sfwebhooks.inspection.drawing import DRAWINGS, draw, page
from tests.builders import a_delivery, an_endpoint, an_event
from tests.rows import in_one

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> \"'> &amp; <https://evil.example|good> "
    "[good](javascript:alert(1)) [good](https://evil.example) *bold* `code` \u202e \ud800 \U0001f600 </pre></div>"
)
TAGS = {"a", "b", "br", "code", "div", "i", "pre", "span"}
OURS = {"h1", "h2", "meta", "style", "title"}
NAMES = pytest.mark.parametrize("name", DRAWINGS)


class Seen(HTMLParser):
    """The tags, links and text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def endpoint_of(name: str) -> Endpoint:
    own = {key.name: Secret("-100123") for key in FORMATS[name].keys if key.needed}
    return an_endpoint(format=name, own=own, ui_url="https://sf.acme.example")


def drawn(name: str, **values: Any) -> Seen:
    delivery = a_delivery(an_event(**values))
    return Seen(draw(name, FORMATS[name].render(delivery, endpoint_of(name)).body.decode()))


@NAMES
@in_one("entry", EVENT_TYPES)
def test_each_event_is_drawn_with_its_words(name: str, entry: Any) -> None:
    delivery = example(entry, entry.name)
    seen = Seen(draw(name, FORMATS[name].render(delivery, endpoint_of(name)).body.decode()))
    assert set(seen.tags) <= TAGS
    assert notice(delivery, endpoint_of(name)).headline in seen.text
    links = [value for key, value in seen.attributes if key == "href"]
    assert all(str(link).startswith("https://") for link in links)
    assert delivery.event.scan is None or any("scaninfo?id=" in str(link) for link in links)


@NAMES
def test_nothing_from_outside_is_html(name: str) -> None:
    data = dict.fromkeys(("event_type", "data", "description", "module", "own key"), HOSTILE)
    seen = drawn(name, data={**data, "sources": [{"event_type": HOSTILE, "data": HOSTILE}]})
    assert set(seen.tags) <= TAGS
    assert {key for key, _ in seen.attributes} <= {"class", "style", "href", "rel"}
    links = [str(value) for key, value in seen.attributes if key == "href"]
    assert all(link.startswith("https://sf.acme.example/") for link in links), links
    assert "<script>alert(1)</script>" in seen.text


def test_a_format_that_is_no_conversation_is_indented_json() -> None:
    body = FORMATS["generic"].render(a_delivery(an_event(data={"a": HOSTILE})), an_endpoint()).body
    seen = Seen(draw("generic", body.decode()))
    assert seen.tags == ["pre"]
    assert '\n  "event_type": "high_risk_event"' in seen.text


def test_a_page_has_its_captions_and_loads_nothing() -> None:
    seen = Seen(page("a <b>", [("c <i>", "<div>d</div>")]))
    assert set(seen.tags) <= {*TAGS, *OURS}
    assert "a <b>" in seen.text and "c <i>" in seen.text
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in seen.attributes


def test_the_command_writes_a_page_of_all_that_the_endpoint_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "webhooks.ini").touch(0o600)
    (tmp_path / "webhooks.ini").write_text(
        "[webhooks.team]\nurl = https://hooks.slack.com/services/T/B/xyzzyxyzzyxyzzy\nformat = slack\n"
        "events = scan_completed, high_risk_event, low_risk_event\n"
    )
    place = tmp_path / "page.html"
    assert main(["preview", "team", "--html", str(place), "--folder", str(tmp_path)]) == 0
    seen = Seen(place.read_text(encoding="utf-8"))
    assert seen.tags.count("h2") == int(capsys.readouterr().out.split(": ")[1].split()[0]) >= 4
    assert all(words in seen.text for words in ("Scan completed", "Critical: ", "High: ", "Low: "))
    assert "xyzzy" not in seen.text
    arguments = ["preview", "team", "--event", "scan_failed", "--html", str(tmp_path / "none" / "x")]
    assert main([*arguments, "--folder", str(tmp_path)]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_a_page_shows_no_secret_that_a_message_has(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").touch(0o600)
    key = "R0123456789abcdefghijklmnopqrst9"
    (tmp_path / "webhooks.ini").write_text(
        f"[webhooks.on_call]\nurl = https://events.pagerduty.com/v2/enqueue\nformat = pagerduty\nrouting_key = {key}\n"
    )
    place = tmp_path / "page.html"
    arguments = ["preview", "on_call", "--html", str(place), "--folder", str(tmp_path)]
    for more, shown in (([], False), (["--show-secrets"], True)):
        assert main([*arguments, *more]) == 0
        assert (key in place.read_text(encoding="utf-8")) is shown


def test_what_is_no_json_is_shown_as_it_is() -> None:
    assert draw("elastic", "{}\n<b>\n") == "<pre>{}\n&lt;b&gt;\n</pre>"
