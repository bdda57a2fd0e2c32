"""The receivers that the product's guide shows: a Flask application that makes tickets, a chat message, a SIEM event, a
log line."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Any

from tests.receivers.serving import Guide, Message

#: the SIEM's word for events of these names; LOW for all others
SEVERITIES = {"high_risk_event": "HIGH", "medium_risk_event": "MEDIUM", "scan_failed": "MEDIUM"}


def verifies(body: str, signature: str, secret: str) -> bool:
    """Compare the hex digest; the prefix is taken off if it is there."""
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    given = signature[7:] if signature.startswith("sha256=") else signature
    return hmac.compare_digest(digest, given)


def any_event(message: Message) -> dict[str, Any]:
    """What the guide does with any event, and all keys of its envelope."""
    assert (message["source"], type(message["version"])) == ("spiderfoot", str)
    assert isinstance(message["data"], dict) and isinstance(message["metadata"], dict)
    at = datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
    return {"siem": SEVERITIES.get(message["event_type"], "LOW"), "at": at}


def scan_completed(message: Message) -> dict[str, Any]:
    """A chat message in a colour, and an alert; and all that the guide lists."""
    data = message["data"]
    assert all(key in data for key in ("scan_id", "target_type", "status", "modules_used"))
    worrying, alarming = data.get("medium_risk_events", 0) > 0, data["high_risk_events"] > 0
    colour = "danger" if alarming else "warning" if worrying else "good"
    chat = (data["target"], str(data["events_found"]), f"{data['duration']} seconds", colour)
    return {**any_event(message), "alert": alarming, "chat": chat}


def high_risk_event(message: Message) -> dict[str, Any]:
    data = message["data"]
    return {**any_event(message), "ticket": (data["event_type"].strip(), data["data"].strip())}


GUIDE = Guide(
    signature_header="X-SpiderFoot-Signature",
    verifies=verifies,
    handlers={"scan_completed": scan_completed, "high_risk_event": high_risk_event},
    any_event=any_event,
)
