"""Every key of the configuration in one table: its name, how its text is read, what is accepted, what it means.

`config` reads files by this table; `check`, the reference in the README and the example file are tested against it.
A parser takes the text and gives the value, or raises ValueError with what would be right.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable
from urllib.parse import urlsplit

from sfwebhooks.endpoints import EVENT_NAMES, Secret, matches
from sfwebhooks.formats import FORMATS
from sfwebhooks.keys import problem
from sfwebhooks.proxies import proxy_url

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
RESERVED_HEADERS = re.compile(
    r"(?i)x-spiderfoot-.*|webhook-.*|content-length|content-type|content-encoding|transfer-encoding|host|connection"
    r"|expect|keep-alive|proxy-.*|te|trailer|upgrade"  # they are for the next hop (RFC 9110 section 7.6.1)
)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean "...?"' for a typo of a known word, else nothing."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1) or difflib.get_close_matches(word.lower(), names, n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def boolean(text: str) -> bool:
    """Read true/false, yes/no, on/off, 1/0."""
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError("accepted: true or false")


def seconds(text: str) -> float:
    """Read a positive duration such as 15, 15s, 5m, 1h or 7d, in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or not 0 < float(match[1]) * UNITS[match[2]] <= 365 * 86400:
        raise ValueError("accepted: a duration above zero such as 15s, 5m, 1h or 7d")
    return float(match[1]) * UNITS[match[2]]


def number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for whole numbers of a range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"accepted: a whole number from {low} to {high}")
        return int(text)

    return parse


def words(text: str) -> tuple[str, ...]:
    """Read a list separated by commas or line ends."""
    return tuple(word.strip() for word in re.split(r"[,\n]", text) if word.strip())


def event_words(text: str) -> tuple[str, ...]:
    """Read subscriptions; each must be able to match something."""
    found = words(text)
    if not found:
        raise ValueError('accepted: event names, * patterns, "all", "!name"; see sfwebhooks events')
    for word in found:
        wanted = word[1:] if word.startswith("!") else word
        if not any(matches(wanted, name) for name in EVENT_NAMES):
            hint = nearest(wanted, sorted(EVENT_NAMES))
            raise ValueError(f'no event is called "{word}".{hint} Accepted: event names, * patterns, "all", "!name"')
    return found


def format_name(text: str) -> str:
    """Read the name of a format."""
    if text not in FORMATS:
        raise ValueError(f"accepted: {', '.join(FORMATS)}.{nearest(text, FORMATS)}")
    return text


def url(text: str) -> Secret:
    """Read an http or https URL with a host, in ASCII, without user name, password or fragment."""
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")  # raises for an empty or too long label
        usable = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("accepted: an http:// or https:// URL with a host, in ASCII (punycode, %-encoding)")
    if "@" in parts.netloc:
        raise ValueError("a user name or password in the URL is not sent; use header.Authorization or api_key")
    if parts.fragment:
        raise ValueError("the part after # is never sent; leave it away")
    return Secret(text)


def base_url(text: str) -> str:
    """Read the http or https URL of a web interface, to which paths are added; a slash at its end is dropped."""
    base = url(text).reveal().rstrip("/")
    if not re.fullmatch(r"[^?|<>]+", base):
        raise ValueError("accepted: an http:// or https:// URL without ? and what follows")
    return base


def secrets(text: str) -> tuple[Secret, ...]:
    """Read signing secrets, one a line: any text, or whsec_ and whsk_ as Standard Webhooks has them."""
    return _secrets(text, signs=True)


def receiver_secrets(text: str) -> tuple[Secret, ...]:
    """Read what a receiver verifies with, one a line: the sender's secrets, or the whpk_ of its whsk_."""
    return _secrets(text, signs=False)


def _secrets(text: str, signs: bool) -> tuple[Secret, ...]:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise ValueError("accepted: any text, whsec_..., whsk_..., env:NAME or file:PATH; one a line when rotating")
    for line in lines:
        if problem(line, signs):
            raise ValueError(problem(line, signs))
    return tuple(Secret(line) for line in lines)


def secret(text: str) -> Secret:
    """Read a text that must not be shown and goes into a header."""
    return Secret(header_value(text))


def password(text: str) -> Secret:
    """Read a password, any text."""
    return Secret(text)


def header_value(text: str) -> str:
    """Read a header's value: one line of visible characters (RFC 9110 section 5.5), in ASCII."""
    if not re.fullmatch(r"[!-~](?:[ -~\t]*[!-~])?", text):
        raise ValueError("accepted: one line of ASCII text")
    return text


def path(text: str) -> Path:
    """Read a file name; `~` is the home folder. Relative ones are resolved by `config`."""
    if not text or "\0" in text:
        raise ValueError("accepted: the name of a file")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"accepted: the name of a file; {error}") from error


def plain(text: str) -> str:
    """Read any text."""
    return text


@dataclass(frozen=True)
class Option:
    """One key of the configuration."""

    name: str
    parse: Callable[[str], Any]
    #: what it means, for people
    meaning: str
    #: its value is never shown, and may be written env:NAME or file:PATH
    secret: bool = False
    #: field of Endpoint (or of Settings) that it sets
    field: str = ""
    #: may stand in [webhooks] for all endpoints
    inherited: bool = True


ENDPOINT_OPTIONS = {
    option.name: option
    for option in (
        Option("url", url, "where to send, https:// or http://", secret=True, inherited=False),
        Option("description", plain, "a word for people", inherited=False),
        Option("enabled", boolean, "false: this endpoint gets nothing", inherited=False),
        Option("events", event_words, 'event names, aliases, * patterns, "all", "!name"'),
        Option("format", format_name, f"how a message is written: {', '.join(FORMATS)}"),
        Option("secret", secrets, "signs each message; several, one a line, while rotating", True, "secrets"),
        Option("api_key", secret, "sent as Authorization: Bearer", secret=True),
        Option("verify_tls", boolean, "false: take any server certificate (never do this in production)"),
        Option("ca_bundle", path, "PEM file with the CAs to trust instead of the public ones"),
        Option("client_cert", path, "PEM file with our certificate for mTLS, then its chain"),
        Option("client_key", path, "PEM file with its key, if not in the same file"),
        Option("client_key_password", password, "password of an encrypted key", secret=True),
        Option("proxy", proxy_url, "proxy to go through: http://, https:// or socks5h://, user:password allowed", True),
        Option("allow_private", boolean, "false: never connect to a private address (true)"),
        Option("timeout", seconds, "time for one attempt (15s)"),
        Option("concurrency", number(1, 64), "attempts at once (4; chats 1); 1 keeps the order"),
        Option("max_retries", number(0, 100), "retries after the first attempt (6)"),
        Option("retry_delay", seconds, "wait before the first retry, doubled for each further one"),
        Option("ui_url", base_url, "where you open SpiderFoot; chat messages then link to the scan"),
    )
}
#: keys that end in a name of the user's own: header.X-Team, metadata.user
OPEN_OPTIONS = {
    option.name: option
    for option in (
        Option("header.", secret, "an extra header, as header.NAME", secret=True, field="headers"),
        Option("metadata.", plain, "added to the metadata of each event, as metadata.NAME", field="metadata"),
    )
}
#: keys of [webhooks] itself
GENERAL_OPTIONS = {
    option.name: option
    for option in (
        Option("enabled", boolean, "true: in every scan; false: in none; absent: where the module is chosen"),
        Option("default_url", url, 'the URL of an endpoint named "default"', secret=True),
        Option("drain_timeout", seconds, "how long a scan's process may go on sending after the scan (10s)"),
    )
}


def option_for(key: str) -> Option | None:
    """Return the endpoint option that a key names, or None."""
    stem = key.partition(".")[0] + "."
    if stem in OPEN_OPTIONS and len(key) > len(stem):
        return OPEN_OPTIONS[stem]
    return ENDPOINT_OPTIONS.get(key)


def header_problem(name: str) -> str:
    """Return why a header may not be set by the configuration, or nothing."""
    if not TOKEN.fullmatch(name):
        return "a header's name has only letters, digits and -_.!#$%&'*+^`|~"
    if RESERVED_HEADERS.fullmatch(name):
        return "this header is set by sfwebhooks itself and cannot be replaced"
    return ""
