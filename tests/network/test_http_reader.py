from __future__ import annotations

import gzip
from typing import Callable

import pytest

from sfwebhooks.network.http_reader import HEADERS_MAX, INTERIM_MAX, REPLY_BYTES, NotHTTPError, ReplyReader

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*parts: bytes, tunnel: bool = False) -> ReplyReader:
    reader = ReplyReader(tunnel)
    for part in parts:
        reader.feed(part)
    return reader


def by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("split", [lambda data: [data], by_byte], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    ("data", "body"),
    [
        (OK + LENGTH + b"\r\nok", b"ok"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304\r\n\r\n", b""),
        (b"HTTP/1.1 200\n" + b"content-length:2\n\nok", b"ok"),
        (b"HTTP/1.1 200 \r\ncontent-length:  2 \r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (OK + b"Content-Length: 2, 2\r\n\r\nok", b"ok"),
        (OK + LENGTH * 3 + b"\r\nok", b"ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok"),
        (CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok"),
        (CHUNKED + b"2;name=value;other\r\nok\r\n0;last\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n", b"ok"),
        (CHUNKED + b"0000000002\r\nok\r\n000\r\n\r\n", b"ok"),
        (OK + b"Transfer-Encoding: gzip, Chunked\r\nContent-Length: 999\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n" + OK + LENGTH + b"\r\nok", b"ok"),
    ],
)
def test_a_complete_reply_is_read_and_its_connection_used_again(
    data: bytes, body: bytes, split: Callable[[bytes], list[bytes]]
) -> None:
    reader = read(*split(data))
    assert (reader.done, reader.reusable, reader.body) == (True, True, body)


@pytest.mark.parametrize(
    "line",
    [
        b"X-Frame-Options : DENY",
        b"Server Name: W",
        b"this is not a header",
        b": nameless",
        "X-Größe: 1".encode(),
        b"\xff\xfe: 1",
        b" folded: 1",
        b"\tfolded",
        b"X-Null: \0",
    ],
)
def test_a_line_that_is_not_a_header_is_skipped(line: bytes) -> None:
    reader = read(OK + line + b"\r\n" + LENGTH + line + b"\r\n" + b"Retry-After: 5\r\n\r\nok")
    assert (reader.status, reader.body, reader.headers["retry-after"], reader.reusable) == (200, b"ok", "5", True)


@pytest.mark.parametrize(
    "lines",
    [b"".join(b"X-%d: 1\r\n" % number for number in range(109)), b"X-Long: " + b"a" * 70_000 + b"\r\n"],
    ids=["109 headers", "70,000 bytes"],
)
def test_many_or_long_headers_change_nothing(lines: bytes) -> None:
    reader = read(OK + lines + LENGTH + b"\r\nok")
    assert (reader.status, reader.body, reader.reusable) == (200, b"ok", True)


def test_headers_after_very_many_are_dropped() -> None:
    reader = read(OK + b"X: 1\r\n" * HEADERS_MAX + LENGTH + b"\r\nok")
    assert (reader.status, len(reader.headers), reader.body, reader.reusable) == (200, 1, b"ok", False)


def test_a_headers_name_has_any_case_and_repeated_values_are_joined() -> None:
    headers = read(OK + b"rEtRy-aFtEr: 60\r\nX: \xe9\r\nRetry-After:120\r\n\r\n").headers
    assert (headers["Retry-After"], headers.get("x"), headers.get("Y"), "RETRY-AFTER" in headers) == (
        "60, 120",
        "é",
        None,
        True,
    )


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Connection: close\r\n" + LENGTH + b"\r\nok",
        OK + b"Connection: keep-alive, Close\r\n" + LENGTH + b"\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + LENGTH + b"\r\nok" + OK,
        OK + LENGTH + b"\r\nok\r\n",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200",
        b"HTTP/1.1 204 No Content\r\n\r\nrubbish",
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_a_connection_is_not_used_again_after_a_reply_that_ends_it_or_says_more(data: bytes) -> None:
    for parts in ([data], by_byte(data)):
        reader = read(*parts)
        assert (reader.done, reader.reusable) == (True, False)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"\r\nok",
        OK + b"Content-Length: 3\r\n\r\nok",
        OK + b"Content-Length: 2, 3\r\n\r\nok",
        OK + b"Content-Length: -2\r\n\r\nok",
        OK + b"Content-Length: two\r\n\r\nok",
        OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nok",
        OK + b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        CHUNKED + b"2\r\nok\r\n",
        CHUNKED + b"3\r\nok",
        CHUNKED + b"2\r\nok\r\n0\r\n",
    ],
)
def test_the_received_part_of_a_body_without_an_end_is_kept(data: bytes) -> None:
    reader = read(*by_byte(data))
    assert (reader.status, reader.done, reader.body) == (200, False, b"ok")
    reader.end()
    assert (reader.done, reader.reusable, reader.body) == (True, False, b"ok")


@pytest.mark.parametrize("size", [b"x", b"-1", b"0x2", b"2 3", b"f" * 16])
def test_the_size_of_a_chunk_that_cannot_be_read_ends_the_body(size: bytes) -> None:
    reader = read(CHUNKED + b"2\r\nok\r\n" + size + b"\r\nmore")
    assert (reader.status, reader.done, reader.reusable, reader.body) == (200, True, False, b"ok")


@pytest.mark.parametrize("head", [OK + b"Content-Length: 99999999\r\n\r\n", OK + b"\r\n", CHUNKED + b"fffffff\r\n"])
def test_no_more_of_a_body_is_read_than_is_kept(head: bytes) -> None:
    reader = read(head, b"x" * (REPLY_BYTES - 1))
    assert not reader.done
    reader.feed(b"x" * 1000)
    assert (reader.done, reader.reusable, len(reader.body)) == (True, False, REPLY_BYTES)


def test_a_compressed_body_is_decoded_also_where_it_breaks_off() -> None:
    packed = gzip.compress(b"a" * 1000 + bytes(range(256)) * 10)
    reader = read(OK + b"Content-Encoding: gzip\r\n\r\n" + packed[:-20])
    assert reader.body.startswith(b"a" * 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"<html>HTTP/0.9</html>",
        b"HTTP/2 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        "HTTP/1.1 ٢٠٠ OK\r\n\r\n".encode(),
        b"HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_1_is_refused(data: bytes) -> None:
    for parts in ([data], by_byte(data)):
        with pytest.raises(NotHTTPError):
            read(*parts)


def test_more_than_a_few_interim_replies_are_refused() -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    assert read(interim * INTERIM_MAX + OK + LENGTH + b"\r\nok").body == b"ok"
    with pytest.raises(NotHTTPError, match="interim"):
        read(interim * (INTERIM_MAX + 1))


@pytest.mark.parametrize("data", [OK, OK + b"Retry-After: 5\r\n", OK + b"Retry-After: 5\r\nX-Half"])
def test_a_status_counts_although_the_connection_ends_within_the_headers(data: bytes) -> None:
    reader = read(data)
    reader.end()
    assert (reader.status, reader.body, reader.done, reader.reusable) == (200, b"", True, False)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_without_a_whole_status_line_there_is_no_status(data: bytes) -> None:
    reader = read(data) if data else ReplyReader()
    reader.end()
    assert reader.status == 0


def test_a_tunnel_has_no_body() -> None:
    reader = read(OK + b"Content-Length: 5\r\n\r\n", tunnel=True)
    assert (reader.done, reader.reusable) == (True, True)


def test_a_tunnel_that_is_refused_has_one() -> None:
    reader = read(b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nsorry", tunnel=True)
    assert (reader.status, reader.reason, reader.body) == (503, "No", b"sorry")
