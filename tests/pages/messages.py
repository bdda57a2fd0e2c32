"""The page of example messages: the golden files come in, one message in every format goes out as Markdown."""

from __future__ import annotations

import re

from sfwebhooks.formats import FORMATS
from tests.golden.rendering import file_of
from tests.pages import MARK

#: beginning of the title in the golden files of the message that is shown
FINDING = r"(?:2\. high_risk_event|a scan with one finding)"
#: of another one, and the formats that show it: one for programs, one for people
COMPARISON, COMPARED_IN = r"\d+\. surface_changed", ("generic", "slack")
INTRODUCTION = f"""# A message in each format

{MARK}

The same finding of a real scan in every [format](formats.md): the request's first line, the headers that belong to the
format, and the body. A format for whole scans shows a scan in which nothing else was found. JSON is indented here and
is in one line on the wire; of a body of lines, each begins with `--- line` here. Signatures are
[headers of their own](signatures.md).
"""


def page() -> str:
    """Return the page."""
    compared = "## What changed since the last scan, in generic and slack\n"
    comparisons = [_message(name, COMPARISON) for name in COMPARED_IN]
    return "\n".join(
        [INTRODUCTION, *(f"## {name}\n\n{_message(name, FINDING)}" for name in FORMATS), compared, *comparisons]
    )


def _message(name: str, title: str) -> str:
    golden = file_of(name).read_text(encoding="utf-8")
    found = re.search(rf"^=== {title}[^\n]*\n(.*?)(?=^=== )", golden, re.S | re.M)
    assert found, f"{file_of(name)} does not have {title}"
    return f"~~~~http\n{found[1].strip()}\n~~~~\n"
