"""Sharing: the URLs of an outbox are shared out among the processes of all machines that send from it.

A process takes no more than its part of the URLs that have work or an owner, unless nobody else takes one; and of more
than its part it releases those that another process asks for. The processes of one file do not share: the first one has
all.
"""

from __future__ import annotations

from collections.abc import Sequence

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.database import LocksPart
from sfwebhooks.system import Clock

#: seconds after which a URL that is free is left by the others, whose settings may not have it
LEFT_SECONDS = 3.0


class Sharing:
    """This process's part of the URLs.

    Args:
        steady: a clock that cannot be set, in seconds.
    """

    def __init__(self, queues: Sequence[SendQueue], locks: LocksPart, steady: Clock) -> None:
        self._queues = queues
        self._locks = locks
        self._steady = steady
        #: a queue that had to wait -> since when its URL has been free
        self._free_since: dict[SendQueue, float] = {}
        for queue in queues:
            queue.may_begin = self.allows

    def allows(self, queue: SendQueue) -> bool:
        """Return whether this process may take a URL, as far as the others are concerned.

        Raises:
            OutboxError: they cannot be counted.
        """
        if self._spare() > 0 or self._is_left(queue):
            self._free_since.pop(queue, None)
            return True
        return False

    def look(self) -> None:
        """Release URLs that other processes ask for, if this one has more than its part; call about once a second."""
        wanted = [queue for queue in self._queues if queue.is_wanted]
        if wanted:
            for queue in wanted[: max(0, -self._spare())]:
                queue.leave()

    def _spare(self) -> int:
        """Return how many URLs this process may take, or is to release if negative. Those of others count although
        nothing waits there at the moment: else two processes would give each other the same ones again and again."""
        senders, urls = self._locks.senders()
        owned = sum(queue.owned and not queue.leaves for queue in self._queues)
        shared = sum(queue.owned or queue.has_work or queue.url_id in urls for queue in self._queues)
        return len(self._queues) if senders <= 1 else -(-shared // senders) - owned

    def _is_left(self, queue: SendQueue) -> bool:
        now = self._steady()
        try:
            is_free = queue.is_free
        except OutboxError:
            is_free = False
        if not is_free:
            self._free_since.pop(queue, None)
            return False
        return now - self._free_since.setdefault(queue, now) >= LEFT_SECONDS
