"""Parsers of values: the text of a value comes in; the value goes out, or a ValueError that says what is expected.

`options` assigns a parser to each key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Callable
from urllib.parse import SplitResult, urlsplit

from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.postgres.dsn import EXPECTED, PREFIXES, Dsn
from sfwebhooks.severity import Severity
from sfwebhooks.signing_keys import WHSK, problem

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: most days of a duration, and of one for which something is kept
DAYS_MAX, LONG_DAYS_MAX = 365, 3650
BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1_000_000}
#: similarity from which a word counts as a typo of another one: two of four letters swapped
TYPO = 0.75
#: most characters of a possible name
NAME_MAX = 64
QUOTED = re.compile(r"""\s*(["'])(?:(?!\1).)+\1\s*""")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean "...?"' for a typo of a known word, else nothing."""
    names = list(known)
    if len(word) > 2 * max(map(len, names), default=0):  # it resembles none, and comparing would be slow
        return ""
    from difflib import get_close_matches  # only mistakes need it

    close = get_close_matches(word, names, n=1) or get_close_matches(word.lower(), names, n=1)
    if not close:
        return ""
    return f' Did you mean "{close[0]}{"NAME = VALUE" if close[0].endswith(".") else ""}"?'


def alike(word: str, names: Iterable[str]) -> list[str]:
    """Return the names of which a word may be a typo, or which start with the word, or the word with them."""
    return [name for name in names if len(word) <= NAME_MAX and _are_alike(word.lower(), name.lower())]


def _are_alike(one: str, other: str) -> bool:
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, one, other)
    if matcher.real_quick_ratio() >= TYPO and matcher.ratio() >= TYPO:
        return True
    short, long = sorted((one, other), key=len)
    return bool(short) and long.startswith((f"{short}_", f"{short}-"))


def comment_in(text: str) -> str:
    """Return advice if a value seems to end in a comment, which an INI file makes part of the value."""
    match = re.search(r"\s([#;])", text)
    return f"the text after {match[1]} looks like a comment; put it on its own line" if match else ""


def pasted_in(url: str) -> str:
    """Return advice if a URL contains escapes of a web page or a shell."""
    if re.search("&(?:amp|quot|lt|gt);", url, re.IGNORECASE):
        return "it contains &amp; or another escape of a web page and looks copied from its source: write & instead"
    return r"it contains a backslash, as a shell requires before ? and &: remove it" if "\\" in url else ""


def quotes_in(parts: Iterable[str]) -> str:
    """Return advice if a part of a value is in quotes, which an INI file makes part of it."""
    return "remove the quotes around the value" if any(map(QUOTED.fullmatch, parts)) else ""


def boolean(text: str) -> bool:
    """Read true/false, yes/no, on/off, 1/0."""
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError("expected true or false")


def seconds(text: str, most: int = DAYS_MAX) -> float:
    """Read a positive duration such as 15, 15s, 5m, 1h or 7d, in seconds; `most` is the longest in days."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or not float(match[1]):
        raise ValueError("expected a duration above zero such as 15s, 5m, 1h or 7d")
    if float(match[1]) * UNITS[match[2]] > most * 86400:
        raise ValueError(f"expected a duration of at most {most}d")
    return float(match[1]) * UNITS[match[2]]


def seconds_with_unit(text: str) -> float:
    """Read a duration as `seconds` does, but no bare number: of days, it is easily written without them."""
    if re.fullmatch(r"[\d.]+", text.strip()):
        raise ValueError("expected a duration with its unit such as 45s, 30m, 12h or 30d")
    return seconds(text)


def long_seconds(text: str) -> float:
    """Read a duration as `seconds` does, of up to ten years."""
    return seconds(text, LONG_DAYS_MAX)


def seconds_or_never(text: str) -> float:
    """Read a duration as `seconds` does, or 0."""
    if re.fullmatch(r"0\s*[smhd]?", text.strip()):
        return 0.0
    try:
        return seconds(text)
    except ValueError:
        raise ValueError("expected a duration such as 60s or 5m, or 0 for never") from None


def at_most(limit: str) -> Callable[[str], float]:
    """Return a parser for durations up to a longest one, in seconds."""

    def parse(text: str) -> float:
        if seconds(text) > seconds(limit):
            raise ValueError(f"expected a duration above zero, at most {limit}")
        return seconds(text)

    return parse


def rate(text: str) -> float:
    """Read a rate such as 1/s, 5/m or 100/h; return the seconds between two."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)\s*/\s*([smh])", text.strip())
    if not match or not float(match[1]):
        raise ValueError("expected a number above zero per second, minute or hour, such as 1/s, 5/m or 100/h")
    return UNITS[match[2]] / float(match[1])


def digest(text: str) -> Digesting:
    """Read when findings are sent together: auto, off, scan, a duration, or daily and a local time."""
    words, daily = text.split(), re.fullmatch(r"daily\s+([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if daily:
        return Digesting(Rhythm.DAILY, minute=int(daily[1]) * 60 + int(daily[2]))
    if len(words) == 1 and words[0] in (Rhythm.AUTO.value, Rhythm.OFF.value, Rhythm.SCAN.value):
        return Digesting(Rhythm(words[0]))
    try:
        return Digesting(Rhythm.INTERVAL, seconds(text))
    except ValueError:
        raise ValueError("expected auto, off, scan, a duration such as 30s or 5m, or daily 08:00") from None


def durability(text: str) -> bool:
    """Read how durable a commit is; return whether it survives a power failure."""
    if text.strip() not in ("process", "power"):
        raise ValueError("expected process or power")
    return text.strip() == "power"


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for whole numbers in a range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def byte_size(low: str, high: str) -> Callable[[str], int]:
    """Return a parser for sizes in a range, such as 100kB, in bytes."""

    def parse(text: str) -> int:
        found = _bytes(text)
        if found is None or not (_bytes(low) or 0) <= found <= (_bytes(high) or 0):
            raise ValueError(f"expected a size from {low} to {high} such as 100kB, 1MB or 100000 (bytes)")
        return found

    return parse


def _bytes(text: str) -> int | None:
    match = re.fullmatch(r"(?i)(\d{1,9})\s*(|b|kb|mb)", text.strip(), re.ASCII)
    return int(match[1]) * BYTES[match[2].lower()] if match else None


def severity(text: str) -> Severity:
    """Read a severity."""
    return Severity.parse(text)


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """Return a parser for one of some names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"expected one of {', '.join(names)}.{nearest(text, names)}")
        return text

    return parse


def url(text: str) -> Secret:
    """Read an http or https URL with a host, in ASCII, without user name, password or fragment."""
    wrong = _url_problem(text)
    if wrong:
        raise ValueError(f"{wrong}; expected an http:// or https:// URL with a host, in ASCII (punycode, %-encoding)")
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ValueError("a user name or password in the URL is not sent; use header.Authorization or api_key")
    if parts.fragment:
        raise ValueError("the part after # is never sent; remove it")
    return Secret(text)


def _url_problem(text: str) -> str:
    """Return the problem with a URL, or nothing; all of a URL may be a secret, so the text repeats no part of it."""
    if not re.match("(?i)https?://", text):
        return "it does not begin with http:// or https://"
    if re.search(r"\s", text):
        return "it contains a space or a line break"
    if not re.fullmatch(r"[!-~]+", text):
        return "it contains a character outside printable ASCII"
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")  # raises for an empty or too long label
    except ValueError:
        return "its host name is invalid"
    if not host:
        return "it has no host"
    return "" if _is_port_right(parts) else "its port is not a number from 1 to 65535"


def _is_port_right(parts: SplitResult) -> bool:
    """Return whether the port of a URL is valid; without one the scheme's default applies."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def outbox_address(text: str) -> Secret:
    """Read the address of a database on a PostgreSQL server, which may have a password."""
    if not text.startswith(PREFIXES):
        raise ValueError(f"{EXPECTED}; without this key the outbox is a file in SpiderFoot's data folder")
    try:
        parts = Dsn(text, Path()).parts
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if not parts.get("dbname") and not parts.get("service"):
        raise ValueError(f"the address names no database; {EXPECTED}")
    return Secret(text)


def spool(text: str) -> str:
    """Read where a scan's events are before they are on a PostgreSQL server."""
    return one_of(("sqlite", "none"))(text)


def base_url(text: str) -> str:
    """Read the http or https URL of a web interface, to which paths are added; a slash at its end is dropped."""
    base = url(text).reveal().rstrip("/")
    if not re.fullmatch(r"[^?|<>]+", base):
        raise ValueError("expected an http:// or https:// URL without a query (? and the text after it)")
    return base


def secrets(text: str) -> tuple[Secret, ...]:
    """Read signing secrets, one per line: any text, or whsec_ and whsk_ as Standard Webhooks has them."""
    return _secrets(text, signs=True)


def receiver_secrets(text: str) -> tuple[Secret, ...]:
    """Read what a receiver verifies with, one per line: the sender's secrets, or the whpk_ of its whsk_."""
    return _secrets(text, signs=False)


def _secrets(text: str, signs: bool) -> tuple[Secret, ...]:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise ValueError("expected any text, whsec_..., whsk_..., env:NAME or file:PATH; one per line when rotating")
    for line in lines:
        if problem(line, signs):
            raise ValueError(problem(line, signs))
    return tuple(Secret(line) for line in lines)


def proof_key(text: str) -> Secret:
    """Read the key that signs statements: a whsk_ secret, which has a public half."""
    key = text.strip()
    if not key.startswith(WHSK) or problem(key):
        without = problem(key) if key.startswith(WHSK) else ""
        raise ValueError(without or "expected a whsk_... key, which sfwebhooks keygen --ed25519 generates")
    return Secret(key)


def secret(text: str) -> Secret:
    """Read a text that must not be shown and goes into a header."""
    return Secret(header_value(text))


def password(text: str) -> Secret:
    """Read a password, any text."""
    return Secret(text)


def server_address(text: str) -> Secret:
    """Read the address of a PostgreSQL database, which may have a password."""
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://USER:PASSWORD@HOST:PORT/NAME, best as env:NAME or file:PATH")
    return Secret(text)


def header_value(text: str) -> str:
    """Read a header's value: one line of visible characters (RFC 9110 section 5.5), in ASCII."""
    if not re.fullmatch(r"[!-~](?:[ -~\t]*[!-~])?", text):
        raise ValueError("expected one line of ASCII text")
    return text


def own_address(text: str) -> str:
    """Read an IPv4 or IPv6 address that a machine can have; whether this one has it shows only when it is used."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        address = None
    mapped = getattr(address, "ipv4_mapped", None)
    if address is None or address.is_unspecified or address.is_multicast or mapped or "%" in text:
        raise ValueError("expected an IPv4 or IPv6 address of this machine such as 192.0.2.7 or 2001:db8::7")
    return str(address)


def path(text: str) -> Path:
    """Read a file name; `~` is the home folder. Relative ones are resolved by `config`."""
    if not text or "\0" in text:
        raise ValueError("expected the name of a file")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"expected the name of a file; {error}") from error


def any_text(text: str) -> str:
    """Read any text."""
    return text
