"""`GET /v1/stream`: parts come from the broadcaster and go out as server-sent events until the client or its session is
gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sfwebhooks.web.access import COOKIE, Known
from sfwebhooks.web.logins import Access
from sfwebhooks.web.problems import Problem, answer
from sfwebhooks.web.site import Site, TheSite
from sfwebhooks.web.stream import Broadcaster, OpenStream

router = APIRouter(prefix="/v1", tags=["stream"])
#: streams that are written before other requests get their turn
TURN = 50
#: seconds for which the end of a stream waits for its client to read
END_SECONDS = 1.0
#: seconds after which a client may try again if there are too many streams
RETRY_SECONDS = 10
#: a proxy may neither keep nor collect what comes
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
EXAMPLE = """retry: 2000

event: status
data: {"endpoints":[],"senders":[],"watch":{},"sending":"sending: sfwebhooks run (process 4711)"}

"""


class Writers:
    """The open streams of an event loop, which the broadcaster wakes all at once.

    Args:
        loop: the running one.
    """

    def __init__(self, broadcaster: Broadcaster, loop: asyncio.AbstractEventLoop) -> None:
        self._broadcaster = broadcaster
        self._loop = loop
        self._open: set[Writer] = set()

    def join(self, sees_all: bool, lasts: Callable[[], bool]) -> Writer | None:
        """Return the writer of a new stream, to be given to `leave`; None: there are too many.

        Args:
            sees_all: see `OpenStream`.
            lasts: whether its session lasts; asked in each round.
        """
        stream = self._broadcaster.join(sees_all, self.wake)
        if stream is None:
            return None
        writer = Writer(stream, lasts)
        self._open.add(writer)
        return writer

    def leave(self, writer: Writer) -> None:
        """Forget a stream."""
        self._open.discard(writer)
        self._broadcaster.leave(writer.stream)

    def wake(self) -> None:
        """Let all streams look for what they have to send; called by the broadcaster's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: self._look([*self._open]))

    def _look(self, writers: Sequence[Writer]) -> None:
        for writer in writers[:TURN]:
            writer.look()
        if writers[TURN:]:
            self._loop.call_soon(self._look, writers[TURN:])


class Writer:
    """What writes one stream."""

    def __init__(self, stream: OpenStream, lasts: Callable[[], bool]) -> None:
        self.stream = stream
        self.ended = asyncio.Event()
        self._lasts = lasts
        self._news = asyncio.Event()

    def look(self) -> None:
        """Send what there is; end with the session."""
        if not self._lasts():
            self.stream.close()
        if self.stream.is_closed:
            self.ended.set()
        self._news.set()

    async def write(self, send: Send) -> None:
        """Write the stream to its end."""
        while not self.stream.is_closed:
            self._news.clear()
            while part := self.stream.take():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await self._news.wait()
        await send({"type": "http.response.body", "body": b""})


class EventStream(Response):
    """The answer: it ends with the client, its session or the server."""

    media_type = "text/event-stream"

    def __init__(self, writers: Writers, sees_all: bool, lasts: Callable[[], bool]) -> None:
        self.status_code = HTTPStatus.OK
        self.background = None
        self.init_headers(HEADERS)
        self._writers = writers
        self._sees_all = sees_all
        self._lasts = lasts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the stream to its end; a client that does not read is disconnected then."""
        writer = self._writers.join(self._sees_all, self._lasts)
        if writer is None:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many event streams are open", headers=headers)
            return await answer(problem)(scope, receive, send)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writing, gone, ended = map(asyncio.ensure_future, (writer.write(send), _gone(receive), writer.ended.wait()))
        try:
            await asyncio.wait({writing, gone, ended}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({writing}, timeout=0 if gone.done() else END_SECONDS)
            if not writing.done() and not gone.done():
                scope["state"]["abort"]()
                await gone
        finally:
            self._writers.leave(writer)
            for task in (writing, gone, ended):
                task.cancel()


async def _gone(receive: Receive) -> None:
    """Return once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/stream",
    operation_id="stream",
    summary="Follow what changes",
    status_code=HTTPStatus.OK,
    response_class=EventStream,
    responses={200: {"description": "server-sent events", "content": {EventStream.media_type: {"example": EXAMPLE}}}},
)
async def follow(request: Request, known: Known, site: TheSite) -> EventStream:
    """Follow what changes, as server-sent events, until you disconnect or your session ends.

    `status` is the body of `GET /v1/status`, first and whenever it has changed; `attempts` has the attempts of the last
    second, at most 100, and the number of others that are `missed`; `scans` has the scans that have changed; `problem`
    says that nothing can be read now. If there is nothing else for 15 seconds, a comment comes. A client that does not
    read what comes is disconnected.
    """
    writers = _writers(request, site)
    if not known.session:
        return EventStream(writers, known.access is Access.OPERATOR, lambda: True)
    cookie, session = request.cookies[COOKIE], known.session
    return EventStream(writers, known.access is Access.OPERATOR, lambda: site.logins.session(cookie) is session)


def _writers(request: Request, site: Site) -> Writers:
    """Return the streams of this event loop."""
    state = request.app.state
    if not hasattr(state, "writers"):
        state.writers = Writers(site.streams, asyncio.get_running_loop())
    found: Writers = state.writers
    return found
