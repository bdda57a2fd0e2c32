"""A receiver that needs nothing but Python: WEBHOOK_SECRET=... PORT=8080 python3 receiver.py"""

import base64
import hashlib
import hmac
import os
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["WEBHOOK_SECRET"]
KEY = base64.b64decode(SECRET[6:]) if SECRET.startswith("whsec_") else SECRET.encode()
TOLERANCE_SECONDS = 300
BODY_MAX = 1_000_000


def is_verified(body, message_id, timestamp, signatures):
    """Return whether the message was signed with the secret, just now."""
    if not (KEY and timestamp.isascii() and timestamp.isdigit()):
        return False
    # with a stop in the id, a part of a signed body could pass as the timestamp
    if not re.fullmatch("[A-Za-z0-9_-]{1,200}", message_id):
        return False
    if abs(time.time() - float(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures.split())


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,7}", length) or int(length) > BODY_MAX:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(int(length))
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        if not is_verified(body, *(self.headers.get(name, "") for name in names)):
            return self.answer(401)
        # store it here, unless its id is known; do what takes longer after the answer
        print(self.headers["webhook-id"], body.decode(), flush=True)
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Receiver)
    print(f"Listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
