"""What is too large for a receiver is cut, marked, and always in the same way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.config import settings
from sfwebhooks.config.contradictions import formats_for
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.formats.content import measure
from sfwebhooks.formats.layout import LAYOUT
from sfwebhooks.formats.size_limit import DATA_LEAST, SAVED
from sfwebhooks.jsontext import Stored, kept, written
from sfwebhooks.scan.findings import DATA_MAX, SOURCE_MAX, Source, event_of_finding
from tests.builders import a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.bodies import data_in, messages, values
from tests.rows import in_one
from tests.tiers import quick_first

LIMIT = 20_000
#: what Express' body parser takes by default
EXPRESS = 102_400
#: formats whose messages are lines of text, with a limit of their own
LINES = ("cef", "leef")
WAYS: dict[str, dict[str, Any]] = {
    **{name: {"format": name} for name in formats_for("batch_size") if name not in LINES},
    **{
        f"{name}, ndjson": {"format": name, "own": {"layout": Secret("ndjson")}}
        for name in formats_for("batch_size")
        if LAYOUT in FORMATS[name].keys
    },
}
#: ways that have the data in one readable line too
WITH_LINES = ("security-audit", "ecs", "ecs, ndjson", "elastic", "datadog", "ocsf", "ocsf, ndjson", "sentinel")
#: ways whose messages are in an array even if they go alone
IN_ARRAYS = ("sentinel",)
each_way = pytest.mark.parametrize("way", WAYS)
PAIR = "\N{PILE OF POO}"
#: data of every shape that can be too large
LARGE: dict[str, Any] = {
    "data": {"data": "x" * 300_000},
    "data of four bytes each": {"data": PAIR * 50_000},
    "data that JSON escapes": {"data": "\0" * 50_000},
    "sources": {"data": "short", "sources": [{"event_type": "A", "data": "s" * 5000} for _ in range(40)]},
    "another text": {"data": "short", "error": "e" * 100_000},
    "many texts": {f"key {number}": "v" * 100 for number in range(1000)},
    "a list": {"data": "short", "changes_applied": [{"file": "f", "lines": 1}] * 2000},
    "a list of texts": {"modules_used": ["m" * 1000] * 100},
    "a list of numbers": {"data": "short", "numbers": list(range(10_000))},
    "an object": {"data": "short", "events_by_type": {f"TYPE_{number}": number for number in range(2000)}},
    "depth": {"data": "short", "deep": [[[[["x" * 50] * 5] * 5] * 5] * 5] * 2},
    "a long key": {"data": "short", "k" * 50_000: 1},
    "many keys": {f"{number}": number for number in range(5000)},
}


def endpoint_of(way: str, **values: Any) -> Endpoint:
    return an_endpoint(**{"max_body": LIMIT, **WAYS[way], **values})


def a_large(data: dict[str, Any], **values: Any) -> Delivery:
    """Return the delivery of an event with that data, as the outbox has them."""
    return a_delivery(an_event(data=Stored(kept(data)), **values))


def body_of(delivery: Delivery, endpoint: Endpoint) -> bytes:
    return render(Batch((delivery,)), endpoint).body


def data_of(delivery: Delivery, endpoint: Endpoint) -> Any:
    (message,) = messages(render(Batch((delivery,)), endpoint))
    return data_in(message)


def measured(endpoint: Endpoint, delivery: Delivery) -> int:
    return measure(endpoint, FORMATS[endpoint.format].surplus)(delivery)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@each_way
@in_one("data", LARGE.values())
def test_whatever_is_too_large_is_cut_to_valid_json_that_fits(way: str, data: dict[str, Any]) -> None:
    content = render(Batch((a_large(data),)), endpoint_of(way))
    body = content.body
    assert len(body) <= LIMIT
    assert ("\N{REPLACEMENT CHARACTER}" in body.decode()) == (way in WITH_LINES and "\0" in data.get("data", ""))
    again = "\n".join(map(written, values(content))).encode()
    assert again == body.removesuffix(b"\n"), "as JSON.stringify would write it again"


@each_way
def test_as_much_as_fits_is_kept(way: str) -> None:
    body = body_of(a_large({"data": PAIR * 50_000}), endpoint_of(way))
    assert LIMIT - len(PAIR.encode()) - SAVED < len(body) <= LIMIT


@in_one("way", WAYS)
@pytest.mark.parametrize("data", quick_first(LARGE.values(), 3), ids=LARGE)
def test_a_retry_is_cut_in_the_same_way(way: str, data: dict[str, Any]) -> None:
    first = body_of(a_large(data), endpoint_of(way))
    assert body_of(replace(a_large(data), attempts=5), endpoint_of(way)) == first


@each_way
def test_what_fits_to_the_byte_is_left_alone(way: str) -> None:
    delivery = a_large({"data": "x" * 50_000})
    size = len(body_of(delivery, endpoint_of(way, max_body=10**6)))
    assert data_of(delivery, endpoint_of(way, max_body=size)) == data_of(delivery, endpoint_of(way, max_body=10**6))
    assert data_of(delivery, endpoint_of(way, max_body=size - 1))["data_length"] == 50_000


@each_way
@in_one("text", ["x" * DATA_MAX, PAIR * DATA_MAX, "\0" * DATA_MAX, "<SFURL>\n" * DATA_MAX])
def test_by_default_a_finding_stays_under_the_limit_of_express(way: str, text: str) -> None:
    sources = tuple(Source("TARGET_WEB_CONTENT", text, "sfp_spider", "h" * 64) for _ in range(40))
    event = event_of_finding(a_finding(data=text, sources=sources), a_scan(), "Words")
    delivery = a_delivery(replace(event, data=Stored(kept(event.data))))
    assert len(body_of(delivery, an_endpoint(**WAYS[way]))) <= 100_000 < EXPRESS


@in_one("entry", EVENT_TYPES)
@each_way
def test_what_a_scan_sends_is_small_enough_for_the_least_limit(way: str, entry: Any) -> None:
    delivery = a_large(entry.example, type=entry.name)
    assert data_of(delivery, endpoint_of(way, max_body=8000)) == data_of(delivery, endpoint_of(way, max_body=10**6))


# --- what is cut, and how it is marked


def test_the_data_are_cut_first_and_marked_with_length_and_digest_of_the_whole() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    sources = [{"event_type": "INTERNET_NAME", "data": "s" * 1024}]
    data = data_of(a_large({"event_type": "X", "data": text, "sources": sources}), endpoint_of("generic"))
    assert (data["data_length"], data["data_sha256"]) == (20_000, sha256(text))
    assert text.startswith(data["data"]) and len(data["data"]) > DATA_LEAST
    assert data["sources"] == sources


def test_data_that_were_cut_before_keep_the_marks_of_the_whole() -> None:
    event = event_of_finding(a_finding(data=PAIR * (DATA_MAX + 1)), a_scan(), "Words")
    data = data_of(a_delivery(event), endpoint_of("generic"))
    assert (data["data_length"], data["data_sha256"]) == (DATA_MAX + 1, sha256(PAIR * (DATA_MAX + 1)))


def test_sources_are_cut_next_and_other_texts_stay() -> None:
    error = "e" * 5000
    sources = [{"event_type": "A", "data": "s" * 1024} for _ in range(32)]
    data = data_of(a_large({"data": "d" * 2000, "sources": sources, "error": error}), endpoint_of("generic"))
    assert (len(data["data"]), data["data_length"], data["error"]) == (DATA_LEAST, 2000, error)
    assert len(data["sources"]) == 32
    assert {(one["data_length"], one["data_sha256"]) for one in data["sources"]} == {(1024, sha256("s" * 1024))}


def test_then_other_long_texts_are_cut_and_marked_by_their_names() -> None:
    data = data_of(a_large({"error": "e" * 30_000, "title": "t" * 30_000}), endpoint_of("generic"))
    assert (data["error_length"], data["title_sha256"]) == (30_000, sha256("t" * 30_000))
    assert len(data["error"]) == len(data["title"]) > 9000


def test_a_cut_list_is_marked_with_the_digest_of_its_json() -> None:
    numbers = list(range(100_000))
    data = data_of(a_large({"numbers": numbers}), endpoint_of("generic"))
    digest = sha256(json.dumps(numbers, separators=(",", ":")))
    assert (data["numbers_length"], data["numbers_sha256"]) == (100_000, digest)
    assert data["numbers"] == numbers[: len(data["numbers"])]


def test_a_name_of_a_scan_that_is_too_long_is_cut_too() -> None:
    message = json.loads(body_of(a_delivery(an_event(scan=a_scan(name="n" * 50_000))), endpoint_of("generic")))
    assert message["metadata"]["scan_name_length"] == 50_000
    assert message["metadata"]["delivery_id"] == a_delivery().id


def test_the_source_of_a_finding_is_not_cut_within_a_pair_of_surrogates() -> None:
    source = Source("A", "x" + "\ud83d\udca9" * SOURCE_MAX, "m", "h")  # as a module writes it that has it from JSON
    [sent] = event_of_finding(a_finding(sources=(source,)), a_scan(), "Words").data["sources"]
    assert sent["data"] == "x" + PAIR * (SOURCE_MAX - 1)


# --- batches


@each_way
def test_each_message_of_a_batch_is_cut_for_itself(way: str) -> None:
    endpoint = endpoint_of(way, batch_size=3)
    deliveries = tuple(a_delivery(an_event(number, data=Stored(kept({"data": "x" * size})))) for number, size in
                       ((1, 10), (2, 50_000), (3, 10)))  # fmt: skip
    single = replace(endpoint, batch_size=1, max_body=LIMIT if way in IN_ARRAYS else LIMIT - len("[]"))
    alone = [message for delivery in deliveries for message in messages(render(Batch((delivery,)), single))]
    assert messages(render(Batch(deliveries), endpoint)) == alone


@each_way
def test_a_batch_of_one_that_is_too_large_fits_with_its_brackets(way: str) -> None:
    body = body_of(a_large({"data": "x" * 50_000}), endpoint_of(way, batch_size=3))
    assert LIMIT - 2 * SAVED < len(body) <= LIMIT


@in_one("way", WAYS)
@pytest.mark.parametrize(
    "data",
    [
        *(entry.example for entry in EVENT_TYPES),
        *(pytest.param(data, marks=pytest.mark.slow) for data in LARGE.values()),
    ],
)
def test_what_a_message_takes_in_a_batch_is_never_more_than_what_is_reckoned_with(
    way: str, data: dict[str, Any]
) -> None:
    endpoint = endpoint_of(way, metadata={"team": "\0" * 300}, ui_url="https://spiderfoot.example/" + "x" * 300)
    scan = a_scan("S" * 64, name='"' * 300, target="\u00e4" * 300)
    by_words = sorted(EVENT_TYPES, key=lambda entry: len(entry.name))
    own = (entry for entry in EVENT_TYPES if entry.example == data)
    for entry in (by_words[0], by_words[-1], *own):
        delivery = replace(a_large(data, type=entry.name, scan=scan), sequence=10**9)
        for limit in (LIMIT, 10**7):
            given = replace(endpoint, max_body=limit)
            assert len(body_of(delivery, given)) <= measured(given, delivery)


@each_way
def test_what_is_reckoned_with_for_a_finding_is_not_twice_what_it_takes(way: str) -> None:
    event = event_of_finding(a_finding(data="x" * 2000), a_scan(), "Words")
    delivery, endpoint = a_delivery(replace(event, data=Stored(kept(event.data)))), endpoint_of(way)
    assert measured(endpoint, delivery) < 2 * len(body_of(delivery, endpoint))


def test_chats_have_limits_of_their_own() -> None:
    body = body_of(a_large({"event_type": "X", "data": PAIR * 50_000}), an_endpoint(format="slack"))
    assert len(body) < 100_000


def test_an_event_is_not_changed_by_it() -> None:
    event = an_event(data={"data": "x" * 50_000, "sources": [{"data": "y" * 9000}]})
    before = json.dumps(event.data)
    body_of(a_delivery(event), endpoint_of("generic"))
    assert isinstance(event, WebhookEvent) and json.dumps(event.data) == before


# --- the setting


@pytest.mark.parametrize("key", ["max_body", "batch_max_bytes"])
@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100000", 100_000),
        ("100kB", 100_000),
        ("1 MB", 1_000_000),
        ("8000 B", 8000),
        ("64KB", 64_000),
        ("2mb", 2_000_000),
    ],
)
def test_a_size_is_written_in_bytes_or_with_its_unit(key: str, text: str, size: int) -> None:
    found = settings.load_mapping({"team": {"url": "https://x.example/", key: text}})
    assert (found.mistakes, [getattr(one, key) for one in found.endpoints]) == ((), [size])


@pytest.mark.parametrize(
    "text", ["", "0", "7999", "7kB", "101MB", "1GB", "1.5MB", "-1", "many", "1kib", "\u0661MB", "9" * 99]
)
def test_a_malformed_size_is_a_mistake_that_says_what_is_accepted(text: str) -> None:
    found = settings.load_mapping({"team": {"url": "https://x.example/", "max_body": text}})
    assert "expected a size from 8kB to 100MB such as 100kB, 1MB or 100000 (bytes)" in str(found.mistakes[0])


@pytest.mark.parametrize("key", ["max_body", "batch_max_bytes"])
def test_a_size_for_a_chat_is_a_mistake_and_one_for_all_is_not_meant_for_it(key: str) -> None:
    chat = {"url": "https://x.example/", "format": "slack"}
    (mistake,) = settings.load_mapping({"chat": {**chat, key: "1MB"}}).mistakes
    assert f"{key} requires one of the formats {', '.join(formats_for(key))}" in str(mistake)
    assert settings.load_mapping({key: "1MB", "chat": chat}).mistakes == ()
