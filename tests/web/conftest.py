"""A server that the tests of a module share; those that change its state start their own. One browser for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Team
from tests.web.browser import Tab, browsing, tab_of
from tests.web.filling import a_folder, fill
from tests.web.serving import Web, served

SETTINGS = """\
[webhooks]
default_url = https://hooks.example.com/in
events = all
ui_url = https://spiderfoot.example.com
"""


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    """Return a data folder with settings."""
    return filled_folder(tmp_path)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with served(filled_folder(tmp_path_factory.mktemp("web")), "--no-deliver") as web:
        yield web


def filled_folder(folder: Path) -> Path:
    """Write settings into a folder; return it."""
    path = folder / "webhooks.ini"
    path.touch(0o600)
    path.write_text(SETTINGS)
    return folder


@pytest.fixture
def folder(tmp_path: Path, team: Team) -> Path:
    return a_folder(tmp_path, team.url)


@pytest.fixture
def ids(folder: Path) -> dict[str, str]:
    """The ids of some deliveries in the outbox."""
    return fill(folder)


@pytest.fixture
def tab(browser: Any, web: Web) -> Iterator[Tab]:
    """A tab in which an operator has signed in."""
    with tab_of(browser, web) as found:
        found.sign_in()
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The machine's Chromium."""
    with browsing() as found:
        yield found
