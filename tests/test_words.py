"""The English of the package and its documents: no text has a word for which the style has a better one."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.rows import in_one

ROOT = Path(__file__).parent.parent
TEXTS = [
    *(ROOT / "sfwebhooks").rglob("*.py"),
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *ROOT.glob("*.example"),
]
#: regular expressions, in any case; behind each of them the words to use instead
BANNED = (
    r"\b(tell|tells|told|telling)\b",  # send, report, log, notify, alert
    r"(?<!there )\b(is|are|was|were) (none\b|no (?!longer|more\b))",  # is not a
    r"\banew\b|\bfor ever\b|\bin (its|their) stead\b|\bwhoever\b|\bmend(s|ed|ing)?\b",  # again, instead, anyone, fix
    r"\b(leave|leaves|leaving|left) (it |them )?(away|out)\b",  # remove, disable, skip, omit
    r"\bso (many|long as)\b|\bbeside\b|\bstands?\b(?![ -](for|in)\b)",  # at most N, as long as; next to; is
    r"\b(crew|lane|tenure|ledger|books|journal)\b",  # worker, queue, lock owner, result, completeness check, log
    r"\bwhat (waits|came of|is given up)\b|\bwho is told\b",  # a noun: the waiting deliveries, the alerted endpoint
    r"\b(accepted|right):",  # expected ...
)
#: SQLite's term and its file's suffix; an argument of `scan/progress`
ALLOWED = ("rollback journal", "-journal", "accepted: counts of the findings")


def texts_of(path: Path) -> Iterator[str]:
    """Yield the comments and string literals of a module, or the whole text of a document."""
    code = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield code
        return
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    yield from (token.string for token in tokens if token.type == tokenize.COMMENT)
    values = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant))
    yield from (value for value in values if isinstance(value, str))


@in_one("path", sorted(TEXTS))
def test_a_text_has_no_banned_word(path: Path) -> None:
    text = " | ".join(" ".join(text.split()) for text in texts_of(path))
    for allowed in ALLOWED:
        text = text.replace(allowed, "")
    found = [text[max(match.start() - 40, 0) : match.end() + 40] for match in re.finditer("|".join(BANNED), text, re.I)]
    assert found == []
