"""What the fakes of vendors' services share: a Vendor answers each request as the service does, and keeps what it took.

A test sets what the service does next: exceed its rate, revoke the address, refuse a message.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, ClassVar
from urllib.parse import parse_qs, urlsplit

from requests.structures import CaseInsensitiveDict

Json = dict[str, Any]
#: whether something is right -> the words if it is not
Checks = Iterator[tuple[bool, str]]


@dataclass(frozen=True)
class Asked:
    """A request as received."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Answer:
    """A reply; its body is JSON unless it is a text."""

    status: int
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what failed, unless the sender was killed meanwhile."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """Answer requests at 127.0.0.1 while the block runs; the URL without a path comes in."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for an acknowledgement

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path)
            headers = CaseInsensitiveDict(self.headers.items())
            given = answer(Asked(self.command, parts.path, parse_qs(parts.query), headers, body))
            data = (given.body if isinstance(given.body, str) else json.dumps(given.body)).encode()
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/plain" if isinstance(given.body, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Vendor:
    """A service. A subclass answers requests within its rate from a sender that it knows (`answer`)."""

    #: format of its messages
    format: str
    #: path and query of the right URL
    path: str
    query: ClassVar[str] = ""
    #: the keys of an endpoint that sends to it: those that its format needs, `api_key`
    keys: Mapping[str, str] = {}
    #: the answer where the address or the credential is wrong
    gone: Answer
    #: the answer to too many requests, and the seconds that it asks to wait; 0 if it does not say
    busy: Answer
    wait: float = 0.0
    #: whether its answer says that a message is invalid
    refuses: ClassVar[bool] = True

    def __init__(self) -> None:
        #: where it is served, without a path
        self.root = ""
        #: all requests
        self.got: list[Asked] = []
        #: the messages that it took, each as its users get it
        self.taken: list[Any] = []
        #: how many of the next requests are too many
        self.excess = 0
        #: whether the address or the credential is not valid any longer
        self.is_revoked = False
        #: a message that has one of these texts is invalid
        self.unwanted: set[str] = set()
        #: the answer of something else that is in its place
        self.instead: Answer | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """Other fields of an endpoint that sends to it."""
        return {}

    @property
    def url(self) -> str:
        """The right URL."""
        return f"{self.root}{self.path}{self.query and '?'}{self.query}"

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        self.got.append(asked)
        if self.instead:
            return self.instead
        if self.excess:
            self.excess -= 1
            return self.busy
        return self.gone if self.is_revoked else self.answer(asked)

    def answer(self, asked: Asked) -> Answer:
        """Answer a request within the rate."""
        raise NotImplementedError

    def is_wanted(self, message: str | bytes | Json) -> bool:
        """Return whether a message has no text that makes it invalid here."""
        if isinstance(message, dict):
            message = json.dumps(message)
        text = message if isinstance(message, str) else message.decode()
        return not any(word in text for word in self.unwanted)

    def problem(self, message: Any) -> str:
        """Return why the service would refuse a message, or show or do what is not meant; nothing if all is well."""
        return first(self.faults(message)) or first(self.mischief(message))

    def mischief_in(self, message: Any) -> str:
        """Return what a message that was taken does or shows that is not meant."""
        return first(self.mischief(message))

    def faults(self, message: Any) -> Checks:
        """Check what the service itself checks."""
        yield True, ""

    def mischief(self, message: Any) -> Checks:
        """Check what the service accepts and we never mean: mentions, markup from outside, texts that it cuts."""
        yield True, ""


class Interruptible(Vendor):
    """A service whose requests a test can watch, and whose answers can be lost."""

    def __init__(self) -> None:
        super().__init__()
        #: how many of the next changes are made and not answered
        self.lost = 0
        #: how many of the next changes are made and answered by something else
        self.garbled = 0
        #: called before each request, and when what it asks is done
        self.before: Callable[[Asked], None] = lambda asked: None
        self.after: Callable[[Asked], None] = lambda asked: None

    def __call__(self, asked: Asked) -> Answer:
        self.before(asked)
        answer = super().__call__(asked)
        self.after(asked)
        if asked.method != "GET" and answer.status < 300 and self.lost:
            self.lost -= 1
            raise ConnectionResetError("the answer is lost")
        if asked.method != "GET" and answer.status < 300 and self.garbled:
            self.garbled -= 1
            return Answer(200, "<html>")
        return answer


def first(checks: Checks) -> str:
    """Return the words of the first check that failed."""
    return next((words for is_right, words in checks if not is_right), "")


def compact(message: Json) -> str:
    """Return a message as JSON without spaces."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def utf16_size(text: str) -> int:
    """Return the length in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def is_shown(text: str) -> bool:
    """Return whether people see each character of a text."""
    return all(char.isprintable() or char in "\n\t" for char in text)
