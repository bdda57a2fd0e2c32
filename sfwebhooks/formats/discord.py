"""The discord format: an embed for a channel's webhook (https://discord.com/developers/docs/resources/webhook).

With `wait=true` Discord answers once the message is saved; without, a message that it drops is reported as sent. An
embed notifies nobody, and `allowed_mentions` forbids it too. In text from outside, each sign that could begin markup,
a mention, an emoji or a link has a backslash; it is read as it was found. A scan has one message about its progress,
which is edited.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat import is_edited, notice
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import first_within, fit, utf16_length
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.markdown import SIGNS, escaped, marked_rows
from sfwebhooks.formats.notice import Notice, is_short
from sfwebhooks.formats.replies import MESSAGE_GONE, NOT_OK, held, json_of
from sfwebhooks.jsontext import written

TITLE_MAX = 256
DESCRIPTION_MAX = 4096
VALUE_MAX = 1024
FOOTER_MAX = 2048
#: characters in all texts of a message
MESSAGE_MAX = 6000
#: maximum lengths of a text, tried in turn until the message is short enough; with the last one it always is
CAPS = (DESCRIPTION_MAX, VALUE_MAX, 500, 250)
#: message flag SUPPRESS_NOTIFICATIONS
SILENT = 1 << 12
#: `<` begins a mention, a link or an emoji of the server
MARKUP = re.compile(rf"{SIGNS}|<|(?<![A-Za-z0-9])@|:(?=//|\w+:)")
#: code of a 404 for a message that is no longer there: somebody deleted it
UNKNOWN_MESSAGE = 10008
WEBHOOK = re.compile(r"/webhooks/[^/]+/[^/]+/?$")
MESSAGE_ID = re.compile(r"[0-9]{1,20}")
#: codes of a 400 that blames the webhook: its channel is a forum, and the URL has no thread_id, or the reverse
CHANNEL_IS_WRONG = range(220001, 220005)

Json = dict[str, Any]


def discord(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the Discord message with a notice."""
    return Content(written(discord_body(notice)).encode())


def follow(batch: Batch, endpoint: Endpoint, message: str) -> Content:
    """Return the request that edits a message."""
    content, url = discord(notice(batch.deliveries[0], endpoint), endpoint), _parts(endpoint)
    token, more = url.path.rpartition("/")[2], f"?{url.query}" if url.query else ""
    return replace(content, method="PATCH", path=f"{token}/messages/{message}{more}".lstrip("/"))


def query(endpoint: Endpoint, now: float) -> str:
    """Return the request to wait until the message is saved, unless the URL says whether to wait."""
    given = parse_qs(_parts(endpoint).query, keep_blank_values=True)
    return "" if "wait" in given else "wait=true"


def _parts(endpoint: Endpoint) -> SplitResult:
    return urlsplit(endpoint.url.reveal())


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a webhook that is gone or for another kind of channel, on a message that was edited or is
    no longer there, and on a 200 without a message.

    Discord bans an address for a while that gets too many 401, 403 and 404, so these hold the endpoint at once.
    """
    answer = json_of(reply)
    if reply.status == 200 and "id" not in answer:
        return NOT_OK
    if reply.status == 200 and is_edited(batch) and MESSAGE_ID.fullmatch(str(answer["id"])):
        return Verdict(Outcome.DELIVERED, "http_200", handle=str(answer["id"]))
    if reply.status == 404 and answer.get("code") == UNKNOWN_MESSAGE and batch.deliveries[0].handle:
        return MESSAGE_GONE
    if reply.status == 400 and answer.get("code") in CHANNEL_IS_WRONG:
        return Verdict(Outcome.HOLD, "http_400")
    return held(reply)


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of a webhook's URL."""
    if path.rstrip("/").endswith("/slack"):
        return "ends in /slack, where Discord takes Slack's messages: remove /slack, or use format = slack"
    return "" if WEBHOOK.search(path) else "must be that of a webhook: https://discord.com/api/webhooks/ID/TOKEN"


def discord_body(notice: Notice) -> Json:
    """Return the message, with texts as long as its limit allows."""
    body: Json = {
        "embeds": [first_within(MESSAGE_MAX, embed_length, (embed(notice, cap) for cap in CAPS))],
        "allowed_mentions": {"parse": []},
    }
    return {**body, "flags": SILENT} if notice.is_late else body


def embed(notice: Notice, cap: int) -> Json:
    """Return the embed, with no text longer than `cap`; without a body it has no description."""
    shown = marked_rows(notice, min(VALUE_MAX, cap), escape)
    body = {"description": fit(notice.body, min(DESCRIPTION_MAX, cap), escape)} if notice.body else {}
    return {
        "title": fit(notice.headline, TITLE_MAX, escape),
        **body,
        "color": int(notice.colour[1:], 16),
        "fields": [{"name": label, "value": value, "inline": is_short(value)} for label, value in shown],
        "footer": {"text": fit(notice.small_print, min(FOOTER_MAX, cap))},
    }


def escape(text: str) -> str:
    """Return a text in which nothing is markup."""
    return escaped(text, MARKUP)


def embed_length(embed: Json) -> int:
    """Return the number of characters that Discord counts, in UTF-16 units."""
    fields = [text for field in embed["fields"] for text in (field["name"], field["value"])]
    texts = (embed["title"], embed.get("description", ""), embed["footer"]["text"], *fields)
    return sum(map(utf16_length, texts))


FORMAT = chat_format(
    discord,
    Capacity(3900, lambda text: utf16_length(escape(text))),
    follow=follow,
    read=read,
    query=query,
    wrong_path=wrong_path,
)
