from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from sfwebhooks.receive.received import Received
from sfwebhooks.terminal.received import print_request


def printed(message: Any) -> str:
    out = io.StringIO()
    received = Received(0.0, "/", {}, json.dumps(message).encode(), (), "")
    print_request(received, False, Console(file=out, width=80, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize(
    "message",
    [
        {"event_type": "\x7f" * 5_000_000},
        {"event_type": [0] * 400_000},
        {"text": "\x7f" * 5_000_000},
        {"text": "&lt;" * 1_000_000},
        {"data": {"k" * 5_000_000: 1}},
        {"data": {f"key {number}": number for number in range(100_000)}},
        {"data": {"data": [[0] * 400_000]}},
    ],
    ids=["event type", "list", "text", "entities", "key", "keys", "nested"],
)
def test_what_is_printed_of_a_message_is_limited(message: Any) -> None:
    assert 20 < len(printed(message)) < 4000


def test_the_values_of_an_event_are_printed() -> None:
    text = printed({"event_type": "scan_started", "data": {"target": "a.example", "modules": 12, "name": "é", "x": []}})
    assert text[10:] == "scan_started  a.example\n  modules 12, name é\n"


def test_a_chats_first_line_is_printed() -> None:
    assert printed({"text": " a &lt; b\nc"}).endswith("\n  a < b\n")
