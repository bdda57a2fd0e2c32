"""Times (in seconds) and limits of a transfer."""

from __future__ import annotations

from tests.limits import limits_of

LIMITS = {
    "cleaning.NO_SEVERITY": -1,
    "source.SKIPPED_MOST": 100_000,
    "source.UNKNOWN": 2**40,
    "source.LAST": 2**53,
    "target.VOUCHED_SECONDS": 30 * 86400,
    "target.TransferState.step": 0,
    "target.TransferState.place": 0,
    "target.TransferState.is_again": False,
    "target.TransferState.is_done": False,
    "transfer.GROUP_ROWS": 5000,
}


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("outbox.transfer") == LIMITS
