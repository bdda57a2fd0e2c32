"""The slack format: a message for an incoming webhook, in Block Kit (https://docs.slack.dev/reference/block-kit).

The headline is a block of the message itself; the rest is in an attachment, since only an attachment can have the
severity's colour. `text` is the text of notifications. It is not displayed in a message that has `blocks`; in one that
has only an attachment it would be, and everything would appear twice.

Text from outside is in plain_text objects wherever Slack accepts one: nothing in them is markup, a mention or a link,
nothing must be escaped, and text copied from them is the original. (In a code fence, back-ticks would have to be
replaced, and URLs become links.) So a fact is two fields, its label in bold and its value: in one text with the label,
the value could imitate another label.
"""

from __future__ import annotations

import re
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import first_within, fit, utf16_length
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.notice import FOUND_VIA, VALUE_MAX, Notice
from sfwebhooks.formats.replies import NOT_OK, says_ok
from sfwebhooks.jsontext import written

TEXT_MAX = 4000
HEADER_MAX = 150
SECTION_MAX = 3000
FIELDS_MAX = 10
ELEMENTS_MAX = 10
#: markup that cannot be escaped, and line breaks, since a label is one line
MARKUP = re.compile(r"[\s*_~`]+")
#: characters in all blocks; Slack refuses about 13,200 (msg_blocks_too_long, not documented)
MESSAGE_MAX = 12_000
#: maximum lengths of a text, tried in turn until the message is short enough; with the last one it always is
CAPS = (SECTION_MAX, 1500, 750, 400)
#: replies that blame the webhook, not the message, with any of these statuses (few are documented)
WEBHOOK_STATUS = (400, 403, 404)
WEBHOOK_IS_WRONG = frozenset(
    ("action_prohibited", "channel_is_archived", "channel_not_found", "invalid_token", "no_active_hooks", "no_service",
     "no_team", "team_disabled")
)  # fmt: skip

Json = dict[str, Any]


def slack(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the Slack message with a notice."""
    return Content(written(slack_body(notice)).encode())


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of Slack's reply, a plain text, or None: the status is enough."""
    said = reply.body[:100].strip().decode("utf-8", "replace")
    if reply.status == 200 and not says_ok(reply):
        return NOT_OK
    if reply.status in WEBHOOK_STATUS and said in WEBHOOK_IS_WRONG:
        return Verdict(Outcome.HOLD, said)
    return None


def slack_body(notice: Notice) -> Json:
    """Return the message, with texts as long as its limit allows."""
    top = header(notice)
    blocks = first_within(MESSAGE_MAX - text_length(top), text_length, (details(notice, cap) for cap in CAPS))
    return {
        "text": fit(notice.summary, TEXT_MAX, escape),
        "blocks": top,
        "attachments": [{"color": notice.colour, "blocks": blocks}],
        # or Slack would fetch the found addresses from its own servers
        "unfurl_links": False,
        "unfurl_media": False,
    }


def header(notice: Notice) -> list[Json]:
    """Return the headline's block."""
    return [{"type": "header", "text": plain_text(notice.headline, HEADER_MAX)}]


def details(notice: Notice, cap: int) -> list[Json]:
    """Return the blocks of the attachment, with no text longer than `cap`; parts without content are omitted."""
    blocks: list[Json] = []
    for text in sections(notice.body) if notice.is_digest else [notice.body] if notice.body else []:
        blocks.append({"type": "section", "text": plain_text(text, min(SECTION_MAX, cap))})
    facts = fields(notice, min(VALUE_MAX, cap))
    blocks += [{"type": "section", "fields": facts[at : at + FIELDS_MAX]} for at in range(0, len(facts), FIELDS_MAX)]
    if notice.trail:
        blocks.append(context([plain_text(f"{FOUND_VIA} {' ← '.join(notice.trail)}", min(SECTION_MAX, cap))]))
    links = [mrkdwn(f"<{escape(url)}|{words}>") for words, url in notice.links]
    footer = [plain_text(text, min(SECTION_MAX, cap)) for text in notice.footer]
    return [*blocks, context([*footer[: ELEMENTS_MAX - len(links)], *links])]


def sections(body: str) -> list[str]:
    """Return the lines of a digest as texts that a section can have; each line is short."""
    texts, left = list[list[str]](), 0
    for line in body.split("\n"):
        left -= utf16_length(line) + 1
        if left < 0 or not texts:
            texts.append([])
            left = SECTION_MAX - utf16_length(line) - 1
        texts[-1].append(line)
    return ["\n".join(lines) for lines in texts]


def fields(notice: Notice, limit: int) -> list[Json]:
    """Return the facts as fields, a label and a value in turn; the last of too many says how many are missing."""
    return [field for name, value in notice.few_facts for field in (label(name, limit // 4), plain_text(value, limit))]


def label(name: str, limit: int) -> Json:
    """Return a label in bold. It may be a key that another tool chose, so markup in it is removed."""
    bare = MARKUP.sub(" ", name).strip() or "?"
    return mrkdwn(f"*{fit(bare, limit - 2, escape)}*")


def context(elements: list[Json]) -> Json:
    """Return a block of small print."""
    return {"type": "context", "elements": elements}


def plain_text(text: str, limit: int) -> Json:
    """Return a text object in which nothing is markup."""
    return {"type": "plain_text", "text": fit(text, limit), "emoji": False}


def mrkdwn(text: str) -> Json:
    """Return a text object with markup; `verbatim` keeps Slack from making links and mentions of bare words."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def escape(text: str) -> str:
    """Escape the three characters that Slack reads as markup, and no others; others would show as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def text_length(blocks: list[Json]) -> int:
    """Return the number of characters in all texts of some blocks."""
    texts = [block["text"] for block in blocks if "text" in block]
    texts += [text for block in blocks for text in (*block.get("fields", ()), *block.get("elements", ()))]
    return sum(utf16_length(text["text"]) for text in texts)


FORMAT = chat_format(slack, Capacity(5800), read=read)
