"""Times (in seconds) and limits of this room."""

from __future__ import annotations

from tests.limits import limits_of

LIMITS = {
    "cves.TEXT_MAX": 1024,
    "data_file.LOOK_SECONDS": 60.0,
    "data_file.OLD_DAYS": 30,
    "data_file.JSON_MAX": 8388608,
    "kev.FILE_MAX": 8388608,
    "kev.SHOWN_MAX": 60,
    "epss.FILE_MAX": 67108864,
    "epss.SHOWN_MAX": 60,
}


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("enrichment") == LIMITS
