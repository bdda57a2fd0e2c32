"""The dingtalk format: Markdown for a custom robot of a DingTalk group (`POST .../robot/send?access_token=TOKEN`).

A robot with the security setting "sign" wants a signature of the time in the query, so the URL differs with each
attempt. Nobody is mentioned without the `at` lists, which are empty.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any
from urllib.parse import quote

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import smallest, utf8_length, within
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.error_code import coded
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.notice import Notice
from sfwebhooks.formats.plain import in_lines

#: bytes of a message
MESSAGE_MAX = 20_000
#: bytes of the text as it is, tried in turn; JSON at most doubles them
CAPS = (16_000, 8_000)
HEADLINE_MAX = 500
#: signs that Markdown reads anywhere, and at the beginning of a line
ANYWHERE = re.compile(r"[\\`*_\[\]~|#]")
AT_START = re.compile(r"^([ \t]*(?:\d{1,9}(?=[.)]))?)(?=[-+=.)])", re.MULTILINE)
#: "system busy" and "sends too fast"; and what blames the robot: its token, or its security settings
BUSY = frozenset({-1, 130101})
ROBOT_IS_WRONG = frozenset({300001, 310000})
SIGN_SECRET = Key(
    "sign_secret",
    'the secret of the robot\'s security setting "sign"',
    r"[!-~]+",
    "visible ASCII characters, as DingTalk shows them: SEC...",
    secret=True,
)


def dingtalk(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the message with a notice."""
    return Content(smallest(lambda cap: dingtalk_body(notice, cap), CAPS, MESSAGE_MAX))


def dingtalk_body(notice: Notice, cap: int) -> dict[str, Any]:
    """Return the message, with a text of at most `cap` bytes."""
    headline, *lines = in_lines(notice.unlinked, cap, safe=markdown).split("\n")
    links = [f"[{words}]({url.replace('(', '%28').replace(')', '%29')})" for words, url in notice.links]
    text = "\n\n".join([f"#### {headline}", "  \n".join(lines), *links])
    return {
        "msgtype": "markdown",
        "markdown": {"title": within(notice.headline, HEADLINE_MAX), "text": text},
        "at": {"isAtAll": False},
    }


def markdown(text: str) -> str:
    r"""Return a text in which nothing is Markdown or HTML.

    Even where a client does not know escapes, a backslash parts a link's ] from its (.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return AT_START.sub(r"\1\\", ANYWHERE.sub(r"\\\g<0>", text)).replace("](", "]\\(")


def signed_query(endpoint: Endpoint, now: float) -> str:
    """Return timestamp and signature for an attempt, or nothing if the robot has no secret.

    The signature is the base64 HMAC-SHA256 of "MILLISECONDS\\nSECRET", whose key is the secret too.
    """
    secret = endpoint.key(SIGN_SECRET.name)
    if not secret:
        return ""
    stamp = str(int(now * 1000))
    digest = hmac.digest(secret.encode(), f"{stamp}\n{secret}".encode(), "sha256")
    return f"timestamp={stamp}&sign={quote(base64.b64encode(digest), safe='')}"


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of the code in a 200, or None: the status is enough."""
    return coded(reply, ("errcode",), BUSY, ROBOT_IS_WRONG)


FORMAT = chat_format(
    dingtalk,
    Capacity(6000, lambda text: utf8_length(markdown(text))),
    read=read,
    query=signed_query,
    keys=(SIGN_SECRET,),
    interval=3.0,
    brake=4.0,
)
