"""The ntfy format: a push notification, published as JSON at the server's root (https://docs.ntfy.sh/publish/).

Without `markdown` the text is shown as it is: nothing in it is markup.
"""

from __future__ import annotations

from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import utf8_length, within
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.notice import Notice
from sfwebhooks.formats.plain import in_lines
from sfwebhooks.formats.replies import NOT_OK, json_of
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity

#: bytes; the server makes a longer message an attachment, which nobody reads on a lock screen
MESSAGE_MAX = 4096
#: bytes; the server refuses a longer title
TITLE_MAX = 1024
#: severity -> priority, and the tag that phones show as an emoji
SHOWN = {
    Severity.CRITICAL: (5, "rotating_light"),
    Severity.HIGH: (4, "warning"),
    Severity.MEDIUM: (3, "large_orange_diamond"),
    Severity.LOW: (2, "small_blue_diamond"),
    Severity.INFO: (1, "information_source"),
}
#: of what a person asked for, or what is long over: without sound
SILENT_PRIORITY = 1
#: codes of a 400 that blame the topic, not the message
TOPIC_IS_WRONG = {40009: "topic_invalid", 40010: "topic_disallowed"}
#: the beginning of each body of ours
BODY_START = '{"topic":'
TOPIC = Key(
    "topic",
    "the topic to publish to, which is its password too",
    r"[A-Za-z0-9_-]{1,64}",
    "1 to 64 of A-Z, a-z, 0-9, _ and -",
    needed=True,
    secret=True,
)


def ntfy(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the notification with a notice."""
    return Content(written(ntfy_body(notice, endpoint.key(TOPIC.name))).encode())


def ntfy_body(notice: Notice, topic: str) -> dict[str, Any]:
    """Return the notification; no phone should ring for what comes late."""
    priority, tag = SHOWN[notice.severity]
    buttons = [{"action": "view", "label": words, "url": url} for words, url in notice.links[1:]]
    return {
        "topic": topic,
        "title": within(notice.headline, TITLE_MAX),
        "message": in_lines(notice.unlinked, MESSAGE_MAX, headline=False),
        "priority": SILENT_PRIORITY if notice.is_late else priority,
        "tags": [tag],
        **({"click": notice.links[0][1]} if notice.links else {}),
        **({"actions": buttons} if buttons else {}),
    }


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of ntfy's reply, or None: the status is enough.

    At the URL of a topic the server publishes our JSON as a text.
    """
    said = json_of(reply)
    if reply.status == 200 and not said.get("id"):
        return NOT_OK
    if reply.status == 200 and str(said.get("message")).startswith(BODY_START):
        return Verdict(Outcome.HOLD, "topic_in_url")
    code = said.get("code")
    if reply.status == 400 and isinstance(code, int) and code in TOPIC_IS_WRONG:
        return Verdict(Outcome.HOLD, TOPIC_IS_WRONG[code])
    return None


FORMAT = chat_format(ntfy, Capacity(3500, utf8_length), read=read, keys=(TOPIC,))
