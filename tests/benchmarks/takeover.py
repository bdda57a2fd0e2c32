"""How long it takes until another host sends to a URL whose owner was killed, cut off from the database, or put to
sleep: as distributions, over machines with cables of their own (`tests.machines`), which only root can make.

    python -m tests.benchmarks.takeover [--kills 50] [--partitions 10] [--sleeps 10] [--rate 20]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from sfwebhooks.errors import OutboxError
from sfwebhooks.screening import Wanted
from tests.benchmarks.accepting import event_of
from tests.builders import PATIENCE
from tests.crash.fleet import Fleet, Node
from tests.threads import until

NAME = "team"
ENDPOINTS = {NAME: "events = all\ntimeout = 5s"}
HOSTS = 2
#: requests in a row by which a host is known to own the URL: one that has slept may make one more
OWN = 5
#: seconds within which another host has taken over
SECONDS_MAX = 60.0


class Takeovers:
    """A fleet of two hosts, of which one sends, and events that come at a steady rate."""

    def __init__(self, fleet: Fleet, per_second: float) -> None:
        self._fleet = fleet
        self._door = fleet.doors[NAME]
        self._per_second = per_second
        self._ended = threading.Event()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        for number in range(1, HOSTS + 1):
            fleet.add(f"host-{number}").deliver()
        self._feeder.start()

    def close(self) -> None:
        self._ended.set()
        self._feeder.join(PATIENCE)

    def measure(self, upset: Callable[[Node], object], calm: Callable[[Node], object]) -> float:
        """Upset the host that sends, and return the seconds until another one does; calm it then."""
        until(lambda: all("webhooks: sending" in node.log for node in self._fleet.nodes))
        before = len(self._door.caught)
        owner = self._fleet.nodes[until(lambda: self._owner(before)) - 1]
        begin, before = time.monotonic(), len(self._door.caught)
        upset(owner)
        next_one = until(lambda: next((one for one in self._door.caught[before:] if one.worker != owner.number), None),
                         SECONDS_MAX)  # fmt: skip
        calm(owner)
        return float(next_one.begin) - begin

    def _owner(self, before: int) -> int:
        """Return the number of the host that has made the last OWN requests, of those after the first so many."""
        last = {one.worker for one in self._door.caught[before:][-OWN:]}
        return last.pop() if len(last) == 1 and len(self._door.caught) >= before + OWN else 0

    def _feed(self) -> None:
        wanted = [Wanted(NAME, "high_risk_event")]
        start = time.monotonic()
        for number in count():
            if self._ended.wait(max(0.0, start + number / self._per_second - time.monotonic())):
                return
            with suppress(OutboxError):  # a host that was cut off while it was writing holds others up for seconds
                self._fleet.outbox.accept([(event_of(number), wanted)], time.time())


def again(node: Node) -> None:
    """Start a killed host, and wait until it sends."""
    lines = node.log.count("webhooks: sending")
    node.deliver()
    until(lambda: node.log.count("webhooks: sending") > lines)


def show(what: str, took: list[float]) -> None:
    if took:
        ordered = sorted(took)
        p90 = ordered[int(len(ordered) * 0.9)]
        words = f"median {statistics.median(took):.2f} s, 90 % within {p90:.2f} s, most {ordered[-1]:.2f} s"
        print(f"takeover after {what}, {len(took)} times: least {ordered[0]:.2f} s, {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.takeover")
    for name, number in (("kills", 50), ("partitions", 10), ("sleeps", 10), ("rate", 20)):
        parser.add_argument(f"--{name}", type=int, default=number)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), ENDPOINTS) as fleet:
        takeovers = Takeovers(fleet, given.rate)
        try:
            show("a kill", [takeovers.measure(Node.kill, again) for _ in range(given.kills)])
            show("a partition", [takeovers.measure(Node.cut, Node.heal) for _ in range(given.partitions)])
            show("a sleep", [takeovers.measure(Node.sleep, Node.wake) for _ in range(given.sleeps)])
        finally:
            takeovers.close()


if __name__ == "__main__":
    main()
