"""Every message of a real scan is valid by the JSON Schema that the command prints; and another tool's beside it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.catalogue import EVENT_TYPES
from tests.host.conftest import SECRET, Scanner, Team, stop_group, until
from tests.host.test_correlations import MODULES
from tests.host.test_module_errors import FAULTY, faulty

pytestmark = pytest.mark.slow

__all__ = ["faulty"]

#: what this scan has of the catalogue
HAD = {"scan_started", "scan_completed", "high_risk_event", "medium_risk_event", "low_risk_event", "info_event",
       "correlation_found", "correlation_completed", "module_error", "scan_progress"}  # fmt: skip
ALIASES = {entry.alias for entry in EVENT_TYPES if entry.name in HAD}
REPORT = {"report_id": "report-1", "title": "Threats", "target": "www.acme.test"}


def test_every_message_of_a_scan_is_valid_under_name_and_alias(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    names, aliases = new_team(tls=False), new_team(tls=False)
    scanner.configure(
        f"[webhooks]\nenabled = true\nsecret = {SECRET}\nmetadata.user = admin\nprogress_interval = 2s\n"
        f"names.url = {names.receiver.url}\nnames.events = all\n"
        f"aliases.url = {aliases.receiver.url}\naliases.events = {', '.join(sorted(ALIASES))}\n"
    )
    report = scanner.folder / "report.json"
    report.write_text(json.dumps(REPORT))
    scan = scanner.start(modules=(*FAULTY, *MODULES))
    try:
        until(lambda: names.got)
        emitted = scanner.command("emit", "cti_report_generated", "--data", str(report))
        assert (emitted.returncode, "accepted for 1 endpoint (names)" in emitted.stdout) == (0, True), emitted
        scan.communicate(timeout=120)
    finally:
        stop_group(scan)

    schema = json.loads(scanner.command("events", "--schema").stdout)
    validator = Draft202012Validator(schema)
    wrong = [
        (message["event_type"], error.json_path, error.message)
        for message in (*names.messages, *aliases.messages)
        for error in validator.iter_errors(message)
    ]
    assert wrong == []
    assert set(names.names()) >= HAD and set(aliases.names()) == ALIASES
    assert names.hashes_once() == scanner.hashes()
    reports = [message["data"] for message in names.messages if message["event_type"] == "cti_report_generated"]
    assert reports == [REPORT], "the scan's own process delivers what was emitted meanwhile"
