"""The witness sees what can be seen: one secret in each place, and it must be found there."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.health import Health
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, an_event, claim_one
from tests.secrecy.planted import API_KEY as SECRET
from tests.secrecy.witness import Witness, watching

ONE_STORE = "it is about the file"


@dataclass
class Holder:
    """An object with a secret in its repr."""

    text: str


def raising(text: str) -> BaseException:
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError("something else") from error
    except ValueError as error:
        return error


def log_a_traceback(witness: Witness) -> None:
    try:
        raise raising(SECRET)
    except ValueError:
        logging.getLogger("urllib3.connectionpool").debug("quietly", exc_info=True)


def log_an_argument(witness: Witness) -> None:
    logging.getLogger("anything").debug("%.3s", SECRET)


def warn(witness: Witness) -> None:
    warnings.warn(SECRET, UserWarning, stacklevel=1)


def end_a_thread(witness: Witness) -> None:
    def fail() -> None:
        raise raising(SECRET)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def start_a_process(witness: Witness) -> None:
    subprocess.run([sys.executable, "-c", "pass", SECRET], check=True)


def print_in_a_process(witness: Witness) -> None:
    code = "import os, sys; print(os.environ['SECRET'], file=sys.stderr)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "SECRET": SECRET})


def fill_a_row(witness: Witness) -> None:
    outbox = Outbox(witness.folder / FILE)
    outbox.accept([(an_event(data={"data": SECRET.encode().hex()}), [Wanted("team", "name")])], NOW)
    outbox.close()


def fill_an_excerpt(witness: Witness) -> None:
    outbox, attempt = Outbox(witness.folder / FILE), Attempt(NOW, 0.0, 200, "http_200", SECRET)
    outbox.accept([(an_event(), [Wanted("team", "x")])], NOW)
    batch = claim_one(outbox, Limits("team"), (), NOW)
    assert batch
    outbox.queue.settle([Result(batch, attempt, [Settlement(State.DEAD, "x", NOW, True)])], {"team": Health()})
    outbox.close()


def leave_it_in_the_log_of_the_file(witness: Witness) -> None:
    with closing(sqlite3.connect(witness.folder / FILE)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("CREATE TABLE mine (text)")
        sql.execute("INSERT INTO mine VALUES (?)", (SECRET.encode(),))
        sql.commit()
        sql.execute("DROP TABLE mine")
        sql.commit()
        content = (witness.folder / f"{FILE}-wal").read_bytes()
    (witness.folder / f"{FILE}-wal.kept").write_bytes(content)


def name_a_file(witness: Witness) -> None:
    (witness.folder / "webhooks.locks").mkdir()
    (witness.folder / "webhooks.locks" / f"{SECRET}.lock").touch()


PLACES: list[Callable[[Witness], object]] = [
    log_a_traceback,
    log_an_argument,
    warn,
    end_a_thread,
    start_a_process,
    print_in_a_process,
    fill_a_row,
    fill_an_excerpt,
    leave_it_in_the_log_of_the_file,
    name_a_file,
    lambda witness: print(SECRET),
    lambda witness: witness.run(SECRET),
    lambda witness: witness.see("repr", Holder(SECRET)),
    lambda witness: witness.see("exception", raising(SECRET)),
]


@pytest.mark.parametrize("reveal", PLACES)
def test_a_secret_is_seen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], reveal: Callable[[Witness], object]
) -> None:
    witness = Witness(tmp_path)
    with watching(witness):
        reveal(witness)
    witness.see("printed", *capfd.readouterr())
    witness.look_into_files()
    assert witness.secrets()


def test_nothing_is_seen_where_nothing_is(tmp_path: Path) -> None:
    witness = Witness(tmp_path)
    with watching(witness):
        logging.getLogger("anything").debug("nothing")
    assert (witness.secrets(), witness.has_seen("nothing")) == ([], True)
