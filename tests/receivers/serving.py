"""What the receivers of both guides share: a Flask application with a handler for each event type, served on 127.0.0.1
in a thread, and what became of each request."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from flask import Flask, request
from werkzeug.serving import make_server

Message = Mapping[str, Any]
#: reads the fields that it needs and says what it would do; one that is missing is a KeyError, and so a 500
Handler = Callable[[Message], Mapping[str, Any]]


@dataclass(frozen=True)
class Guide:
    """How the receivers that one guide shows verify a request, and what they do with it."""

    signature_header: str
    #: body, signature and secret -> whether it is right
    verifies: Callable[[str, str, str], bool]
    #: event name -> handler
    handlers: Mapping[str, Handler]
    #: for events that the guide shows no handler of
    any_event: Handler


@dataclass
class Served:
    """A receiver that runs."""

    guide: Guide
    secret: str
    #: names of all events that may come
    names: set[str]
    #: name of the handler that an event was given to ("" for none), and the status of the answer
    answered: list[tuple[str, int]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    #: messages that were taken, each with what was decided about it
    decided: list[tuple[Message, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.handlers = {name: self.guide.handlers.get(name, self.guide.any_event) for name in self.names}
        application = Flask(__name__)
        application.add_url_rule("/webhook", view_func=self.webhook, methods=["POST"])
        self.server = make_server("127.0.0.1", 0, application, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def webhook(self) -> tuple[str, int]:
        """Verify, dispatch by the event's name, answer."""
        body = request.get_data(as_text=True)
        if not self.guide.verifies(body, request.headers.get(self.guide.signature_header, ""), self.secret):
            return self._answered("", 401)
        message = json.loads(body)
        name = message["event_type"]
        if name not in self.handlers:
            return self._answered("", 404)
        self.bodies.append(body)
        try:
            self.decided.append((message, self.handlers[name](message)))
        except Exception:  # whatever it is, a web framework answers so
            return self._answered(name, 500)
        return self._answered(name, 200)

    def _answered(self, name: str, status: int) -> tuple[str, int]:
        self.answered.append((name, status))
        return "", status
