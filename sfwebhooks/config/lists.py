"""Parsers of values that are lists: events, types, modules, targets, rules and the like; as those of `values`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sfwebhooks.config.values import nearest, seconds
from sfwebhooks.endpoints import EVENT_NAMES, matches, takes_anything
from sfwebhooks.expressions import ACCEPTED, expression_problem
from sfwebhooks.fingerprints import network_of
from sfwebhooks.own_secrets import shown
from sfwebhooks.redaction import OFF, Rule, rules_in
from sfwebhooks.sensitive import matches_type
from sfwebhooks.severity import SEVERITY_OF_TYPE

#: most characters of an event pattern: matching a longer one can be slow
PATTERN_MAX = 100
EVENTS_ACCEPTED = "expected event names, * patterns, all, !name"
REDACT_ACCEPTED = (
    "expected default, off, or rules such as EMAILADDR*: mask, PGP_KEY: drop, HUMAN_NAME: hash, IBAN_NUMBER: show or"
    " /regular expression/: mask"
)
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
