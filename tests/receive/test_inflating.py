"""Compressed bodies, from the settings to a receiver that verifies them."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from requests.structures import CaseInsensitiveDict

from sfwebhooks.cli import main
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.formats import render
from sfwebhooks.network.sender import as_sent
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.receive.inflating import BODY_MAX, InflatedTooLongError, inflated
from sfwebhooks.receive.verification import signature_problems
from sfwebhooks.signing import sign
from tests.builders import NOW, PATIENCE, a_batch
from tests.conftest import Clock, Team, put

ONE_STORE = "it is about connections to receivers"

SECRET = "a secret of the team"


def test_a_compressed_message_arrives_verified(
    outbox: Outbox, clock: Clock, receive: Callable[..., Team], new_queue: Callable[..., SendQueue]
) -> None:
    team = receive([SECRET])
    endpoint = load_mapping(
        {"team": {"url": team.url, "secret": SECRET, "compress": "gzip", "events": "all", "timeout": f"{PATIENCE}s"}}
    ).endpoints[0]
    put(outbox, endpoint)
    clock.now = time.time()
    assert new_queue(endpoint).step()
    (got,) = team.got
    assert (got.problems, got.message["event_type"]) == ((), "high_risk_event")
    assert int(got.headers["Content-Length"]) < len(got.body)


def test_the_signature_is_over_the_body_before_compression_which_is_the_same_each_time() -> None:
    endpoint = load_mapping({"team": {"url": "https://a.example", "secret": SECRET, "compress": "gzip"}}).endpoints[0]
    content = render(a_batch(), endpoint)
    one, other = (sign(content, a_batch(), endpoint, NOW) for _ in range(2))
    assert one.body == other.body != content.body
    assert gzip.decompress(one.body) == content.body
    assert signature_problems(CaseInsensitiveDict(one.headers), content.body, [SECRET], NOW) == []
    assert one.headers["Content-Encoding"] == "gzip"


def test_a_captured_request_is_verified(tmp_path: Path) -> None:
    endpoint = load_mapping({"team": {"url": "http://a.example", "secret": SECRET, "compress": "gzip"}}).endpoints[0]
    request = sign(render(a_batch(), endpoint), a_batch(), endpoint, time.time())
    (tmp_path / "saved").write_bytes(as_sent(request, endpoint))
    (tmp_path / "secret").write_text(SECRET)
    arguments = ["verify", str(tmp_path / "saved"), "--secret", f"file:{tmp_path / 'secret'}"]
    assert main(arguments) == 0


@pytest.mark.parametrize("body", [b"", b"plain", b"\0" * 1000])
@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_compressed_is_as_it_is(body: bytes, encoding: str) -> None:
    headers = CaseInsensitiveDict({"content-encoding": encoding} if encoding else {})
    assert inflated(headers, body, BODY_MAX) == body


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("br", b"x", "Content-Encoding is br; expected gzip"),
        ("gzip", b"plain", "the body is not gzip"),
        ("gzip", b"", "the body ends in the middle"),
        ("gzip", gzip.compress(b"x" * 999, mtime=0)[:-4], "the body ends in the middle"),
        ("gzip", zlib.compress(b"x"), "the body is not gzip"),
    ],
)
def test_what_is_not_what_its_header_says_is_refused(encoding: str, body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        inflated(CaseInsensitiveDict({"Content-Encoding": encoding}), body, BODY_MAX)


def test_a_bomb_is_not_inflated() -> None:
    headers = CaseInsensitiveDict({"Content-Encoding": "gzip"})
    with pytest.raises(InflatedTooLongError, match="more than 1,000 bytes"):
        inflated(headers, gzip.compress(b"\0" * 10_000_000), 1000)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"plain", 400), (gzip.compress(b"\0" * (BODY_MAX + 1), mtime=0), 413)],
    ids=["plain", "a bomb"],
)
def test_the_receiver_answers_and_goes_on(receive: Callable[..., Team], body: bytes, status: int) -> None:
    team = receive()
    host, port = team.receiver.server_address[:2]
    with socket.create_connection((str(host), int(port)), PATIENCE) as sock:
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        answers = sock.makefile("rb")
        assert _status(answers) == status
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        assert _status(answers) == 200


def _status(answers: BinaryIO) -> int:
    """Read an answer whole and return its status."""
    first = answers.readline()
    lines = iter(answers.readline, b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in [*lines] if line.lower().startswith(b"content-length"))
    answers.read(length)
    return int(first.split()[1])
