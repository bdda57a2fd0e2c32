"""The broadcaster of the event stream: changes come in, once a second for all streams; server-sent events for each of
them go out.

One thread looks for changes, and only while a stream is open. It knows no framework: `api/stream` writes the bytes.
Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

from sfwebhooks.errors import WebhooksError
from sfwebhooks.jsontext import written
from sfwebhooks.log_once import Trouble

log = logging.getLogger("spiderfoot.webhooks")
#: streams that are open at once, and those of viewers among them: they leave room for an operator
STREAMS_MAX, VIEWERS_MAX = 1024, 960
#: rounds that a stream may be behind; then it is closed
BEHIND_MAX = 32
#: seconds between two looks for changes
LOOK_SECONDS = 1.0
#: and at least for each stream, so that a thousand of them leave the processor to the deliveries
STREAM_SECONDS = 0.002
#: seconds without a change until a comment is sent, by which both ends notice that the other one is gone
COMMENT_SECONDS = 15.0
COMMENT = b":\n\n"
#: seconds that the end waits for a look at the outbox
CLOSE_SECONDS = 5.0
#: milliseconds until a browser connects again
BEGIN = b"retry: 2000\n\n"


@dataclass(frozen=True)
class StreamEvent:
    """An event of the stream; its data are JSON types."""

    name: str
    #: for operators
    data: Any
    #: returns the data for viewers
    redacted: Callable[[], Any]
    #: whether a new stream begins with the last one of this name; `redacted` then takes no time
    is_state: bool = False

    def written(self, sees_all: bool) -> bytes:
        """Return the event as bytes, for operators (True) or viewers."""
        return self._for_operators if sees_all else self._for_viewers

    @cached_property
    def _for_operators(self) -> bytes:
        return _event(self.name, self.data)

    @cached_property
    def _for_viewers(self) -> bytes:
        return _event(self.name, self.redacted())


#: the event for what the log has in detail
PROBLEM = "problem"
WORDS = {"status": 503, "detail": "the outbox cannot be read now: the log says why"}
UNREADABLE = StreamEvent(PROBLEM, WORDS, lambda: WORDS, is_state=True)
#: returns what has changed since its last call; it may raise WebhooksError
Feed = Callable[[], Union[StreamEvent, None]]


class OpenStream:
    """An open stream: what it still has to send.

    Args:
        sees_all: whether it is an operator's; a viewer's has redacted data.
        wake: called in each round, once for all streams that have the same one: they may have something to send.
    """

    def __init__(self, sees_all: bool, wake: Callable[[], None]) -> None:
        self.sees_all = sees_all
        self.wake = wake
        self.is_closed = False
        self._waiting: deque[bytes] = deque()

    def put(self, part: bytes) -> None:
        """Let a part be sent; close the stream if it is too far behind."""
        if len(self._waiting) >= BEHIND_MAX:
            self.close()
        elif not self.is_closed:
            self._waiting.append(part)

    def take(self) -> bytes:
        """Return the next part; empty: there is none."""
        return self._waiting.popleft() if self._waiting else b""

    def close(self) -> None:
        """End the stream; what was not sent yet is dropped."""
        self.is_closed = True
        self._waiting.clear()


class Broadcaster:
    """All open streams, and the thread that looks for changes while there are any.

    Args:
        opened: opens the feeds for as long as the thread runs.
    """

    def __init__(self, opened: Callable[[], AbstractContextManager[Sequence[Feed]]]) -> None:
        self._opened = opened
        self._lock = threading.Condition()
        self._streams: set[OpenStream] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        #: name -> the last change of each state
        self._states: dict[str, StreamEvent] = {}
        self._trouble = Trouble("event stream: ", over="the event stream goes on")
        #: when something was last sent to all, monotonic seconds
        self._sent_at = time.monotonic()

    @property
    def number(self) -> int:
        """The number of open streams."""
        return len(self._streams)

    def join(self, sees_all: bool, wake: Callable[[], None]) -> OpenStream | None:
        """Return a new stream, which begins with the current state; None: there are too many. To be given to `leave`.

        The arguments are those of `OpenStream`.
        """
        stream = OpenStream(sees_all, wake)
        with self._lock:
            viewers = sum(not one.sees_all for one in self._streams)
            if self._is_closed or len(self._streams) >= STREAMS_MAX or not (sees_all or viewers < VIEWERS_MAX):
                return None
            stream.put(b"".join([BEGIN, *(change.written(sees_all) for change in self._states.values())]))
            self._streams.add(stream)
            if not self._thread:
                self._sent_at = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="webhooks-stream", daemon=True)
                self._thread.start()
        return stream

    def leave(self, stream: OpenStream) -> None:
        """Forget a stream."""
        stream.close()
        with self._lock:
            self._streams.discard(stream)
            self._lock.notify_all()

    def close(self) -> None:
        """End all streams, and accept no more."""
        with self._lock:
            self._is_closed = True
            streams, thread = [*self._streams], self._thread
            self._lock.notify_all()
        for stream in streams:
            stream.close()
        _wake(streams)
        if thread:
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while self._is_needed():
            try:
                with self._opened() as feeds:
                    self._follow(feeds)
                continue
            except WebhooksError as error:  # the outbox is locked or cannot be read now
                self._report(str(error))
            except Exception as error:  # a bug: without this, all streams would be silent
                log.debug("webhooks: the event stream failed", exc_info=True)
                self._report(f"{type(error).__name__}: {error}")
            self._pause(LOOK_SECONDS)

    def _is_needed(self) -> bool:
        """Return whether the thread has to go on; if not, the next stream starts another one."""
        with self._lock:
            if self._streams and not self._is_closed:
                return True
            self._thread = None
            self._states.clear()
            return False

    def _pause(self, seconds: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._is_closed or not self._streams, seconds)

    def _follow(self, feeds: Sequence[Feed]) -> None:
        """Send the changes while a stream is open."""
        while self._streams and not self._is_closed:
            changes = [change for feed in feeds for change in [feed()] if change]
            if self._trouble:
                self._trouble.ended()
                self._states.pop(PROBLEM, None)
            self._send(changes)
            self._pause(max(LOOK_SECONDS, len(self._streams) * STREAM_SECONDS))

    def _report(self, text: str) -> None:
        """Let the log and all streams have a problem, once; the log alone names the file."""
        is_new = text != self._trouble.text
        self._trouble.met(text)
        self._send([UNREADABLE] if is_new else [])

    def _send(self, changes: Sequence[StreamEvent]) -> None:
        """Send changes to all streams."""
        with self._lock:
            streams = [*self._streams]
            self._states.update({change.name: change for change in changes if change.is_state})
        kinds = {stream.sees_all for stream in streams}
        parts = {sees_all: b"".join(change.written(sees_all) for change in changes) for sees_all in kinds}
        now = time.monotonic()
        if not changes and now - self._sent_at >= COMMENT_SECONDS:
            parts = dict.fromkeys(kinds, COMMENT)
        if any(parts.values()):
            self._sent_at = now
        for stream in streams:
            if parts[stream.sees_all]:
                stream.put(parts[stream.sees_all])
        _wake(streams)


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {written(data)}\n\n".encode()


def _wake(streams: Iterable[OpenStream]) -> None:
    for wake in {stream.wake for stream in streams}:
        wake()
