"""Names of sections: a name comes in; whether it is ours, or which of ours was meant, goes out."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from sfwebhooks.config.options import option_for

SECTION = "webhooks"
#: an endpoint's section without its name
NAMELESS = f"{SECTION}."
#: the section with the scans that are expected
EXPECT = f"{SECTION}-expect"
#: misspellings of that
NEARLY_EXPECT = re.compile(r"(?i)\W*web[-_ ]?hooks?[\W_]*expect(?:ed|s|ations?|ing)?\W*")
#: the section with the severities of findings, and misspellings of it
SEVERITY = f"{SECTION}-severity"
NEARLY_SEVERITY = re.compile(r"(?i)\W*web[-_ ]?hooks?[\W_]*severit(?:y|ies)\W*")
#: misspellings of our section's name
NEARLY = re.compile(r"(?i)\W*web[-_ ]?hooks?(?![a-z0-9])[\W_]*")


def is_ours(section: str) -> bool:
    """Return whether a section's name is one of ours."""
    return section == SECTION or (section.startswith(NAMELESS) and section != NAMELESS)


def is_nearly_expect(section: str) -> bool:
    """Return whether a section looks like the one with the expected scans, and is neither it nor an endpoint's."""
    return NEARLY_EXPECT.fullmatch(section) is not None and not (section == EXPECT or is_ours(section))


def is_nearly_severity(section: str) -> bool:
    """Return whether a section looks like the one with the severities, and is neither it nor an endpoint's."""
    return NEARLY_SEVERITY.fullmatch(section) is not None and not (section == SEVERITY or is_ours(section))


def is_shared(file: Path) -> bool:
    """Return whether other programs have sections in a file: the scanner's own, named like spiderfoot.conf."""
    return fnmatch(file.name.lower(), "*spiderfoot*.conf")


def is_default(section: str) -> bool:
    """Return whether it is the section from which all others inherit in Python's configparser."""
    return section.strip().lower() in ("default", "defaults")


def is_nearly_ours(section: str) -> bool:
    """Return whether a section that is not one of ours looks like one."""
    return NEARLY.match(section) is not None and not is_ours(section)


def meant(section: str, keys: Collection[str], shared: bool, endpoints: Collection[str]) -> str:
    """Return which section was meant by one with another name; nothing if it is another program's.

    Args:
        keys: the section's keys.
        shared: whether other programs have sections in the file.
        endpoints: known names.

    Returns:
        webhooks.NAME; webhooks. for an endpoint of unknown name; or webhooks if it may concern all endpoints.
    """
    nearly = NEARLY.match(section)
    rest = section[nearly.end() :] if nearly else section
    parts = [part for part in re.split(r"[^\w-]+", rest, flags=re.ASCII) if part]
    known = [one for one in ("_".join(parts), *parts[-1:]) if one in endpoints]
    name = known[0] if known else parts[0] if len(parts) == 1 else ""
    if shared and not nearly:
        inherited = is_default(section) and any((option := option_for(key)) and option.inherited for key in keys)
        return SECTION if inherited else f"{NAMELESS}{name}" if section in endpoints else ""
    if is_default(section):
        return f"{NAMELESS}default" if "url" in keys else SECTION
    return f"{NAMELESS}{name}" if known or "url" in keys or (nearly and parts) else SECTION
