"""The three teams of the demo: each with a receiver of its own kind, and the settings of its endpoint.

security_team  generic format, requires a client certificate and both signatures
siem_system    siem format, requires a bearer token
slack_alerts   slack format; answers as Slack does
"""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.completeness import Account, CompletenessCheck
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from sfwebhooks.receive.server import Receiver, server_context

SLACK_PATH = "/services/T00000000/B00000000/"


@dataclass
class Team:
    """A receiver and the requests that it received."""

    name: str
    #: how its deliveries are protected, in words
    protection: str
    receiver: Receiver
    #: key = value lines of its endpoint
    settings: dict[str, str] = field(repr=False)
    got: list[Received] = field(default_factory=list)

    @property
    def verified(self) -> set[str]:
        """The ids of the requests that were received and verified."""
        return {received.id for received in self.got if not received.problems}

    @property
    def account(self) -> Account | None:
        """The completeness of the scan; None if messages have no numbers, as in a chat."""
        check = CompletenessCheck()
        accounts = [check.enter(message) for received in self.got if received.taken for message in received.messages]
        return next((account for account in reversed(accounts) if account), None)

    @property
    def refused(self) -> list[str]:
        """The problems of the requests that were not verified."""
        return [problem for received in self.got for problem in received.problems]


class Teams:
    """All teams, listening while the context is entered.

    Args:
        folder: where certificates and secrets are written.
    """

    def __init__(self, folder: Path) -> None:
        authority = Authority.create(folder, "Demo CA")
        server, client = authority.issue("receiver"), authority.issue("spiderfoot", client=True)
        self.authority = authority
        self.all = [_security(authority, server, client), _siem(authority, server), _slack(authority, server)]
        self._lock = threading.Lock()
        for team in self.all:
            team.receiver.on_receive = team.got.append

    def __enter__(self) -> Teams:
        for team in self.all:
            team.receiver.start()
        return self

    def __exit__(self, *_: object) -> None:
        for team in self.all:
            team.receiver.stop()

    def settings(self) -> str:
        """Return the [webhooks] sections with the teams' endpoints."""
        lines = ["[webhooks]", "enabled = true", "drain_timeout = 30s", "detach_timeout = 0"]
        lines += [f"ca_bundle = {self.authority.cert}"]
        for team in self.all:
            lines += ["", f"[webhooks.{team.name}]", *(f"{key} = {value}" for key, value in team.settings.items())]
        return "\n".join(lines) + "\n"


def _security(authority: Authority, server: Identity, client: Identity) -> Team:
    secret = f"whsec_{secrets.token_hex(16)}"  # hex digits are valid base64 too
    receiver = Receiver(Checks([secret]), tls=server_context(server.cert, server.key, authority.cert))
    settings = {
        "url": receiver.url,
        "events": "high_risk_event, vulnerability_found, malware_detected, scan_*",
        "secret": secret,
        "client_cert": str(client.cert),
        "client_key": str(client.key),
    }
    return Team("security_team", "mTLS, two signatures", receiver, settings)


def _siem(authority: Authority, server: Identity) -> Team:
    api_key = secrets.token_urlsafe(24)
    receiver = Receiver(Checks(api_key=api_key), tls=server_context(server.cert, server.key))
    settings = {"url": receiver.url, "format": "siem", "events": "all", "api_key": api_key}
    return Team("siem_system", "TLS, bearer token", receiver, settings)


def _slack(authority: Authority, server: Identity) -> Team:
    path = SLACK_PATH + secrets.token_hex(12)

    def respond(received: Received) -> Response:
        """Answer as Slack does: 404 for a wrong address, 400 for an invalid message."""
        if received.path != path:
            return Response(404)
        return Response(200 if slack_problem(received.body) == "" else 400)

    receiver = Receiver(SlackChecks(), tls=server_context(server.cert, server.key), respond=respond)
    settings = {
        "url": receiver.url.replace("/webhook", path),
        "format": "slack",
        "events": "high_risk_event, scan_completed, scan_failed, scan_aborted",
        "ui_url": "http://127.0.0.1:5001",
    }
    return Team("slack_alerts", "TLS, secret URL", receiver, settings)


class SlackChecks(Checks):
    """Slack requires no signature, but accepts only valid messages."""

    def problems(self, headers: object, body: bytes) -> tuple[str, ...]:
        """Return what Slack would refuse."""
        problem = slack_problem(body)
        return (problem,) if problem else ()


def slack_problem(body: bytes) -> str:
    """Return why Slack would refuse a message, in its own words (the coarse part of its rules), or nothing."""
    try:
        message = json.loads(body)
    except ValueError:
        return "invalid_payload"
    if not isinstance(message, dict) or not (message.get("text") or message.get("attachments")):
        return "no_text"
    blocks = [*message.get("blocks", []), *(b for part in message.get("attachments", []) for b in part["blocks"])]
    if len(blocks) > 50 or not all(isinstance(block, dict) and block.get("type") for block in blocks):
        return "invalid_blocks"
    return ""
