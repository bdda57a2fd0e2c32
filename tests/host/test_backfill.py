"""A real scan that was half delivered live is sent completely by backfill, to its endpoint and to a new one."""

from __future__ import annotations

import threading
from typing import Callable

import pytest

from sfwebhooks.events import correlation_id, delivery_id, finding_id, lifecycle_id
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from tests.host.conftest import QUICK, SECRET, Scanner, Team, sequence

pytestmark = pytest.mark.slow

#: deliveries that the endpoint takes while the scan runs
TAKEN = 25


class Taking:
    """What a receiver answers: it takes so many, then no more until it is open."""

    def __init__(self, number: int) -> None:
        self.taken: list[str] = []
        self._left = number
        self._guard = threading.Lock()

    def __call__(self, received: Received) -> Response:
        with self._guard:
            if not self._left:
                return Response(503)
            self._left -= 1
            self.taken.append(received.headers["webhook-id"])
            return Response(200)

    def open(self) -> None:
        with self._guard:
            self._left = -1


def events_of(scanner: Scanner, scan_id: str) -> set[str]:
    """Return the ids of all events of the scan, made of what the host's database has."""
    rules = scanner.rows("SELECT rule_id, title FROM tbl_scan_correlation_results WHERE scan_instance_id = ?", scan_id)
    steps = {lifecycle_id(scan_id, step) for step in ("started", "correlations", "ended")}
    correlations = {correlation_id(scan_id, rule, title) for rule, title in rules}
    return steps | correlations | {finding_id(scan_id, name) for name in scanner.hashes()}


def test_a_scan_that_was_half_delivered_is_sent_completely_to_its_endpoint_and_to_a_new_one(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    answers = {"team": Taking(TAKEN), "late": Taking(-1)}
    teams = {name: new_team(tls=False, respond=answer) for name, answer in answers.items()}
    general = f"[webhooks]\nenabled = true\nsecret = {SECRET}\nevents = all, !system_alert, !surface_changed\n"
    general += "drain_timeout = 1s\n"
    sections = {name: f"[webhooks.{name}]\nurl = {team.receiver.url}\n" for name, team in teams.items()}
    scanner.configure(general + sections["team"])
    code, log = scanner.scan(modules=QUICK)
    assert (code, len(answers["team"].taken)) == (0, TAKEN), log
    (scan_id,) = scanner.rows("SELECT guid FROM tbl_scan_instance")[0]
    expected = events_of(scanner, scan_id)
    assert len(expected) > 2 * TAKEN

    scanner.configure(general + sections["team"] + sections["late"])
    answers["team"].open()
    for name, team in teams.items():
        done = scanner.command("backfill", scan_id, "--endpoint", name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert sorted(answers[name].taken) == sorted(delivery_id(event, name) for event in expected), "each id once"
        numbers = {message["metadata"]["event_id"]: sequence(message) for message in team.messages}
        assert sorted(numbers.values()) == list(range(1, len(expected) + 1))
        assert numbers[lifecycle_id(scan_id, "started")] == 1
        assert numbers[lifecycle_id(scan_id, "ended")] == len(expected)
    live, later = ({one["metadata"]["event_id"]: one["data"] for one in team.messages} for team in teams.values())
    assert live == later, "the new endpoint reads what the other one read"
    assert len(answers["team"].taken) == len(expected), "the backfill to the new one sent nothing to the old one"
