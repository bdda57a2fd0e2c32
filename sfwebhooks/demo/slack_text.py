"""A Slack message as it looks in the channel: its JSON comes in, lines of text go out."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator
from typing import Any

from rich.text import Text


def slack_message(message: dict[str, Any], width: int) -> Iterator[Text]:
    """Yield the lines of a Slack message: its headline, then its attachment next to a bar of its colour."""
    for block in message.get("blocks", []):
        for line, style in _lines(block, width - 2):
            yield Text.assemble("  ", (line, style))
    for attachment in message.get("attachments", []):
        for block in attachment["blocks"]:
            for line, style in _lines(block, width - 4):
                yield Text.assemble(("  ▌ ", attachment["color"]), (line, style))


def _lines(block: dict[str, Any], width: int) -> Iterator[tuple[str, str]]:
    """Yield each line of a block, and its style."""
    if block["type"] == "header":
        yield from _wrapped(_shown(block["text"]), width, "bold")
    elif block["type"] == "context":
        yield from _wrapped("  ".join(_shown(element) for element in block["elements"]), width, "dim")
    elif "text" in block:
        yield from _wrapped(_shown(block["text"]), width, "")
    shown = [_shown(field) for field in block.get("fields", [])]
    fields = [_field(*pair) for pair in zip(shown[::2], shown[1::2])]
    for pair in (fields[at : at + 2] for at in range(0, len(fields), 2)):
        if all(len(field) < width // 2 for field in pair):
            pair = ["".join(field.ljust(width // 2) for field in pair).rstrip()]
        for field in pair:
            yield from _wrapped(field, width, "")


def _wrapped(text: str, width: int, style: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        yield from ((part, style) for part in textwrap.wrap(line, width, drop_whitespace=False) or [""])


def _field(label: str, value: str) -> str:
    return f"{label.strip('*')}: {', '.join(value.splitlines())}"


def _shown(text: dict[str, Any]) -> str:
    """Return a text object as it is displayed: entities as characters, a link as its label and address."""
    shown = str(text["text"])
    if text["type"] == "plain_text":
        return shown
    if shown.startswith("<") and "|" in shown:
        link, _, label = shown.strip("<>").partition("|")
        shown = f"{label} ({link})"
    return html.unescape(shown)
