"""The receivers that the security-audit guide shows: a chat message, three kinds of tickets; and, of events that it
shows no receiver of, all fields that it lists."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Any

from tests.receivers.serving import Guide, Handler, Message


def verifies(body: str, signature: str, secret: str) -> bool:
    """Compare the whole header, prefix included."""
    expected = "sha256=" + hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


def listed(*keys: str) -> Handler:
    """Return a handler that reads the envelope and these keys of `data`."""

    def read(message: Message) -> dict[str, Any]:
        return {**envelope(message), "read": [message["data"][key] for key in keys]}

    return read


def envelope(message: Message) -> dict[str, Any]:
    """Time as the guide writes it, in whole seconds."""
    assert isinstance(message["data"], dict) and message["event_type"]
    return {"at": datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%SZ")}


def scan_completed(message: Message) -> dict[str, Any]:
    """A chat message in a colour; and all that the guide lists."""
    data = message["data"]
    found = data["findings_summary"]
    assert all(found[severity] >= 0 for severity in ("high", "medium", "low")) and "report_url" in data
    colour = "good" if found["critical"] == 0 else "danger"
    chat = (data["repository_url"], f"{found['total']} issues", f"{data['duration_seconds']} s", colour)
    return {**envelope(message), "scan": data["scan_id"], "chat": chat}


def issue(message: Message) -> dict[str, Any]:
    """What becomes of a finding of any severity: an issue in the repository."""
    data = message["data"]
    lines = [data[key] for key in ("severity", "category", "file", "description", "finding_id")]
    assert data["remediation"]["description"] and all(isinstance(line, str) for line in lines)
    repository = data["repository_url"].split("github.com/")[-1]
    return {**envelope(message), "issue": (repository, data["title"].strip(), data["severity"])}


def high(message: Message) -> dict[str, Any]:
    data = message["data"]
    return {**issue(message), "read": (data["scan_id"], data["cvss_score"], data["affected_component"])}


def critical(message: Message) -> dict[str, Any]:
    """A chat message, a ticket with a label, and a call for the person on duty."""
    data = message["data"]
    chat = (data["title"], data["description"], data.get("severity", "N/A"), data.get("category", "N/A"))
    ticket = (data["title"], data["file"], data["line"], data["scan_id"], data["category"].lower())
    remediation = data["remediation"]
    assert isinstance(remediation["available"], bool) and isinstance(remediation["auto_fixable"], bool)
    return {**issue(message), "chat": chat, "ticket": ticket, "call": data["finding_id"]}


GUIDE = Guide(
    signature_header="X-Security-Signature",
    verifies=verifies,
    handlers={
        "scan.started": listed("scan_id", "repository_url", "branch", "scan_type", "triggered_by"),
        "scan.completed": scan_completed,
        "scan.failed": listed("scan_id", "error_code", "error_message", "retry_attempt", "will_retry"),
        "finding.critical": critical,
        "finding.high": high,
        **dict.fromkeys(
            ("finding.medium", "finding.low", "finding.info", "finding.vulnerability", "finding.malware"), issue
        ),
        "remediation.started": listed("remediation_id", "finding_id", "remediation_type", "estimated_duration"),
        "remediation.completed": listed("remediation_id", "finding_id", "changes_applied", "pr_created", "pr_url"),
        "hephaestus.phase_completed": listed(
            "analysis_id", "phase", "phase_number", "duration_seconds", "hypotheses_generated", "next_phase"
        ),
    },
    any_event=envelope,
)
