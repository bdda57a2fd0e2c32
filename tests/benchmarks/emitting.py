"""From `emit` in one process over `run` in another to the receiver in a third, at a steady rate; and `emit` alone.

The reference is the same messages posted straight to the receiver, which notes when it has read each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from sfwebhooks.emission import keep
from sfwebhooks.emitted_event import Emission
from sfwebhooks.events import delivery_id
from tests.benchmarks.accepting import DEAD, SIZE, bare_outbox, texts
from tests.benchmarks.handling import write_settings
from tests.benchmarks.looping import session_post
from tests.benchmarks.measure import Measure, Row, each, of_times, with_null_row
from tests.benchmarks.receiving import in_python
from tests.builders import PATIENCE

#: messages a second
RATES = (50, 200)
NOTES = "notes"
#: part of the events that a steady row takes
SHARE = 0.1
#: sends a message with this text; returns the id under which it arrives
Send = Callable[[str], str]


def posted(rate: int) -> Callable[[int], Measure]:
    """Return a row: messages posted straight to the receiver."""

    def row(events: int) -> Measure:
        with (
            tempfile.TemporaryDirectory() as name,
            in_python(notes=Path(name) / NOTES) as url,
            session_post(url) as post,
        ):

            def send(text: str) -> str:
                post(json.dumps({"title": text}).encode(), {"webhook-id": text})
                return text

            return arriving(Path(name), send, events, rate)

    return row


def emitted(rate: int) -> Callable[[int], Measure]:
    """Return a row: messages emitted while `sfwebhooks run` sends."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as name, in_python(notes=Path(name) / NOTES) as url:
            folder = Path(name)
            write_settings(folder, [url])
            command = [sys.executable, "-m", "sfwebhooks", "run", "--folder", name]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                try:
                    return arriving(folder, lambda text: emit(text, folder), events, rate)
                finally:
                    process.terminate()

    return row


def emit(text: str, folder: Path) -> str:
    """Store a message as `sfwebhooks emit` does; return the id of its delivery."""
    data = {"report_id": text, "title": text}
    return delivery_id(keep(Emission("cti_report_generated", data), folder=folder).id, "team0")


def arriving(folder: Path, send: Send, number: int, rate: int) -> Measure:
    """Send so many messages at a rate, and measure from before each is sent until the receiver has it."""
    awaited(folder, {send("the first, for which processes start and connections open"): 0.0})
    begun: dict[str, float] = {}
    start = time.monotonic()
    for at, text in enumerate(texts(number, SIZE)):
        time.sleep(max(start + at / rate - time.monotonic(), 0.0))
        now = time.monotonic()
        begun[send(text)] = now
    arrived = awaited(folder, begun)
    return of_times(arrived[message] - at for message, at in begun.items())


def awaited(folder: Path, ids: Mapping[str, float]) -> dict[str, float]:
    """Return when each of these messages arrived, in monotonic seconds, once all have."""
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = (folder / NOTES).read_text(encoding="utf-8").splitlines()
        arrived = {message: float(at) for at, _, message in reversed([line.partition(" ") for line in lines])}
        if ids.keys() <= arrived.keys():
            return arrived
        assert time.monotonic() < deadline, f"{len(arrived)} of {len(ids)} messages arrived"
        time.sleep(0.02)


def bare_emit(events: int) -> Measure:
    """Open a plain file, commit a message, and close it, as a tool does that stores one."""
    with tempfile.TemporaryDirectory() as folder:

        def commit(row: tuple[int, str]) -> None:
            with closing(bare_outbox(Path(folder))) as connection:
                connection.execute("INSERT INTO event VALUES (?, ?, 0)", row)

        return each(enumerate(texts(events, SIZE)), commit)


def emit_alone(events: int) -> Measure:
    """Emit while nobody sends."""
    with tempfile.TemporaryDirectory() as folder:
        write_settings(Path(folder), [DEAD])
        return each(texts(events, SIZE), lambda text: emit(text, Path(folder)))


BARE_EMIT = "emit: bare sqlite3 open, commit, close"
ROWS = {
    **with_null_row(BARE_EMIT, bare_emit, share=SHARE, compares="p50"),
    "emit: emit, one endpoint": Row(emit_alone, BARE_EMIT, share=SHARE, compares="p50"),
}
for rate in RATES:
    direct = f"end to end: posted straight, {rate}/s"
    ROWS |= with_null_row(direct, posted(rate), share=SHARE, compares="p50")
    ROWS[f"end to end: emit here, run there, {rate}/s"] = Row(emitted(rate), direct, share=SHARE, compares="p50")
