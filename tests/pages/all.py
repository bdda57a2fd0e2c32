"""The pages that are made from the code, by the names of their files."""

from __future__ import annotations

from tests.pages import commands, event_types, keys, messages, reasons

PAGES = {
    "commands.md": commands.page,
    "event-types.md": event_types.page,
    "keys.md": keys.page,
    "messages.md": messages.page,
    "reasons.md": reasons.page,
}
