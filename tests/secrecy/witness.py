"""The Witness: it keeps whatever can be seen while a test goes on, and says which secrets are in it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfwebhooks.cli import main
from sfwebhooks.outbox.file import FILE
from tests.leaks import leaks
from tests.secrecy.planted import FORMAT_KEYS, SECRETS

#: characters around what was found
AROUND = 40
#: what starts a process, as `sys.audit` calls it
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system")
_witnesses: list[Witness] = []


@dataclass
class Witness:
    """What was seen, and where."""

    #: SpiderFoot's data folder
    folder: Path
    seen: list[tuple[str, str]] = field(default_factory=list)

    def see(self, place: str, *things: object) -> None:
        """Look at things as text, and at exceptions with all that led to them."""
        for thing in things:
            self.seen += [(place, str(thing)), (place, repr(thing))]
            if isinstance(thing, BaseException):
                words = traceback.format_exception(type(thing), thing, thing.__traceback__)
                self.seen.append((f"{place}: traceback", "".join(words)))

    def run(self, *arguments: str) -> int:
        """Run a command of ours in this process; what it prints is seen at the end."""
        try:
            return main(arguments)
        except SystemExit as ended:
            return int(ended.code or 0)

    def look_into_files(self) -> None:
        """Look at all rows of the outbox, and at the names and bytes of all files in the data folder."""
        for path in self.folder.glob(f"{FILE}*"):
            with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path)) as sql:
                for (table,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    rows = sql.execute(f"SELECT * FROM {table}").fetchall()
                    # of ids and hashes in hexadecimal digits, ten characters are not equal to a secret's by chance
                    texts = [[one.hex() if isinstance(one, bytes) else one for one in row] for row in rows]
                    self.seen.append((f"table {table}", repr(texts)))
        for path in self.folder.rglob("*"):
            content = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
            self.seen.append((f"file {path.name}", f"{path.name} {content}"))

    def has_seen(self, words: str) -> bool:
        """Say whether a text was seen."""
        return any(words in text for _, text in self.seen)

    def secrets(self, *secrets: str) -> list[str]:
        """Return the secrets that were seen, of these or of the planted ones, each with its place."""
        asked: Sequence[str] = secrets or (*SECRETS, *(text for keys in FORMAT_KEYS.values() for text in keys.values()))
        if not leaks("\n".join(dict.fromkeys(text for _, text in self.seen)), *asked):
            return []
        return [f"{form} in {place}: {text}" for place, text in self.seen for form in leaks(text, *asked)]


class Listener(logging.Handler):
    """Lets a witness see every record with its arguments and its traceback."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(logging.DEBUG)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        self._witness.see(f"log of {record.name}", self.format(record), record.args)


@contextlib.contextmanager
def watching(witness: Witness) -> Iterator[None]:
    """Let a witness see what is logged anywhere, warned of, started as a process, and what ends a thread."""
    root, listener = logging.getLogger(), Listener(witness)
    level, hook = root.level, threading.excepthook
    root.setLevel(logging.DEBUG)
    root.addHandler(listener)
    threading.excepthook = lambda ended: witness.see("thread", ended.exc_value)
    _witnesses.append(witness)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            _witnesses.remove(witness)
            threading.excepthook = hook
            root.removeHandler(listener)
            root.setLevel(level)
            witness.see("warning", *(one.message for one in warned))


def _note_start(event: str, values: tuple[Any, ...]) -> None:
    if event in STARTS:
        for witness in _witnesses:
            witness.see("process", values[:2])  # not its environment


sys.addaudithook(_note_start)
