"""The teams format: an Adaptive Card for a Teams workflow, in the envelope that the stock workflow reads
(https://adaptivecards.io/explorer).

All text is in RichTextBlocks, in which nothing is markup; a TextBlock or a fact would be Markdown. A mention would need
an entity of its own, and a card from here has none.
"""

from __future__ import annotations

import re
from typing import Any

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import fit, smallest
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.notice import COLOURS, GOOD, VALUE_MAX, Notice
from sfwebhooks.formats.replies import held
from sfwebhooks.jsontext import written
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity

#: bytes of a message; the documented limit is 28 KB, but some were refused from 21 KB on
MESSAGE_MAX = 20_000
HEADLINE_MAX = 256
#: maximum lengths of a text, tried in turn until the message is small enough; with the last one it always is
CAPS = (8000, 4000, 2000, 1000, 500, 250)
#: colour -> style of the headline's container
STYLES = {
    COLOURS[Severity.CRITICAL]: "attention",
    COLOURS[Severity.HIGH]: "attention",
    COLOURS[Severity.MEDIUM]: "warning",
    COLOURS[Severity.LOW]: "accent",
    COLOURS[Severity.INFO]: "emphasis",
    GOOD: "good",
}
#: what the connectors before the workflows answered, with status 200
FAILED = re.compile(rb"returned HTTP error (\d{3})")

Json = dict[str, Any]


def teams(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the Teams message with a notice."""
    return Content(teams_body(notice))


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a workflow that is gone, and on an error that an old connector has in the text of a 200.

    A workflow accepts a message before it posts it: any 2xx says only that it has it.
    """
    failed = FAILED.search(reply.body) if reply.status == 200 else None
    if failed:
        reply = Reply(int(failed[1]))
    return held(reply) or (judge(reply, 0.0) if failed else None)


def teams_body(notice: Notice) -> bytes:
    """Return the message as JSON, with texts as long as its limit allows."""
    return smallest(lambda cap: envelope(card(notice, cap)), CAPS, MESSAGE_MAX)


def envelope(card: Json) -> Json:
    """Return the message with a card; the stock workflow fails on a card alone."""
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [content]}


def card(notice: Notice, cap: int) -> Json:
    """Return the card, with no text longer than `cap`; parts without content are omitted."""
    headline = text_run(notice.headline, min(HEADLINE_MAX, cap), size="Large", weight="Bolder")
    style = STYLES.get(notice.colour, "default")
    body: list[Json] = [{"type": "Container", "style": style, "bleed": True, "items": [rich(headline)]}]
    if notice.body:
        body.append(rich(text_run(notice.body, cap)))
    for label, value in notice.rows:
        top = text_run(f"{label}: ", cap // 4, weight="Bolder")
        body.append(rich(top, text_run(value, min(VALUE_MAX, cap)), spacing="Small"))
    body.append(rich(text_run(notice.small_print, cap, isSubtle=True, size="Small")))
    links = [{"type": "Action.OpenUrl", "title": words, "url": url} for words, url in notice.links]
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": fit(notice.summary, min(HEADLINE_MAX, cap)),
        "body": body,
        **({"actions": links} if links else {}),
    }


def rich(*runs: Json, **how: str) -> Json:
    """Return a block of texts in which nothing is markup."""
    return {"type": "RichTextBlock", "inlines": list(runs), **how}


def text_run(text: str, limit: int, **how: str | bool) -> Json:
    """Return a text of a block."""
    return {"type": "TextRun", "text": fit(text, limit), **how}


FORMAT = chat_format(teams, Capacity(7800, lambda text: len(written(text).encode())), read=read)
