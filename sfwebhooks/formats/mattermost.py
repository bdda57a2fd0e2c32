"""The mattermost format: an attachment for an incoming webhook
(https://developers.mattermost.com/integrate/reference/message-attachments).

An attachment is Markdown, and the server looks for mentions in it after it has removed backslashes. So an at sign at
the start of a word becomes a wide one, and other markup is escaped.
"""

from __future__ import annotations

import html
import re
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import first_within, fit
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.markdown import SIGNS, escaped, marked_rows
from sfwebhooks.formats.notice import VALUE_MAX, Notice, is_short, without_mentions
from sfwebhooks.formats.replies import NOT_OK, held, json_of, says_ok
from sfwebhooks.jsontext import written

#: characters of a post; the whole message has no more
MESSAGE_MAX = 16_383
TITLE_MAX = 256
FALLBACK_MAX = 1000
FOOTER_MAX = 300
#: maximum lengths of a text, tried in turn until the message is short enough; with the last one it always is
CAPS = (12_000, 4000, 1000, 500, 250)
MARKUP = re.compile(SIGNS)
#: ids of replies that blame the webhook, not the message
WEBHOOK_IS_WRONG = tuple(
    f"web.incoming_webhook.{word}.app_error"
    for word in ("channel", "channel_locked", "disabled", "invalid", "permissions", "user")
)

Json = dict[str, Any]


def mattermost(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the Mattermost message with a notice."""
    return Content(mattermost_body(notice))


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a reply that blames the webhook, and on a 200 that is not Mattermost's."""
    if reply.status == 200:
        return None if says_ok(reply) else NOT_OK
    if json_of(reply).get("id") in WEBHOOK_IS_WRONG:
        return Verdict(Outcome.HOLD, f"http_{reply.status}")
    return held(reply)


def mattermost_body(notice: Notice) -> bytes:
    """Return the message as JSON, with texts as long as its limit allows."""
    ways = (written({"attachments": [attachment(notice, cap)]}) for cap in CAPS)
    return first_within(MESSAGE_MAX, len, ways).encode()


def attachment(notice: Notice, cap: int) -> Json:
    """Return the attachment, with no text longer than `cap`; without a body it has no text."""
    shown = marked_rows(notice, min(VALUE_MAX, cap), escape)
    body = {"text": fit(notice.body, cap, escape)} if notice.body else {}
    return {
        "fallback": fit(notice.summary, min(FALLBACK_MAX, cap), unmarked),
        "color": notice.colour,
        "title": fit(notice.headline, min(TITLE_MAX, cap), escape),
        **body,
        "fields": [{"title": label, "value": value, "short": is_short(value)} for label, value in shown],
        "footer": fit(notice.small_print, min(FOOTER_MAX, cap), unmarked),
    }


def escape(text: str) -> str:
    """Return a text in which nothing is markup or a mention."""
    return escaped(unmarked(text), MARKUP)


def unmarked(text: str) -> str:
    """Return a text without mentions, neither Mattermost's nor Slack's, which it reads too."""
    return html.escape(without_mentions(text), quote=False)


FORMAT = chat_format(mattermost, Capacity(8000, lambda text: len(written(escape(text)))), read=read)
