"""What the host's rules found in a real scan is sent as its own list has it: each once, counted, before the end."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Callable

import pytest

from sfwebhooks.events import correlation_id
from tests.host.conftest import QUICK, SECRET, Scanner, Team, sequence

pytestmark = pytest.mark.slow

#: besides, what finds an author twice in the same document: two correlations with the same title
MODULES = (*QUICK, "sfp_junkfiles", "sfp_filemeta", "sfp_intfiles", "sfp_names")
LIST = """
import json, sys
from spiderfoot import SpiderFootDb
keys = ("id", "title", "rule_id", "rule_risk", "rule_name", "description", "logic", "event_count")
rows = SpiderFootDb({"__database": sys.argv[1]}).scanCorrelationList(sys.argv[2])
print(json.dumps([dict(zip(keys, row)) for row in rows]))
"""


def correlation_list(scanner: Scanner, scan_id: str) -> list[dict[str, Any]]:
    """Return what the host's own `scanCorrelationList` says."""
    command = [sys.executable, "-c", LIST, str(scanner.home.database), scan_id]
    done = subprocess.run(command, env=dict(scanner.home.environment), check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def sent_as(correlation: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        correlation[key] for key in ("title", "rule_id", "rule_name", "rule_risk", "description", "event_count")
    )


def test_each_correlation_is_sent_once_as_the_host_lists_it(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team, serious = new_team(tls=False), new_team(tls=False)
    scanner.configure(
        f"[webhooks]\nenabled = true\nsecret = {SECRET}\n"
        f"[webhooks.team]\nurl = {team.receiver.url}\nevents = all, !surface_changed\n"
        f"[webhooks.serious]\nurl = {serious.receiver.url}\nevents = correlation_found\n"
    )
    code, log = scanner.scan(modules=MODULES)
    assert code == 0, log

    (scan_id,) = scanner.rows("SELECT guid FROM tbl_scan_instance")[0]
    listed = correlation_list(scanner, scan_id)
    largest = {(one["rule_id"], one["title"]): one for one in sorted(listed, key=lambda one: int(one["event_count"]))}
    assert len({one["rule_id"] for one in listed}) >= 3, "rules that the fictional site triggers"
    assert len(listed) > len(largest), "a title comes twice"

    messages = sorted(team.messages, key=sequence)
    found = [message for message in messages if message["event_type"] == "correlation_found"]
    assert sorted(sent_as(message["data"]) for message in found) == sorted(sent_as(one) for one in largest.values())
    assert len({message["metadata"]["event_id"] for message in found}) == len(found)
    for message in found:
        data, meta = message["data"], message["metadata"]
        assert meta["event_id"] == correlation_id(scan_id, data["rule_id"], data["title"])
        assert (meta["severity"], data["severity"]) == (data["rule_risk"].lower(),) * 2
        check_evidence(scanner, data, largest[data["rule_id"], data["title"]]["id"])

    *_, counted, end = messages
    assert [message["event_type"] for message in messages].count("correlation_completed") == 1
    assert (counted["event_type"], end["event_type"]) == ("correlation_completed", "scan_completed")
    risks = [one["rule_risk"].lower() for one in largest.values()]
    assert counted["data"]["correlations_found"] == len(largest)
    assert counted["data"]["correlations_by_severity"] == {
        word: risks.count(word) for word in ("critical", "high", "medium", "low", "info")
    }
    assert [sequence(message) for message in messages] == list(range(1, len(messages) + 1))
    only = [message["data"] for message in sorted(serious.messages, key=sequence)]
    assert only == [message["data"] for message in found], "an endpoint that asks for nothing else"


def check_evidence(scanner: Scanner, data: dict[str, Any], host_id: str) -> None:
    """Compare a correlation's evidence with the host's events."""
    rows = scanner.rows(
        "SELECT r.type, r.data, r.module, r.hash FROM tbl_scan_correlation_results_events e"
        " JOIN tbl_scan_results r ON r.hash = e.event_hash WHERE e.correlation_id = ? ORDER BY e.rowid",
        host_id,
    )
    assert data["event_count"] == len(rows) > 0
    sent = [tuple(event[key] for key in ("event_type", "data", "module", "hash")) for event in data["evidence"]]
    assert sent == [(kind, text[:1024], module, name) for kind, text, module, name in rows[:32]]
