"""The page of example messages: the golden files come in, one message in every format goes out as Markdown."""

from __future__ import annotations

import re

from sfwebhooks.formats import FORMATS
from tests.golden.rendering import file_of
from tests.pages import MARK

#: title in the golden files of the message that is shown
FINDING = "2. high_risk_event"
INTRODUCTION = f"""# A message in each format

{MARK}

The same finding of a real scan in every [format](formats.md): the request's first line, the headers that belong to the
format, and the body. JSON is indented here and is in one line on the wire; of a body of lines, each begins with
`--- line` here. Signatures are [headers of their own](signatures.md).
"""


def page() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *(_section(name) for name in FORMATS)])


def _section(name: str) -> str:
    golden = file_of(name).read_text(encoding="utf-8")
    found = re.search(rf"^=== {re.escape(FINDING)}[^\n]*\n(.*?)(?=^=== )", golden, re.S | re.M)
    assert found, f"{file_of(name)} does not have {FINDING}"
    return f"## {name}\n\n~~~~http\n{found[1].strip()}\n~~~~\n"
