"""The receivers that the security-audit guide shows: a chat message, three kinds of tickets; and, of events that it
shows no receiver of, all fields that it lists."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from tests.receivers.serving import Guide, Handler, Message


def verifies(body: str, signature: str, secret: str) -> bool:
    """Compare the whole header, prefix included."""
    expected = "sha256=" + hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


def listed(*keys: str) -> Handler:
    """Return a handler that reads the envelope and these keys of `data`."""

    def read(message: Message) -> object:
        return envelope(message), [message["data"][key] for key in keys]

    return read


def envelope(message: Message) -> object:
    """Time as the guide writes it, in whole seconds."""
    return message["event_type"], datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%SZ"), message["data"]


def scan_completed(message: Message) -> object:
    data = message["data"]
    found = data["findings_summary"]
    colour = "good" if found["critical"] == 0 else "danger"
    counts = [found[severity] for severity in ("high", "medium", "low")]
    text = f"{data['repository_url']}: {found['total']} issues in {data['duration_seconds']} s"
    return envelope(message), data["scan_id"], colour, counts, text, data["report_url"]


def issue(message: Message) -> object:
    """What becomes of a finding of any severity: an issue in the repository."""
    data = message["data"]
    lines = [data[key] for key in ("severity", "category", "file", "line", "description", "finding_id")]
    repository = data["repository_url"].split("github.com/")[-1]
    return envelope(message), repository, data["title"].strip(), lines, data["remediation"]["description"]


def high(message: Message) -> object:
    data = message["data"]
    assert data["severity"] == "high"
    return issue(message), data["scan_id"], data["cvss_score"], data["affected_component"]


def critical(message: Message) -> object:
    """A chat message, a ticket with a label, and a call for who is on duty."""
    data = message["data"]
    assert data["severity"] == "critical"
    chat = (data["title"], data["description"], data.get("severity", "N/A"), data.get("category", "N/A"))
    ticket = (data["file"], data["line"], data["scan_id"], ["security", data["category"].lower()])
    call = {"key": data["finding_id"], "repository": data.get("repository_url")}
    remediation = data["remediation"]
    return issue(message), chat, ticket, call, remediation["available"], remediation["auto_fixable"]


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
