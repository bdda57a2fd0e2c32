"""The section [webhooks-expect]: its lines come in, the Expectations go out, and a Mistake for each wrong line.

    nightly = 0 2 * * *
        acme.com
        Perimeter of the branch offices

A mistake here holds no endpoint: only the scans that it is about are not expected.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from sfwebhooks.config.draft import VALUE_MAX, Draft, Mistake
from sfwebhooks.config.sections import EXPECT
from sfwebhooks.config.values import comment_in, quotes_in
from sfwebhooks.events import printable
from sfwebhooks.expectations import Expectation, key_of_scan, split_cron
from sfwebhooks.own_secrets import shown_words

#: a name, and the text after it; a cron expression has none of these signs
NAMED = re.compile(r"([\w-]{1,64})\s*[=:]\s*(.*)")
#: most characters of a target or name
OF_MAX = 500
#: most scans that are expected
EXPECTED_MAX = 1000
LINE_ACCEPTED = (
    "expected a name, = and a cron expression, such as nightly = 0 2 * * *, and below it one indented line for each"
    " target or scan name"
)


@dataclass
class _Group:
    """A cron expression with its scans, while it is read."""

    name: str
    #: of its line
    number: int
    cron: str
    #: key -> target or name, as written
    of: dict[str, str] = field(default_factory=dict)
    #: whether there is a line with a target, right or wrong
    is_filled: bool = False


def expected_scans(draft: Draft) -> tuple[Expectation, ...]:
    """Return the scans that are expected; mistakes are noted."""
    groups: dict[str, _Group] = {}
    #: what a deeper line belongs to; None: to a line that is wrong
    group: _Group | None = None
    depth: float = float("inf")
    for number, line in draft.expected:
        text = printable(line.strip())
        if not text or text[0] in "#;":
            continue
        its_depth = len(line) - len(line.lstrip())
        if its_depth > depth:
            if group:
                _add(group, text, number, draft)
            continue
        depth, named = its_depth, NAMED.fullmatch(text)
        group = _begun(named[1], named[2].strip(), number, draft, groups) if named else None
        if named is None:
            _note(draft, "", text, number, _stray(groups, text))
        if group:
            groups[group.name] = group
    return _settled(groups.values(), draft)


def _begun(name: str, text: str, number: int, draft: Draft, groups: Container[str]) -> _Group | None:
    """Return the group that a line begins; None if it is wrong."""
    if name in groups:
        _note(draft, name, text, number, "given twice: use another name, or put its targets below the first one")
        return None
    try:
        cron, rest = split_cron(text)
    except ValueError as error:
        _note(draft, name, text, number, f"{quotes_in([text]) or error}")
        return None
    group = _Group(name, number, cron)
    if rest:
        _add(group, rest, number, draft)
    return group


def _add(group: _Group, text: str, number: int, draft: Draft) -> None:
    """Add a target or scan name to a group."""
    group.is_filled = True
    advice = quotes_in([text]) or comment_in(text)
    if len(text) > OF_MAX:
        advice = f"expected the target or the name of a scan, of at most {OF_MAX} characters"
    if advice:
        _note(draft, group.name, text, number, advice)
        return
    if re.search(r",\s", text):
        _doubt(
            draft, group, f'"{shown_words(text)}" (line {number}) is one target or scan name: put each on its own line'
        )
    if group.of.setdefault(key_of_scan(text), text) is not text:
        _doubt(draft, group, f'"{shown_words(text)}" (line {number}) is given twice')


def _stray(groups: Iterable[str], text: str) -> str:
    """Return what is wrong with a line without a name."""
    *_, last = ("", *groups)
    belongs = f'; if it is a target of "{last}", indent it' if last and "=" not in text else ""
    return f"{LINE_ACCEPTED}{belongs}"


def _settled(groups: Iterable[_Group], draft: Draft) -> tuple[Expectation, ...]:
    found: dict[str, Expectation] = {}
    for group in groups:
        if not group.is_filled:
            problem = "it names no scan: put each target or scan name on its own, indented line below it"
            _note(draft, group.name, group.cron, group.number, problem)
        for of in group.of.values():
            one = Expectation(group.name, group.cron, of)
            if one.id in found:
                _doubt(draft, group, f'"{shown_words(of)}" is expected at the same times by "{found[one.id].name}"')
            found.setdefault(one.id, one)
    if len(found) > EXPECTED_MAX:
        words = f"{len(found):,} scans are expected; only the first {EXPECTED_MAX:,} are watched"
        draft.mistakes.append(Mistake(draft.file, EXPECT, "", "", words))
    return tuple(found.values())[:EXPECTED_MAX]


def _note(draft: Draft, name: str, text: str, number: int, problem: str) -> None:
    """Note a mistake; a line of another section, in this one by mistake, may be a secret."""
    if not draft.is_full:
        where = f"line {number}: " if number else ""
        draft.mistakes.append(Mistake(draft.file, EXPECT, name, shown_words(text)[:VALUE_MAX], f"{where}{problem}"))


def _doubt(draft: Draft, group: _Group, words: str) -> None:
    draft.doubts.append(f"[{EXPECT}] {group.name}: {words}")
