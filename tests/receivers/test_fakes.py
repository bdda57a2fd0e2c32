"""What no format asks of the fakes yet, or what other tests rely on: edits, acknowledgements, wrong credentials."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sfwebhooks.endpoints import Secret
from sfwebhooks.formats import FORMATS
from tests.builders import a_delivery, an_endpoint
from tests.receivers.chats import Discord, Telegram
from tests.receivers.collectors import Splunk
from tests.receivers.vendor import Answer, Asked, Json, Vendor
from tests.receivers.vendors import VENDORS

GUID = "0b1fd9c4-4ef2-4c5e-9d6c-5b5e9a2c0f11"


def ask(vendor: Vendor, url: str, body: Any = None, method: str = "POST", **headers: str) -> Answer:
    """Return the answer to a request; `url` is relative to where the vendor is served."""
    parts = urlsplit(url)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return vendor(Asked(method, parts.path, parse_qs(parts.query), headers, data))


def message_for(vendor: Vendor) -> Json:
    """Return a message in the vendor's format."""
    names = {key.name for key in FORMATS[vendor.format].keys}
    own = {name: Secret(text) for name, text in vendor.keys.items() if name in names}
    found: Json = json.loads(FORMATS[vendor.format].render(a_delivery(), an_endpoint(own=own)).body)
    return found


@pytest.mark.parametrize("name", VENDORS)
def test_a_request_without_a_credential_at_another_path_is_not_taken(name: str) -> None:
    vendor = VENDORS[name]()
    ask(vendor, "/another", {}, **{"Content-Type": "application/json"})
    assert vendor.taken == []


# --- Discord


def test_discord_edits_a_message_and_keeps_its_versions() -> None:
    discord = Discord()
    message = message_for(discord)
    sent = ask(discord, f"{discord.path}?wait=true", message)
    assert (sent.status, sent.body["embeds"]) == (200, message["embeds"])
    its_id = sent.body["id"]
    embeds = [{**message["embeds"][0], "title": "Another"}]
    edited = ask(discord, f"{discord.path}/messages/{its_id}", {"embeds": embeds}, "PATCH")
    assert (edited.status, edited.body["id"], edited.body["embeds"]) == (200, its_id, embeds)
    assert edited.body["allowed_mentions"] == {"parse": []}, "a key that is not given stays"
    assert [one["embeds"] for one in discord.messages[its_id]] == [message["embeds"], embeds]
    assert len(discord.taken) == 1


def test_discord_knows_no_message_that_was_deleted_or_never_was() -> None:
    discord = Discord()
    its_id = ask(discord, f"{discord.path}?wait=true", message_for(discord)).body["id"]
    discord.delete(its_id)
    for one in (its_id, "1"):
        answer = ask(discord, f"{discord.path}/messages/{one}", message_for(discord), "PATCH")
        assert answer == Answer(404, {"message": "Unknown Message", "code": 10008})


@pytest.mark.parametrize("changes", [{"flags": 4096}, {"embeds": []}, {"unknown": 1}])
def test_discord_refuses_an_invalid_edit(changes: Json) -> None:
    discord = Discord()
    its_id = ask(discord, f"{discord.path}?wait=true", message_for(discord)).body["id"]
    answer = ask(discord, f"{discord.path}/messages/{its_id}", changes, "PATCH")
    assert (answer.status, len(discord.messages[its_id])) == (400, 1)


def test_without_wait_discord_does_not_say_what_became_of_a_message() -> None:
    discord = Discord()
    assert ask(discord, discord.path, message_for(discord)).status == 204
    assert ask(discord, discord.path, {"embeds": []}).status == 204
    assert len(discord.messages) == 1


# --- Telegram


def edit_of(message: Json, number: int, **changes: Any) -> Json:
    return {**message, "message_id": number, **changes}


def test_telegram_edits_a_message_and_keeps_its_versions() -> None:
    telegram = Telegram()
    message = message_for(telegram)
    number = ask(telegram, telegram.path, message).body["result"]["message_id"]
    edit = telegram.path.replace("sendMessage", "editMessageText")
    text = f"{message['text']} again"
    answer = ask(telegram, edit, edit_of(message, number, text=text))
    assert (answer.status, answer.body["ok"]) == (200, True)
    assert (answer.body["result"]["message_id"], answer.body["result"]["text"]) == (number, text)
    assert [one["text"] for one in telegram.messages[number]] == [message["text"], text]


def test_telegram_refuses_an_edit_of_nothing_or_of_what_is_not_there() -> None:
    telegram = Telegram()
    message = message_for(telegram)
    number = ask(telegram, telegram.path, message).body["result"]["message_id"]
    edit = telegram.path.replace("sendMessage", "editMessageText")
    same = ask(telegram, edit, edit_of(message, number))
    assert same.status == 400 and same.body["description"].startswith("Bad Request: message is not modified")
    telegram.delete(number)
    gone = ask(telegram, edit, edit_of(message, number, text=f"{message['text']} again"))
    assert (gone.status, gone.body["description"]) == (400, "Bad Request: message to edit not found")
    assert ask(telegram, "/bot1:other/sendMessage", message).status == 401


# --- Splunk


@pytest.fixture
def splunk() -> Splunk:
    found = Splunk()
    found.acknowledges = True
    return found


def send(splunk: Splunk, channel: str = GUID) -> Answer:
    body = b'{"event": {"n": 1}}\n{"event": {"n": 2}}'
    query = f"?channel={channel}" if channel else ""
    return ask(splunk, f"{splunk.path}{query}", body, Authorization=f"Splunk {splunk.token}")


def acknowledged(splunk: Splunk, *numbers: int, channel: str = GUID) -> Answer:
    query = f"?channel={channel}" if channel else ""
    return ask(splunk, f"{splunk.ack_path}{query}", {"acks": numbers}, Authorization=f"Splunk {splunk.token}")


def test_a_request_is_acknowledged_once_its_events_are_indexed_and_then_forgotten(splunk: Splunk) -> None:
    splunk.is_slow = True
    assert send(splunk).body == {"text": "Success", "code": 0, "ackId": 0}
    assert send(splunk).body["ackId"] == 1
    assert acknowledged(splunk, 0, 1, 7).body == {"acks": {"0": False, "1": False, "7": False}}
    assert splunk.taken == []
    splunk.index()
    assert acknowledged(splunk, 0).body == {"acks": {"0": True}}
    assert acknowledged(splunk, 0, 1).body == {"acks": {"0": False, "1": True}}
    assert len(splunk.taken) == 4


def test_what_the_indexer_loses_is_never_acknowledged(splunk: Splunk) -> None:
    splunk.is_slow = True
    send(splunk)
    splunk.lose()
    splunk.index()
    assert (acknowledged(splunk, 0).body, splunk.taken) == ({"acks": {"0": False}}, [])


def test_what_is_indexed_may_never_be_acknowledged_either(splunk: Splunk) -> None:
    send(splunk)
    splunk.forget()
    assert (acknowledged(splunk, 0).body, len(splunk.taken)) == ({"acks": {"0": False}}, 2)


def test_each_channel_has_numbers_of_its_own(splunk: Splunk) -> None:
    other = GUID.replace("0", "1")
    assert [send(splunk).body["ackId"], send(splunk, other).body["ackId"], send(splunk).body["ackId"]] == [0, 0, 1]
    assert acknowledged(splunk, 1, channel=other).body == {"acks": {"1": False}}


@pytest.mark.parametrize(("channel", "code"), [("", 10), ("not-a-guid", 11)])
def test_a_token_with_acknowledgement_wants_a_channel(splunk: Splunk, channel: str, code: int) -> None:
    for answer in (send(splunk, channel), acknowledged(splunk, 0, channel=channel)):
        assert (answer.status, answer.body["code"]) == (400, code)


def test_a_token_without_acknowledgement_has_none_to_ask_for(splunk: Splunk) -> None:
    splunk.acknowledges = False
    assert send(splunk).body == {"text": "Success", "code": 0}
    assert acknowledged(splunk, 0).body == {"text": "ACK is disabled", "code": 14}


def test_the_channel_may_be_a_header(splunk: Splunk) -> None:
    headers = {"Authorization": f"Splunk {splunk.token}", "X-Splunk-Request-Channel": GUID}
    assert ask(splunk, splunk.path, b'{"event": "x"}', **headers).body["ackId"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 5),
        (b"[]", 6),
        (b'{"time": 1}', 12),
        (b'{"event": ""}', 13),
        (b'{"event": "x", "fields": {"a": {"b": 1}}}', 15),
        (b'{"event": "x", "unknown": 1}', 6),
    ],
)
def test_an_invalid_event_has_its_code_and_position(splunk: Splunk, body: bytes, code: int) -> None:
    splunk.acknowledges = False
    answer = ask(splunk, splunk.path, body and b'{"event": "first"}\n' + body, Authorization=f"Splunk {splunk.token}")
    assert (answer.status, answer.body["code"]) == (400, code)
    assert code == 5 or answer.body["invalid-event-number"] == (0 if body == b"[]" else 1)
