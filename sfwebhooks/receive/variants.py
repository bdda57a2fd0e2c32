"""Variants of a request's parts: the signed body, id, time or key as they may have been before a middlebox, or the
person who set up a secret, changed them. `diagnosis` finds the variant that a signature matches.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable

from sfwebhooks.formats.naming import naming_of
from sfwebhooks.signing_keys import WHSEC, hmac_key

#: words that follow "it would match secret 1 ", and the bytes
Reading = tuple[str, bytes]
#: layouts of JSON by other programs: words, and arguments of json.dumps
LAYOUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("compact", {"separators": (",", ":")}),
    ("with spaces after commas and colons", {}),
    ("indented by 2", {"indent": 2}),
    ("indented by 4", {"indent": 4}),
)
#: characters around a secret that one side may have kept and the other removed: words, before it, after it
BLANKS = (
    ("a newline at the end", "", "\n"),
    ("a newline (CRLF) at the end", "", "\r\n"),
    ("a space at the end", "", " "),
    ("a tab at the end", "", "\t"),
    ("a space and a newline at the end", "", " \n"),
    ("a space at the beginning", " ", ""),
    ("a byte order mark at the beginning", "\ufeff", ""),
)


def first_fit(parts: Sequence[Sequence[Reading]], fits: Callable[..., bool], most: int = 2) -> list[str] | None:
    """Return the words of the variants that match, with as few parts varied as possible.

    Args:
        parts: the variants of each part, the received one first.
        fits: called with one variant of each part.
        most: maximum number of parts that are varied at once.
    """
    for count in range(min(len(parts), most) + 1):
        for places in itertools.combinations(range(len(parts)), count):
            for picks in itertools.product(*(parts[place][1:] for place in places)):
                chosen = [part[0] for part in parts]
                for place, pick in zip(places, picks):
                    chosen[place] = pick
                if fits(*(value for _, value in chosen)):
                    return [words for words, _ in picks]
    return None


def bodies(body: bytes, headers: Mapping[str, str]) -> list[Reading]:
    """Return the body as received, then as it may have been sent."""
    return _different([("", body), *_other_bodies(body, headers), *_other_json(body)])


def _other_bodies(body: bytes, headers: Mapping[str, str]) -> Iterator[Reading]:
    lf = body.replace(b"\r\n", b"\n")
    yield "without the newline at the end of the body", body[:-2] if body.endswith(b"\r\n") else body.rstrip(b"\n")
    yield "without the white space around the body", body.strip()
    yield "with a newline at the end of the body", body + b"\n"
    yield "with LF instead of CRLF in the body", lf
    yield "with LF instead of CRLF in the body, and no LF at its end", lf.rstrip(b"\n")
    yield "with CRLF instead of LF in the body", lf.replace(b"\n", b"\r\n")
    yield "without the byte order mark before the body", body[3:] if body.startswith(b"\xef\xbb\xbf") else body
    length = headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and len(length) < 12:
        yield f"if the body ended where Content-Length says, after {length} bytes", body[: int(length)]
    with contextlib.suppress(UnicodeError):
        yield "if the body had not been encoded to UTF-8 twice", body.decode().encode("latin-1")


def _other_json(body: bytes) -> Iterator[Reading]:
    """Yield the same JSON in other layouts, that of sfwebhooks and JSON.stringify first."""
    value = json_value(body)
    if value is None:
        return
    for ascii_only in (False, True):
        how = ", with \\u escapes" if ascii_only else ""
        for words, layout in LAYOUTS:
            try:
                text = json.dumps(value, ensure_ascii=ascii_only, **layout).encode("utf-8", "replace")
            except RecursionError:  # indenting goes less deep than reading
                continue
            yield f"if the body's JSON were written {words}{how}: it was serialised again on the way", text


def json_value(body: bytes) -> Any:
    """Return the value of JSON; None if it is not JSON, is null, or cannot be read (too deep, too long a number)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def keys(secret: str, as_configured: bool) -> list[Reading]:
    """Return a shared secret's HMAC key, then keys that may have been used in its place.

    Args:
        as_configured: the right one is the UTF-8 of the text (a guide's signature), whatever it starts with.
    """
    right = secret.encode() if as_configured else hmac_key(secret)
    return _different([("", right), *_other_keys(secret)])


def _other_keys(secret: str) -> Iterator[Reading]:
    bare = secret[len(WHSEC) :] if secret.startswith(WHSEC) else secret
    if bare != secret:
        yield "if the text after whsec_ were decoded from base64 for the key", hmac_key(secret)
        yield "if the whole text, whsec_ included, were the key, not decoded", secret.encode()
        yield "if the text after whsec_ were the key, not decoded", bare.encode()
    else:
        yield from _decoded(secret)
    for words, before, after in BLANKS:
        yield f"with {words} of the secret", f"{before}{secret}{after}".encode()
    for quote in ('"', "'"):
        yield "with quotes around the secret", f"{quote}{secret}{quote}".encode()
        if len(secret) > 2 and secret[0] == secret[-1] == quote:
            yield "without the quotes around the secret", secret[1:-1].encode()


def _decoded(secret: str) -> Iterator[Reading]:
    for words, decode in (("base64 (as after whsec_)", base64.b64decode), ("hex", base64.b16decode)):
        try:
            text = secret.upper() if decode is base64.b16decode else secret + "=" * (-len(secret) % 4)
            key = decode(text)
        except ValueError:
            continue
        if key:
            yield f"if the secret were decoded from {words} for the key", key


def ids(headers: Mapping[str, str], body: bytes) -> list[Reading]:
    """Return `webhook-id` as received, then the ids from elsewhere in the request."""
    name = naming_of(headers).delivery
    found = [
        ("", headers.get("webhook-id", "")),
        (f"with the id of {name}", headers.get(name, "")),
        ("with the delivery_id in the body", _delivery_id(body)),
    ]
    return _different((words, text.encode("utf-8", "replace")) for words, text in found)


def _delivery_id(body: bytes) -> str:
    """Return the delivery id in the body of a message of ours, or nothing."""
    value = json_value(body)
    message = value if isinstance(value, dict) else {}
    inner = message.get("metadata")
    found = (inner if isinstance(inner, dict) else message).get("delivery_id")
    return found if isinstance(found, str) else ""


def stamps(headers: Mapping[str, str]) -> list[Reading]:
    """Return `webhook-timestamp` as received, then the times from elsewhere in the request or in other units."""
    stamp, name = headers.get("webhook-timestamp", ""), naming_of(headers).timestamp
    found = [("", stamp), (f"with the time of {name}", headers.get(name, ""))]
    if stamp.isascii() and stamp.isdigit() and len(stamp) == 13:
        found.append(("with webhook-timestamp in seconds", stamp[:10]))
    if "." in stamp:
        found.append(("with webhook-timestamp in whole seconds", stamp.partition(".")[0]))
    return _different((words, text.encode("utf-8", "replace")) for words, text in found)


def _different(readings: Iterable[Reading]) -> list[Reading]:
    """Return variants without those whose bytes repeat an earlier one."""
    seen: dict[bytes, str] = {}
    for words, value in readings:
        seen.setdefault(value, words)
    return [(words, value) for value, words in seen.items()]
