"""The bulk API of Elasticsearch: what is sent, how each kind of answer is judged, and both together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats import render
from sfwebhooks.formats.ecs import ecs_document
from sfwebhooks.formats.elastic import FORMAT, REPLY_MAX, read
from sfwebhooks.retry import overall
from sfwebhooks.signing import sign
from tests.builders import NOW, a_batch, a_delivery, an_endpoint, an_event
from tests.formats.cases import cve
from tests.formats.conftest import Sending, Served, Start
from tests.receivers.collectors import Elasticsearch

SIZE = 100
KEY = Elasticsearch.key


@pytest.fixture
def elasticsearch(served: Served) -> Elasticsearch:
    return served(Elasticsearch())


@pytest.fixture
def one(elasticsearch: Elasticsearch, sending: Start) -> Sending:
    """An endpoint with a batch that is due."""
    found = sending(elasticsearch, batch_size=SIZE, batch_max_bytes=10**6)
    found.accept(SIZE)
    return found


def requests(elasticsearch: Elasticsearch) -> list[list[int]]:
    """Return the numbers of the events in each request."""
    documents = ([json.loads(line) for line in asked.text.splitlines()[1::2]] for asked in elasticsearch.got)
    return [[document["event"]["sequence"] for document in each] for each in documents]


def test_of_an_answer_with_three_busy_and_two_refused_items_only_the_three_go_again(
    elasticsearch: Elasticsearch, one: Sending
) -> None:
    elasticsearch.rejected, elasticsearch.unwanted = {*map(cve, (3, 50, 100))}, {*map(cve, (7, 8))}
    assert one.step()
    assert (len(one.numbers("delivered")), one.numbers("waiting"), one.numbers("dead")) == (95, [3, 50, 100], [7, 8])
    assert {reason for state, reason in one.states if state == "dead"} == {"refused: document_parsing_exception"}
    assert one.step(10)
    assert requests(elasticsearch)[1:] == [[3, 50, 100]]
    assert (len(one.numbers("delivered")), one.numbers("dead")) == (98, [7, 8])
    assert len(elasticsearch.stored) == 98


def test_documents_whose_answer_was_lost_are_not_stored_twice(elasticsearch: Elasticsearch, one: Sending) -> None:
    elasticsearch.loses_answers = True
    assert one.step()
    first = dict(elasticsearch.stored)
    elasticsearch.loses_answers = False
    assert one.step(10)
    before, after = requests(elasticsearch)
    assert before == after
    assert (elasticsearch.stored, {*one.states}) == (first, {("delivered", "stored_before")})


def test_the_ids_are_those_of_the_deliveries(elasticsearch: Elasticsearch, one: Sending) -> None:
    assert one.step()
    assert [*elasticsearch.stored] == [document["labels"]["delivery_id"] for document in elasticsearch.taken]
    assert {*elasticsearch.stored} == {a_delivery(an_event(number)).id for number in range(1, SIZE + 1)}


def test_the_reply_is_asked_to_be_short(elasticsearch: Elasticsearch, one: Sending) -> None:
    assert one.step()
    assert elasticsearch.got[0].query["filter_path"] == ["errors,items.*.status,items.*.error.type"]


def test_documents_that_are_all_refused_are_kept(elasticsearch: Elasticsearch, one: Sending) -> None:
    elasticsearch.unwanted = {"CVE-"}
    while one.condition == "healthy":
        assert one.step()
    assert (one.health_reason, one.numbers("dead")) == ("document_parsing_exception", [])


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
