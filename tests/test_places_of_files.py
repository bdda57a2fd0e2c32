"""Each file that is opened by its name, with a pipe in its place: the real command ends, and says which file it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.host.install import SHIM
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, a_host_database, a_scan, an_event
from tests.conftest import put
from tests.processes import run
from tests.tiers import quick_first

ONE_STORE = "it is about the file"

SETTINGS = """
[webhooks.team]
url = http://127.0.0.1:9/x
secret = file:secret
events = all
"""
DRAIN, EMIT = ("drain", "--timeout", "5s"), ("emit", "cti_report_generated", "--data", "data.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with all that commands open; a delivery waits in its outbox, and the outbox is closed."""
    (tmp_path / "webhooks.ini").write_text(SETTINGS)
    (tmp_path / "secret").write_text("it has more than 24 characters")
    (tmp_path / "data.json").write_text('{"report_id": "report-1", "title": "Threats"}')
    (tmp_path / "sfscan.py").touch()
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sfp__stor_db.py").touch()
    (tmp_path / "webhooks.locks").mkdir(mode=0o700)
    a_host_database(tmp_path / "spiderfoot.db", a_scan())
    outbox = Outbox(tmp_path / FILE)
    outbox.scans.begin_scan(a_scan(), an_event(), (), 0.0)
    put(outbox, *load(tmp_path / "webhooks.ini").endpoints)
    outbox.close()
    return tmp_path


def command(folder: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command in a data folder; return its exit code and all that it printed, in one line."""
    environment = {**os.environ, "HOME": str(folder), "SPIDERFOOT_DATA": str(folder)}
    done = run(arguments, env=environment, cwd=folder, timeout=PATIENCE)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


#: places of files, each with a command that opens it; the first ones are in the quick tier
PLACES = [
    ("webhooks.ini", ("check",)),
    ("secret", ("check",)),
    (FILE, DRAIN),
    (f"{FILE}-wal", DRAIN),
    ("webhooks.locks/url-URL.lock", DRAIN),
    ("spiderfoot.db", DRAIN),
    (f"modules/{SHIM}", ("install", "--spiderfoot", ".")),
    ("got", ("receive", "--port", "0", "--save", "got")),
    ("got.db", ("receive", "--port", "0", "--log", "got.db")),
    (FILE, EMIT),
    (FILE, ("deliveries",)),
    (f"{FILE}-shm", DRAIN),
    (f"{FILE}-journal", DRAIN),
    (f"{FILE}-journal", ("deliveries",)),
    ("webhooks.locks/endpoint-team.lock", DRAIN),
    ("webhooks.locks/endpoint-team.note", DRAIN),
    ("webhooks.locks/url-URL.note", DRAIN),
    ("webhooks.locks/scan-SCAN.lock", DRAIN),
    ("spiderfoot.db", EMIT),
    ("spiderfoot.db", ("check",)),
    ("spiderfoot.db-wal", DRAIN),
    ("spiderfoot.db-shm", DRAIN),
    ("spiderfoot.db-journal", DRAIN),
    (f"modules/{SHIM}", ("uninstall", "--spiderfoot", ".")),
    (".spiderfoot/webhooks.hosts", ("check",)),
    ("new-secret", ("keygen", "--file", "new-secret")),
]


@pytest.mark.parametrize("opened", quick_first(PLACES, 3), ids=lambda opened: f"{opened[0]} {opened[1][0]}")
def test_a_pipe_in_the_place_of_a_file_is_said_and_not_waited_for(
    folder: Path, opened: tuple[str, Sequence[str]]
) -> None:
    place, arguments = opened
    url_id = load(folder / "webhooks.ini").endpoints[0].url_id
    path = folder / place.replace("URL", url_id).replace("SCAN", a_scan().id)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    code, said = command(folder, arguments)
    assert (code, path.name in said) == (1, True), said


def test_a_pipe_in_the_place_of_the_mark_is_replaced_by_it(folder: Path) -> None:
    mark = folder / "webhooks.mark"
    mark.unlink()
    os.mkfifo(mark)
    code, said = command(folder, DRAIN)
    assert (code, mark.is_file()) == (1, True), said


def test_requests_are_not_saved_in_a_pipe_that_nobody_reads(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    code, said = command(folder, ("receive", "--port", "0", "--save", "pipe"))
    assert said == "sfwebhooks: --save pipe cannot be written: it is a pipe without a reader: start the reader first"
    assert code == 1
