"""What the scanner's web UI escapes, as it was typed.

`SpiderFootWebUi.cleanUserInput` (sfwebui.py, SpiderFoot 4.0) makes entities of three characters of a scan's name and
target, and stores them so; its pages show the characters. A scan of the command line is stored as it was typed.
"""

from __future__ import annotations

import re
from collections.abc import Container

#: all that is escaped: ampersands and double quotes are put back by the web UI itself
ESCAPED = {"&lt;": "<", "&gt;": ">", "&#x27;": "'"}
ENTITY = re.compile("|".join(ESCAPED))
#: output module that the command line adds to each scan, and the web UI to none, nor to one that it runs again
COMMAND_LINE = "sfp__stor_stdout"
#: the module that the event of the target itself comes from
TARGET = "SpiderFoot UI"


def unescaped(text: str) -> str:
    """Return a text of the web UI as it was typed."""
    return ENTITY.sub(lambda found: ESCAPED[found[0]], text)


def as_typed(text: str, modules: Container[str]) -> str:
    """Return the name or the target of a scan as it was typed.

    Args:
        modules: of the scan, output modules too.
    """
    return text if COMMAND_LINE in modules else unescaped(text)


def typed_data(data: str, module: str, target: str) -> str:
    """Return the data of an event of the scanner, which is the target as it was typed if that is what the event tells.

    Args:
        module: where it comes from.
        target: of the scan, as it was typed.
    """
    return target if module == TARGET and unescaped(data) == target else data
