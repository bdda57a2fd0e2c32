"""What happens to a ticket, row by row, and what one ticket is about."""

from __future__ import annotations

import json

import pytest

from sfwebhooks.ticketing import Step, Ticket, TicketState, mark_of, next_step, subject_of, ticket_of
from tests.builders import a_scan, an_event

TICKET = Ticket("https://api.example/repos/acme/x/issues", "12", TicketState.OPEN, "#12", "https://x/12", "t", 1.0, 2.0)

ODD = [
    json.dumps({**json.loads(TICKET.text), name: [5] if name.endswith("at") else 5}) for name in json.loads(TICKET.text)
]


@pytest.mark.parametrize(
    ("state", "is_gone", "is_due", "step"),
    [
        # seen
        (TicketState.MISSING, False, True, Step.CREATE),
        (TicketState.MISSING, False, False, Step.CREATE),
        (TicketState.OPEN, False, True, Step.COMMENT),
        (TicketState.OPEN, False, False, Step.LEAVE),
        (TicketState.CLOSED, False, True, Step.REOPEN),
        (TicketState.CLOSED, False, False, Step.REOPEN),
        (TicketState.DISMISSED, False, True, Step.MUTE),
        (TicketState.DISMISSED, False, False, Step.MUTE),
        # gone
        (TicketState.MISSING, True, True, Step.LEAVE),
        (TicketState.MISSING, True, False, Step.LEAVE),
        (TicketState.OPEN, True, True, Step.CLOSE),
        (TicketState.OPEN, True, False, Step.CLOSE),
        (TicketState.CLOSED, True, True, Step.LEAVE),
        (TicketState.CLOSED, True, False, Step.LEAVE),
        (TicketState.DISMISSED, True, True, Step.LEAVE),
        (TicketState.DISMISSED, True, False, Step.LEAVE),
    ],
)
def test_the_step_follows_from_the_ticket_and_the_scans(
    state: TicketState, is_gone: bool, is_due: bool, step: Step
) -> None:
    assert next_step(state, is_gone, is_due) is step


def test_what_is_known_of_a_ticket_is_read_as_it_was_written() -> None:
    assert ticket_of(TICKET.text) == TICKET


@pytest.mark.parametrize(
    "text",
    ["", "12", "null", "[]", "{}", '{"key": 1}', "[" * 100_000, json.dumps({"state": []}), TICKET.text[:-9], *ODD],
)
def test_a_damaged_ticket_is_none(text: str) -> None:
    assert ticket_of(text) is None


def test_a_subject_is_about_the_finding_the_type_or_the_target() -> None:
    first, other = an_event(1), an_event(2)
    assert subject_of(first, "finding") != subject_of(other, "finding")
    assert subject_of(first, "type") == subject_of(other, "type")
    assert len({subject_of(first, unit) for unit in ("finding", "type", "scan")}) == 3


def test_the_same_finding_of_another_scan_has_the_same_subject() -> None:
    for unit in ("finding", "type", "scan"):
        assert subject_of(an_event(1), unit) == subject_of(
            an_event(1, scan=a_scan("other", target="ACME.example.")), unit
        )
        assert subject_of(an_event(1), unit) != subject_of(an_event(1, scan=a_scan(target="b.example")), unit)


def test_an_event_of_another_tool_has_a_subject() -> None:
    data = {"finding_id": "F-1", "title": "Open bucket", "target": "acme.example", "details": {"seen": 1}}
    again = {**data, "details": {"seen": 2}}
    subject = subject_of(an_event(scan=None, data=data), "finding")
    assert subject == subject_of(an_event(2, scan=None, data=again), "finding")
    assert subject != subject_of(an_event(scan=None, data={**data, "finding_id": "F-2"}), "finding")
    assert subject_of(an_event(scan=None, data={}), "finding")


def test_hostile_texts_have_a_subject() -> None:
    event = an_event(scan=a_scan(target="\ud800\x00"), data={"event_type": "\ud800", "data": "\ud800" * 10})
    assert subject_of(event, "finding") != subject_of(event, "type")


def test_a_mark_depends_on_subject_and_secret() -> None:
    marks = {mark_of(subject, secret) for subject in ("a", "b") for secret in ("x", "y")}
    assert len(marks) == 4
    assert all(len(mark) == 26 and mark.isalnum() and mark.startswith("sf") for mark in marks)
