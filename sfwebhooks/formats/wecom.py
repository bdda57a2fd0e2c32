"""The wecom format: a text for a robot of a WeCom group (`POST .../cgi-bin/webhook/send?key=KEY`).

Nobody is mentioned without `mentioned_list`, which is not sent; <@userid> is made harmless as well.
"""

from __future__ import annotations

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import utf8_length
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.error_code import coded
from sfwebhooks.formats.notice import Notice
from sfwebhooks.formats.plain import defused, in_lines
from sfwebhooks.jsontext import written

#: bytes
CONTENT_MAX = 2048
#: "system busy" and "too many requests"; and what blames the robot: an unknown key, or one that was removed
BUSY = frozenset({-1, 45009})
ROBOT_IS_WRONG = frozenset({93000})


def wecom(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the message with a notice."""
    content = in_lines(notice, CONTENT_MAX, safe=defused)
    return Content(written({"msgtype": "text", "text": {"content": content}}).encode())


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of the code in a 200, or None: the status is enough."""
    return coded(reply, ("errcode",), BUSY, ROBOT_IS_WRONG)


FORMAT = chat_format(wecom, Capacity(1300, lambda text: utf8_length(defused(text))), read=read, interval=3.0, brake=4.0)
