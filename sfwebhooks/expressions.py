"""Regular expressions of an operator: their texts come in, whether one matches somewhere in a text goes out.

Findings are foreign text of any length, and Python's own `re` can take hours for a text of fifty characters. So these
are matched by RE2 (package google-re2, the extra `filters`), whose time is linear in the text whatever the expression:
https://github.com/google/re2/wiki/Syntax. It has no backreferences and no lookaround.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Callable

#: characters of a regular expression; RE2 also limits the memory of what it makes of one
EXPRESSION_MAX = 2000
#: characters of a part of one that an error repeats: a longer one can be a password, in the wrong place
PART_MAX = 12
MISSING = "requires another package: pip install 'sfwebhooks[filters]'"
ACCEPTED = "expected a regular expression of RE2, which has no lookaround and no backreferences"


def expression_problem(text: str) -> str:
    """Return what is wrong with a regular expression, with its place and what is accepted; empty: nothing."""
    if find_spec("re2") is None:
        return MISSING
    if len(text) > EXPRESSION_MAX:
        return f"it has {len(text):,} characters; expected at most {EXPRESSION_MAX:,}"
    try:
        _compiled(text)
    except _engine().error as error:
        why, _, part = _words(error).partition(": ")
        at = text.find(part) if part else -1
        why = f"{why}: {part}" if 0 < len(part) <= PART_MAX else why
        place = f", character {at + 1}" if at >= 0 else ""
        return f"{why}{place}; {ACCEPTED}"
    return ""


@lru_cache(maxsize=256)
def finder(texts: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a function that says whether one of some regular expressions matches somewhere in a text."""
    searches = [_compiled(text).search for text in texts]

    def find(data: str) -> bool:
        whole = data.encode("utf-8", "replace")
        return any(search(whole) for search in searches)

    return find


def replaced(text: str, data: str, by: Callable[[str], str]) -> str:
    """Return a text in which each match of a regular expression is replaced, except for empty ones.

    Args:
        by: returns what replaces a match.
    """
    whole = data.encode("utf-8", "replace")
    found = _compiled(text).sub(
        lambda match: by(match[0].decode("utf-8", "replace")).encode() if match[0] else b"", whole
    )
    return data if found == whole else str(found.decode("utf-8", "replace"))


@lru_cache(maxsize=256)
def _compiled(text: str) -> Any:
    options = _engine().Options()
    options.log_errors = False  # else RE2 writes to standard error
    options.never_capture = True
    return _engine().compile(text, options)


def _engine() -> Any:
    return import_module("re2")


def _words(error: Exception) -> str:
    found = error.args[0] if error.args else ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
