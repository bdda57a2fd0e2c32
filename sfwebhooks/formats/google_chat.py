"""The google_chat format: a card for a space's webhook
(https://developers.google.com/workspace/chat/api/reference/rest/v1/cards).

Text in a card is a little HTML, so three characters are escaped. The markup of messages, such as *bold* and
<users/all>, does not exist there. `fallbackText` is the text of notifications.
"""

from __future__ import annotations

import html
import re
from typing import Any

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import fit, smallest
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.notice import VALUE_MAX, Notice
from sfwebhooks.formats.replies import NOT_OK, held
from sfwebhooks.jsontext import written

#: bytes of a message
MESSAGE_MAX = 32_000
HEADLINE_MAX = 256
LABEL_MAX = 100
FALLBACK_MAX = 1000
#: maximum lengths of a text, tried in turn until the message is short enough; with the last one it always is
CAPS = (8000, 4000, 2000, 1000, 500)
HEADERS = {"Content-Type": "application/json; charset=UTF-8"}
#: in the reply to a message that was created. The reply repeats the message, with characters escaped, so a long one is
#: cut off (a Reply ends after 64 KiB) and cannot be parsed.
CREATED = re.compile(rb'"name"\s*:\s*"spaces/')

Json = dict[str, Any]


def google_chat(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the Google Chat message with a notice."""
    return Content(google_chat_body(notice), dict(HEADERS))


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a webhook that is gone, and on a 200 without the message that was created."""
    if reply.status == 200 and not CREATED.search(reply.body):
        return NOT_OK
    return held(reply)


def google_chat_body(notice: Notice) -> bytes:
    """Return the message as JSON, with texts as long as its limit allows."""
    return smallest(lambda cap: card_message(notice, cap), CAPS, MESSAGE_MAX)


def card_message(notice: Notice, cap: int) -> Json:
    """Return the message, with no text longer than `cap`; parts without content are omitted."""
    headline = fit(notice.headline, HEADLINE_MAX, escape)
    widgets = [paragraph(f'<b><font color="{notice.colour}">{headline}</font></b>')]
    if notice.body:
        widgets.append(paragraph(fit(notice.body, cap, escape)))
    widgets += [row(label, value, min(VALUE_MAX, cap)) for label, value in notice.rows]
    widgets.append(paragraph(fit(notice.small_print, cap, escape)))
    buttons = [{"text": words, "onClick": {"openLink": {"url": url}}} for words, url in notice.links]
    if buttons:
        widgets.append({"buttonList": {"buttons": buttons}})
    return {
        "fallbackText": fit(notice.summary, min(FALLBACK_MAX, cap), escape),
        "cardsV2": [{"cardId": "spiderfoot", "card": {"sections": [{"widgets": widgets}]}}],
    }


def paragraph(text: str) -> Json:
    """Return a widget with a text."""
    return {"textParagraph": {"text": text}}


def row(label: str, value: str, cap: int) -> Json:
    """Return a widget with a label above a value."""
    top = fit(label, min(LABEL_MAX, cap), escape)
    return {"decoratedText": {"topLabel": top, "text": fit(value, cap, escape), "wrapText": True}}


def escape(text: str) -> str:
    """Return a text in which nothing is markup, and whose lines are kept."""
    return html.escape(text, quote=False).replace("\n", "<br>")


FORMAT = chat_format(google_chat, Capacity(7500, lambda text: len(written(escape(text)).encode())), read=read)
