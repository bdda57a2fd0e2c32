from __future__ import annotations

from pathlib import Path

import pytest

from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.postgres.dsn import Dsn

PASSWORD = "pw-9f31"
ADDRESS = f"postgresql://sf:{PASSWORD}@db.example:5433/scans?sslmode=verify-full"


def test_an_address_says_host_and_database_and_never_the_password(tmp_path: Path) -> None:
    dsn = Dsn(ADDRESS, tmp_path)
    assert str(dsn) == "db.example:5433/scans"
    assert PASSWORD not in f"{dsn} {dsn!r} {dsn.path} {dsn.parts}"


@pytest.mark.parametrize("text", [f"postgresql://sf:{PASSWORD}%zz@db/x", f"{PASSWORD} {PASSWORD}", "postgresql://["])
def test_an_address_that_cannot_be_understood_is_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as") as caught:
        str(Dsn(text, tmp_path))
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_databases_have_their_notes_in_two_places(tmp_path: Path) -> None:
    paths = {Dsn(f"postgresql://{place}", tmp_path).path for place in ("a/x", "a/y", "b/x", "sf:pw@a/x")}
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("servers", "shown", "wanted"),
    [
        ("a,b", "a,b/x", "read-write"),
        ("a:5433,b:5434", "a:5433,b:5434/x", "read-write"),
        ("a,b:5434", "a,b:5434/x", "read-write"),
        ("/x?host=/run/a,/run/b", "/run/a,/run/b/x", "read-write"),
        ("a,b/x?target_session_attrs=primary", "a,b/x", "primary"),
        ("a", "a/x", ""),
    ],
)
def test_of_several_servers_the_one_that_can_be_written_to_is_wanted(
    servers: str, shown: str, wanted: str, tmp_path: Path
) -> None:
    from psycopg.conninfo import conninfo_to_dict

    dsn = Dsn(f"postgresql://sf:{PASSWORD}@{servers}{'' if '/x' in servers else '/x'}", tmp_path)
    assert str(dsn) == shown
    given = conninfo_to_dict(dsn.address)
    assert (given.pop("target_session_attrs", ""), given["password"]) == (wanted, PASSWORD)
    before = conninfo_to_dict(dsn.text)
    before.pop("target_session_attrs", "")
    assert given == before
