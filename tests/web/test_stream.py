"""The broadcaster: all streams get what changes, and none can hold up the others, the thread or the process."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sfwebhooks.errors import OutboxError
from sfwebhooks.web import stream as streams
from sfwebhooks.web.stream import (
    BEGIN,
    BEHIND_MAX,
    COMMENT,
    STREAMS_MAX,
    VIEWERS_MAX,
    Broadcaster,
    Feed,
    OpenStream,
    StreamEvent,
)
from tests.builders import PATIENCE
from tests.threads import until


class Source:
    """A feed whose changes a test makes, and what the broadcaster did with it."""

    def __init__(self) -> None:
        self.changes: list[StreamEvent] = []
        self.error: Exception | None = None
        self.looks = self.opened = self.closed = 0
        #: returns while a test lets it
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> StreamEvent | None:
        self.looks += 1
        assert self.gate.wait(PATIENCE)
        if self.error:
            raise self.error
        return self.changes.pop(0) if self.changes else None

    @contextmanager
    def feeds(self) -> Iterator[list[Feed]]:
        self.opened += 1
        try:
            yield [self]
        finally:
            self.closed += 1

    def look(self, times: int = 1) -> None:
        """Wait for whole rounds."""
        before = self.looks
        until(lambda: self.looks > before + times)


def a_change(text: str = "all", name: str = "status", is_state: bool = True) -> StreamEvent:
    return StreamEvent(name, {"text": text}, lambda: {"text": "redacted"}, is_state)


def ignore() -> None:
    pass


def taken(stream: OpenStream) -> str:
    """Return all that a stream has to send now."""
    parts = []
    while part := stream.take():
        parts.append(part)
    return b"".join(parts).decode()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.01)
    return Source()


@pytest.fixture
def broadcaster(source: Source) -> Iterator[Broadcaster]:
    made = Broadcaster(source.feeds)
    yield made
    source.gate.set()
    made.close()


@pytest.fixture
def join(broadcaster: Broadcaster) -> Callable[..., OpenStream]:
    def join(sees_all: bool = True, wake: Callable[[], None] = ignore) -> OpenStream:
        stream = broadcaster.join(sees_all, wake)
        assert stream
        return stream

    return join


def test_each_stream_gets_each_change_as_it_may_see_it(source: Source, join: Callable[..., OpenStream]) -> None:
    operator, viewer = join(), join(sees_all=False)
    source.changes = [a_change("one", "attempts", is_state=False)]
    source.look(2)
    assert taken(operator) == 'retry: 2000\n\nevent: attempts\ndata: {"text":"one"}\n\n'
    assert taken(viewer) == 'retry: 2000\n\nevent: attempts\ndata: {"text":"redacted"}\n\n'
    assert taken(operator) == ""


def test_a_new_stream_begins_with_the_last_state(source: Source, join: Callable[..., OpenStream]) -> None:
    join()
    source.changes = [a_change("old"), a_change("new"), a_change("passing", "attempts", is_state=False)]
    source.look(4)
    assert taken(join()) == 'retry: 2000\n\nevent: status\ndata: {"text":"new"}\n\n'
    assert taken(join(sees_all=False)) == 'retry: 2000\n\nevent: status\ndata: {"text":"redacted"}\n\n'


def test_no_line_break_of_foreign_text_ends_an_event(source: Source, join: Callable[..., OpenStream]) -> None:
    stream, text = join(), "a\n\nevent: status\r\rdata: {}\u2028\x00\ud800"
    source.changes = [a_change(text)]
    source.look(2)
    _, event, data = taken(stream).rstrip("\n").split("\n")[-3:]
    assert event == "event: status"
    assert json.loads(data.partition(" ")[2]) == {"text": text.replace("\ud800", "\ufffd")}
    assert "\r" not in data


def test_nothing_is_looked_at_while_nobody_listens(
    source: Source, broadcaster: Broadcaster, join: Callable[..., OpenStream]
) -> None:
    assert (source.opened, broadcaster.number) == (0, 0)
    source.changes = [a_change("before")]
    one, other = join(), join()
    source.look()
    broadcaster.leave(one)
    source.look()
    assert (source.opened, source.closed) == (1, 0)
    broadcaster.leave(other)
    until(lambda: source.closed)
    looks = source.looks
    assert broadcaster.number == 0
    until(lambda: not [one for one in threading.enumerate() if one.name == "webhooks-stream"])
    assert (source.looks, source.opened) == (looks, 1)
    assert taken(join()) == BEGIN.decode(), "a state of long ago is not the current one"
    until(lambda: source.opened == 2)


def test_streams_of_a_loop_are_woken_once_a_round(source: Source, join: Callable[..., OpenStream]) -> None:
    woken: list[int] = []

    def wake() -> None:
        woken.append(source.looks)

    source.gate.clear()
    for _ in range(100):
        join(wake=wake)
    source.gate.set()
    until(lambda: len(woken) > 3)
    assert len({*woken}) == len(woken)


def test_a_stream_that_is_not_read_is_closed_and_keeps_nothing(
    source: Source, broadcaster: Broadcaster, join: Callable[..., OpenStream]
) -> None:
    unread, read = join(), join()
    got = ""
    for number in range(BEHIND_MAX + 1):
        source.changes = [a_change(str(number))]
        until(lambda: not source.changes)
        source.look()
        assert not read.is_closed
        got += taken(read)
    assert (unread.is_closed, unread.take(), read.is_closed) == (True, b"", False)
    assert got.count("event: status") == BEHIND_MAX + 1
    broadcaster.leave(unread)
    assert broadcaster.number == 1


def test_streams_are_limited_in_number(
    source: Source, broadcaster: Broadcaster, join: Callable[..., OpenStream]
) -> None:
    source.gate.clear()
    first = join()
    for _ in range(STREAMS_MAX - 1):
        join()
    assert broadcaster.join(True, ignore) is None
    broadcaster.leave(first)
    broadcaster.leave(first)
    assert broadcaster.join(True, ignore)
    assert broadcaster.join(True, ignore) is None


def test_viewers_leave_room_for_an_operator(source: Source, broadcaster: Broadcaster) -> None:
    source.gate.clear()
    for _ in range(VIEWERS_MAX):
        assert broadcaster.join(False, ignore)
    assert broadcaster.join(False, ignore) is None
    assert broadcaster.join(True, ignore)


def test_the_end_closes_all_streams_and_ends_the_thread(
    source: Source, broadcaster: Broadcaster, join: Callable[..., OpenStream]
) -> None:
    woken: list[int] = []
    one = join(wake=lambda: woken.append(1))
    source.look()
    woken.clear()
    broadcaster.close()
    assert (one.is_closed, woken, source.closed) == (True, [1], 1)
    assert broadcaster.join(True, ignore) is None
    broadcaster.leave(one)
    broadcaster.close()


def test_an_outbox_that_cannot_be_read_is_reported_once_and_then_looked_at_again(
    source: Source, join: Callable[..., OpenStream], caplog: pytest.LogCaptureFixture
) -> None:
    stream = join()
    source.look()
    source.error = OutboxError("outbox /somewhere/secret.db is damaged")
    source.look(3)
    assert taken(stream).count("event: problem") == 1
    late = taken(join())
    assert ("event: problem" in late, "secret.db" in late) == (True, False)
    source.error, source.changes = None, [a_change("again")]
    source.look(3)
    assert taken(stream) == 'event: status\ndata: {"text":"again"}\n\n'
    assert "problem" not in taken(join())
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert [line for line in lines if "secret.db" in line] == lines[:1]


def test_a_bug_in_a_feed_does_not_silence_the_streams(
    source: Source, join: Callable[..., OpenStream], caplog: pytest.LogCaptureFixture
) -> None:
    stream = join()
    source.error = KeyError("no such thing")
    source.look(3)
    source.error, source.changes = None, [a_change("again")]
    source.look(3)
    assert "again" in taken(stream)
    assert "no such thing" in caplog.text


def test_a_comment_shows_that_a_silent_stream_is_alive(
    source: Source, join: Callable[..., OpenStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = join()
    source.look(3)
    assert taken(stream) == BEGIN.decode()
    monkeypatch.setattr(streams, "COMMENT_SECONDS", 0.0)
    source.look(3)
    assert taken(stream).replace(COMMENT.decode(), "") == ""
    source.look(3)
    assert taken(stream)
