"""Endpoints with every kind of secret at once, each a text of its own; and a receiver that tells all that it knows and
was sent, in every way in which receivers write."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from tests.hostile import Visit, Way

PATH_TOKEN = "pathToken-5Zr8Kq2mXw"
QUERY_TOKEN = "queryToken/9f+Lm7=="
SIGNING = 'signing "text" <& süß/12'
WHSEC = "whsec_4vytwSG62XD6+6cpNGUOHb/r5CWT9mkhnUw9vOdVWKE="
WHSK = "whsk_NULkAsEWzEbXbTEMTIDN/i+BuHIXFaHexZzGvJuwNUg5s/EO9WDNB10bztn7J3+vpFeb4AO4tIQphWzLzZLa0Q=="
PROOF_KEY = "whsk_N9ibNCmFEntgwquBLcddD4/e1WmGQXDO4dTtvgPhKwKgpFNMCQ4++LJK4y42tRygzjs2Zt+DkArFMXH9lmhEng=="
API_KEY = "apiKey-7c1d55e0b2"
HEADER = 'headerToken "Vq83"+/nn0'
BASIC_USER, BASIC_PASSWORD = "basicUser-41dd07", "basicPass:w0rd/+x"
KEY_PASSWORD = "keyPassword 3kk&%41"
REDACT_KEY = "saltOfHashes-2b8e6f90d1"
FROM_FILE = "fileSecret-0b9e77ff"
FROM_ENVIRONMENT = "envSecret-61aa0c47d"
#: a value of each secret key that only a format has
FORMAT_KEYS = {
    "ntfy": {"topic": "topicKey-9d3e01c7b5"},
    "dingtalk": {"sign_secret": "SECsignKey-5e77b1a0"},
    "pagerduty": {"routing_key": "routingKey7f2a94c1d06be358a9c2f4"},
}
PROXY_USER, PROXY_PASSWORD = "proxyUser-88aa10", "proxyPass@77/%:xy"
OWN = (PATH_TOKEN, QUERY_TOKEN, SIGNING, WHSEC, WHSK, API_KEY, HEADER, BASIC_USER, BASIC_PASSWORD, KEY_PASSWORD,
       REDACT_KEY, FROM_FILE, FROM_ENVIRONMENT)  # fmt: skip
#: with those of an endpoint behind a proxy
SECRETS = (*OWN, PROOF_KEY, PROXY_USER, PROXY_PASSWORD)
VARIABLE = "A_TEAMS_TOKEN"
BASIC = base64.b64encode(f"{BASIC_USER}:{BASIC_PASSWORD}".encode()).decode()
PATH = f"/{PATH_TOKEN}/v2/enqueue?v=1&sig={quote(QUERY_TOKEN, safe='')}"
#: an endpoint that is alerted of the others' trouble
WATCHER = "[webhooks.watcher]\nurl = http://127.0.0.1:1/\nevents = all\nsecret = of-the-watcher\n"


def section(name: str, place: str, **keys: object) -> str:
    """Return the settings of an endpoint at a place (scheme, host and port); a key's dot is written as two underscores.

    All that is secret in them is planted. A key whose value is None is left out.
    """
    lines = {
        "url": place + PATH,
        "secret": f"{SIGNING}\n  {WHSEC}\n  {WHSK}",
        "api_key": API_KEY,
        "header__X-Token": HEADER,
        "header__X-Upstream": f"Basic {BASIC}",
        "header__X-File": "file:token",
        "header__X-Environment": f"env:{VARIABLE}",
        "client_key_password": KEY_PASSWORD,
        "redact": "HUMAN_NAME: hash",
        "redact_key": REDACT_KEY,
        "proof": None if "format" in keys else PROOF_KEY,
        "metadata__team": "blue",
        "events": "all",
        **keys,
    }
    return f"[webhooks.{name}]\n" + "".join(
        f"{key.replace('__', '.')} = {lines[key]}\n" for key in lines if lines[key] is not None
    )


def written(folder: Path, *sections: str) -> Path:
    """Write settings of these sections, and what they refer to."""
    (folder / "token").write_text(FROM_FILE + "\n", encoding="utf-8")
    path = folder / "webhooks.ini"
    path.touch(0o600)
    path.write_text("".join(sections), encoding="utf-8")
    return path


def proxy_at(place: str) -> str:
    """Return the setting of a proxy that wants a user name and password."""
    return place.replace("://", f"://{quote(PROXY_USER, safe='')}:{quote(PROXY_PASSWORD, safe='')}@")


#: how a receiver may write what it repeats
WRITINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in small letters": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text)),
    "percent-encoded twice": lambda text: quote(quote(text)),
    "as a form": lambda text: quote(text, safe="").replace("%20", "+"),
    "in capitals": str.upper,
    "in small letters": str.lower,
    "as JSON": json.dumps,
    "as JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "as JSON for HTML": lambda text: re.sub("[<>&']", lambda found: f"\\u00{ord(found[0]):02x}", json.dumps(text)),
    "as HTML": html.escape,
    "as HTML with numbers": lambda text: re.sub("[^ \\w]", lambda found: f"&#x{ord(found[0]):x};", text),
    "as a literal": repr,
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
}


def echoing(status: int, writing: str = "as it is", secrets: Sequence[str] = OWN) -> Way:
    """Answer with all secrets and the whole request: in the reason, in headers, in what is none, and in the body."""

    def way(visit: Visit) -> None:
        while request := visit.request():
            text = "\n".join([*secrets, request.decode("latin-1")])
            visit.say(_answer(status, WRITINGS[writing](text).encode()))

    return way


def _answer(status: int, body: bytes) -> bytes:
    line = b" ".join(body.split())
    head = [
        b"HTTP/1.1 %d %b" % (status, line),
        b" %b" % line,
        b"Content-Length: %d" % len(body),
        b"Location: /%b" % line,
    ]
    return b"\r\n".join([*head, b"X-Echo: %b" % line, b"no header %b" % line.replace(b":", b""), b"", body])
