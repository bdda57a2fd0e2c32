"""Times (in seconds) and limits of this room."""

from __future__ import annotations

from tests.limits import limits_of

LIMITS = {
    "ownership.Note.rested_at": 0.0,
    "pace.BURST": 5,
    "pace.Pace.brake": 0.0,
    "pace.Pace.rested_at": 0.0,
    "alert_timing.GATHER_SECONDS": 1.0,
    "alert_timing.DEATHS_SECONDS": 5.0,
    "background.ROUND_SECONDS": 1.0,
    "dispatcher.REST_SHARE": 9.0,
    "dispatcher.SHORTAGE_OVER_SECONDS": 30.0,
    "ownership.LIFE_SECONDS": 5.0,
    "ownership.GONE_SECONDS": 15.0,
    "ownership.HUNG_SECONDS": 60.0,
    "ownership.PULL_SECONDS": 60.0,
    "send_queue.POLL_SECONDS": 0.5,
    "send_queue.AHEAD_MAX": 20,
    "send_queue.AHEAD_SECONDS": 0.5,
    "send_queue.CERTAIN_SECONDS": 0.02,
    "settling.UNSETTLED_MAX": 1000,
    "settling.GROUP_MAX": 20,
    "settling.GROUP_SECONDS": 0.05,
    "settling.AGAIN_SECONDS": 1.0,
    "process.START_SECONDS": 10.0,
    "status.PACED_SECONDS": 10.0,
    "maintenance.SIZE_SECONDS": 5.0,
    "maintenance.PROOF_SECONDS": 1.0,
    "maintenance.TIDY_SECONDS": 60.0,
    "proving.AROUND_BYTES": 4000,
    "proving.LIST_BYTES_LEAST": 8000,
    "proving.NAME_MAX": 256,
    "maintenance.AGE_SECONDS": 60.0,
    "maintenance.REMOVED_SECONDS": 7200.0,
    "maintenance.AGE_SHARE": 0.1,
    "maintenance.PRUNE_CHUNKS": 20,
    "maintenance.CERTIFICATE_SECONDS": 21600.0,
    "baton.LOST_SECONDS": 0.1,
    "baton.SLOW_WAIT_SECONDS": 0.001,
    "baton.REQUEST_SECONDS": 0.005,
    "baton.TURN_SECONDS": 0.005,
    "workers.SLOW_SECONDS": 0.005,
    "workers.UNREST_SECONDS": 0.5,
    "ownership.Note.open_at": 0.0,
    "sharing.LEFT_SECONDS": 3.0,
    "ownership.Note.pid": 0,
    "ownership.Note.at": 0.0,
    "pace.Pace.interval": 0.0,
    "pace.Pace.open_at": 0.0,
    "status.Situation.interval": 0.0,
    "status.Situation.batch_size": 1,
}


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("delivery") == LIMITS
