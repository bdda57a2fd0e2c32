"""A receiver in a process of its own, as plain as one can be: it reads a request and answers 200."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

CODE = """
import socketserver
class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    def handle(self):
        while True:
            length = None
            while True:
                line = self.rfile.readline()
                if line in (b"\\r\\n", b""):
                    break
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            if length is None:
                return
            self.rfile.read(length)
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """Run the receiver and lend its URL."""
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/webhook"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
