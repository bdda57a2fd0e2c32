"""Captured requests: bytes of a file come in, `Captured` goes out, for `sfwebhooks verify` and `diagnosis`.

A file contains either the requests that `sfwebhooks receive --save` wrote (one JSON object per line), or one HTTP
request as it was on the wire (RFC 9112).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from requests.structures import CaseInsensitiveDict

from sfwebhooks.errors import CaptureError
from sfwebhooks.receive.inflating import BODY_MAX, inflated
from sfwebhooks.receive.received import VALUES_MAX

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r?\n")
LINE_END = re.compile(rb"\r?\n")
#: the envelope of a statement, as we write it
ALONE = re.compile(rb'\s{0,100}\{"payload(?:Type)?"')
BODY_ALONE = "this looks like a body without headers: pass it with --body, and its headers with --header"


@dataclass(frozen=True)
class Captured:
    """One request as a receiver received it."""

    #: its place in the file, for people; no part of its content
    name: str
    #: ignores case
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: epoch seconds by the receiver's clock, or None if it was not recorded
    at: float | None = None


def from_file(content: bytes) -> list[Captured]:
    """Return the requests of a file, at least one.

    Raises:
        CaptureError: it contains something else.
    """
    if not content.strip():
        raise CaptureError("it is empty")
    return _saved(content) if content.lstrip().startswith((b"{", b"[")) else [_from_wire(content)]


def from_lines(lines: Iterable[bytes], place: str) -> Iterator[Captured]:
    """Yield the requests of lines as `sfwebhooks receive --save` writes them, each named after the place and its line.

    A line that is a statement's envelope alone is a request without headers.

    Raises:
        CaptureError: a line is something else.
    """
    for number, line in enumerate(lines, 1):
        name = f"{place} line {number}"
        if ALONE.match(line):
            yield Captured(name, CaseInsensitiveDict(), line)
        elif line.strip():
            yield _from_line(name, line)


def from_parts(lines: Iterable[str], body: bytes) -> Captured:
    """Return the request of headers, each as "Name: value", and a body.

    Raises:
        CaptureError: a header is not of that form.
    """
    return _captured(_headers(lines), body)


def _captured(headers: CaseInsensitiveDict[str], body: bytes) -> Captured:
    """Return a request with its body decompressed."""
    try:
        return Captured("the request", headers, inflated(headers, body, BODY_MAX))
    except ValueError as error:
        raise CaptureError(str(error)) from error


def _saved(content: bytes) -> list[Captured]:
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    return [_from_line(f"line {number}", line) for number, line in lines]


def _from_line(name: str, line: bytes) -> Captured:
    if _is_crowded(line):
        raise CaptureError(f"{name} has more values than a captured request")
    try:
        saved: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{name} is not a JSON object; {BODY_ALONE}") from error
    parts = saved if isinstance(saved, dict) else {}
    headers, body, exact, at = (parts.get(key) for key in ("headers", "body", "body_base64", "at"))
    if not isinstance(headers, dict) or not isinstance(body, str):
        raise CaptureError(f'{name} lacks "headers" or "body"; {BODY_ALONE}')
    try:
        content = base64.b64decode(exact, validate=True) if isinstance(exact, str) else body.encode("utf-8", "replace")
    except ValueError as error:
        raise CaptureError(f"body_base64 of {name} is not base64") from error
    texts = CaseInsensitiveDict({str(key): str(value) for key, value in headers.items()})
    return Captured(name, texts, content, float(at) if isinstance(at, (int, float)) and 0 < at < 1e11 else None)


def _is_crowded(line: bytes) -> bool:
    """Return whether a line has more values than are read as JSON; those in a body that is a text do not count."""
    if _signs(line) <= VALUES_MAX:
        return False
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    return bare.count(b'"') > VALUES_MAX or _signs(b"".join(bare.split(b'"')[::2])) > VALUES_MAX


def _signs(text: bytes) -> int:
    return sum(text.count(sign) for sign in (b",", b"[", b"{"))


def _from_wire(content: bytes) -> Captured:
    """Return an HTTP request: its line, which may be missing, headers, an empty line, the body."""
    gap = re.search(rb"\r?\n\r?\n", content)
    head, body = (content[: gap.start()], content[gap.end() :]) if gap else (content, b"")
    lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    headers = _headers(lines[1:] if re.fullmatch(r"[A-Z]+ \S+ HTTP/\S+", lines[0]) else lines)
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = _dechunked(body)
    return _captured(headers, body)


def _headers(lines: Iterable[str]) -> CaseInsensitiveDict[str]:
    found: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not NAME.fullmatch(name) or "\n" in value:  # the line may be a secret, so it is not shown
            raise CaptureError(f'header {number} is not "Name: value"')
        found[name] = value.strip(" \t")
    return found


def _dechunked(body: bytes) -> bytes:
    """Return the content of the chunks (RFC 9112 section 7.1); the body itself if it has no chunks."""
    parts: list[bytes] = []
    head = CHUNK.match(body)
    while head:
        begin, end = head.end(), head.end() + int(head[1], 16)
        if begin == end:
            return b"".join(parts)
        parts.append(body[begin:end])
        after = LINE_END.match(body, end)
        head = CHUNK.match(body, after.end()) if after else None
    return body
