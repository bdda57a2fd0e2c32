"""The telegram format: a message of a bot (https://core.telegram.org/bots/api#sendmessage).

Bold text and links are given as entities, places in the text, instead of as markup in it: nothing has to be escaped.
Telegram looks for mentions, commands and links in any text but code, so text from outside is code where it is a value,
and has no mentions elsewhere.
"""

from __future__ import annotations

import re
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.chat import OPEN_SCAN, Notice, notice, without_mentions
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import first_within, fit, utf16_length
from sfwebhooks.formats.format import Format, Key
from sfwebhooks.formats.replies import NOT_OK, held, json_of
from sfwebhooks.jsontext import written

#: characters of a message, in UTF-16 units as in the offsets of entities
TEXT_MAX = 4096
HEADLINE_MAX = 256
#: maximum lengths of a text, tried in turn until the message is short enough; with the last one it always is
CAPS = (3500, 2000, 1000, 500, 200)
#: in the description of a 400 that blames the chat or the bot's rights there, not the message
CHAT_IS_WRONG = re.compile(
    "chat not found|chat_id is empty|user not found|message thread not found|topic_closed|topic_deleted"
    "|upgraded to a supergroup|not enough rights|have no rights|chat_write_forbidden|peer_id_invalid",
    re.IGNORECASE,
)
METHOD = "/sendMessage"

Json = dict[str, Any]
Text = tuple[str, list[Json]]


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the Telegram message of a delivery."""
    one = notice(delivery, endpoint)
    text, entities = first_within(TEXT_MAX, lambda found: utf16_length(found[0]), (composed(one, cap) for cap in CAPS))
    thread = endpoint.key("message_thread_id")
    body: Json = {
        "chat_id": chat_of(endpoint.key("chat_id")),
        **({"message_thread_id": int(thread)} if thread else {}),
        "text": text,
        "entities": entities,
        "link_preview_options": {"is_disabled": True},
        **({"disable_notification": True} if one.is_late else {}),
    }
    return Content(written(body).encode())


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a wrong token or chat, and on a 200 without ok; a wait is in a 429 (`retry.judge`)."""
    answer = json_of(reply)
    if reply.status == 200 and answer.get("ok") is not True:
        return NOT_OK
    if reply.status == 400 and CHAT_IS_WRONG.search(str(answer.get("description"))):
        return Verdict(Outcome.HOLD, "http_400")
    return held(reply)


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of the URL."""
    return "" if path.endswith(METHOD) else f"must be https://api.telegram.org/bot<TOKEN>{METHOD}"


def chat_of(key: str) -> int | str:
    """Return a chat as Telegram wants it: a number, or a channel's @name."""
    return key if key.startswith("@") or not key else int(key)


def composed(notice: Notice, cap: int) -> Text:
    """Return text and entities, with no part longer than `cap`; parts without content are omitted."""
    parts: list[tuple[str, Json]] = [(fit(without_mentions(notice.headline), HEADLINE_MAX), {"type": "bold"})]
    if notice.body:
        parts += [("\n", {}), (fit(notice.body, cap), {"type": "pre"})]
    for label, value in notice.rows:
        between, kind = (":\n", "pre") if "\n" in value else (": ", "code")
        parts += [("\n", {}), (fit(without_mentions(label), cap // 4), {"type": "bold"})]
        parts += [(between, {}), (fit(value, cap), {"type": kind})]
    parts += [("\n", {}), (fit(without_mentions(notice.small_print), cap), {"type": "italic"})]
    if notice.link:
        parts += [("\n", {}), (OPEN_SCAN, {"type": "text_link", "url": notice.link})]
    entities, offset = [], 0
    for text, entity in parts:
        if entity:
            entities.append({**entity, "offset": offset, "length": utf16_length(text)})
        offset += utf16_length(text)
    return "".join(text for text, _ in parts), entities


FORMAT = Format(
    render,
    read=read,
    keys=(
        Key(
            "chat_id",
            "the chat to send to: its number, negative for a group, or a channel's @name",
            r"-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]{3,31}",
            "a chat's number such as -1001234567890, or a channel's name such as @security_news",
            needed=True,
        ),
        Key("message_thread_id", "the topic of a forum group", r"[1-9][0-9]{0,9}", "a topic's number such as 42"),
    ),
    is_chat=True,
    interval=1.0,
    hosts=("api.telegram.org",),
    wrong_path=wrong_path,
)
