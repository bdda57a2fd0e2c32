"""Where the configuration is: the module's options, the environment and the data folder come in; the file to read goes
out, or why webhooks are off."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfwebhooks.config.sections import NAMELESS, SECTION, is_nearly_ours, is_ours
from sfwebhooks.errors import ConfigError
from sfwebhooks.files import is_deleted
from sfwebhooks.text_file import settled


def find_file(option: str, data_folder: Path) -> Path | None:
    """Return the configuration file to use: the module's option, a path that starts in the data folder;
    $SFWEBHOOKS_CONFIG; or one in the data folder."""
    if option:
        return data_folder / named(html.unescape(option))
    if os.environ.get("SFWEBHOOKS_CONFIG"):
        return named(os.environ["SFWEBHOOKS_CONFIG"])
    shared, own = data_folder / "spiderfoot.conf", data_folder / "webhooks.ini"
    sections = [] if is_deleted(shared) else _sections(shared)
    if any(map(is_ours, sections)) or NAMELESS in sections:
        return shared
    if not is_deleted(own):
        return own
    return shared if any(map(is_nearly_ours, sections)) else None


def named(path: str) -> Path:
    """Return the file that a path written by a person names."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises for an unknown user


def missing(data_folder: Path) -> ConfigError:
    """Return the error for a missing configuration, with the places that were searched."""
    return ConfigError(
        f"no configuration: there is no [webhooks] in {data_folder / 'spiderfoot.conf'}, no "
        f"{data_folder / 'webhooks.ini'}, and neither --config nor $SFWEBHOOKS_CONFIG names one; sfwebhooks init"
        " creates one"
    )


def _sections(path: Path) -> list[str]:
    """Return the names of a file's sections."""
    try:
        found = re.findall(rb"(?m)^[^\S\n]*\[([^\]\n]+)\]", settled(path).replace(b"\0", b""))
    except (OSError, ValueError):
        return [SECTION]  # unreadable: report that rather than look elsewhere
    return [name.decode("utf-8", "replace") for name in found]


def disabled() -> bool:
    """Return whether the environment disables webhooks (SFWEBHOOKS_DISABLED=1)."""
    return os.environ.get("SFWEBHOOKS_DISABLED", "") not in ("", "0")


def off(options: Mapping[str, Any]) -> str:
    """Return why webhooks are off whatever the settings say, or nothing.

    Args:
        options: the module's option `enabled`, among others.
    """
    if disabled():
        return "SFWEBHOOKS_DISABLED is set"
    is_off = options.get("enabled") in (False, 0, "0")
    return "by the module's option on SpiderFoot's settings page" if is_off else ""
