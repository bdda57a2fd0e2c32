"""Times (in seconds) and limits of this room."""

from __future__ import annotations

from tests.limits import limits_of

LIMITS = {
    "admission.LEAST_MARK": 0.7,
    "bulk.TRIES": 10,
    "bulk.HOLD_SECONDS": 0.1,
    "bulk.FIRST": 100,
    "claim.END_SECONDS": 5.0,
    "claim.SMALLEST_OF": 50,
    "file.LOOK_SECONDS": 0.2,
    "file.EMPTY_SECONDS": 0.1,
    "listing.KEY_BYTES": 16,
    "listing.PREFIX_LEAST": 4,
    "listing.ALIKE": 10,
    "listing.RECENT": 10000,
    "locks.NOTE_MAX": 96,
    "opening.BUSY_SECONDS": 1.0,
    "outbox.EVENT_BYTES": 2000000,
    "permissions.TRIES": 10,
    "queue.CRASHES_MAX": 3,
    "queue.CRASH_SECONDS": 60.0,
    "retention.ERASE_SECONDS": 5.0,
    "retention.HANDLE_SECONDS": 34560000.0,
    "retention.PAUSE_SECONDS": 0.05,
    "schema.VERSION": 1,
    "selection.CHUNK": 500,
    "sequence_numbers.RANDOM_BITS": 40,
    "sequence_numbers.MARK_SIZE": 64,
    "finding_counts.TOP_MAX": 10,
    "totals.CHUNK_ATTEMPTS": 2000,
    "totals.COUNT_LEAST": 500,
    "totals.COUNT_MAX": 100000,
    "unencodable.EVENTS_MAX": 100000,
    "unencodable.PROBLEMS_MAX": 20,
    "unencodable.PROBLEM_MAX": 200,
    "claim.Limits.size": 1,
    "claim.Limits.wait": 0.0,
    "claim.Limits.max_bytes": 100000,
    "endpoint_state.Orders.paused_until": 0.0,
    "endpoint_state.Orders.resets": 0,
    "file.Storage.max_bytes": 512000000,
    "file.Storage.power_safe": False,
    "listing.Record.tries": 0,
    "listing.Backlog.waiting": 0,
    "listing.Backlog.refused": 0,
}


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("outbox") == LIMITS
