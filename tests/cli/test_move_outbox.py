"""The command `sfwebhooks move-outbox`: everything is there afterwards, nothing is sent twice."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.file import FILE, SPOOL_FILE
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import claim_one
from tests.conftest import Result, Team, sql
from tests.dying import KILLED_SCAN
from tests.filled import damage_page, fill, put, send
from tests.postgres import PASSWORD, Postgres, stopped
from tests.processes import Process, run
from tests.scanning import Scanning
from tests.tiers import slow

#: moves the outbox of a folder, and dies before or after something was done so many times
MOVING = """
import sys
from sfwebhooks.cli import main
from sfwebhooks.outbox.transfer import source, transfer
from tests.dying import die_at
folder = sys.argv[1]
source.GROUP_EVENTS, transfer.GROUP_ROWS = 3, 2
die_at(*sys.argv[2:5], int(sys.argv[5]))
sys.exit(main(["move-outbox", "env:THERE", "--folder", folder]))
"""
COMMAND, TARGET = "sfwebhooks.cli.move_outbox", "sfwebhooks.outbox.transfer.target:Target"
#: ten moments of the whole way
MOMENTS: Sequence[tuple[str, str, str, int]] = (
    (TARGET, "register", "after", 1),
    (COMMAND, "retire", "after", 1),
    (TARGET, "begin", "after", 1),
    (TARGET, "put", "after", 1),
    (TARGET, "put", "before", 9),
    (TARGET, "put", "after", 21),
    (TARGET, "put_events", "after", 1),
    (TARGET, "put_events", "before", 4),
    (TARGET, "finish", "before", 1),
    ("sfwebhooks.outbox.transfer.source:SourceFile", "finish", "before", 1),
)
#: what they say must be the same before and after
LISTINGS: Sequence[Sequence[str]] = (
    ["stats", "--json", "--since", "2020-01-01T00:00"],
    ["deliveries", "--json", "--limit", "1000"],
    ["dead", "list", "--json", "--limit", "1000"],
    ["sightings", "--json"],
    ["sightings", "acme.example", "--json", "--limit", "1000"],
    ["tickets", "--json"],
    ["mute", "--json"],
    ["status", "--json"],
    ["metrics"],
)
#: metrics that depend on the time, or on the kind of the outbox
OF_NOW = ("sfwebhooks_queue_oldest_seconds", "sfwebhooks_outbox_")


@pytest.fixture
def server(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty database, which a variable has."""
    monkeypatch.setenv("THERE", postgres_dsn)
    return postgres_dsn


def configure(folder: Path, general: str = "", **urls: str) -> None:
    path = folder / "webhooks.ini"
    path.touch(0o600)
    sections = (
        f"[webhooks.{name}]\nurl = {url}\nevents = all, !surface_changed, !system_alert\n" for name, url in urls.items()
    )
    path.write_text(f"[webhooks]\n{general}\n" + "".join(sections))


def use_server(folder: Path, **urls: str) -> None:
    configure(folder, "outbox = env:THERE\nspool = none", **urls)


def comparable(result: Result) -> Any:
    """Return what a command printed, without the present time and what depends on it, and without the outbox's size."""
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    lines = re.sub(rf'"{day}T[^"]*"', '"now"', result.out).splitlines()
    return result.code, [line for line in lines if not line.startswith(OF_NOW)]


@slow
def test_every_listing_says_the_same_before_and_after(
    cli: Callable[..., Result], outbox: Outbox, server: str, tmp_path: Path
) -> None:
    configure(tmp_path, team="http://127.0.0.1:9/", other="http://127.0.0.1:9/other")
    fill(outbox, "5C4A0001", "5C4A0002")
    outbox.endpoints.pause("team", 4e9)
    outbox.close()
    ids = [one["delivery"] for one in cli("deliveries", "--json", "--limit", "1000").objects]
    listings = [*LISTINGS, *(["show", id, "--json"] for id in ids), *(["explain", id] for id in ids[:3])]
    before = [comparable(cli(*arguments)) for arguments in listings]
    result = cli("move-outbox", "env:THERE")
    assert (result.code, result.err) == (0, "")
    assert "18 deliveries" in result.out
    assert "Now set outbox = env:THERE and spool = sqlite or none in [webhooks]" in result.words
    use_server(tmp_path, team="http://127.0.0.1:9/", other="http://127.0.0.1:9/other")
    for arguments, expected in zip(listings, before):
        after = comparable(cli(*arguments))
        assert after[1] == expected[1], arguments
        assert after == expected, arguments


@slow
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[2]} {moment[1]} {moment[3]}")
def test_killed_at_any_moment_it_goes_on(
    moment: tuple[str, str, str, int], server: str, tmp_path: Path, team: Team, cli: Callable[..., Result]
) -> None:
    configure(tmp_path, team=team.url)
    scans = [Scanning(tmp_path, f"5C4A000{number}") for number in (1, 2)]
    scans[0].begin()
    scans[0].find(9)
    scans[0].finish()
    assert cli("drain").code == 0
    earlier = [*team.ids]
    configure(tmp_path, team="http://127.0.0.1:9/")  # nothing is in flight when the scan is killed
    scans[1].begin()
    scans[1].find(4)
    scans[1].finish()
    assert run([tmp_path, "5C4A0003"], KILLED_SCAN).returncode == -signal.SIGKILL
    configure(tmp_path, team=team.url)
    assert run([tmp_path, *moment], MOVING, timeout=60).returncode == -signal.SIGKILL
    use_server(tmp_path, team=team.url)
    run(["drain", "--folder", tmp_path], timeout=60)  # what is there already may be sent
    done = run([tmp_path, TARGET, "finish", "never", 0], MOVING, timeout=60)
    assert done.returncode == 0, done.stderr
    again = run(["move-outbox", "env:THERE", "--folder", tmp_path], timeout=60)
    assert again.returncode == 0, again.stderr
    assert run(["drain", "--folder", tmp_path], timeout=60).returncode == 0
    assert Counter(team.ids).most_common(1)[0][1] == 1
    assert team.ids[: len(earlier)] == earlier
    for scan, findings, end in (
        ("5C4A0001", 9, "scan_completed"),
        ("5C4A0002", 4, "scan_completed"),
        ("5C4A0003", 3, "scan_failed"),
    ):
        its = sorted((one.message["metadata"]["sequence"], one.message["event_type"]) for one in team.got
                     if one.message["data"]["scan_id"] == scan)  # fmt: skip
        assert [number for number, _ in its] == [*range(1, len(its) + 1)]
        words = Counter(word for _, word in its)
        assert (words["scan_started"], words["high_risk_event"], its[-1][1]) == (1, findings, end)
        assert sum(words[one] for one in ("scan_completed", "scan_aborted", "scan_failed")) == 1


@slow
def test_a_server_that_is_away_in_the_middle(
    own_server: Postgres, tmp_path: Path, cli: Callable[..., Result], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THERE", own_server.dsn("hooks"))
    put(outbox, 1, 2, 3)
    outbox.close()
    assert run([tmp_path, TARGET, "put_events", "before", 1], MOVING).returncode == -signal.SIGKILL
    with stopped(own_server):
        result = cli("move-outbox", "env:THERE")
    assert result.code == 1
    assert PASSWORD not in result.out + result.err
    assert "start PostgreSQL" in result.err
    assert cli("move-outbox", "env:THERE").code == 0


@slow
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'", "no space left"),
        ("PERFORM pg_terminate_backend(pg_backend_pid())", "terminating connection"),
    ],
    ids=["disk full", "connection lost"],
)
def test_trouble_with_the_server_in_the_middle(
    trouble: str, words: str, cli: Callable[..., Result], outbox: Outbox, server: str, postgres: Postgres
) -> None:
    put(outbox, 1, 2, 3)
    outbox.close()
    cli("move-outbox", "env:THERE", "--dry-run")
    body = f"CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {trouble}; RETURN new; END $$"
    postgres.execute(f"SET search_path = sfwebhooks; {body}; CREATE TRIGGER trouble BEFORE INSERT ON delivery"
                     " FOR EACH ROW EXECUTE FUNCTION trouble()", server)  # fmt: skip
    result = cli("move-outbox", "env:THERE")
    assert result.code == 1
    assert words in result.err
    assert "the move has begun" in result.err
    assert "run the same command again: it goes on where it was" in result.err
    postgres.execute("DROP FUNCTION sfwebhooks.trouble CASCADE", server)
    assert cli("move-outbox", "env:THERE").code == 0
    assert postgres.execute("SELECT count(*) FROM sfwebhooks.delivery", server) == [(3,)]


@slow
@pytest.mark.parametrize("name", ["team", "removed"], ids=["in the settings", "removed from them"])
def test_a_batch_in_flight_keeps_its_members(
    name: str, cli: Callable[..., Result], outbox: Outbox, server: str, postgres: Postgres, tmp_path: Path
) -> None:
    """Its sender died: the request is repeated under its id."""
    configure(tmp_path, team="http://127.0.0.1:9/")
    put(outbox, *range(1, 8), endpoint=name)
    batch = claim_one(outbox, Limits(name, size=5))
    assert batch
    outbox.close()
    assert cli("move-outbox", "env:THERE").code == 0
    found = postgres.execute("SELECT batch, count(*) FROM sfwebhooks.delivery GROUP BY 1 ORDER BY 2", server)
    assert found == [(None, 2), (batch.id, 5)]


@slow
@pytest.mark.parametrize("table", ["event", "delivery", "delivery_attempt", "sequence"])
def test_a_damaged_file_is_moved_as_far_as_it_can_be_read(
    table: str, cli: Callable[..., Result], outbox: Outbox, server: str, postgres: Postgres, tmp_path: Path
) -> None:
    configure(tmp_path, team="http://127.0.0.1:9/")
    put(outbox, *range(1, 501))
    for _ in range(250):
        send(outbox)
    sql(outbox, "INSERT INTO sequence SELECT 'scan' || number, endpoint, series, 1 FROM delivery")
    damage_page(outbox, table)
    result = cli("move-outbox", "env:THERE")
    assert result.code == 3
    assert "damaged: " in result.out
    ((moved,),) = postgres.execute("SELECT count(*) FROM sfwebhooks.delivery", server)
    assert 400 < moved <= 500
    assert cli("drain").code == 1  # the file is not used any more
    assert not [*tmp_path.glob("*.corrupt*")]


@slow
def test_two_files_are_moved_at_once(server: str, postgres: Postgres, tmp_path: Path) -> None:
    processes = []
    for letter in "ab":
        (tmp_path / letter).mkdir()
        with closing(Outbox(tmp_path / letter / FILE)) as outbox:
            fill(outbox, f"5C4A000{letter}")
        processes.append(Process([tmp_path / letter, TARGET, "finish", "never", 0], MOVING))
    assert [process.wait(60) for process in processes] == [0, 0]
    assert postgres.execute("SELECT count(*), count(DISTINCT number) FROM sfwebhooks.delivery", server) == [(18, 18)]
    assert postgres.execute("SELECT sum(number) FROM sfwebhooks.tally WHERE what = 'death'", server) == [(2,)]


@slow
def test_the_file_says_what_to_set_and_nothing_else_uses_it(
    cli: Callable[..., Result], outbox: Outbox, server: str, tmp_path: Path
) -> None:
    configure(tmp_path, team="http://127.0.0.1:9/")
    put(outbox, 1)
    outbox.close()
    assert run([tmp_path, TARGET, "put_events", "before", 1], MOVING).returncode == -signal.SIGKILL
    for command in (["status"], ["drain"], ["deliveries"], ["pause", "team"]):
        result = cli(*command)
        assert result.code == 1
        assert "run sfwebhooks move-outbox env:THERE until it has completed" in result.err
    assert cli("move-outbox", "env:THERE").code == 0
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"report_id": "report-1", "title": "Threats"}))
    for command in (["status"], ["drain"], ["emit", "cti_report_generated", "--data", str(report)]):
        result = cli(*command)
        assert result.code == 1
        assert "set outbox = env:THERE in [webhooks]" in result.err
        assert PASSWORD not in result.err
    result = cli("doctor")
    assert "set outbox = env:THERE in [webhooks]" in result.words
    assert cli("move-outbox", "env:THERE").code == 0


@slow
def test_another_database_than_the_one_of_the_begin_is_refused(
    cli: Callable[..., Result],
    outbox: Outbox,
    server: str,
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(outbox, 1)
    outbox.close()
    assert run([tmp_path, TARGET, "put_events", "before", 1], MOVING).returncode == -signal.SIGKILL
    with postgres.database() as other:
        monkeypatch.setenv("OTHER", other)
        result = cli("move-outbox", "env:OTHER")
    assert (result.code, "and not to" in result.err) == (1, True)
    assert cli("move-outbox", "env:THERE").code == 0


@slow
def test_a_database_of_a_newer_version_is_refused(
    cli: Callable[..., Result], outbox: Outbox, server: str, postgres: Postgres
) -> None:
    put(outbox, 1)
    outbox.close()
    cli("move-outbox", "env:THERE", "--dry-run")
    postgres.execute("UPDATE sfwebhooks.schema_version SET number = 99", server)
    result = cli("move-outbox", "env:THERE")
    assert (result.code, "newer sfwebhooks" in result.err) == (1, True)
    put(outbox, 2)  # it is still used


@slow
def test_a_dry_run_changes_nothing_and_names_what_prevents_the_move(
    cli: Callable[..., Result], outbox: Outbox, server: str, tmp_path: Path, owner: Callable[..., Process]
) -> None:
    configure(tmp_path, team="http://127.0.0.1:9/")
    fill(outbox, "5C4A0001")
    result = cli("move-outbox", "env:THERE", "--dry-run", "--json")
    assert result.code == 0
    (found,) = result.objects
    assert found["deliveries"] == {"waiting": 7, "delivered": 1, "dead": 1}
    assert (found["rows"]["event"], found["obstacles"], found["is_begun"]) == (9, [], False)
    process = owner()
    lock = outbox.locks.scan("5C4A0009")
    assert lock.take()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("UPDATE scan SET id = '5C4A0009', ended = NULL")
    words = cli("move-outbox", "env:THERE", "--dry-run").words
    assert f"process {process.pid} sends to team" in words
    assert "scan 5C4A0009 is running" in words
    result = cli("move-outbox", "env:THERE")
    assert (result.code, f"process {process.pid} sends to team" in result.err) == (1, True)
    process.kill()
    process.wait()
    result = cli("move-outbox", "env:THERE")
    assert (result.code, "scan 5C4A0009 is running" in result.err) == (1, True)
    lock.release()
    assert cli("move-outbox", "env:THERE").code == 0


@slow
def test_two_of_them_at_once(cli: Callable[..., Result], outbox: Outbox, server: str, tmp_path: Path) -> None:
    put(outbox, 1)
    lock = Lock(tmp_path / FILE, "move")
    assert lock.take()
    result = cli("move-outbox", "env:THERE")
    assert (result.code, "another process is moving outbox" in result.err) == (1, True)
    lock.release()
    assert cli("move-outbox", "env:THERE").code == 0


@slow
def test_the_file_can_be_used_again(
    cli: Callable[..., Result], outbox: Outbox, server: str, tmp_path: Path, team: Team
) -> None:
    configure(tmp_path, team=team.url)
    put(outbox, 1, 2)
    outbox.close()
    assert cli("move-outbox", "env:THERE").code == 0
    assert "is used again, with a new series" in cli("move-outbox", "--undo").words
    assert cli("drain").code == 0
    assert len(team.ids) == 2
    result = cli("move-outbox", "--undo")
    assert (result.code, "was not moved" in result.err) == (1, True)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "postgresql://u:hunter2@db/hooks",
            "other users can see the arguments of a command: use env:NAME or file:PATH",
        ),
        ("env:NOT_SET_ANYWHERE", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("file:/nonexistent/address", "cannot be read"),
        ("env:WRONG", "env:WRONG: expected an address such as postgresql://user:password@host/database"),
        ("", "TARGET is required"),
    ],
)
def test_a_wrong_target_is_explained(
    cli: Callable[..., Result], outbox: Outbox, target: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "mysql://u:hunter2@db/hooks")
    put(outbox, 1)
    result = cli("move-outbox", *([target] if target else []))
    assert result.code == 1
    assert words in result.err
    assert "hunter2" not in result.out + result.err
    put(outbox, 2)


def test_a_spool_is_not_an_outbox(cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / SPOOL_FILE).touch()
    result = cli("move-outbox", "env:THERE")
    assert result.code == 1
    assert f"{SPOOL_FILE} is a spool: sfwebhooks drain forwards its events" in result.err
