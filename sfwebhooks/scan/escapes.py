"""Undo the escaping of the scanner's web UI.

`SpiderFootWebUi.cleanUserInput` (sfwebui.py, SpiderFoot 4.0) stores three characters of a scan's name and target as
entities; its pages show the characters. A scan of the command line is stored as typed.
"""

from __future__ import annotations

import re
from collections.abc import Container

#: everything that stays escaped: the web UI itself restores ampersands and double quotes
ESCAPED = {"&lt;": "<", "&gt;": ">", "&#x27;": "'"}
ENTITY = re.compile("|".join(ESCAPED))
#: output module that the command line adds to each scan; the web UI adds it to none, not even to a rerun
COMMAND_LINE = "sfp__stor_stdout"
#: module of the event for the target itself
TARGET = "SpiderFoot UI"


def unescaped(text: str) -> str:
    """Return a text of the web UI as typed."""
    return ENTITY.sub(lambda found: ESCAPED[found[0]], text)


def as_typed(text: str, modules: Container[str]) -> str:
    """Return the name or the target of a scan as typed.

    Args:
        modules: of the scan, including output modules.
    """
    return text if COMMAND_LINE in modules else unescaped(text)


def typed_data(data: str, target: str) -> str:
    """Return the data of the event for the target itself (its module is TARGET), with the target as typed.

    Args:
        target: of the scan, as typed.
    """
    return target if unescaped(data) == target else data
