"""Processes that are killed while a receiver judges the messages of a request one by one, or acknowledges them later:
nothing is lost, and what comes twice has the id that it had."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, a_delivery, an_event
from tests.conftest import put, sql
from tests.formats.cases import cve
from tests.processes import Process
from tests.receivers.collectors import Elasticsearch, Splunk
from tests.receivers.vendor import Answer, Asked, Vendor, serve
from tests.stores import BOTH, place_in

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

SIZE = 100
BUSY, WRONG = {3, 50, 99}, {7, 60}
CHANNEL = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba"


def elastic() -> Vendor:
    service = Elasticsearch()
    service.rejected, service.unwanted = {*map(cve, BUSY)}, {*map(cve, WRONG)}
    return service


def splunk() -> Vendor:
    service = Splunk()
    service.unwanted = {*map(cve, WRONG)}
    return service


def acknowledging() -> Vendor:
    service = Splunk()
    service.acknowledges, service.unwanted = True, {*map(cve, WRONG)}
    return service


SERVICES: dict[str, tuple[Callable[[], Vendor], str]] = {
    "elastic": (elastic, ""),
    "splunk": (splunk, ""),
    "acknowledging": (acknowledging, f"splunk_channel = {CHANNEL}\n"),
}


class Killer:
    """Answers as a service does, and kills the process that sends, some seconds after each of the first requests.

    Not after a question for an acknowledgement: Splunk forgets what it has told, and is given up only after minutes.
    """

    def __init__(self, service: Vendor, moments: Iterator[float | None]) -> None:
        self.service = service
        self.process: Process | None = None
        self._moments = moments

    def __call__(self, asked: Asked) -> Answer:
        answer, process = self.service(asked), self.process
        after = None if asked.path.endswith("/ack") else next(self._moments, None)
        if after == 0.0:
            self._kill(process)
        elif after:
            threading.Timer(after, self._kill, [process]).start()
        return answer

    @staticmethod
    def _kill(process: Process | None) -> None:
        if process and process.returncode is None:  # the test waits for it, so its number is not another one's yet
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def ids_of(service: Vendor) -> list[str]:
    """Return the ids of the deliveries that a service took, in their order, repetitions included."""
    if isinstance(service, Elasticsearch):
        return [*service.stored]
    return [one["event"]["delivery_id"] for one in service.taken]


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("moments", [[0.0] * 3, [0.0005, 0.001, 0.002, 0.005], [0.0, 0.01, 0.0, 0.02]], ids=str)
def test_nothing_is_lost_or_comes_under_another_id(name: str, moments: list[float], tmp_path: Path) -> None:
    make, more = SERVICES[name]
    service = make()
    killer = Killer(service, iter(moments))
    settings = tmp_path / "webhooks.ini"
    settings.touch(0o600)
    with serve(killer) as service.root:
        batches = {"batch_size": SIZE, "batch_max_bytes": "1MB", "batch_wait": "0.01s"}
        keys = {"url": service.url, "format": service.format, "events": "all", **service.keys, **batches}
        keys["retry_schedule"] = "1s, 1s, 1s, 1s, 1s, 1s"
        settings.write_text("[webhooks.soc]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) + more)
        with closing(Outbox(place_in(tmp_path))) as outbox:
            put(outbox, load(settings).endpoints[0], events=SIZE)
            for _ in range(len(moments) + 5):
                killer.process = drain = Process(["drain", "--timeout", "5s"], env=_environment(tmp_path))
                drain.wait(PATIENCE * 3)
                states = dict(sql(outbox, "SELECT sequence, state FROM delivery"))
                if not [number for number, state in states.items() if state == "waiting" and number not in WRONG]:
                    break
    assert {number for number, state in states.items() if state == "delivered"} == {*range(1, SIZE + 1)} - WRONG
    expected = {a_delivery(an_event(number), "soc").id for number in range(1, SIZE + 1) if number not in WRONG}
    assert {*ids_of(service)} == expected


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "SPIDERFOOT_DATA": str(folder)}
