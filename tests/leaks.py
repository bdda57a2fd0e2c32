"""Does a text give a secret away, in whatever form? For every path on which something fails."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

#: so many characters in a row of a form of a secret give it away
PIECE = 10
HALF = PIECE // 2


def leaks(text: str, *secrets: str) -> list[str]:
    """Return the forms of the secrets of which the text holds a piece, however it is written: in capitals, over several
    lines of a table, escaped for a URL, for JSON or for HTML, or by `repr`."""
    written = {_dense(view) for view in _views(text)}
    sought = {form: _pieces(_dense(form)) for secret in secrets for form in forms(secret)}
    found = _found(written, {piece for pieces in sought.values() for piece in pieces})
    return [form for secret in secrets for form in forms(secret) if not sought[form].isdisjoint(found)]


def forms(secret: str) -> list[str]:
    """Return what must not be seen of a secret: itself, and the same in base64 and in hex."""
    bare, data = secret, secret.encode()
    if secret.startswith(("whsec_", "whsk_")):
        data = base64.b64decode(secret.partition("_")[2])[:32]  # of a whsk_ the half that is secret
        bare = base64.b64encode(data).decode()[:42]
    return list(dict.fromkeys([bare, data.hex(), repr(data)[2:-1], *_in_base64(data)]))


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield bytes in base64, in both alphabets, whatever stands before them: they may be the end of user:password."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data).decode()
        whole = coded[4 if before else 0 : -4 if (before + len(data)) % 3 else None]
        yield from (whole, whole.replace("+", "-").replace("/", "_"))


def _views(text: str) -> Iterator[str]:
    """Yield a text as it is, and without what it may be escaped by."""
    yield text
    yield unquote(text)
    yield unquote(unquote(text.replace("+", " ")))
    yield html.unescape(text)
    yield text.replace("\\", "")
    yield re.sub(r"\\(?:u00|x)([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text).replace("\\", "")


def _pieces(form: str) -> set[str]:
    """Return what gives a form away: each piece of it, or all of it if it is shorter."""
    return {form[at : at + PIECE] for at in range(max(1, len(form) - PIECE + 1))} - {""}


def _found(written: set[str], pieces: set[str]) -> set[str]:
    """Return those of the pieces that are in a text.

    All that is written is read once, in steps: where a piece is, a step begins in its first half, and what is there is
    half a piece.
    """
    found = {piece for piece in pieces if len(piece) < PIECE and any(piece in view for view in written)}
    halves = {piece[at : at + HALF] for piece in pieces if len(piece) == PIECE for at in range(HALF + 1)}
    for view in written:
        for at in range(0, len(view), HALF + 1):
            if view[at : at + HALF] in halves:
                around = {view[begin : begin + PIECE] for begin in range(max(0, at - HALF), at + 1)}
                found |= around & pieces
    return found


def _dense(text: str) -> str:
    return re.sub(r"[\s│]+", "", text).casefold()
