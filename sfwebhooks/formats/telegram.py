"""The telegram format: a message of a bot (https://core.telegram.org/bots/api#sendmessage).

Bold text and links are given as entities, places in the text, instead of as markup in it: nothing has to be escaped.
Telegram looks for mentions, commands and links in any text but code, so text from outside is code where it is a value,
and has no mentions elsewhere. A scan has one message about its progress, which is edited.
"""

from __future__ import annotations

import re
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.chat import is_edited, notice
from sfwebhooks.formats.chat_format import chat_format
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import first_within, fit, utf16_length
from sfwebhooks.formats.digest import Capacity
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.notice import Notice, without_mentions
from sfwebhooks.formats.replies import MESSAGE_GONE, NOT_OK, held, json_of
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
#: of a message that cannot be edited, since somebody deleted it, or since it is as it should be already
MESSAGE_IS_GONE = re.compile("message to edit not found|message can't be edited|message_id_invalid", re.IGNORECASE)
UNCHANGED = "message is not modified"
METHOD = "/sendMessage"
#: relative to it
EDIT = "editMessageText"

Json = dict[str, Any]
Text = tuple[str, list[Json]]


def telegram(notice: Notice, endpoint: Endpoint) -> Content:
    """Return the Telegram message with a notice."""
    thread = endpoint.key("message_thread_id")
    where = {"message_thread_id": int(thread)} if thread else {}
    body = {**where, **telegram_body(notice, endpoint), **({"disable_notification": True} if notice.is_late else {})}
    return Content(written(body).encode())


def follow(batch: Batch, endpoint: Endpoint, message_id: str) -> Content:
    """Return the request that edits a message."""
    body = {"message_id": int(message_id), **telegram_body(notice(batch.deliveries[0], endpoint), endpoint)}
    return Content(written(body).encode(), path=EDIT)


def telegram_body(notice: Notice, endpoint: Endpoint) -> Json:
    """Return what a message has whether it is new or edited, with texts as long as its limit allows."""
    ways = (composed(notice, cap) for cap in CAPS)
    text, entities = first_within(TEXT_MAX, lambda found: utf16_length(found[0]), ways)
    return {
        "chat_id": chat_of(endpoint.key("chat_id")),
        "text": text,
        "entities": entities,
        "link_preview_options": {"is_disabled": True},
    }


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a wrong token or chat, on a message that was or could not be edited, and on a 200 without
    ok; a wait is in a 429 (`retry.judge`)."""
    answer = json_of(reply)
    if reply.status == 200 and answer.get("ok") is not True:
        return NOT_OK
    if reply.status == 200 and is_edited(batch):
        return Verdict(Outcome.DELIVERED, "http_200", handle=_message_id(answer.get("result")))
    why = str(answer.get("description")) if reply.status == 400 else ""
    if CHAT_IS_WRONG.search(why):
        return Verdict(Outcome.HOLD, "http_400")
    if batch.deliveries[0].handle and UNCHANGED in why:
        return Verdict(Outcome.DELIVERED, "http_400_not_modified")
    return MESSAGE_GONE if batch.deliveries[0].handle and MESSAGE_IS_GONE.search(why) else held(reply)


def _message_id(message: object) -> str | None:
    """Return the id in the message of a reply; None without one."""
    found = message.get("message_id") if isinstance(message, dict) else None
    return str(found) if type(found) is int and 0 < found < 1 << 63 else None


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
    for words, url in notice.links:
        parts += [("\n", {}), (words, {"type": "text_link", "url": url})]
    entities, offset = [], 0
    for text, entity in parts:
        if entity:
            entities.append({**entity, "offset": offset, "length": utf16_length(text)})
        offset += utf16_length(text)
    return "".join(text for text, _ in parts), entities


FORMAT = chat_format(
    telegram,
    Capacity(3400),
    brake=4.0,
    follow=follow,
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
    wrong_path=wrong_path,
)
