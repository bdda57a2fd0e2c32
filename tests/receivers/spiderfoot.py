"""The receivers that the product's guide shows: a Flask application, a chat message, a SIEM event, a log line."""

from __future__ import annotations

import hashlib
import hmac

from tests.receivers.serving import Guide, Message


def verifies(body: str, signature: str, secret: str) -> bool:
    """Compare the hex digest; the prefix is taken off if it is there."""
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    given = signature[7:] if signature.startswith("sha256=") else signature
    return hmac.compare_digest(digest, given)


def siem_event(message: Message) -> object:
    """What the guide does with any event, and all keys of its envelope."""
    assert (message["source"], type(message["version"])) == ("spiderfoot", str)
    return message["timestamp"], message["event_type"], message["data"], message["metadata"]


def scan_completed(message: Message) -> object:
    data = message["data"]
    alarming = data["high_risk_events"] > 0
    chat = (data["target"], str(data["events_found"]), f"{data['duration']} seconds", data.get("high_risk_events", 0))
    return (
        siem_event(message),
        data["scan_id"],
        alarming,
        chat,
        data["target_type"],
        data["status"],
        data["modules_used"],
    )


def high_risk_event(message: Message) -> object:
    data = message["data"]
    return siem_event(message), {"title": "High risk: " + data["event_type"], "description": data["data"]}


GUIDE = Guide(
    signature_header="X-SpiderFoot-Signature",
    verifies=verifies,
    handlers={"scan_completed": scan_completed, "high_risk_event": high_risk_event},
    any_event=siem_event,
)
