"""What the image of PostgreSQL executes at its first start: our user has its own database and nothing else, and the
administrator has no password."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.builders import an_endpoint
from tests.conftest import put
from tests.deployment.manifests import COMPOSE, FLEET, SECRETS, pod_of
from tests.postgres import OWNER, PASSWORD, Postgres, demand, programs
from tests.tiers import slow

pytestmark = slow
#: the first version whose psql has \getenv
VERSION = 150000


@pytest.fixture
def first_started() -> Iterator[Postgres]:
    """A server after its first start, which asks for passwords."""
    demand()
    folder = programs()
    assert folder
    with Postgres.running(auth="scram-sha-256") as server:
        with psycopg.connect(server.dsn("postgres")) as connection:
            if connection.info.server_version < VERSION:
                pytest.skip("psql is too old")
        server.execute(f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{SECRETS['database_password']}'")
        command = [f"{folder}/psql", "-v", "ON_ERROR_STOP=1", "-h", str(server.folder), "-U", OWNER, "-d", "postgres"]
        environment = {"PGPASSWORD": PASSWORD, "POSTGRES_PASSWORD": SECRETS["database_password"]}
        subprocess.run(
            [*command, "-f", FLEET / "database.sql"], env={**os.environ, **environment}, check=True, timeout=60
        )
        yield server


def address_of(server: Postgres, user: str, database: str = "hooks") -> str:
    return f"postgresql://{user}:{SECRETS['database_password']}@/{database}?host={server.folder}"


def test_our_user_has_an_outbox_in_its_database(first_started: Postgres, tmp_path: Path) -> None:
    with closing(Outbox(Dsn(address_of(first_started, "hooks"), tmp_path))) as outbox:
        put(outbox, an_endpoint())
        assert outbox.scans.tallies()["waiting"] == 1
        assert outbox.locks.url("x").take()
    query = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'hooks'"
    assert first_started.execute(query) == [(False, False, False)]


@pytest.mark.parametrize(
    "command",
    [
        COMPOSE["services"]["database"]["healthcheck"]["test"][1:],
        pod_of("database")["containers"][0]["livenessProbe"]["exec"]["command"],
        pod_of("database")["containers"][0]["readinessProbe"]["exec"]["command"],
    ],
)
def test_its_health_check_is_answered(command: list[str], first_started: Postgres) -> None:
    program, *words = (word.replace("127.0.0.1", str(first_started.folder)) for word in command)
    folder = programs()
    assert folder
    assert subprocess.run([folder / program, *words], capture_output=True, timeout=60).returncode == 0
    first_started.stop("fast")
    assert subprocess.run([folder / program, *words], capture_output=True, timeout=60).returncode != 0


def test_the_administrator_has_no_password(first_started: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(address_of(first_started, "postgres", "postgres"))
