"""The Format of a chat: how it writes a Notice goes in, how it writes one delivery or several goes out."""

from __future__ import annotations

from typing import Any, Callable

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats.chat import notice
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.digest import Capacity, digest_notice
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.notice import Notice

#: seconds between two messages of a busy channel: Slack drops what exceeds about 30 a minute without saying so, and
#: Discord's channels take as many
BRAKE_SECONDS = 3.0


def chat_format(
    compose: Callable[[Notice, Endpoint], Content],
    room: Capacity,
    interval: float = 1.0,
    brake: float = BRAKE_SECONDS,
    **others: Any,
) -> Format:
    """Return the format of a chat.

    Args:
        compose: writes a notice as a message.
        room: the length of a digest's text that it never cuts.
        interval: seconds between two messages unless `rate` is set.
        brake: the same when a minute brings many.
        others: other fields of Format.
    """

    def render(delivery: Delivery, endpoint: Endpoint) -> Content:
        return compose(notice(delivery, endpoint), endpoint)

    def digest(batch: Batch, endpoint: Endpoint) -> Content:
        return compose(digest_notice(batch, endpoint, room), endpoint)

    its = {"named_max": room.named_max, "interval": interval, "brake": brake, **others}
    return Format(render, digest=digest, is_chat=True, **its)
