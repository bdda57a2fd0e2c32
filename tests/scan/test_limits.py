"""Times (in seconds) and limits of this room."""

from __future__ import annotations

from tests.limits import limits_of

LIMITS = {
    "backfill.RULES_SECONDS": 600.0,
    "correlations.EVIDENCE_MAX": 32,
    "false_positives.MARKED_MAX": 100000,
    "findings.DATA_MAX": 65536,
    "findings.SOURCE_MAX": 1024,
    "findings.SOURCES_MAX": 32,
    "findings.WANTED_MAX": 10000,
    "host_database.READ_SECONDS": 1.0,
    "host_database.STEPS": 10000,
    "host_log.KEPT_MAX": 16384,
    "host_log.EXCEPTIONS_MAX": 10,
    "host_log.ERRORS_MAX": 1000,
    "host_log.FRAMES_MAX": 100,
    "host_log.FAILED_MAX": 200,
    "host_log.CREDENTIAL_LEAST": 4,
    "lifecycle.TOP_DATA_MAX": 200,
    "outbox_failure.EVENTS_MAX": 10000,
    "outbox_failure.SIZE_MAX": 33554432,
    "recovery.REPLAY_CHUNK": 500,
    "run.HOST_PATIENCE_SECONDS": 50.0,
    "run.FLUSH_MAX": 500,
    "run.TROUBLE_SECONDS": 60.0,
    "surface.ITEMS_MAX": 20,
    "surface.LOOK_EACH": 500,
    "surface.UNSORTED_MAX": 1000,
    "survey.CHUNK": 500,
}


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("scan") == LIMITS
