"""What could be reached: loops that send the same bodies with `requests` alone, and the plainest durable pipeline."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from sfwebhooks.formats import generic
from tests.benchmarks.accepting import bare_outbox, event_of
from tests.benchmarks.measure import Measure, Row, whole, with_null_row
from tests.benchmarks.receiving import certificates, receiver, secured_receiver
from tests.builders import a_delivery, an_endpoint

BARE = "deliver: bare loop of Session.post"
URLLIB3 = "deliver: bare urllib3"
SECURED = "deliver: bare loop of Session.post, mTLS"
BATCH = 100
#: body and headers -> status
Post = Callable[[bytes, dict[str, str]], int]
#: URL -> Post, while the context is entered
Way = Callable[[str], AbstractContextManager[Post]]


@contextlib.contextmanager
def session_post(url: str) -> Iterator[Post]:
    with requests.Session() as session:
        session.trust_env = False
        yield posting(session, url)


def posting(session: requests.Session, url: str) -> Post:
    return lambda body, headers: session.post(url, data=body, headers=headers, timeout=15).status_code


@contextlib.contextmanager
def session_send(url: str) -> Iterator[Post]:
    with requests.Session() as session:
        session.trust_env = False
        yield lambda body, headers: session.send(prepared(url, body, headers), timeout=15).status_code


@contextlib.contextmanager
def pool_request(url: str) -> Iterator[Post]:
    with urllib3.PoolManager() as pool:
        yield lambda body, headers: pool.request("POST", url, body=body, headers=headers, timeout=15).status


@contextlib.contextmanager
def standard_library(url: str) -> Iterator[Post]:
    """Send with http.client, which is below urllib3."""
    place = urlsplit(url)
    with contextlib.closing(HTTPConnection(str(place.hostname), place.port, timeout=15)) as connection:

        def post(body: bytes, headers: dict[str, str]) -> int:
            connection.request("POST", place.path, body, headers)
            with connection.getresponse() as response:
                response.read()
                return response.status

        yield post


@contextlib.contextmanager
def adapter_send(url: str) -> Iterator[Post]:
    with contextlib.closing(HTTPAdapter()) as adapter:

        def post(body: bytes, headers: dict[str, str]) -> int:
            response = adapter.send(prepared(url, body, headers), timeout=15)
            return response.status_code if response.content else 0

        yield post


def prepared(url: str, body: bytes, headers: dict[str, str]) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.method, request.url, request.body = "POST", url, body
    request.headers = CaseInsensitiveDict({**headers, "Content-Length": str(len(body))})
    return request


def loop(way: Way, batch: int = 1) -> Callable[[int], Measure]:
    """Return a row: the bodies one after the other or in batches, neither kept nor signed."""

    def row(events: int) -> Measure:
        bodies = bodies_of(events)
        if batch > 1:
            bodies = [b"[" + b",".join(bodies[at : at + batch]) + b"]" for at in range(0, events, batch)]
        with receiver() as url, way(url) as post:
            return whole(events, lambda: send(bodies, post))

    return row


def secured(events: int) -> Measure:
    """Send the same bodies with `requests` to a receiver that demands a client certificate."""
    bodies = bodies_of(events)
    with certificates() as tls, secured_receiver(tls) as url, requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = str(tls.ca), (str(tls.client.cert), str(tls.client.key))
        return whole(events, lambda: send(bodies, posting(session, url)))


def bodies_of(events: int) -> list[bytes]:
    return [generic.render(a_delivery(event_of(number)), an_endpoint()).body for number in range(events)]


def send(bodies: Iterable[bytes], post: Post) -> None:
    for body in bodies:
        check(post(body, {"Content-Type": "application/json"}))


def plainest(way: Way, batch: int = 1) -> Callable[[int], Measure]:
    """Return a row: events are read, written as JSON, signed, sent, and noted in a commit, one by one or in batches."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder, receiver() as url, way(url) as post:
            sql = bare_outbox(Path(folder))
            kept = [(number, json.dumps(dict(event_of(number).data))) for number in range(events)]
            sql.executemany("INSERT INTO event VALUES (?, ?, 0)", kept)

            def run() -> None:
                for number in range(0, events, batch):
                    span = (number, number + batch - 1)
                    found = sql.execute("SELECT data FROM event WHERE number BETWEEN ? AND ?", span).fetchall()
                    messages = [{"event_type": "high_risk_event", "data": json.loads(data)} for (data,) in found]
                    body = json.dumps(messages).encode()
                    signature = hmac.new(b"s" * 32, body, hashlib.sha256).hexdigest()
                    check(post(body, {"Content-Type": "application/json", "X-Signature": signature}))
                    sql.execute("UPDATE event SET delivered = 1 WHERE number BETWEEN ? AND ?", span)

            measure = whole(events, run)
            sql.close()
        return measure

    return row


def check(status: int) -> None:
    assert status == 200, status


ROWS = {
    **with_null_row(BARE, loop(session_post)),
    "deliver: bare, prepared, Session.send": Row(loop(session_send), BARE),
    "deliver: bare, prepared, HTTPAdapter.send": Row(loop(adapter_send), BARE),
    "deliver: bare http.client": Row(loop(standard_library), BARE),
    f"deliver: bare, batches of {BATCH}": Row(loop(session_post, BATCH), BARE),
    "deliver: plainest pipeline, Session.post": Row(plainest(session_post), BARE),
    "deliver: plainest pipeline, HTTPAdapter.send": Row(plainest(adapter_send), BARE),
    f"deliver: plainest pipeline, batches of {BATCH}": Row(plainest(session_post, BATCH), BARE),
    **with_null_row(URLLIB3, loop(pool_request)),
    **with_null_row(SECURED, secured),
}
