"""A receiver in Flask (pip install flask sfwebhooks): WEBHOOK_SECRET=... PORT=8080 python3 receiver_flask.py"""

import os

from flask import Flask, request
from werkzeug.serving import make_server

from sfwebhooks.receive import VerificationError, verify

SECRET = os.environ["WEBHOOK_SECRET"]

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000_000


@app.post("/")
def receive():
    try:
        verified = verify(request.get_data(), dict(request.headers), SECRET)
    except VerificationError as error:
        return str(error), 401
    # store it here, unless verified.id is known; do what takes longer after the answer
    print(verified.id, request.get_data(as_text=True), flush=True)
    return ""


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(os.environ.get("PORT", "8080")), app, threaded=True)
    print(f"Listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
