"""A SpiderFoot that keeps its data in its own folder, whatever $SPIDERFOOT_DATA says, as a fork does."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host.conftest import SECRET, Scanner, Team, WebUi, sequence, until

pytestmark = pytest.mark.slow


def test_its_scans_its_end_and_all_commands_use_that_folder(
    scanner: Scanner, checkout: Path, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team, data = new_team(tls=False), let_it_have_its_own(checkout, scanner.home.database)
    settings = data / "webhooks.ini"
    team_keys = {"url": team.receiver.url, "secret": SECRET, "events": "all, !surface_changed"}
    settings.write_text(
        "[webhooks]\nenabled = true\ndetach_timeout = 0\n" + "".join(f"team.{k} = {v}\n" for k, v in team_keys.items())
    )
    settings.chmod(0o600)
    assert f"or {settings}." in scanner.command("install", "--spiderfoot", str(checkout)).stdout
    assert f"{settings}: webhooks are on in every scan" in scanner.command("check").stdout

    ui = web_ui(checkout)
    scan_id = ui.start_scan()
    until(lambda: len(team.got) > 10)
    os.kill(ui.process.pid, signal.SIGTERM)
    ui.process.wait(60)
    assert team.ends() == ["scan_aborted"]
    assert scanner.command("drain").returncode == 0
    listed = scanner.command("deliveries", "--scan", scan_id, "--limit", "1").stdout
    assert f"0 waiting, {len(set(map(sequence, team.messages)))} delivered, 0 dead." in listed
    assert ((data / "webhooks.db").exists(), (scanner.home.data / "webhooks.db").exists()) == (True, False)


def let_it_have_its_own(checkout: Path, database: Path) -> Path:
    """Let a SpiderFoot keep its data in its folder, with this database; return the data folder."""
    package = checkout / "spiderfoot"
    installed = package.resolve()
    package.unlink()
    shutil.copytree(installed, package, ignore=shutil.ignore_patterns("__pycache__"))
    helpers = package / "helpers.py"
    before = helpers.read_text(encoding="utf-8")
    asked = "os.environ.get('SPIDERFOOT_DATA')"
    assert asked in before
    helpers.write_text(before.replace(asked, f"{str(checkout / 'data')!r}"), encoding="utf-8")
    (checkout / "data").mkdir()
    shutil.copy(database, checkout / "data")
    return checkout / "data"
