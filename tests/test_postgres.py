"""The server that tests of PostgreSQL run against."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres as helper
from tests.postgres import PASSWORD, Postgres


def test_each_database_is_fresh(postgres: Postgres) -> None:
    for _ in range(2):
        with postgres.database() as dsn:
            postgres.execute("CREATE TABLE one (n int)", dsn)


def test_a_database_has_what_its_template_has(postgres: Postgres, postgres_dsn: str) -> None:
    postgres.execute("CREATE TABLE one AS SELECT 7 AS n", postgres_dsn)
    name = postgres.execute("SELECT current_database()", postgres_dsn)[0][0]
    with postgres.database(name) as dsn:
        assert postgres.execute("SELECT n FROM one", dsn) == [(7,)]
    assert PASSWORD in postgres_dsn


@pytest.mark.slow
def test_a_server_of_a_test_can_be_stopped_and_started() -> None:
    helper.demand()
    with Postgres.running({"max_prepared_transactions": "3"}) as server:
        first = server.pid
        server.stop("fast")
        server.start()
        assert server.pid != first
        assert server.execute("SHOW max_prepared_transactions") == [("3",)]
        folder = server.folder
    assert not folder.exists()


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_machine_without_postgresql_skips_and_ci_fails(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(helper, "DEBIAN", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="PostgreSQL is not installed"):
        helper.demand()
