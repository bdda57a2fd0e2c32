"""What SpiderFoot's own tests demand of each module, of the host that is installed here."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sfwebhooks
from sfwebhooks.events import clean_text
from sfwebhooks.host.plugin import sfp__stor_webhooks
from tests.host.conftest import Scanner, WebUi

SHIM = Path(sfwebhooks.__file__).parent / "host" / "shim.py"
USE_CASES = {"Footprint", "Passive", "Investigate"}


@pytest.fixture
def module() -> Any:
    return sfp__stor_webhooks()


def test_what_it_watches_and_produces_are_lists(module: Any) -> None:
    assert (module.watchedEvents(), module.producedEvents()) == (["*"], [])


def test_what_it_says_of_itself_is_what_the_host_takes(module: Any) -> None:
    said = module.asdict()
    assert said["consumes"] == ["*"]
    assert all(isinstance(said[name], list) for name in ("cats", "group", "labels", "provides", "consumes"))
    assert set(said["group"]) <= USE_CASES
    assert said["name"] == clean_text(said["name"]) != ""
    assert said["opts"].keys() == said["optdescs"].keys()


def test_it_can_be_set_up_without_options_and_pickled(module: Any) -> None:
    module.setup(object(), {})
    assert pickle.loads(pickle.dumps(sfp__stor_webhooks())).watchedEvents() == ["*"]


# --- switched off by the environment

#: imports the module as the host does, and prints what of the package was imported with it
IMPORTED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("modules.sfp__stor_webhooks", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
plugin = module.sfp__stor_webhooks()
plugin.setup(None, {"enabled": True})
print(plugin.watchedEvents(), [name for name in sys.modules if name.startswith("sfwebhooks")])
"""


@pytest.mark.parametrize(("value", "imports"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_where_the_environment_disables_it_nothing_of_the_package_is_imported(value: str, imports: bool) -> None:
    command = [sys.executable, "-c", IMPORTED, str(SHIM)]
    done = subprocess.run(
        command, env={**os.environ, "SFWEBHOOKS_DISABLED": value}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert ("sfwebhooks.host.plugin" in done.stdout) is imports
    assert imports or done.stdout == "[] []\n"


# --- what the settings page says


PAGE = "https://hooks.acme.example"
#: a host's database with an option of the module
OPTION = "CREATE TABLE tbl_config (scope, opt, val); INSERT INTO tbl_config VALUES ('sfp__stor_webhooks', '{}', '{}')"


def summary_with(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str, option: str = "") -> str:
    """Return the summary of a module that a host with these settings starts with."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(folder))
    (folder / "webhooks.ini").write_text(settings)
    if option:
        with closing(sqlite3.connect(folder / "spiderfoot.db")) as connection:
            connection.executescript(option)
    return str(sfp__stor_webhooks().asdict()["descr"])


def test_the_summary_names_the_address_of_our_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = sfp__stor_webhooks.meta["summary"]
    found = summary_with(tmp_path, monkeypatch, f"[webhooks]\nweb_url = {PAGE}/\n")
    assert found == f"{alone} What was delivered, and to whom: {PAGE}"
    assert sfp__stor_webhooks.meta["summary"] == alone


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "[webhooks]\nui_url = https://sf.acme.example\n",
        f"[webhooks.team]\nurl = http://127.0.0.1:9\nweb_url = {PAGE}\n",
        f"[webhooks]\nweb_url = {PAGE[8:]}\n",
        f"[webhooks]\nweb_url = {PAGE}?x\n",
        f"[webhooks\nweb_url = {PAGE}\n",
        f"web_url = {PAGE}\n[webhooks]\n",
        f"# web_url = {PAGE}\n[webhooks]\n",
        "\0" * 1000 + "web_url",
    ],
    ids=range(9),
)
def test_without_an_address_of_our_page_the_summary_is_the_usual_one(
    settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert summary_with(tmp_path, monkeypatch, settings) == sfp__stor_webhooks.meta["summary"]


def test_the_summary_names_the_page_of_the_settings_that_a_scan_would_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.ini").write_text(f"[webhooks]\nweb_url = {PAGE}/other\n")
    chosen = OPTION.format("config", "other.ini")
    assert summary_with(tmp_path, monkeypatch, f"[webhooks]\nweb_url = {PAGE}\n", chosen).endswith(f"{PAGE}/other")


def test_while_webhooks_are_off_the_summary_names_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    off = OPTION.format("enabled", "0")
    assert summary_with(tmp_path, monkeypatch, f"[webhooks]\nweb_url = {PAGE}\n", off).endswith("while it runs.")


def test_the_summary_is_safe_in_html(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = summary_with(tmp_path, monkeypatch, "[webhooks]\nweb_url = https://h.example/a&b\"'\n")
    assert found.endswith("https://h.example/a&amp;b&quot;&#x27;")


def test_settings_that_cannot_be_read_stop_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    (tmp_path / "webhooks.ini").mkdir()
    assert sfp__stor_webhooks().asdict()["descr"] == sfp__stor_webhooks.meta["summary"]
    (tmp_path / "spiderfoot.db").write_bytes(b"not a database" * 1000)
    assert sfp__stor_webhooks().asdict()["descr"] == sfp__stor_webhooks.meta["summary"]


@pytest.mark.slow
def test_the_settings_page_of_the_web_ui_shows_the_address(scanner: Scanner, web_ui: Callable[..., WebUi]) -> None:
    scanner.configure(f"[webhooks]\nweb_url = {PAGE}/a&b\n")
    with urllib.request.urlopen(f"http://127.0.0.1:{web_ui().port}/opts", timeout=60) as reply:
        page = reply.read().decode()
    summary = page.partition("(sfp__stor_webhooks)</h4>")[2].partition("</td></tr>")[0]
    assert f"What was delivered, and to whom: {PAGE}/a&amp;b<br/>" in summary
