"""The lark format: a card for a custom bot of Lark or Feishu (`POST .../open-apis/bot/v2/hook/TOKEN`).

All text is in plain_text elements, in which nothing is markup. (In a text message, <at user_id="all"> is a mention.)
"""

from __future__ import annotations

from typing import Any

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import smallest, utf8_length, within
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.error_code import coded
from sfwebhooks.formats.notice import COLOURS, GOOD, Notice
from sfwebhooks.formats.plain import in_lines
from sfwebhooks.severity import Severity

#: bytes of a message
MESSAGE_MAX = 20_000
#: bytes of the text, tried in turn; JSON at most doubles them
CAPS = (16_000, 8_000)
HEADLINE_MAX = 500
#: colour of a notice -> colour of the card's header
HEADERS = {
    COLOURS[Severity.CRITICAL]: "carmine",
    COLOURS[Severity.HIGH]: "red",
    COLOURS[Severity.MEDIUM]: "orange",
    COLOURS[Severity.LOW]: "blue",
    COLOURS[Severity.INFO]: "grey",
    GOOD: "green",
}
#: "too many requests", and what the bot's settings refuse: an unknown token, address, keyword or signature
BUSY = frozenset({11232})
BOT_IS_WRONG = frozenset({19001, 19021, 19022, 19024})

Json = dict[str, Any]


def lark(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the card with a notice."""
    return Content(smallest(lambda cap: lark_body(notice, cap), CAPS, MESSAGE_MAX))


def lark_body(notice: Notice, cap: int) -> Json:
    """Return the card, with a text of at most `cap` bytes."""
    header = {"title": _text(within(notice.headline, HEADLINE_MAX)), "template": HEADERS[notice.colour]}
    text = in_lines(notice.unlinked, cap, headline=False)
    elements: list[Json] = [{"tag": "div", "text": _text(text)}]
    buttons = [{"tag": "button", "text": _text(words), "type": "default", "url": url} for words, url in notice.links]
    if buttons:
        elements.append({"tag": "action", "actions": buttons})
    return {"msg_type": "interactive", "card": {"header": header, "elements": elements}}


def _text(content: str) -> Json:
    return {"tag": "plain_text", "content": content}


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of the code in a 200, or None: the status is enough."""
    return coded(reply, ("code", "StatusCode"), BUSY, BOT_IS_WRONG)


FORMAT = chat_format(lark, Capacity(6000, utf8_length), read=read)
