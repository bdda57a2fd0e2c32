"""What is usable, but worth a look: a value, an Endpoint or a file comes in, words for the operator go out.

`config` collects them; the scan's log, `sfwebhooks check` and `run` show the same ones.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from sfwebhooks.config.options import Option
from sfwebhooks.config.samples import EXPANDED_LATER, SECRET_LEAST
from sfwebhooks.config.values import comment_in, pasted_in, quotes_in
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats import CHATS
from sfwebhooks.formats.naming import NAMINGS, SPIDERFOOT
from sfwebhooks.signing_keys import is_asymmetric


def doubts_of(option: Option, key: str, text: str) -> Iterator[str]:
    """Yield what a right value seems to have in it by mistake, wherever it came from: it is a part of the value."""
    comment = comment_in(text) if option.secret else ""
    if comment:
        yield f"{comment}; so far it is a part of the value"
    if quotes_in(text.splitlines()):
        yield f"{quotes_in(text.splitlines())}; so far they are a part of it"
    if key in ("url", "default_url", "proxy", "ui_url") and pasted_in(text):
        yield pasted_in(text)
    if key == "secret" and any(0 < len(line.strip()) < SECRET_LEAST for line in text.splitlines()):
        yield f"it has less than {SECRET_LEAST} characters, and can be found out by trying; sfwebhooks keygen makes one"
    if not option.secret and EXPANDED_LATER.search(text):
        yield "this looks like a placeholder that nothing has filled in"


def doubts_about(endpoint: Endpoint) -> Iterator[str]:
    """Yield what the settings of an endpoint leave open to others."""
    name, host = endpoint.name, urlsplit(endpoint.place).hostname or ""
    if not endpoint.verify_tls:
        yield f"{name} has verify_tls = false: anybody on the way can read and change its messages"
    if not endpoint.secrets and not endpoint.api_key and endpoint.format not in CHATS:
        yield f"{name} has no secret: its receiver cannot tell who sent a message"
    naming = NAMINGS.get(endpoint.format, SPIDERFOOT)
    if naming.dotted and endpoint.secrets and all(is_asymmetric(secret.reveal()) for secret in endpoint.secrets):
        yield f"{name} has whsk_ secrets only: its messages have no {naming.signature}"
    if endpoint.place.startswith("http://") and not _is_this_machine(host):
        what = " and its token" if endpoint.api_key else ""
        yield f"{name} has an http:// url: anybody on the way can read its messages{what}"
    if host == "hooks.slack.com" and endpoint.format != "slack":
        yield f"{name} sends to Slack, which takes only format = slack"


def open_to_others(path: Path, is_secret: bool) -> str:
    """Return in words what others than its owner may do with a file, or nothing where that does no harm.

    Args:
        is_secret: whether they must not read it either; nobody else may change any file.
    """
    if os.name != "posix":
        return ""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # nobody anything with one that is not there
        return ""
    may = ["read"] if is_secret and mode & (stat.S_IRGRP | stat.S_IROTH) else []
    may += ["changed"] if mode & (stat.S_IWGRP | stat.S_IWOTH) and not (mode & stat.S_ISVTX) else []
    if not may:
        return ""
    what, cure = ("holds secrets and ", "600") if is_secret else ("", "go-w")
    return f"{path} {what}can be {' and '.join(may)} by others: chmod {cure} {path}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
