"""The Format of a chat: how it writes a Notice goes in, how it writes one delivery or several goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery
from sfwebhooks.formats.chat import Notice, notice
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.digest import digest_notice
from sfwebhooks.formats.format import Format


def chat_format(compose: Callable[[Notice, Endpoint], Content], interval: float = 1.0, **others: Any) -> Format:
    """Return the format of a chat.

    Args:
        compose: writes a notice as a message.
        interval: seconds between two messages unless `rate` is set.
        others: other fields of Format.
    """

    def render(delivery: Delivery, endpoint: Endpoint) -> Content:
        return compose(notice(delivery, endpoint), endpoint)

    def digest(deliveries: Sequence[Delivery], endpoint: Endpoint) -> Content:
        return compose(digest_notice(deliveries, endpoint), endpoint)

    return Format(render, digest=digest, is_chat=True, interval=interval, **others)
