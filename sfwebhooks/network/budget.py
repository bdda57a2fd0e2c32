"""The Budget of an attempt: how long it may go on, how much it may receive, and how far it has come.

A limit for each read would never end an attempt with a peer that sends a byte a second, so each wait gets what is left
of the whole attempt.
"""

from __future__ import annotations

import socket
import time
from enum import Enum

#: bytes that an attempt may receive in all: the reply's body, 64 KiB, and headers, interim replies, framing, TLS
RECEIVED_MAX = 256 * 1024


class Phase(Enum):
    """How far an attempt has come; the value is what it was waiting for when its time was over."""

    CONNECT = "connect"
    PROXY = "connection"
    TLS = "TLS handshake"
    REQUEST = "taking the request"
    REPLY = "reply"


class ReplyTooLongError(Exception):
    """More came than any answer to a webhook needs."""


class Budget:
    """What one attempt may still use. One thread's matter.

    Args:
        ends_at: monotonic seconds at which the attempt is over.
    """

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        #: bytes that it has received
        self.received = 0
        self.phase = Phase.CONNECT
        #: whether it sent its request over a connection that an earlier one had used
        self.reused = False
        #: whether anything of a reply has come
        self.answered = False

    def seconds_left(self) -> float:
        """Return what is left of the time.

        Raises:
            socket.timeout: nothing is.
        """
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise socket.timeout("the attempt's time is over")
        return left

    def within(self, seconds: float) -> float:
        """Return the monotonic seconds at which some seconds are over, or the attempt if that is earlier."""
        return min(self.ends_at, time.monotonic() + seconds)

    def receive(self, count: int) -> None:
        """Count what was received.

        Raises:
            ReplyTooLongError: it was too much.
        """
        self.received += count
        if self.received > RECEIVED_MAX:
            raise ReplyTooLongError(f"more than {RECEIVED_MAX // 1024} KiB of headers and framing")
