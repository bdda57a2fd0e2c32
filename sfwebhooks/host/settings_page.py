"""What SpiderFoot's settings page says of the module: the settings come in, a sentence for its summary goes out."""

from __future__ import annotations

import html
import logging
from pathlib import Path

from sfwebhooks.config import settings as config
from sfwebhooks.config.location import find_file, off
from sfwebhooks.errors import ConfigError
from sfwebhooks.files import SETTINGS_MAX, content
from sfwebhooks.host.hosts import data_folder_of
from sfwebhooks.scan.host_database import READ_SECONDS
from sfwebhooks.scan.own_host import saved_options

log = logging.getLogger("spiderfoot.webhooks")
#: the key, without which a file is not parsed: the host asks each time that it starts, also for a scan
KEY = b"web_url"


def page_words(spiderfoot: Path) -> str:
    """Return a sentence with the address of our own page; nothing if [webhooks] has none, or webhooks are off.

    Args:
        spiderfoot: folder of the SpiderFoot that asks.
    """
    try:
        folder = data_folder_of(spiderfoot)
        options = saved_options(folder, READ_SECONDS)
        path = None if off(options) else find_file(options.get("config", ""), folder)
        if path is None or KEY not in content(path, SETTINGS_MAX):
            return ""
        found = config.load(path)
        return f" What was delivered, and to whom: {html.escape(found.web_url)}" if found.web_url else ""
    except (OSError, ValueError, ConfigError):  # the commands and the scan's log say so
        return ""
    except Exception:  # would stop the host at its start
        log.exception("webhooks: bug while the summary of the module was made")
        return ""
