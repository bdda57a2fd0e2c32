"""A real scan whose outbox is on PostgreSQL: the scan stores there, and its threads or the delivery process send."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.receive.completeness import CompletenessCheck
from tests.host.conftest import SECRET, Scanner, Team, until
from tests.postgres import PASSWORD, Postgres, demand
from tests.tiers import slow


def configure(scanner: Scanner, team: Team, dsn: str, detach: str) -> None:
    scanner.configure(
        f"[webhooks]\nenabled = true\noutbox = {dsn}\nspool = none\ndrain_timeout = 5s\ndetach_timeout = {detach}\n"
        f"[webhooks.team]\nurl = {team.receiver.url}\nsecret = {SECRET}\nevents = all, !surface_changed\n"
    )


@pytest.mark.parametrize("detach", ["0", pytest.param("3s", marks=slow)])
def test_a_scan_reaches_its_team_complete(
    detach: str, scanner: Scanner, new_team: Callable[..., Team], postgres_dsn: str
) -> None:
    team = new_team(tls=False)
    configure(scanner, team, postgres_dsn, detach)
    code, log = scanner.scan()
    assert code == 0, log
    until(team.ends)
    assert team.hashes() == scanner.hashes()
    assert team.ends() == ["scan_completed"]
    check = CompletenessCheck()
    accounts = [str(account) for message in team.messages if (account := check.enter(message))]
    assert ", none missing" in accounts[-1]
    assert not (scanner.home.data / FILE).exists()
    assert PASSWORD not in log
    with closing(Outbox(Dsn(postgres_dsn, scanner.home.data), listing=True)) as outbox:
        assert outbox.scans.open_scans() == []


@slow
def test_a_scan_without_its_server_finishes_and_a_backfill_sends_it(
    scanner: Scanner, new_team: Callable[..., Team], tmp_path: Path
) -> None:
    demand()
    team = new_team(tls=False)
    with Postgres.running() as server:
        server.execute("CREATE DATABASE hooks")
        configure(scanner, team, server.dsn("hooks"), "0")
        server.stop()
        code, log = scanner.scan()
        server.start()
        assert code == 0, log
        assert "events are buffered in memory" in log
        assert "sfwebhooks backfill" in log
        assert PASSWORD not in log
        ((scan,),) = scanner.rows("SELECT guid FROM tbl_scan_instance")
        done = scanner.command("backfill", scan, "--endpoint", "team").stdout
        assert "0 waiting" in done, done
    assert team.hashes() == scanner.hashes()
    assert team.ends() == ["scan_completed"]
