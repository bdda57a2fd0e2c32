"""Times (in seconds) and limits of an outbox on PostgreSQL."""

from __future__ import annotations

from sfwebhooks.outbox.postgres import connecting, lock_session
from tests.limits import limits_of

LIMITS = {
    "server.LOCK_SECONDS": 1,
    "server.STATEMENT_SECONDS": 30,
    "server.LISTING_SECONDS": 600,
    "server.IDLE_SECONDS": 10,
    "server.ACCEPT_CONNECT_SECONDS": 2,
    "server.AGAIN_SECONDS": 1.0,
    "server.PATIENCE_SECONDS": 5.0,
    "server.ACCEPT_SECONDS": 5.0,
    "server.MEASURE_SECONDS": 1.0,
    "server.PREPARED_MAX": 400,
    "connecting.VERSION_LEAST": 140000,
    "group.MOST": 250,
    "group.BYTES_MOST": 8_000_000,
    "partitions.BITS": 32,
    "periods.DAY_SECONDS": 86400.0,
    "periods.PERIODS_MOST": 14,
    "periods.REST_MOST": 5000,
    "periods.LOCK_MILLISECONDS": 100,
    "periods.AGAIN_SECONDS": 3600.0,
    "lock_session.BEAT_SECONDS": 2.0,
    "lock_session.ANSWER_SECONDS": 8.0,
    "lock_session.SILENT_SECONDS": 20,
    "lock_session.AGAIN_SECONDS": 1.0,
    "lock_session.UNUSED_SECONDS": 10.0,
    "connecting.CONNECT_SECONDS": 5,
    "connecting.LOOKS": 5,
    "advisory_locks.COUNT_SECONDS": 1.0,
    "advisory_locks.WANT_SECONDS": 2.0,
    "advisory_locks.ALIVE_SECONDS": 60.0,
    "advisory_locks.ELSEWHERE_SECONDS": 600.0,
}


def test_a_process_stops_long_before_the_server_lets_another_one_start() -> None:
    assert lock_session.BEAT_SECONDS < lock_session.ANSWER_SECONDS < lock_session.SILENT_SECONDS
    assert connecting.KEEPALIVE["tcp_user_timeout"] == 1000 * lock_session.ANSWER_SECONDS


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("outbox.postgres") == LIMITS
