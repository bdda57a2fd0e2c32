"""Commands with an outbox on PostgreSQL: they use the server that the settings name, and say what is wrong with it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sfwebhooks.outbox.file import FILE
from tests.conftest import Result, Team
from tests.postgres import PASSWORD, Postgres
from tests.test_service import Run, run
from tests.tiers import slow

__all__ = ["run"]
REPORT = {"report_id": "report-1", "title": "Threats"}
#: nothing listens there
AWAY = f"postgresql://scanner:{PASSWORD}@127.0.0.1:9/hooks"
#: with an address that cannot be used, each has to say so
COMMANDS: Sequence[Sequence[str]] = (
    ["status"],
    ["deliveries"],
    ["show", "12345678"],
    ["dead", "list"],
    ["replay", "--all"],
    ["drop", "--all", "--state", "waiting"],
    ["move", "--endpoint", "team", "--to", "team"],
    ["purge", "--all", "--yes"],
    ["stats"],
    ["metrics"],
    ["drain"],
    ["pause", "team"],
    ["resume", "team"],
    ["mute"],
    ["sightings"],
    ["tickets"],
    ["explain", "12345678"],
    ["backfill", "5C4A0001", "--endpoint", "team"],
    ["check"],
    ["doctor"],
)
Configure = Callable[..., None]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Write the settings: `configure(dsn, url)`."""

    def write(dsn: str, url: str = "http://127.0.0.1:9/", more: str = "spool = none") -> None:
        path = tmp_path / "webhooks.ini"
        path.touch(0o600)
        path.write_text(f"[webhooks]\noutbox = {dsn}\n{more}\n[webhooks.team]\nurl = {url}\nevents = all\n")
        (tmp_path / "report.json").write_text(json.dumps(REPORT))

    return write


@pytest.fixture
def emit(cli: Callable[..., Result], tmp_path: Path) -> Callable[[], Result]:
    """Store an event as a tool does."""
    return lambda: cli("emit", "cti_report_generated", "--data", str(tmp_path / "report.json"), "--id", "report-1")


def test_an_event_is_stored_listed_and_sent(
    cli: Callable[..., Result],
    emit: Callable[[], Result],
    configure: Configure,
    postgres_dsn: str,
    team: Team,
    tmp_path: Path,
) -> None:
    configure(postgres_dsn, team.url)
    assert "accepted for 1 endpoint (team)" in emit().out
    assert "already accepted" in emit().out
    (listed,) = cli("deliveries", "--json").objects
    assert (listed["endpoint"], listed["state"]) == ("team", "waiting")
    assert cli("status", "--json").objects[0]["waiting"] == 1
    drained = cli("drain", "--json").objects[0]
    assert (drained["delivered"], drained["waiting"]) == (1, 0)
    assert len(team.got) == 1
    assert "sent again" in cli("replay", "--all").out
    assert cli("drain").code == 0
    assert team.ids[0] == team.ids[1]
    assert "1 delivery will be deleted" in cli("purge", "--all", "--yes").out
    assert cli("deliveries", "--json").objects == []
    assert not (tmp_path / FILE).exists()


def test_run_sends_what_another_process_stores(
    run: Callable[..., Run],
    cli: Callable[..., Result],
    emit: Callable[[], Result],
    configure: Configure,
    postgres_dsn: str,
    team: Team,
) -> None:
    configure(postgres_dsn, team.url)
    service = run()
    emit()
    team.wait_for(1)
    assert f"sfwebhooks run (process {service.process.pid})" in cli("status").words
    assert service.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_says_that_the_server_does_not_answer(
    command: Sequence[str], cli: Callable[..., Result], configure: Configure
) -> None:
    configure(AWAY)
    result = cli(*command)
    assert result.code == 1
    said = result.out + result.err
    assert "outbox 127.0.0.1:9/hooks" in said
    assert "Connection refused" in said
    assert PASSWORD not in said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_says_that_it_is_not_known_where_the_outbox_is(
    command: Sequence[str], cli: Callable[..., Result], configure: Configure, tmp_path: Path
) -> None:
    configure(AWAY, more="")
    result = cli(*command)
    assert result.code == 1
    assert "requires spool = sqlite" in result.out + result.err or command == ["doctor"]
    assert PASSWORD not in result.out + result.err
    assert not (tmp_path / FILE).exists()


@slow
def test_an_event_of_a_tool_is_refused_without_the_server(emit: Callable[[], Result], configure: Configure) -> None:
    configure(AWAY)
    result = emit()
    assert result.code == 1
    assert "start PostgreSQL, or correct outbox in [webhooks]" in result.err
    assert PASSWORD not in result.err


def test_without_psycopg_the_error_names_the_extra(
    cli: Callable[..., Result], configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    configure(AWAY)
    for command in ("check", "status"):
        result = cli(command)
        assert result.code == 1
        assert "pip install 'sfwebhooks[postgres]'" in result.out + result.err


def test_a_user_without_privileges_is_told_which(
    cli: Callable[..., Result],
    emit: Callable[[], Result],
    configure: Configure,
    postgres: Postgres,
    postgres_dsn: str,
) -> None:
    configure(postgres_dsn)
    emit()
    reader = f"reader_{postgres_dsn.partition('@/')[2].partition('?')[0]}"
    postgres.execute(f"CREATE ROLE {reader} LOGIN")
    try:
        for what in ("USAGE ON SCHEMA", "SELECT ON ALL TABLES IN SCHEMA"):
            postgres.execute(f"GRANT {what} sfwebhooks TO {reader}", postgres_dsn)
        configure(postgres_dsn.replace("//scanner:", f"//{reader}:"))
        assert len(cli("deliveries", "--json").objects) == 1
        refused = emit()
        assert refused.code == 1
        assert "permission denied for table" in cli("check").words
        assert "has to own the schema sfwebhooks" in cli("doctor").words
    finally:
        postgres.execute(f"DROP OWNED BY {reader}", postgres_dsn)
        postgres.execute(f"DROP ROLE {reader}")


def test_doctor_names_a_transaction_that_keeps_deleted_rows(
    cli: Callable[..., Result],
    emit: Callable[[], Result],
    configure: Configure,
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psycopg

    configure(postgres_dsn)
    emit()
    monkeypatch.setattr("sfwebhooks.doctor.server.OPEN_SECONDS", 0.0)
    assert "keeps deleted rows" not in cli("doctor").words
    with psycopg.connect(postgres_dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        result = cli("doctor")
        assert f"process {other.info.backend_pid} of scanner, open for" in result.words
        assert f"SELECT pg_terminate_backend({other.info.backend_pid})" in result.words
    assert result.code != 0
