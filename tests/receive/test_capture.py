from __future__ import annotations

import json

import pytest

from sfwebhooks.errors import CaptureError
from sfwebhooks.receive.capture import from_file, from_parts

SAVED = {"at": 12.5, "path": "/hook", "headers": {"webhook-id": "a"}, "body": "grüß\n", "problems": []}
WIRE = b"POST /hook HTTP/1.1\r\nHost: x\r\nWebhook-Id:a\r\nX-Other:  two words \r\n\r\n{}\r\n"


def test_lines_of_receive_are_read_with_their_numbers() -> None:
    content = f"{json.dumps(SAVED)}\n\n{json.dumps(SAVED)}\n".encode()
    assert [one.name for one in from_file(content)] == ["line 1", "line 3"]


def test_a_line_of_receive_has_headers_body_and_time() -> None:
    (one,) = from_file(json.dumps(SAVED).encode())
    assert (one.headers["Webhook-ID"], one.body, one.at) == ("a", "grüß\n".encode(), 12.5)


def test_a_body_that_is_not_utf8_is_read_unchanged() -> None:
    (one,) = from_file(json.dumps({**SAVED, "body": "\ufffd", "body_base64": "/w=="}).encode())
    assert one.body == b"\xff"


@pytest.mark.parametrize("at", [None, "now", -1, 1e300, float("nan"), float("inf"), []])
def test_a_malformed_time_is_not_known(at: object) -> None:
    (one,) = from_file(json.dumps({**SAVED, "at": at}).encode())
    assert one.at is None


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_raw_request_is_read(end: bytes) -> None:
    (one,) = from_file(WIRE.replace(b"\r\n", end))
    assert dict(one.headers.items()) == {"Host": "x", "Webhook-Id": "a", "X-Other": "two words"}
    assert (one.body, one.at) == (b"{}" + end, None)


def test_a_raw_request_without_its_first_line_is_read() -> None:
    (one,) = from_file(WIRE.partition(b"\r\n")[2])
    assert (one.headers["webhook-id"], one.body) == ("a", b"{}\r\n")


def test_a_request_without_a_body_has_an_empty_one() -> None:
    (one,) = from_file(b"webhook-id: a")
    assert one.body == b""


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"3\r\nabc\r\n2;x=y\r\n\r\n\r\n0\r\n\r\n", b"abc\r\n"),
        (b"0\r\n\r\n", b""),
        (b"abc", b"abc"),
        (b"5\r\nab\r\n0\r\n\r\n", b"5\r\nab\r\n0\r\n\r\n"),
        (b"3\r\nabc", b"3\r\nabc"),
    ],
)
def test_chunks_are_put_together_if_it_is_in_chunks(raw: bytes, body: bytes) -> None:
    (one,) = from_file(b"Transfer-Encoding: chunked\r\n\r\n" + raw)
    assert one.body == body


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"hush", 'header 1 is not "Name: value"'),
        (b"GET / HTTP/1.1\r\nA: b\r\nhush\r\n\r\n", 'header 2 is not "Name: value"'),
        (b"\x00\xff\xfe", "header 1"),
        (b'{"event_type": "hush"}', "a body without headers"),
        (b'{\n  "event_type": "hush"\n}', "a body without headers"),
        (b"[1]", "a body without headers"),
        (b"[" * 100_000, "a body without headers"),
        (b'{"headers": [], "body": "hush"}', "a body without headers"),
        (b'{"headers": {}, "body": "", "body_base64": "hush!"}', "not base64"),
    ],
)
def test_a_text_that_is_not_a_request_is_reported_and_not_repeated(content: bytes, said: str) -> None:
    with pytest.raises(CaptureError) as raised:
        from_file(content)
    assert (said in str(raised.value), "hush" in str(raised.value)) == (True, False)


def test_headers_of_the_command_line_are_read() -> None:
    one = from_parts(["Webhook-Id: a", "X-Empty:"], b"x")
    assert (one.headers["webhook-id"], one.headers["X-Empty"], one.body) == ("a", "", b"x")


def test_a_hostile_line_is_read_without_a_crash() -> None:
    line = b'{"headers": {"webhook-signature": "\\ud800", "webhook-id": null}, "body": "\\udfff"}'
    (one,) = from_file(line)
    assert one.body == b"?"


@pytest.mark.parametrize("values", [b"{}," * 600_000, b'"",' * 1_000_001, b'"a\\\\",[],' * 500_001])
def test_a_line_with_more_values_than_any_request_is_not_read(values: bytes) -> None:
    line = b'{"headers": {}, "body": "", "more": [' + values + b"0]}"
    with pytest.raises(CaptureError, match="line 1 has more values"):
        from_file(line)


@pytest.mark.parametrize("body", ["[]," * 500_000, '{"a\\":"b,"},' * 300_000])
def test_a_body_may_have_many_values(body: str) -> None:
    (one,) = from_file(json.dumps({**SAVED, "body": body}).encode())
    assert one.body == body.encode()
