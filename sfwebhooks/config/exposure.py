"""Secrets on a command line: a key and a value come in, the reason why it must not be an argument goes out.

Other users see the arguments of a process, and a shell keeps them in its history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, urlsplit

from sfwebhooks.config.options import option_for
from sfwebhooks.config.samples import CREDENTIAL as CREDENTIAL_NAME
from sfwebhooks.config.warnings import fitting_formats
from sfwebhooks.formats import FORMATS
from sfwebhooks.own_secrets import CREDENTIAL, MASK, is_plain, shown

#: options whose value is a URL, which need not be a secret
URLS = ("url", "token_url", "proxy")
#: further names in a query whose value is a credential, however short
KEYS = re.compile(r"(?i)code|sig|hmac|hash|pass|pwd")
#: letters and digits of a header that may be a credential, though they may be a long word
TOKEN = re.compile(rf"[A-Za-z0-9]{{{CREDENTIAL}}}")


def exposed(key: str, text: str) -> str:
    """Return why a value of a key is or may be a secret, or nothing if it may be shown."""
    option = option_for(key)
    if not option or not option.secret or is_source(text):
        return ""
    if key in URLS:
        return next(_secret_parts(text), "")
    if option.name == "header.":
        is_secret = CREDENTIAL_NAME.search(key[len(option.name) :]) or TOKEN.search(text) or shown(text) == MASK
        return "the header may be a credential" if is_secret else ""
    return f"{key} is a secret"


def is_source(text: str) -> bool:
    """Return whether a value names a secret's place: env:NAME or file:PATH."""
    kind, _, name = text.strip().partition(":")
    return kind in ("env", "file") and bool(name.strip())


def formats_at(url: str) -> list[str]:
    """Return the formats that a URL's host accepts, if it is one that accepts no others."""
    parts = _split(url)
    return fitting_formats(parts.hostname or "", parts.path) if parts else []


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.hostname else None
    except ValueError:  # the parser of the option reports it
        return None


def _secret_parts(url: str) -> Iterator[str]:
    parts = _split(url)
    if not parts:
        return
    if "@" in parts.netloc:
        yield "the URL has a user name or password"
    if any(_may_be_credential(*pair) for pair in parse_qsl(parts.query, keep_blank_values=True)):
        yield "the query of the URL may be a credential"
    chats = [name for name in formats_at(url) if _has_secret_url(name)]
    if chats and (parts.path.strip("/") or parts.query):
        yield f"a {' or '.join(chats)} URL is a secret"
    if any(len(word) >= CREDENTIAL and not is_plain(word) for word in parts.path.split("/")):
        yield "the path of the URL may be a credential"


def _may_be_credential(name: str, value: str) -> bool:
    """Return whether a pair of a query may have a credential, also in place of its name: ?TOKEN, ?TOKEN=."""
    is_named = bool(CREDENTIAL_NAME.search(name) or KEYS.fullmatch(name))
    is_bare = not value and len(name) >= CREDENTIAL
    return is_named or is_bare or not is_plain(name) or not is_plain(value)


def _has_secret_url(name: str) -> bool:
    """Return whether a format's URL is what gives access to the service; others need a secret besides it."""
    one = FORMATS[name]
    return one.is_chat and not any(key.needed and key.secret for key in one.keys)
