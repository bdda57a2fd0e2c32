"""Services that notify people, other than chats: Apprise, ntfy, PagerDuty, and the robots of Lark, DingTalk and WeCom,
which answer 200 to everything, with a code."""

from __future__ import annotations

import base64
import hmac
import json
import re

from tests.formats.cases import MARKED
from tests.receivers.chats import Chat
from tests.receivers.vendor import Answer, Asked, Checks, Interruptible, Json, compact, first, is_shown

#: what a chat may take for a mention
MENTION = re.compile(r"(?<![A-Za-z0-9])@\S")


class Apprise(Chat):
    """An Apprise API server on which one key has a configuration; a proxy in front of it limits the rate."""

    format = "apprise"
    path = "/notify/acme"
    gone = Answer(204)
    busy = Answer(429, {}, {"Retry-After": "30"})
    wait = 30.0
    refusal = Answer(400, {"error": "Bad FORM Payload provided"})
    failed = Answer(424, {"error": "One or more notification could not be sent", "details": []})

    def __init__(self) -> None:
        super().__init__()
        #: whether one of the services behind the server fails
        self.is_partial = False

    def success(self, message: Json) -> Answer:
        if self.is_partial:
            return self.failed
        return Answer(200, {"error": None, "details": [["INFO", "2026-11-21 10:00:00", "Sent to Telegram"]]})

    def faults(self, message: Json) -> Checks:
        """Check as the server's OpenAPI document."""
        yield set(message) <= {"title", "body", "type", "format", "tag"}, "keys"
        yield bool(message["body"].strip()), "body"
        yield message["format"] in ("text", "markdown", "html"), "format"
        yield message["type"] in ("info", "success", "warning", "failure"), "type"

    def mischief(self, message: Json) -> Checks:
        """Check for what one of the services behind the server could take for markup."""
        yield message["format"] == "text", "format"
        yield len(message["title"].encode()) <= 250 and len(message["body"].encode()) <= 10_000, "length"
        for text in (message["title"], message["body"]):
            yield is_shown(text), "invisible"
            yield not any(sign in text for sign in ("<!", "<@", "<#", "<a", "<h", "](")), "markup"
            yield not MENTION.search(text), "mention"


class Ntfy(Chat):
    """An ntfy server whose topic wants a token. It reads JSON at the root only: elsewhere it is published as text."""

    format = "ntfy"
    path = "/"
    topic = "acme-alerts-x7"
    token = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"
    keys = {"topic": topic, "api_key": token}
    gone = Answer(403, {"code": 40301, "http": 403, "error": "forbidden"})
    busy = Answer(
        429, {"code": 42901, "http": 429, "error": "limit reached: too many requests, please be nice"},
        {"Retry-After": "30"},
    )  # fmt: skip
    wait = 30.0
    refusal = Answer(400, {"code": 40024, "http": 400, "error": "invalid request: request body must be valid JSON"})

    def answer(self, asked: Asked) -> Answer:
        if asked.path != self.path:
            return self.success({"topic": asked.path[1:], "message": asked.text})
        return super().answer(asked) if asked.headers.get("Authorization") == f"Bearer {self.token}" else self.gone

    def success(self, message: Json) -> Answer:
        return Answer(200, {"id": "sPs71M8A2T", "time": 1795255200, "event": "message", **message})

    def faults(self, message: Json) -> Checks:
        yield set(message) <= {"topic", "title", "message", "priority", "tags", "click", "actions"}, "keys"
        buttons = message.get("actions", [])
        yield (
            len(buttons) <= 3 and all(one["action"] == "view" and one["label"] and one["url"] for one in buttons),
            "actions",
        )
        yield bool(re.fullmatch("[-_A-Za-z0-9]{1,64}", message["topic"])), "topic"
        yield len(message["title"].encode()) <= 1024, "title"
        yield len(",".join(message["tags"]).encode()) <= 512, "tags"
        yield message["priority"] in range(1, 6), "priority"

    def mischief(self, message: Json) -> Checks:
        yield message["topic"] == self.topic, "topic"
        yield bool(message["title"].strip() and message["message"].strip()), "an empty text"
        yield len(message["message"].encode()) <= 4096, "a text that becomes an attachment"
        yield is_shown(message["title"] + message["message"]), "invisible"


class PagerDuty(Interruptible):
    """The Events API v2 of PagerDuty: alerts and changes at two places; an unknown key is an invalid event. A trigger
    joins the open alert with its dedup_key; one that is resolved stays so, and a new one is opened."""

    format = "pagerduty"
    path = "/v2/enqueue"
    change_path = "/v2/change/enqueue"
    routing_key = "R0123456789abcdefghijklmnopqrst9"
    keys = {"routing_key": routing_key}
    invalid = {"status": "invalid event", "message": "Event object is invalid"}
    gone = Answer(400, {**invalid, "errors": ["Invalid routing key"]})
    busy = Answer(429, {"status": "throttle exceeded", "message": "Requests are arriving too quickly."})

    def __init__(self) -> None:
        super().__init__()
        #: alerts that are open, by their dedup_key -> the summaries of their triggers
        self.open: dict[str, list[str]] = {}
        #: number of alerts that were ever opened
        self.opened = 0

    def answer(self, asked: Asked) -> Answer:
        if asked.path not in (self.path, self.change_path):
            return Answer(404, {"status": "not found"})
        event = asked.json
        if event.get("routing_key") != self.routing_key:
            return self.gone
        is_alert = "event_action" in event
        fault = first(self.faults(event)) or ("" if is_alert == (asked.path == self.path) else "event_action")
        if fault or not self.is_wanted(event):
            return Answer(400, {**self.invalid, "errors": [fault or "unwanted"]})
        self.taken.append(event)
        if asked.path == self.change_path:
            return Answer(202, {"status": "success", "message": "Change event processed"})
        if event["event_action"] == "resolve":
            self.open.pop(event["dedup_key"], None)
        else:
            self.opened += event["dedup_key"] not in self.open
            self.open.setdefault(event["dedup_key"], []).append(event["payload"]["summary"])
        return Answer(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})

    def faults(self, message: Json) -> Checks:
        """Check an alert event, or without an action a change event, by the documentation."""
        if message.get("event_action") == "resolve" and "payload" not in message:
            yield set(message) == {"routing_key", "event_action", "dedup_key"} and bool(message["dedup_key"]), "keys"
            return
        payload = message["payload"]
        yield from self._change_faults(message)
        if "event_action" not in message:
            return
        yield message["event_action"] in ("trigger", "acknowledge", "resolve"), "event_action"
        yield payload.get("severity") in ("critical", "error", "warning", "info"), "severity"
        yield isinstance(payload.get("source"), str) and bool(payload["source"].strip()), "source"
        yield 1 <= len(message.get("dedup_key", "")) <= 255, "dedup_key"
        allowed = {"routing_key", "event_action", "dedup_key", "client", "client_url", "payload", "links"}
        yield set(message) <= allowed, "keys"
        yield all(isinstance(payload.get(name, ""), str) for name in ("component", "group", "class")), "names"

    def _change_faults(self, message: Json) -> Checks:
        payload = message["payload"]
        yield len(message.get("routing_key", "")) == 32, "routing_key"
        yield 1 <= len(payload.get("summary", "")) <= 1024, "summary"
        yield payload["timestamp"].endswith("Z"), "timestamp"
        yield all(isinstance(value, str) for value in payload["custom_details"].values()), "custom_details"
        yield all(link["href"] for link in message.get("links", ())), "links"
        yield len(json.dumps(message, ensure_ascii=False).encode()) <= 512_000, "size"

    def mischief(self, message: Json) -> Checks:
        yield self.routing_key not in json.dumps({**message, "routing_key": ""}), "the key in a text"


class Robot(Chat):
    """A robot that answers 200 to everything, with a code: 0 is success."""

    #: keys of code and words in an answer
    said: tuple[str, str]
    #: code and words of too many messages, of a wrong address, of an invalid message
    too_fast: tuple[int, str]
    wrong: tuple[int, str]
    invalid: tuple[int, str]
    wait = 60.0  # the robots do not say how long; sfwebhooks waits so long

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.gone, self.refusal = map(self.coded, (self.too_fast, self.wrong, self.invalid))

    def coded(self, words: tuple[int, str]) -> Answer:
        """Return the answer with a code."""
        return Answer(200, dict(zip(self.said, words)))

    def success(self, message: Json) -> Answer:
        return self.coded((0, "ok"))


class Lark(Robot):
    """A custom bot of Lark or Feishu."""

    format = "lark"
    path = "/open-apis/bot/v2/hook/url-path-token"
    said = ("code", "msg")
    too_fast = (11232, "frequency limited")
    wrong = (19001, "param invalid: incoming webhook access token invalid")
    invalid = (9499, "Bad Request")

    def success(self, message: Json) -> Answer:
        return Answer(200, {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"})

    def faults(self, message: Json) -> Checks:
        yield len(compact(message).encode()) <= 20_000, "size"
        yield message["msg_type"] == "interactive", "type"

    def mischief(self, message: Json) -> Checks:
        texts = card_texts(message["card"])
        yield all(text["tag"] == "plain_text" and text["content"].strip() for text in texts), "markup, or no text"
        yield all(is_shown(text["content"]) for text in texts), "invisible"
        yield len(message["card"]["header"]["title"]["content"].encode()) <= 500, "title"


def card_texts(card: Json) -> list[Json]:
    """Return all texts of a card for Lark."""
    (text, *buttons) = card["elements"]
    return [card["header"]["title"], text["text"], *(one["text"] for action in buttons for one in action["actions"])]


class DingTalk(Robot):
    """A robot of a DingTalk group, with the security setting "sign"."""

    format = "dingtalk"
    path = "/robot/send"
    query = "access_token=url-query-token"
    secret = "SEC0123456789abcdef"
    keys = {"sign_secret": secret}
    said = ("errcode", "errmsg")
    too_fast = (130101, "send too fast, exceed 20 times per minute")
    wrong = (300001, "token is not exist")
    invalid = (40035, "the message is invalid")

    def answer(self, asked: Asked) -> Answer:
        if asked.query.get("access_token") != ["url-query-token"]:
            return self.gone
        stamp, sign = (asked.query.get(name, [""])[0] for name in ("timestamp", "sign"))
        right = base64.b64encode(hmac.digest(self.secret.encode(), f"{stamp}\n{self.secret}".encode(), "sha256"))
        return super().answer(asked) if sign == right.decode() else self.coded((310000, "sign not match"))

    def faults(self, message: Json) -> Checks:
        yield len(compact(message).encode()) <= 20_000, "size"
        yield message["msgtype"] == "markdown" and set(message["markdown"]) == {"title", "text"}, "keys"
        yield bool(message["markdown"]["title"]), "title"

    def mischief(self, message: Json) -> Checks:
        """Check that nobody is mentioned and nothing but the headline and our link is markup, even where a client does
        not know escapes."""
        yield set(message) == {"msgtype", "markdown", "at"} and message["at"] == {"isAtAll": False}, "mentions"
        title, text = message["markdown"]["title"], message["markdown"]["text"]
        yield len(title.encode()) <= 500, "title"
        yield is_shown(title + text), "invisible"
        text = text.removeprefix("#### ")
        for link in MARKED:
            text = text.replace(f"\n\n{link}", "")
        yield not re.search(r"[<>]|\]\(|!\[", text), "markup"
        unescaped = re.sub(r"\\[\\`*_\[\]~|#+=.()-]", "X", text)
        yield not re.search(r"[`*_\[\]~|#]", unescaped), "markup"
        yield not re.search(r"^\s*([-+=]|\d+[.)]\s)", unescaped, re.MULTILINE), "a list"
        yield not re.search(r"&(?!amp;|lt;|gt;|\w{0,3}…)", text), "half an entity"


class WeCom(Robot):
    """A robot of a WeCom group."""

    format = "wecom"
    path = "/cgi-bin/webhook/send"
    query = "key=url-query-token"
    said = ("errcode", "errmsg")
    too_fast = (45009, "api freq out of limit")
    wrong = (93000, "invalid webhook url")
    invalid = (40058, "invalid Request Parameter")

    def answer(self, asked: Asked) -> Answer:
        return super().answer(asked) if asked.query.get("key") == ["url-query-token"] else self.gone

    def faults(self, message: Json) -> Checks:
        yield message["msgtype"] == "text", "type"
        content = message["text"]["content"]
        yield 1 <= len(content.strip().encode()) <= len(content.encode()) <= 2048, "length"

    def mischief(self, message: Json) -> Checks:
        yield set(message) == {"msgtype", "text"} and set(message["text"]) == {"content"}, "mentions"
        content = message["text"]["content"]
        yield is_shown(content), "invisible"
        yield not any(sign in content for sign in ("<@", "<a")) and not MENTION.search(content), "markup"
