"""The English of the package and of its documents: words that they do not use, since a better one names the thing."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "webhooks.ini.example"]
TEXTS = sorted([*(ROOT / "sfwebhooks").rglob("*.py"), *DOCUMENTS])
#: regular expressions, in any case; behind each of them the words to use instead
BANNED = (
    r"\b(tell|tells|told|telling)\b",  # send, report, log, notify, alert
    r"(?<!there )\b(is|are|was|were) (none\b|no (?!longer|more\b))",  # is not a
    r"\banew\b|\bfor ever\b|\bin (its|their) stead\b|\bwhoever\b|\bmend(s|ed|ing)?\b",  # again, instead, anyone, fix
    r"\b(leave|leaves|leaving|left) (it |them )?(away|out)\b",  # remove, disable, skip, omit
    r"\bso (many|long as)\b",  # at most 5, this number of, as long as
    r"\bbeside\b",  # next to, as well as
    r"\bstands?\b(?![ -](for|in)\b)",  # is
    r"\b(crew|lane|tenure|ledger|books|journal)\b",  # worker, queue, lock owner, result, completeness check, log
    r"\bwhat (waits|came of|is given up)\b|\bwho is told\b",  # the noun: the waiting deliveries, the endpoint alerted
    r"\b(accepted|right):",  # expected ...
)
#: standard terms, and names in the lists of arguments in docstrings
ALLOWED = (
    "rollback journal",  # SQLite's
    "-journal",  # the suffix of its file
    "accepted: counts of the findings",  # an argument of scan/progress
)


def texts_of(path: Path) -> Iterator[str]:
    """Yield the string literals and comments of a module, or the whole text of a document."""
    code = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield code
        return
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    yield from (token.string for token in tokens if token.type == tokenize.COMMENT)
    literals = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant))
    yield from (value for value in literals if isinstance(value, str))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_has_no_word_that_the_style_bans(path: Path) -> None:
    text = " | ".join(" ".join(text.split()) for text in texts_of(path))
    for allowed in ALLOWED:
        text = text.replace(allowed, "")
    matches = re.finditer("|".join(BANNED), text, re.IGNORECASE)
    assert [text[max(match.start() - 40, 0) : match.end() + 40] for match in matches] == []
