"""The bulk API of Elasticsearch: what is sent, how each kind of answer is judged, and both together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats import render
from sfwebhooks.formats.ecs import ecs_document
from sfwebhooks.formats.elastic import FORMAT, REPLY_MAX, read
from sfwebhooks.health import Condition
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import overall
from sfwebhooks.signing import sign
from tests.builders import NOW, PATIENCE, a_batch, a_delivery, an_endpoint, an_event
from tests.conftest import Clock, put, sql
from tests.formats.vendor import Posted, vendor

SIZE = 100
KEY = "aWQ6a2V5LW9mLWVsYXN0aWM="


class Elasticsearch:
    """Stores documents as a data stream does, and answers as the bulk API."""

    def __init__(self) -> None:
        #: id -> document, in order
        self.stored: dict[str, dict[str, Any]] = {}
        #: numbers of the events in each request
        self.requests: list[list[int]] = []
        #: numbers that are answered with 429 once, and those whose documents are refused
        self.busy: set[int] = set()
        self.wrong: set[int] = set()
        #: status of the whole answer
        self.status = 200
        #: whether the connection is lost after the documents were stored
        self.is_silent = False

    def __call__(self, posted: Posted) -> tuple[int, bytes]:
        parts = urlsplit(posted.path)
        assert (parts.path, posted.headers["Authorization"]) == ("/logs-spiderfoot-default/_bulk", f"ApiKey {KEY}")
        assert posted.headers["Content-Type"] == "application/x-ndjson" and posted.body.endswith(b"\n")
        lines = [json.loads(line) for line in posted.body.split(b"\n")[:-1]]
        pairs = list(zip(lines[::2], lines[1::2]))
        self.requests.append([document["event"]["sequence"] for _, document in pairs])
        if self.status != 200:
            return self.status, b'{"error":{"type":"security_exception"},"status":%d}' % self.status
        items = [self._create(action["create"]["_id"], document) for action, document in pairs]
        assert parse_qs(parts.query)["filter_path"] == ["errors,items.*.status,items.*.error.type"]
        answer = {"errors": any(item["status"] >= 300 for item in items), "items": [{"create": item} for item in items]}
        if self.is_silent:
            return 502, b""
        return 200, json.dumps(answer).encode()

    def _create(self, its_id: str, document: dict[str, Any]) -> dict[str, Any]:
        number = document["event"]["sequence"]
        if its_id in self.stored:
            return {"status": 409, "error": {"type": "version_conflict_engine_exception"}}
        if number in self.busy:
            self.busy.discard(number)
            return {"status": 429, "error": {"type": "es_rejected_execution_exception"}}
        if number in self.wrong:
            return {"status": 400, "error": {"type": "document_parsing_exception"}}
        self.stored[its_id] = document
        return {"status": 201}


@pytest.fixture
def elasticsearch() -> Elasticsearch:
    return Elasticsearch()


@pytest.fixture
def endpoint(elasticsearch: Elasticsearch) -> Iterator[Endpoint]:
    with vendor(elasticsearch) as url:
        yield an_endpoint(
            url=f"{url}/logs-spiderfoot-default/_bulk",
            timeout=PATIENCE,
            batch_size=SIZE,
            batch_max_bytes=10**6,
            format="elastic",
            api_key=Secret(KEY),
        )


@pytest.fixture
def queue(endpoint: Endpoint, new_queue: Callable[..., SendQueue], outbox: Outbox) -> SendQueue:
    put(outbox, endpoint, events=SIZE)
    return new_queue(endpoint)


def ids(outbox: Outbox, state: str) -> list[int]:
    return [number for (number,) in sql(outbox, f"SELECT sequence FROM delivery WHERE state = '{state}' ORDER BY 1")]


def test_of_an_answer_with_three_busy_and_two_refused_items_only_the_three_go_again(
    elasticsearch: Elasticsearch, queue: SendQueue, outbox: Outbox, clock: Clock
) -> None:
    elasticsearch.busy, elasticsearch.wrong = {3, 50, 100}, {7, 8}
    assert queue.step()
    assert (len(ids(outbox, "delivered")), ids(outbox, "waiting"), ids(outbox, "dead")) == (95, [3, 50, 100], [7, 8])
    reasons = sql(outbox, "SELECT DISTINCT reason FROM delivery WHERE state = 'dead'")
    assert reasons == [("refused: document_parsing_exception",)]
    clock.now += 10
    assert queue.step()
    assert elasticsearch.requests[1:] == [[3, 50, 100]]
    assert (len(ids(outbox, "delivered")), ids(outbox, "dead")) == (98, [7, 8])
    assert len(elasticsearch.stored) == 98


def test_documents_whose_answer_was_lost_are_not_stored_twice(
    elasticsearch: Elasticsearch, queue: SendQueue, outbox: Outbox, clock: Clock
) -> None:
    elasticsearch.is_silent = True
    assert queue.step()
    first = dict(elasticsearch.stored)
    elasticsearch.is_silent, clock.now = False, clock.now + 10
    assert queue.step()
    assert elasticsearch.requests[0] == elasticsearch.requests[1]
    assert (elasticsearch.stored, len(ids(outbox, "delivered"))) == (first, SIZE)
    assert sql(outbox, "SELECT DISTINCT reason FROM delivery") == [("stored_before",)]


def test_the_ids_are_those_of_the_deliveries(elasticsearch: Elasticsearch, queue: SendQueue) -> None:
    assert queue.step()
    assert [*elasticsearch.stored] == [one["labels"]["delivery_id"] for one in elasticsearch.stored.values()]
    assert {*elasticsearch.stored} == {a_delivery(an_event(number)).id for number in range(1, SIZE + 1)}


def test_a_refused_key_holds_the_endpoint(
    elasticsearch: Elasticsearch, queue: SendQueue, outbox: Outbox, clock: Clock
) -> None:
    elasticsearch.status = 401
    while queue.states[0].health.healthy:
        assert queue.step()
    assert (queue.states[0].health.condition, ids(outbox, "dead")) == (Condition.HELD, [])


def test_documents_that_are_all_refused_are_kept(
    elasticsearch: Elasticsearch, queue: SendQueue, outbox: Outbox
) -> None:
    elasticsearch.wrong = set(range(1, SIZE + 1))
    while queue.states[0].health.healthy:
        assert queue.step()
    assert (queue.states[0].health.reason, ids(outbox, "dead")) == ("document_parsing_exception", [])


# --- what is sent


def test_a_delivery_is_an_action_and_a_document() -> None:
    delivery, endpoint = a_delivery(), an_endpoint(format="elastic")
    content = render(Batch((delivery,)), endpoint)
    action, document, end = content.body.decode().split("\n")
    assert (json.loads(action), end) == ({"create": {"_id": delivery.id}}, "")
    assert json.loads(document) == json.loads(json.dumps(ecs_document(delivery, endpoint)))
    assert content.headers == {"Content-Type": "application/x-ndjson"}


def test_line_breaks_in_data_break_no_line() -> None:
    event = an_event(data={"event_type": "X", "data": "a\nb\r\u2028\u2029\x85c\0"})
    assert render(Batch((a_delivery(event),)), an_endpoint(format="elastic")).body.count(b"\n") == 2


def test_the_key_goes_out_in_elastics_scheme_and_the_reply_is_asked_to_be_short() -> None:
    endpoint = an_endpoint(format="elastic", api_key=Secret(KEY))
    request = sign(render(a_batch(), endpoint), a_batch(), endpoint, NOW)
    assert request.headers["Authorization"] == f"ApiKey {KEY}"
    assert request.query == "filter_path=errors,items.*.status,items.*.error.type"
    assert KEY.encode() not in request.body


# --- how answers are judged


def batch_of(size: int) -> Batch:
    return Batch(tuple(a_delivery(an_event(number)) for number in range(size)))


def items(*results: Any) -> bytes:
    return json.dumps({"errors": True, "items": [{"create": result} for result in results]}).encode()


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ({"status": 201}, Verdict(Outcome.DELIVERED, "http_200")),
        ({"status": 200, "result": "created"}, Verdict(Outcome.DELIVERED, "http_200")),
        ({"status": 409, "error": {"type": "version_conflict"}}, Verdict(Outcome.DELIVERED, "stored_before")),
        ({"status": 429, "error": {"type": "es_rejected"}}, Verdict(Outcome.RETRY, "es_rejected")),
        ({"status": 503, "error": {"type": "unavailable"}}, Verdict(Outcome.RETRY, "unavailable")),
        ({"status": 400, "error": {"type": "parsing"}}, Verdict(Outcome.REFUSED, "parsing")),
        ({"status": 403, "error": {"type": "security"}}, Verdict(Outcome.REFUSED, "security")),
        ({"status": 404}, Verdict(Outcome.REFUSED, "item_404")),
        ({"status": 400, "error": "an old text: with words"}, Verdict(Outcome.REFUSED, "item_400")),
        ({"status": 400, "error": {"type": "\x1b[2J"}}, Verdict(Outcome.REFUSED, "item_400")),
        ({"status": 400, "error": {"type": None}}, Verdict(Outcome.REFUSED, "item_400")),
    ],
)
def test_each_item_has_its_verdict(result: Any, verdict: Verdict) -> None:
    found = read(Reply(200, body=items({"status": 201}, result)), batch_of(2))
    assert found == [Verdict(Outcome.DELIVERED, "http_200"), verdict]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"{}",
        b"[]",
        b"<html>log in</html>",
        b'{"errors":false}',
        b'{"items":{}}',
        items(),
        items({"status": 201}, {"status": 201}),
        items(None),
        items({"status": "201"}),
        b'{"items":[{"index":{"status":201}}]}',
        b"[" * 100_000,
    ],
)
def test_a_success_that_is_not_of_the_bulk_api_holds_the_endpoint(body: bytes) -> None:
    assert read(Reply(200, body=body), a_batch()) == Verdict(Outcome.HOLD, "http_200_but_not_bulk")


def test_an_answer_that_is_cut_off_makes_the_request_smaller() -> None:
    body = items(*[{"status": 201, "_index": "x" * 80}] * 1000)[:REPLY_MAX]
    assert read(Reply(200, body=body), batch_of(1000)) == Verdict(Outcome.REFUSED, "bulk_reply_too_long")


def test_a_short_answer_for_the_largest_batch_is_read_whole() -> None:
    body = items(*[{"status": 201}] * 1000)
    found = read(Reply(200, body=body), batch_of(1000))
    assert isinstance(found, list) and len(body) < REPLY_MAX and len(found) == 1000


@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 404, 413, 429, 500, 503])
def test_other_answers_are_left_to_the_table(status: int) -> None:
    assert read(Reply(status, body=items({"status": 201})), a_batch()) is None


def test_an_endpoint_that_took_one_document_works() -> None:
    found = read(Reply(200, body=items({"status": 400}, {"status": 201})), batch_of(2))
    assert isinstance(found, list) and overall(found).outcome is Outcome.DELIVERED


def test_its_settings_are_those_of_the_bulk_api() -> None:
    assert (FORMAT.scheme, FORMAT.key_header) == ("ApiKey", "Authorization")
