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
from sfwebhooks.endpoints import EVENT_NAMES, Secret, matches, takes_anything
from sfwebhooks.expressions import ACCEPTED, expression_problem
from sfwebhooks.fingerprints import network_of
from sfwebhooks.own_secrets import shown
from sfwebhooks.redaction import OFF, Rule, rules_in
from sfwebhooks.sensitive import matches_type
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity
from sfwebhooks.signing_keys import problem

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: most days of a duration, and of one for which something is kept
DAYS_MAX, LONG_DAYS_MAX = 365, 3650
BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1_000_000}
#: most characters of an event pattern: matching a longer one can be slow
PATTERN_MAX = 100
EVENTS_ACCEPTED = "expected event names, * patterns, all, !name"
REDACT_ACCEPTED = (
    "expected default, off, or rules such as EMAILADDR*: mask, PGP_KEY: drop, HUMAN_NAME: hash, IBAN_NUMBER: show or"
    " /regular expression/: mask"
)
#: similarity from which a word counts as a typo of another one: two of four letters swapped
TYPO = 0.75
#: most characters of a possible name
NAME_MAX = 64
QUOTED = re.compile(r"""\s*(["'])(?:(?!\1).)+\1\s*""")
#: a name of the host, or a pattern of names
TYPE_WORD = re.compile(r"[A-Z0-9_*?\[\]-]+")
MODULE_WORD = re.compile(r"sfp_[\w*?\[\]-]*|[\w-]*[*?\[][\w*?\[\]-]*", re.ASCII)
#: a target; a name of a person has spaces, several hosts are separated by commas
TARGET_WORD = re.compile(r"\S+|(?![^\n]*\w[.:/]\w)[^\n]+")
#: what looks like a network
NETWORK = re.compile(r"[0-9A-Fa-f:.]+/\w*")
#: most wrong words of a value that are reported
WRONG_MAX = 10


class WrongWordsError(ValueError):
    """Some words of a list, in `words`, are wrong."""

    def __init__(self, problem: str, words: Iterable[str]) -> None:
        super().__init__(problem)
        self.words = tuple(words)


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


def schedule(text: str) -> tuple[float, ...]:
    """Read the waits before each retry, such as 5s, 1m, 5m, in seconds."""
    waits = tuple(_wait(word) for word in words(text))
    if not 1 <= len(waits) <= 100:
        raise ValueError("expected up to 100 durations such as 5s, 1m, 5m, 15m, 1h, 6h")
    return waits


def _wait(word: str) -> float:
    try:
        return seconds(word)
    except ValueError as error:
        raise WrongWordsError(str(error), [word]) from None


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


def words(text: str) -> tuple[str, ...]:
    """Read a list separated by commas or line ends."""
    return tuple(word.strip() for word in re.split(r"[,\n]", text) if word.strip())


def event_words(text: str) -> tuple[str, ...]:
    """Read subscriptions; each must be able to match something."""
    found = words(text)
    if not found:
        raise ValueError(EVENTS_ACCEPTED + "; see sfwebhooks events")
    wrong = [word for word in dict.fromkeys(found) if not _matches_some(_wanted(word))]
    if wrong:
        mistakes = (
            f'"{shown(word)}" is not an event.{nearest(_wanted(word), sorted(EVENT_NAMES))}'
            for word in wrong[:WRONG_MAX]
        )
        raise WrongWordsError(f"{' '.join(mistakes)} {EVENTS_ACCEPTED.capitalize()}", wrong)
    if not takes_anything(found):
        raise ValueError(f"no event is left: ! removes every event that is listed; {EVENTS_ACCEPTED}")
    return found


def _matches_some(word: str) -> bool:
    return len(word) <= PATTERN_MAX and any(matches(word, name) for name in EVENT_NAMES)


def _wanted(word: str) -> str:
    """Return the name or pattern of a subscription, also of one that excludes it."""
    return word[1:] if word.startswith("!") else word


def redact_rules(text: str) -> tuple[str, ...]:
    """Read what is redacted: default, off, or rules, one per line or separated by commas."""
    try:
        found = [*rules_in(text)]
    except ValueError as error:
        raise ValueError(f'"{shown(str(error))}" is not a rule: {REDACT_ACCEPTED}') from None
    if not found or (OFF in found and len(found) > 1):
        raise ValueError(REDACT_ACCEPTED)
    for rule in found:
        if isinstance(rule, Rule) and (wrong := _rule_problem(rule)):
            raise ValueError(f'"{shown(rule.words)}": {wrong}')
    return tuple(rule if isinstance(rule, str) else rule.words for rule in found)


def _rule_problem(rule: Rule) -> str:
    """Return what is wrong with a rule: its expression, or a type that is probably meant to be another one."""
    if rule.expression:
        return expression_problem(rule.expression)
    if any(matches_type(rule.types, name) for name in SEVERITY_OF_TYPE):
        return ""
    near = nearest(rule.types.strip("*"), SEVERITY_OF_TYPE)  # a module of the operator's own can have other types
    return f"SpiderFoot has no such event type.{near}" if near else ""


def finding_types(text: str) -> tuple[str, ...]:
    """Read a choice of the host's event types; a newer host may have types that are not known here."""
    return _choice(text, "SpiderFoot's event types such as EMAILADDR_COMPROMISED, * patterns, !TYPE", TYPE_WORD)


def module_names(text: str) -> tuple[str, ...]:
    """Read a choice of the host's modules."""
    return _choice(text, "names of SpiderFoot's modules such as sfp_shodan, * patterns, !NAME", MODULE_WORD)


def targets(text: str) -> tuple[str, ...]:
    """Read a choice of targets of scans."""
    found = _choice(text, "targets such as example.com, *.example.com, 10.0.0.0/8, !NAME", TARGET_WORD)
    for word in found:
        if NETWORK.fullmatch(_wanted(word)) and network_of(_wanted(word)) is None:
            raise WrongWordsError("expected a network such as 10.0.0.0/8 or 2001:db8::/32", [word])
    return found


def _choice(text: str, accepted: str, right: re.Pattern[str]) -> tuple[str, ...]:
    found = words(text)
    if not found:
        raise ValueError(f"expected {accepted}")
    wrong = [word for word in found if len(_wanted(word)) > PATTERN_MAX or not right.fullmatch(_wanted(word))]
    if wrong:
        raise WrongWordsError(
            f"expected words of at most {PATTERN_MAX} characters, separated by commas: {accepted}", wrong
        )
    if "!*" in found:
        raise ValueError(f"nothing is left: !* excludes all; expected {accepted}")
    return found


def expressions(text: str) -> tuple[str, ...]:
    """Read regular expressions, one per line."""
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise ValueError(f"{ACCEPTED}; one per line")
    for number, one in enumerate(found, 1):
        wrong = expression_problem(one)
        if wrong:
            raise WrongWordsError(f"number {number}: {wrong}" if len(found) > 1 else wrong, [one])
    return found


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


def secret(text: str) -> Secret:
    """Read a text that must not be shown and goes into a header."""
    return Secret(header_value(text))


def password(text: str) -> Secret:
    """Read a password, any text."""
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
