"""Conversations with trackers that answer anything: none fails or goes on without end, and what is kept of a ticket can
be read again and shown."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Delivery, Handle
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.content import Content
from sfwebhooks.pipeline import REQUESTS_MAX
from sfwebhooks.reasons import Failure
from sfwebhooks.ticketing import GONE, ticket_of
from tests.builders import NOW, a_delivery, an_endpoint, an_event
from tests.receivers.trackers import GitHub, Tracker
from tests.receivers.vendor import Answer, Asked
from tests.scan.test_tickets import DAY, TRACKERS

EACH = pytest.mark.parametrize("make", TRACKERS, ids=lambda make: make.__name__)
STATUSES = (200, 200, 200, 201, 204, 301, 400, 403, 404, 409, 410, 422, 429, 500, None)
#: values of a reply that no tracker means
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 5, 1e308, "", "x", "\x00", "\ud800", "x" * 100_000, [], [[]], {}, [None], {"key": []}, "../../x",
    "javascript:alert(1)", "SEC-1\n\x1b[31m", 10**30,
)  # fmt: skip
TEN_O_CLOCK = "Sat, 21 Nov 2026 10:00:00 GMT"
BODIES = (b"", b"<html>Sign in</html>", b"{", b"[" * 70_000, b"null", b"\xff\x00", b'{"errors": 5}')


def endpoint_of(tracker: Tracker) -> Endpoint:
    """Return an endpoint that sends to a tracker, which is not served."""
    tracker.root = "https://tracker.example"
    given: dict[str, Any] = {**tracker.keys, **tracker.fields}
    own = {key.name: Secret(given.pop(key.name)) for key in FORMATS[tracker.format].keys if key.name in given}
    given |= {key: Secret(given[key]) for key in ("api_key",) if key in given}
    return an_endpoint("tickets", url=tracker.url, format=tracker.format, own=own, ticket_per="finding", **given)


def answer_of(tracker: Tracker, asked: Content, endpoint: Endpoint) -> Reply:
    """Return a tracker's answer to a request."""
    parts = urlsplit(urljoin(endpoint.url.reveal(), asked.path or endpoint.url.reveal()))
    headers = {"Authorization": f"Bearer {getattr(tracker, 'token', '')}", "User-Agent": "test"}
    headers |= {"Authorization": "Basic x"} if tracker.format == "servicenow" else {}
    given = tracker(Asked(asked.method, parts.path, parse_qs(parts.query), headers, asked.body))
    body = given.body if isinstance(given.body, str) else json.dumps(given.body)
    return Reply(given.status, headers=given.headers, body=body.encode())


def altered(found: Any, chance: random.Random) -> Any:
    """Return the JSON of an answer with an odd value somewhere."""
    if not found or not isinstance(found, (dict, list)) or chance.random() < 0.2:
        return chance.choice(ODD)
    place = chance.choice([*found] if isinstance(found, dict) else range(len(found)))
    changed: Any = found.copy()
    changed[place] = altered(found[place], chance)
    return changed


def spoilt(reply: Reply, chance: random.Random) -> Reply:
    """Return an answer with which something is wrong."""
    how = chance.random()
    if how < 0.1:
        return Reply(failure=Failure.TIMEOUT)
    if how < 0.25:
        return replace(reply, status=chance.choice(STATUSES))
    if how < 0.35:
        return replace(reply, status=chance.choice((200, 400)), body=chance.choice(BODIES))
    try:
        body = json.dumps(altered(json.loads(reply.body or b"{}"), chance)).encode()
    except ValueError:
        body = b"x"
    return replace(reply, body=body[: 64 * 1024])


def finished(tracker: Tracker, delivery: Delivery, endpoint: Endpoint, chance: random.Random | None) -> Verdict | None:
    """Return how a conversation ends; with `chance` half of its answers are odd."""
    converse = FORMATS[endpoint.format].converse
    assert converse
    talk, requests = converse(delivery, endpoint), 0
    try:
        asked = next(talk)
        while True:
            requests += 1
            assert requests <= REQUESTS_MAX
            reply = answer_of(tracker, asked, endpoint)
            asked = talk.send(spoilt(reply, chance) if chance and chance.random() < 0.5 else reply)
    except StopIteration as end:
        verdict: Verdict | None = end.value
        return verdict


@EACH
def test_whatever_a_tracker_answers_a_conversation_ends_with_a_verdict(make: Any) -> None:
    chance = random.Random(7)
    for _ in range(60):
        tracker: Tracker = make()
        endpoint, handle, now = endpoint_of(tracker), None, NOW
        for number in range(10):
            now += chance.choice([1, 300, 9 * DAY])
            tracker.clock = lambda now=now: now  # type: ignore[misc]
            event = replace(an_event(), at=now, subject="ticket/" + "a" * 32)
            if number and chance.random() < 0.3:
                event = replace(event, type=GONE, data={"missed": 2})
            delivery = a_delivery(event, "tickets", handle=handle, replayed=chance.random() < 0.2)
            verdict = finished(tracker, delivery, endpoint, chance)
            if verdict and verdict.handle:
                ticket = ticket_of(verdict.handle)
                assert ticket and ticket.name.isprintable() and ticket.link.isprintable() and len(ticket.text) < 5_000
                assert ticket.link.startswith("http") or not ticket.link
                handle = Handle("", verdict.handle)
            if tracker.open and chance.random() < 0.2:
                {0: tracker.shut, 1: tracker.dismiss}[chance.randrange(2)](tracker.open[0].key)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "30"}, 30),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795255320", "Date": TEN_O_CLOCK}, 120),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999", "Date": TEN_O_CLOCK}, 3600),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "x"}, 60),
        ({}, 60),
    ],
)
def test_githubs_limits_are_waited_for_until_they_are_reset(headers: dict[str, str], wait: int) -> None:
    tracker = GitHub()
    endpoint = endpoint_of(tracker)
    tracker.instead = Answer(403, {"message": "API rate limit exceeded"}, headers)
    verdict = finished(tracker, a_delivery(None, "tickets"), endpoint, None)
    assert verdict and (verdict.outcome, verdict.wait) == (Outcome.RETRY, wait)
