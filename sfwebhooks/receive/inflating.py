"""Compressed bodies: a request's headers and body come in; the body before its compression goes out."""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping

#: most bytes of a body
BODY_MAX = 64 * 1024 * 1024
ENCODING = "Content-Encoding"


class InflatedTooLongError(ValueError):
    """A body is longer than any message, once decompressed."""


def inflated(headers: MutableMapping[str, str], body: bytes, limit: int) -> bytes:
    """Return a body as the sender signed it, and remove the header that says how it is compressed.

    Args:
        headers: ignores case.
        limit: most bytes.

    Raises:
        ValueError: it is not what its header says, or too long (InflatedTooLongError).
    """
    encoding = headers.get(ENCODING, "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise ValueError(f"{ENCODING} is {encoding[:40]}; expected gzip")
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        whole = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not gzip: {error}") from error
    if len(whole) > limit:
        raise InflatedTooLongError(f"the body has more than {limit:,} bytes once decompressed")
    if not stream.eof:
        raise ValueError("the body ends in the middle of its gzip data")
    if stream.unused_data:
        raise ValueError("the body has more after its gzip data")
    del headers[ENCODING]
    return whole
