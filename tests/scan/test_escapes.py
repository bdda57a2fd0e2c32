"""Names and targets that the web UI has escaped come out as they were typed, and others as they are."""

from __future__ import annotations

import html
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.scan.correlations import event_of_correlation as correlation_event
from sfwebhooks.scan.escapes import as_typed, typed_data
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.scan.host_database import HostDatabase
from tests.builders import a_correlation, a_finding, a_host_database, a_scan

WEB_UI = ("sfp_spider", "sfp__stor_db")
COMMAND_LINE = ("sfp_spider", "sfp__stor_db", "sfp__stor_stdout")
TYPED = ['R&D <west> O\'Neil "Q4"', "plain", "a &amp; b", "&#39; &#x3c; &nbsp;", "&&lt", ""]


def stored(text: str) -> str:
    """What the web UI makes of a text (sfwebui.cleanUserInput)."""
    return html.escape(text, True).replace("&amp;", "&").replace("&quot;", '"')


@pytest.mark.parametrize("text", TYPED)
def test_what_was_typed_in_the_web_ui_comes_out(text: str) -> None:
    assert as_typed(stored(text), WEB_UI) == text


@pytest.mark.parametrize("text", [*TYPED, "&lt;b&gt; &#x27; &quot;"])
def test_what_was_typed_on_the_command_line_is_left_alone(text: str) -> None:
    assert as_typed(text, COMMAND_LINE) == text


@pytest.mark.parametrize(("modules", "name"), [(WEB_UI, "O'Neil <west>"), (COMMAND_LINE, "O&#x27;Neil &lt;west&gt;")])
def test_the_hosts_database_says_which_it_was(modules: tuple[str, ...], name: str, tmp_path: Path) -> None:
    scan = a_scan(name="O&#x27;Neil &lt;west&gt;", target="Siobhan O&#x27;Neil &lt;west&gt;")
    path = tmp_path / "spiderfoot.db"
    a_host_database(path, scan)
    with closing(sqlite3.connect(path)) as connection, connection:
        row = (scan.id, "GLOBAL", "_modulesenabled", ",".join(modules))
        connection.execute("INSERT INTO tbl_scan_config VALUES (?, ?, ?, ?)", row)
    found = HostDatabase(str(path)).scan(scan.id)
    assert found and (found.name, found.target) == (name, f"Siobhan {name}")


def test_the_event_of_the_target_says_it_as_it_was_typed_and_others_what_their_modules_found() -> None:
    scan = a_scan(target="Siobhan O'Neil", target_type="HUMAN_NAME")
    target = Source("HUMAN_NAME", "Siobhan O&#x27;Neil", "SpiderFoot UI", "h1")
    page = Source("TARGET_WEB_CONTENT", "Siobhan O&#x27;Neil", "sfp_spider", "h2")
    itself = a_finding(type=target.type, data=target.data, module=target.module)
    assert event_of_finding(itself, scan, "a name").data["data"] == "Siobhan O'Neil"
    assert event_of_finding(itself._replace(module="sfp_spider"), scan, "a name").data["data"] == target.data
    sent = event_of_finding(a_finding(sources=(page, target)), scan, "a CVE").data["sources"]
    assert [source["data"] for source in sent] == ["Siobhan O&#x27;Neil", "Siobhan O'Neil"]
    assert correlation_event(a_correlation(), [target], scan, 0.0).data["evidence"][0]["data"] == "Siobhan O'Neil"


def test_the_target_of_a_scan_of_the_command_line_is_what_its_event_says() -> None:
    scan = a_scan(target="a &lt;b&gt;")
    itself = a_finding(data="a &lt;b&gt;", module="SpiderFoot UI")
    assert event_of_finding(itself, scan, "a name").data["data"] == "a &lt;b&gt;"


def test_data_that_is_not_the_target_stays_as_it_is() -> None:
    assert typed_data("O&#x27;Neil", "O'Neil") == "O'Neil"
    assert typed_data("somebody else", "O'Neil") == "somebody else"
