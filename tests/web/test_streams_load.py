"""A thousand event streams of a process that delivers: each gets what there is, and no delivery is lost."""

from __future__ import annotations

import json
import resource
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.benchmarks.browsing import deliveries_of, fill
from tests.benchmarks.measure import Measure
from tests.benchmarks.receiving import receiver
from tests.threads import until
from tests.tiers import slow
from tests.web.listening import Crowd, Listener, asked, connected
from tests.web.serving import OPERATOR, served
from tests.web.watching import SPARE, descriptors, memory

ONE_STORE = "it is about a server's clients"

DELIVERIES, STREAMS = 20_000, 1_000
#: streams that are never read, and bytes of memory that one may cost
UNREAD, UNREAD_BYTES = 200, 300_000
#: rounds of streams that come and go, the first of which may still fill the allocator's arenas,
#: and bytes that one stream may leave
ROUNDS, FILLING, LEFT_BYTES = 16, 8, 1_000
#: seconds after which the server has given up whoever does not read
GIVEN_UP = 90.0
pytestmark = slow


@pytest.fixture(autouse=True)
def many_files() -> None:
    """Let this process have two thousand sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


def tallies(folder: Path) -> dict[str, int]:
    with closing(Outbox(folder / FILE, listing=True)) as outbox:
        return outbox.scans.tallies()


def delivered_with(streams: int, folder: Path) -> Measure:
    """Deliver with so many streams."""
    folder.mkdir()
    with receiver() as url:
        fill(folder, url, DELIVERIES)
        with served(folder) as web:
            web.wait_for("sending")
            before = descriptors(web)
            with Crowd(web.port, OPERATOR, streams) as crowd:
                until(lambda: len(crowd.statuses) == streams, GIVEN_UP)
                found = deliveries_of(web.process.pid, folder, DELIVERIES)
                until(lambda: all(waiting(one) == 0 for one in crowd.statuses.values()), GIVEN_UP)
                assert crowd.ended == 0
            until(lambda: descriptors(web) <= before + SPARE, GIVEN_UP)
    assert tallies(folder) == {"waiting": 0, "delivered": DELIVERIES, "dead": 0}
    return found


def waiting(status: bytes) -> int:
    """Return how many deliveries wait, by a status."""
    return int(json.loads(status)["endpoints"][0]["waiting"])


def test_a_thousand_streams_get_what_there_is_while_everything_is_delivered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without, having = (delivered_with(streams, tmp_path / str(streams)) for streams in (0, STREAMS))
    rates, cpu = (without.per_second, having.per_second), (without.cpu_seconds, having.cpu_seconds)
    assert rates[0] and rates[1] and cpu[0] and cpu[1]
    with capsys.disabled():
        print(f"\ndeliveries/s without and with {STREAMS:,} streams: {rates[0]:,.0f}, {rates[1]:,.0f}", end="; ")
        print(f"ratio {rates[1] / rates[0]:.2f}, of the CPU for each {cpu[1] / cpu[0]:.2f}")


def test_streams_that_are_never_read_are_closed_and_cost_little(tmp_path: Path) -> None:
    with receiver() as url, ExitStack() as stack:
        fill(tmp_path, url, DELIVERIES)
        web = stack.enter_context(served(tmp_path))
        reading = stack.enter_context(Crowd(web.port, OPERATOR, 1))
        until(lambda: reading.statuses)
        before, begun = descriptors(web), memory(web)
        for _ in range(UNREAD):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", web.port))
            client.sendall(asked(web.port, OPERATOR))
        until(lambda: descriptors(web) >= before + UNREAD)
        deliveries_of(web.process.pid, tmp_path, DELIVERIES)
        assert memory(web) < begun + UNREAD * UNREAD_BYTES
        until(lambda: descriptors(web) <= before + SPARE, GIVEN_UP)
        assert reading.ended == 0
        assert web.client.get("/v1/session").status_code == 200
    assert tallies(tmp_path)["delivered"] == DELIVERIES


def test_a_thousand_streams_end_with_the_process_within_its_grace(tmp_path: Path) -> None:
    with receiver() as url:
        fill(tmp_path, url, 1)
        with served(tmp_path) as web, Crowd(web.port, OPERATOR, STREAMS) as crowd:
            until(lambda: len(crowd.statuses) == STREAMS, GIVEN_UP)
            web.process.send_signal(15)
            assert web.process.wait(10) == 0
            until(lambda: crowd.ended == STREAMS)
            assert not [line for line in web.said if "Traceback" in line]


def test_streams_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    with receiver() as url:
        fill(tmp_path, url, 1)
        with served(tmp_path) as web:
            web.wait_for("sending")
            sizes = []
            before = descriptors(web)
            for _ in range(ROUNDS):
                with Crowd(web.port, OPERATOR, 500) as crowd:
                    until(lambda: len(crowd.statuses) == 500, GIVEN_UP)
                until(lambda: descriptors(web) <= before + SPARE, GIVEN_UP)
                sizes.append(memory(web))
            assert sizes[-1] - sizes[FILLING] < (ROUNDS - FILLING) * 500 * LEFT_BYTES, sizes
            with Listener(connected(web.port, OPERATOR)) as stream:
                assert stream.next("status")["endpoints"]
