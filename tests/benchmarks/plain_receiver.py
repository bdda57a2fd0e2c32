"""The receiver in Python, a program: it reads a request and answers 200. It prints its port.

    python plain_receiver.py [--notes FILE] [--seconds 0.2] [--tls CERT KEY CA]

A file of notes gets, for each request, the time in monotonic seconds, which all processes share, and its webhook-id.
"""

from __future__ import annotations

import argparse
import contextlib
import socketserver
import ssl
import time
from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
options = argparse.ArgumentParser()
options.add_argument("--notes", type=Path)
options.add_argument("--seconds", type=float, default=0.0, help="until an answer")
options.add_argument("--tls", nargs=3, metavar=("CERT", "KEY", "CA"))
given = options.parse_args()
notes = given.notes.open("a", buffering=1) if given.notes else None
context = None
if given.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*given.tls[:2])
    context.load_verify_locations(given.tls[2])
    context.verify_mode = ssl.CERT_REQUIRED


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Begin TLS in the connection's own thread."""
        if context:
            self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        """Answer its requests until it ends."""
        with contextlib.suppress(OSError):
            while self._answer():
                pass

    def _answer(self) -> bool:
        length, message = None, ""
        while True:
            line = self.rfile.readline()
            if line in (b"\r\n", b""):
                break
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
            elif line[:11].lower() == b"webhook-id:":
                message = line[11:].decode().strip()
        if length is None:
            return False
        self.rfile.read(length)
        if notes:
            notes.write(f"{time.monotonic()} {message}\n")
        time.sleep(given.seconds)
        self.wfile.write(ANSWER)
        return True


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 512


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
