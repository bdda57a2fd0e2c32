"""Times (in seconds) and limits of this room."""

from __future__ import annotations

from tests.limits import limits_of

LIMITS = {
    "backfill.Past.is_known": False,
    "backfill.RULES_SECONDS": 600.0,
    "correlations.EVIDENCE_MAX": 32,
    "false_positives.MARKED_MAX": 100000,
    "findings.DATA_MAX": 65536,
    "findings.SOURCE_MAX": 1024,
    "findings.SOURCES_MAX": 32,
    "findings.WANTED_MAX": 10000,
    "history.COMPARED_MAX": 10,
    "history.COMPARED_MIN": 3,
    "history.EARLIER_MAX": 50,
    "history.PAST_READ_SECONDS": 2.0,
    "history.MODULES_SECONDS": 5.0,
    "history.DELETED_SECONDS": 3456000.0,
    "host_database.READ_SECONDS": 1.0,
    "host_database.STEPS": 10000,
    "host_database.CONFIG_ROWS": 20000,
    "host_database.PART": 1000,
    "host_log.KEPT_MAX": 16384,
    "host_log.EXCEPTIONS_MAX": 10,
    "host_log.ERRORS_MAX": 1000,
    "host_log.FRAMES_MAX": 100,
    "host_log.FAILED_MAX": 200,
    "host_log.CREDENTIAL_LEAST": 4,
    "lifecycle.TOP_DATA_MAX": 200,
    "outbox_failure.EVENTS_MAX": 10000,
    "outbox_failure.SIZE_MAX": 33554432,
    "missing.CHUNK": 500,
    "recovery.REPLAY_CHUNK": 500,
    "run.HOST_PATIENCE_SECONDS": 50.0,
    "run.FLUSH_MAX": 500,
    "run.TROUBLE_SECONDS": 60.0,
    "run.GRACE_SECONDS": 3.0,
    "sighted.EVENTS_MAX": 50000,
    "sighted.LOOK_SECONDS": 3.0,
    "surface.ITEMS_MAX": 20,
    "surface.LOOK_EACH": 500,
    "surface.UNSORTED_MAX": 1000,
    "watch.LOOKED_SECONDS": 600.0,
    "watch.OVERDUE_TIMES": 3,
    "watch.OVERDUE_LEAST": 300.0,
    "watch.RUNNING_SECONDS": 2592000.0,
    "watch.THIN_SHARE": 0.2,
    "watch.WORKED_SCANS": 3,
    "watch.SETTLE_SECONDS": 30.0,
    "watch.MARGIN_SECONDS": 3600.0,
    "watch_events.SHOWN_MAX": 100,
    "watch_events.MODULES_MAX": 10,
    "watch_thread.WATCH_SECONDS": 60.0,
    "watch_thread.JOIN_SECONDS": 3.0,
}


def test_times_and_limits_are_those_that_were_chosen() -> None:
    assert limits_of("scan") == LIMITS
