"""Settings that are valid but doubtful: a value, an Endpoint or a file comes in, warnings for the operator go out.

`settings` collects them; the scan's log, `sfwebhooks check` and `run` show the same ones.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from sfwebhooks.catalogue import WATCH_TYPES
from sfwebhooks.config.options import Option
from sfwebhooks.config.samples import EXPANDED_LATER, SECRET_LEAST
from sfwebhooks.config.values import comment_in, pasted_in, quotes_in
from sfwebhooks.digesting import Rhythm
from sfwebhooks.endpoints import ALERTS, ALIASES, Endpoint
from sfwebhooks.formats import FORMATS, HOSTS
from sfwebhooks.redaction import rules_of
from sfwebhooks.signing_keys import is_asymmetric

#: names of the events that are of no scan
NOT_OF_SCANS = {name for kind in (*ALERTS, *WATCH_TYPES) for name in (kind, ALIASES[kind])}


def value_warnings(option: Option, key: str, text: str) -> Iterator[str]:
    """Yield what a valid value seems to contain by mistake; it is used as part of the value."""
    if option.sourced:
        return  # a text with a syntax of its own
    comment = comment_in(text) if option.secret else ""
    if comment:
        yield f"{comment}; it is now part of the value"
    if quotes_in(text.splitlines()):
        yield f"{quotes_in(text.splitlines())}; they are now part of it"
    if key in ("url", "default_url", "proxy", "ui_url", "web_url") and pasted_in(text):
        yield pasted_in(text)
    if key in ("secret", "redact_key") and any(0 < len(line.strip()) < SECRET_LEAST for line in text.splitlines()):
        generator = "keygen --redact" if key == "redact_key" else "keygen"
        yield f"it has fewer than {SECRET_LEAST} characters and can be guessed; sfwebhooks {generator} generates one"
    if not option.secret and EXPANDED_LATER.search(text):
        yield "this looks like a placeholder that was never filled in"


def endpoint_warnings(endpoint: Endpoint) -> Iterator[str]:
    """Yield the risks in the settings of an endpoint."""
    name, host = endpoint.name, urlsplit(endpoint.place).hostname or ""
    if not endpoint.verify_tls:
        yield f"{name} has verify_tls = false: anyone on the network path can read and change its messages"
    if endpoint.token_url and endpoint.token_url.reveal()[:5].lower() == "http:":
        yield f"{name} has an http:// token_url: anyone on the network path can read its client_secret and tokens"
    credentials = (endpoint.secrets, endpoint.api_key, endpoint.password, endpoint.token_url)
    if not any(credentials) and not FORMATS[endpoint.format].is_chat:
        yield f"{name} has no secret: its receiver cannot verify who sent a message"
    if FORMATS[endpoint.format].is_for_people and not rules_of(endpoint, is_chat=True).has_default:
        yield f"{name} redacts without the default rules: leaked passwords and card numbers go into the chat"
    naming = FORMATS[endpoint.format].naming
    if naming.dotted and endpoint.secrets and all(is_asymmetric(secret.reveal()) for secret in endpoint.secrets):
        yield f"{name} has whsk_ secrets only: its messages have no {naming.signature}"
    if endpoint.place.startswith("http://") and not _is_this_machine(host):
        what = " and its credentials" if any(credentials[1:]) else ""
        yield f"{name} has an http:// url: anyone on the network path can read its messages{what}"
    others = ", ".join(word for word in endpoint.events if word in NOT_OF_SCANS)
    if endpoint.takes_scans and others:
        yield f"{name} has format = {endpoint.format}, which sends whole scans: it does not get {others}"
    lacking = FORMATS[endpoint.format].lacking
    if endpoint.only_new and lacking and lacking(endpoint):
        yield f"{name} has only_new = true: {lacking(endpoint)}"
    if endpoint.digest.rhythm is Rhythm.DAILY:
        yield f"{name} has digest = daily: sfwebhooks run sends it, or sfwebhooks drain by cron after that time"
    fitting = fitting_formats(host, urlsplit(endpoint.url.reveal()).path)
    if fitting and endpoint.format not in fitting:
        yield f"{name} sends to {host}, which accepts only format = {' or '.join(fitting)}"


def fitting_formats(host: str, path: str) -> list[str]:
    """Return the formats with a pattern for the host and path of a URL; of several, those with the longest one."""
    found = [
        (len(pattern), name)
        for name, patterns in HOSTS.items()
        for pattern in patterns
        if fnmatchcase(host + path if "/" in pattern else host, pattern)
    ]
    return sorted({name for length, name in found if length == max(found)[0]})


def open_to_others(path: Path, is_secret: bool) -> str:
    """Return in words what users other than its owner may do with a file, or nothing if that is harmless.

    Args:
        is_secret: whether they must not read it either; they must never change it.
    """
    if os.name != "posix":
        return ""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # a missing file is open to nobody
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
