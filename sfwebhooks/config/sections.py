"""What sections are called: the name of one comes in; whether it is ours, or what it was meant to be, goes out."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from sfwebhooks.config.options import option_for

SECTION = "webhooks"
#: an endpoint's section without its name
NAMELESS = f"{SECTION}."
#: what somebody wrote who meant our section
NEARLY = re.compile(r"(?i)\W*web[-_ ]?hooks?(?![a-z0-9])[\W_]*")


def is_ours(section: str) -> bool:
    """Say whether a section has a name that is read."""
    return section == SECTION or (section.startswith(NAMELESS) and section != NAMELESS)


def is_shared(file: Path) -> bool:
    """Say whether other programs have sections in a file: the scanner's own one, called like spiderfoot.conf."""
    return fnmatch(file.name.lower(), "*spiderfoot*.conf")


def is_default(section: str) -> bool:
    """Say whether it is the section from which, for Python's configparser, all others inherit."""
    return section.strip().lower() in ("default", "defaults")


def is_nearly_ours(section: str) -> bool:
    """Say whether a section that is not read looks like one of ours."""
    return NEARLY.match(section) is not None and not is_ours(section)


def meant(section: str, keys: Collection[str], shared: bool, endpoints: Collection[str]) -> str:
    """Return what a section of another name was meant to be; nothing if it is another program's.

    Args:
        keys: what stands in it.
        shared: whether other programs have sections in the file.
        endpoints: names that are known.

    Returns:
        webhooks.NAME, webhooks. for an endpoint whose name cannot be known, or webhooks: it may concern all endpoints.
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
