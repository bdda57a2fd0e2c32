"""The Budget of an attempt: its deadline and received bytes come in, the time left or an error goes out.

A limit for each read would never end an attempt with a peer that sends a byte a second, so each wait gets the remaining
time of the whole attempt.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from enum import Enum

from sfwebhooks.network.steps import Watch

#: most bytes that an attempt may receive: the reply's body, 64 KiB, and headers, interim replies, framing, TLS
RECEIVED_MAX = 256 * 1024


class Phase(Enum):
    """The phase of an attempt; the value names what it was waiting for when it timed out."""

    CONNECT = "connect"
    PROXY = "connection"
    TLS = "TLS handshake"
    REQUEST = "taking the request"
    REPLY = "reply"


class ReplyTooLongError(Exception):
    """The reply is longer than any answer to a webhook needs."""


@dataclass
class Budget:
    """The remaining time and bytes of one attempt. For use by one thread."""

    #: monotonic seconds at which the attempt is over
    ends_at: float
    #: bytes received so far; a stream counts them, and ends the attempt after RECEIVED_MAX
    received: int = 0
    phase: Phase = Phase.CONNECT
    #: whether its request went over a connection from an earlier attempt
    reused: bool = False
    #: whether any part of a reply has arrived
    answered: bool = False
    #: gets each step; None in normal sending
    watch: Watch | None = None

    def seconds_left(self) -> float:
        """Return the remaining time.

        Raises:
            socket.timeout: no time is left.
        """
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise socket.timeout("the attempt's time is over")
        return left
