"""A receiver that does harm, in one way per instance: what a Sender must survive, and the others must not notice.

    Hostile(drip(STATUS_LINE)).url        Hostile(silent, tls=context).url

A way is a function that gets one connection, a Visit, and lives as long as it likes: what drips or floods goes on
until the test is over, so an attempt that ends was ended by the sender.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from itertools import count
from typing import Callable, TypeVar

from tests.builders import PATIENCE

#: seconds between two bytes: "a second" of a hurried test, far below every timeout
DRIP_SECONDS = 0.02
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
T = TypeVar("T")
METADATA = "http://169.254.169.254/latest/meta-data/"


class Visit:
    """One connection to a hostile receiver."""

    def __init__(self, host: Hostile, connection: socket.socket, number: int) -> None:
        self.host = host
        self.connection = connection
        #: 0 for the first connection
        self.number = number

    def request(self) -> bytes:
        """Read a whole request; nothing if the sender has closed."""
        begun = self.head()
        return begun and self.rest(begun)

    def head(self) -> bytes:
        """Read the head of a request, and maybe more of it; nothing if the sender has closed."""
        begun = b""
        while b"\r\n\r\n" not in begun:
            got = self.connection.recv(65536)
            if not got:
                return b""
            begun += got
        return begun

    def rest(self, begun: bytes) -> bytes:
        """Read the rest of a request, and return all of it; nothing if the sender has closed."""
        head, _, body = begun.partition(b"\r\n\r\n")
        parts, missing = [begun], _content_length(head) - len(body)
        while missing > 0:
            parts.append(self.connection.recv(65536))
            if not parts[-1]:
                return b""
            missing -= len(parts[-1])
        data = b"".join(parts)
        self.host.requests.append(data)
        return data

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, data: bytes) -> None:
        """Send a byte now and then, at the end the last one again and again."""
        for at in count():
            self.say(data[at : at + 1] or data[-1:])
            if self.host.over.wait(DRIP_SECONDS):
                return

    def flood(self, data: bytes) -> None:
        """Send it as often as the sender takes it."""
        while not self.host.over.is_set():
            self.say(data)

    def hold(self) -> None:
        """Say nothing until the test is over."""
        self.host.over.wait()

    def reset(self) -> None:
        """Let the close that follows be a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Way = Callable[[Visit], None]


class Hostile:
    """The receiver; it listens from the start until `close`, if its way is not to refuse."""

    def __init__(self, way: Way, tls: ssl.SSLContext | None = None) -> None:
        self.over = threading.Event()
        self.requests: list[bytes] = []
        self.connections = 0
        #: released after each connection that was closed by either side, and did not break
        self.ended = threading.Semaphore(0)
        self._way = way
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._held = held_port()
        self.port = int(self._held.getsockname()[1])
        if way is refusing:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._serve, name="hostile", daemon=True).start()

    @property
    def place(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.place}/webhook"

    def stop_listening(self) -> None:
        """Refuse new connections; those that there are stay."""
        if self._way is refusing:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        self.over.set()
        self.stop_listening()
        self._held.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            visitor = (connection, self.connections)
            self.connections += 1
            threading.Thread(target=self._welcome, args=visitor, name="hostile", daemon=True).start()

    def _welcome(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            self._open.add(connection)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            with connection:
                self._way(Visit(self, connection, number))
            self.ended.release()


def held_port() -> socket.socket:
    """Return what keeps a port to itself: nobody listens there, and nobody else can, but who names it."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


@contextlib.contextmanager
def full_queue(host: str, port: int = 0) -> Iterator[int]:
    """Listen at a port, and let the kernel drop what comes, as a firewall does; return the port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(8):  # until the kernel answers no more of them
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def in_time(act: Callable[[], T]) -> T:
    """Return what `act` does, in a thread of its own; a hostile receiver goes on for as long as we wait for that."""
    done: list[T] = []
    thread = threading.Thread(target=lambda: done.append(act()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the receiver holds a thread"
    return done[0]


def _content_length(data: bytes) -> int:
    _, found, rest = data.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n")[0]) if found else 0


# --- ways


def refusing(visit: Visit) -> None:
    """Take no connection, from the start."""


def silent(visit: Visit) -> None:
    visit.hold()


def closing(visit: Visit) -> None:
    visit.request()


def hanging_up_with(data: bytes) -> Way:
    """Say this at the sender's first word, whatever it is, and close."""

    def way(visit: Visit) -> None:
        visit.connection.recv(65536)
        visit.say(data)

    return way


hanging_up = hanging_up_with(b"")


def resetting(visit: Visit) -> None:
    visit.request()
    visit.reset()


def answering(data: bytes) -> Way:
    """Answer each request with the same bytes, over connections that are kept."""

    def way(visit: Visit) -> None:
        while visit.request():
            visit.say(data)

    return way


def breaking_off(data: bytes) -> Way:
    """Say the beginning of an answer, then reset the connection."""

    def way(visit: Visit) -> None:
        visit.request()
        visit.say(data)
        visit.reset()

    return way


def dripping(data: bytes, begin: bytes = b"") -> Way:
    """Answer with `begin` at once and then a byte now and then."""

    def drip(visit: Visit) -> None:
        visit.request()
        visit.say(begin)
        visit.drip(data)

    return drip


def dripping_handshake(visit: Visit) -> None:
    """Answer the sender's first word with a TLS record of 16 KiB and never end it."""
    visit.connection.recv(65536)
    visit.drip(b"\x16\x03\x03\x40\x00\x02")


def flooding(data: bytes, begin: bytes = b"") -> Way:
    """Answer with `begin` and then the same again and again."""

    def way(visit: Visit) -> None:
        visit.request()
        visit.say(begin)
        visit.flood(data)

    return way


def answering_early(data: bytes, reads_on: bool = False) -> Way:
    """Answer as soon as the head of a request is there; then read the rest of it, or nothing more."""

    def way(visit: Visit) -> None:
        begun = visit.head()
        visit.say(data)
        if reads_on:
            visit.rest(begun)
            visit.host.ended.release()
        visit.hold()

    return way


def unread(visit: Visit) -> None:
    """Take the connection, and never a byte of the request."""
    visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    visit.hold()


def closing_when_idle(visit: Visit) -> None:
    """Answer one request as if the connection were kept, and close it."""
    visit.request()
    visit.say(OK)


def leaving_when_used_again(last_words: bytes = b"") -> Way:
    """Answer one request; close the first connection as soon as the second request begins to arrive on it."""

    def way(visit: Visit) -> None:
        while visit.request():
            visit.say(OK)
            if not visit.number:
                visit.request() if last_words else visit.connection.recv(1)
                visit.say(last_words)
                return

    return way


def old_hello(version: bytes) -> bytes:
    """Return a ServerHello for a version of TLS, without extensions (RFC 5246 section 7.4.1.3), in a record."""
    hello = version + bytes(32) + b"\x00" + b"\x00\x2f" + b"\x00"  # random, no session, AES128-SHA, no compression
    handshake = b"\x02" + len(hello).to_bytes(3, "big") + hello
    return b"\x16" + version + len(handshake).to_bytes(2, "big") + handshake


def reply(status: int, *headers: str, body: bytes = b"") -> bytes:
    """Return a whole reply."""
    lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def zeros(size: int, layers: int = 1) -> bytes:
    """Return gzip of so many zero bytes (a multiple of 16 MiB), a thousand times smaller, `layers` times over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    block = bytes(1 << 24)
    first, *rest = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    packed = first + rest[0] * (size // len(block) - 1)  # after a full flush each block is the same
    for _ in range(layers - 1):
        packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        packed = packer.compress(packed) + packer.flush()
    return packed
