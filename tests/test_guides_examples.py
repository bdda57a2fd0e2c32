"""The messages that both guides show are taken word for word by `emit`, and the receivers of both take what comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks import emit
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.catalogue.json_schema import document
from tests.conftest import Result
from tests.receivers import GUIDES
from tests.receivers.examples import EXAMPLES, SECURITY_AUDIT, SPIDERFOOT
from tests.receivers.serving import Served
from tests.test_guides import SECRET, serve

__all__ = ["serve"]
Message = dict[str, Any]
#: emits a message
Way = Callable[[Message], object]


@pytest.fixture
def receivers(serve: Callable[..., Served], tmp_path: Path) -> dict[str, Served]:
    """A receiver after each guide, with an endpoint that wants all."""
    served = {naming: serve(naming) for naming in GUIDES}
    sections = (
        f"[webhooks.{naming}]\nurl = {one.url}\nformat = {naming}\nevents = all\nsecret = {SECRET}\n"
        for naming, one in served.items()
    )
    (tmp_path / "webhooks.ini").write_text("".join(sections))
    (tmp_path / "webhooks.ini").chmod(0o600)
    return served


@pytest.fixture
def ways(cli: Callable[..., Result], tmp_path: Path) -> dict[str, Way]:
    """The command and the function, with the data and with the whole message."""

    def command(name: str, content: Message) -> None:
        path = tmp_path / "message.json"
        path.write_text(json.dumps(content, indent=2))
        done = cli("emit", name, "--data", str(path))
        assert (done.code, done.err) == (0, "")

    return {
        "command, data": lambda message: command(message["event_type"], message["data"]),
        "command, message": lambda message: command(message["event_type"], message),
        "function, data": lambda message: emit(message["event_type"], message["data"]),
        "function, message": lambda message: emit(message["event_type"], message),
    }


@pytest.mark.parametrize("way", ["command, data", "command, message", "function, data", "function, message"])
def test_every_example_is_taken_word_for_word_and_by_the_receivers_of_both_guides(
    way: str, ways: dict[str, Way], receivers: dict[str, Served], cli: Callable[..., Result]
) -> None:
    for example in EXAMPLES:
        ways[way](example)
    assert cli("drain").code == 0
    schema = Draft202012Validator(document(EVENT_TYPES))
    for receiver in receivers.values():
        assert [status for _, status in receiver.answered] == [200] * len(EXAMPLES)
        sent = [message for message, _ in receiver.decided]
        for example in EXAMPLES:
            assert any(message["data"].items() >= example["data"].items() for message in sent)
        assert [error.message for message in sent for error in schema.iter_errors(message)] == []


def decisions(receivers: dict[str, Served], naming: str) -> dict[str, Message]:
    """Return what a receiver decided about each scan and finding."""
    found: dict[str, Message] = {}
    for message, decision in receivers[naming].decided:
        about = message["data"].get("title", message["data"].get("scan_id", ""))
        found[f"{message['event_type']} {about[:16]}"] = {**found.get(about, {}), **decision}
    return found


def test_the_product_s_receivers_decide_rightly(
    ways: dict[str, Way], receivers: dict[str, Served], cli: Callable[..., Result]
) -> None:
    for example in EXAMPLES:
        ways["function, message"](example)
    cli("drain")
    decided = decisions(receivers, "generic")
    at = datetime(2024, 1, 1, 12)
    own = ("example.com", "1234", "3600 seconds", "danger")
    assert decided["scan_completed scan_12345"] == {"siem": "LOW", "at": at, "alert": True, "chat": own}
    short = ("example.com", "100", "0 seconds", "good")
    assert decided["scan_completed test_scan"] == {"siem": "LOW", "at": at, "alert": False, "chat": short}
    others = decided["scan_completed 550e8400-e29b-41"]
    assert (others["alert"], others["chat"]) == (
        True,
        ("https://github.com/example/repo", "25", "923 seconds", "danger"),
    )
    assert decided["scan_failed 550e8400-e29b-41"]["siem"] == "MEDIUM"
    key, sql = decided["high_risk_event A key in the sou"], decided["high_risk_event SQL from a form"]
    assert key["ticket"] == ("Secrets", "A key of a cloud account is in the source.")
    assert sql["ticket"] == ("SQL from a form", "SQL from a form")
    assert (key["siem"], sql["siem"]) == ("HIGH", "HIGH")
    assert sql["at"] == datetime(2024, 1, 15, 10, 41)


def test_the_receivers_of_the_security_audit_guide_decide_rightly(
    ways: dict[str, Way], receivers: dict[str, Served], cli: Callable[..., Result]
) -> None:
    for example in EXAMPLES:
        ways["function, message"](example)
    cli("drain")
    decided = decisions(receivers, "security-audit")
    whole = decided["scan.completed 550e8400-e29b-41"]
    assert whole["chat"] == ("https://github.com/example/repo", "25 issues", "923 s", "good")
    assert whole["at"] == datetime(2024, 1, 15, 10, 45, 23)
    assert decided["scan.completed scan_12345"]["chat"] == ("example.com", "5 issues", "3600 s", "good")
    key, sql = decided["finding.critical A key in the sou"], decided["finding.high SQL from a form"]
    assert (key["call"], key["issue"][2]) == ("finding-c001", "critical")
    assert key["ticket"] == (
        "A key in the source",
        "src/config.js",
        15,
        SECURITY_AUDIT[0]["data"]["scan_id"],
        "secrets",
    )
    assert (sql["issue"], sql["read"][1:]) == (("", "SQL from a form", "high"), (8.5, "database query builder"))
    assert decided["scan.failed 550e8400-e29b-41"]["read"][1:2] == ["REPOSITORY_ACCESS_DENIED"]


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("high_risk_event", {"event_type": "PASSWORD_COMPROMISED", "data": "jane@acme.example", "severity": "high"}),
        ("finding.critical", {"data": "CVE-2026-0001"}),
        ("medium_risk_event", {"title": "An old version"}),
        ("vulnerability_found", {"title": "An old version", "severity": "low"}),
        ("scan_completed", {"scan_id": "1", "events_found": 3}),
        ("scan_failed", {"scan_id": "1", "error": "no disk"}),
        ("scan.failed", {"scan_id": "1", "error_message": "no disk"}),
        ("scan_started", {"scan_id": "1", "target": "acme.example"}),
    ],
)
def test_few_words_of_either_guide_are_enough_for_the_receivers_of_both(
    type: str, data: Message, ways: dict[str, Way], receivers: dict[str, Served], cli: Callable[..., Result]
) -> None:
    emit(type, data)
    assert cli("drain").code == 0
    assert [receiver.answered[0][1] for receiver in receivers.values()] == [200, 200]
    for receiver in receivers.values():
        [(message, _)] = receiver.decided
        assert message["data"].items() >= data.items()
        Draft202012Validator(document(EVENT_TYPES)).validate(message)


def test_a_whole_message_of_another_type_is_refused(
    cli: Callable[..., Result], receivers: object, tmp_path: Path
) -> None:
    (tmp_path / "message.json").write_text(json.dumps(SPIDERFOOT[0]))
    said = cli("emit", "scan.failed", "--data", str(tmp_path / "message.json"))
    assert (said.code, said.out) == (1, "")
    assert "event_type is scan_completed, but the event was emitted as scan_failed; they must be equal" in said.err


@pytest.mark.parametrize("timestamp", ["yesterday", 1704110400, None, "2024-13-01T00:00:00Z"])
def test_a_malformed_time_is_refused(
    timestamp: Any, cli: Callable[..., Result], receivers: object, tmp_path: Path
) -> None:
    (tmp_path / "message.json").write_text(json.dumps({**SPIDERFOOT[0], "timestamp": timestamp}))
    said = cli("emit", "scan_completed", "--data", str(tmp_path / "message.json"))
    assert (said.code, "expected a time such as 2026-11-21T10:00:00Z" in said.err) == (1, True)
