"""The section [webhooks-severity]: its entries come in, the severities of findings go out.

    high = EMAILADDR_COMPROMISED LEAKSITE_*

A mistake in it holds each endpoint that subscribes to findings: whether it wants one, and under which name it is sent,
depends on its severity.
"""

from __future__ import annotations

import re

from sfwebhooks.config.draft import Draft, Entry
from sfwebhooks.config.filter_warnings import doubtful_types
from sfwebhooks.config.lists import PATTERN_MAX, TYPE_WORD
from sfwebhooks.config.values import nearest, quotes_in
from sfwebhooks.events import printable
from sfwebhooks.own_secrets import shown
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severities, Severity

LABELS = {severity.label: severity for severity in sorted(Severity, reverse=True)}
ACCEPTED = "expected SpiderFoot's event types such as EMAILADDR_COMPROMISED, or * patterns, separated by spaces"


def severities_of(draft: Draft) -> Severities:
    """Return the severities; mistakes and doubts are noted."""
    found: dict[Severity, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for entry in draft.severities:
        severity = LABELS.get(entry.key)
        if severity is None:
            words = f"expected one of {', '.join(LABELS)}.{nearest(entry.key, LABELS)}"
            _wrong(draft, entry, f"there is no such severity; {words}")
            continue
        right = []
        for word in re.split(r"[\s,]+", entry.text.strip()):
            problem = _problem(word, entry.text)
            if not problem and word in seen:
                problem = "given twice" if seen[word] == entry.key else f"given in {seen[word]} too"
            if problem:
                _wrong(draft, entry, f'"{shown(word[:PATTERN_MAX])}": {problem}')
            else:
                right.append(word)
                seen[word] = entry.key
        found[severity] = tuple(right)
        for doubt in doubtful_types(found[severity]):
            draft.doubt(entry, doubt)
    return Severities(tuple((severity, found[severity]) for severity in LABELS.values() if found.get(severity)))


def _problem(word: str, text: str) -> str:
    if len(word) <= PATTERN_MAX and TYPE_WORD.fullmatch(word):
        return ""
    if not word:
        return ACCEPTED
    likely = nearest(word.upper(), SEVERITY_OF_TYPE) if len(word) <= PATTERN_MAX else ""
    return f"{quotes_in([text, word]) or ACCEPTED}{likely and '.'}{likely}"


def _wrong(draft: Draft, entry: Entry, problem: str) -> None:
    draft.note(entry, problem, show=True)
    draft.misrated = draft.misrated or printable(f"[{entry.section}] {entry.shown_key}: {problem}")
