"""Changes that no test can notice, each with its reason; they are not run."""

from __future__ import annotations

EQUIVALENT = {
    "sfwebhooks/outbox/sequence_numbers.py begin_series: 0 -> (number) 1": "lastrowid is never None after an INSERT",
    "sfwebhooks/delivery/alert_timing.py Alerting.__init__: 0.0 -> (number) 1.0": "read only once a death has set it",
    "sfwebhooks/outbox/permissions.py make: system.OWNERS and os.fstat(descriptor).st_mode & mode != mode -> (and/or)"
    " system.OWNERS or os.fstat(descriptor).st_mode & mode != mode": "sets the mode that the file already has",
    "sfwebhooks/scan/host_database.py HostDatabase.worst: True -> (bool) False": "only speed: fewer calls",
    "sfwebhooks/scan/run.py"
    " ScanRun.__init__: self._passes = False -> (gone) pass": "read only in trouble, which sets it",
    "sfwebhooks/scan/run.py ScanRun.__init__: False -> (bool) True": "read only in trouble, which sets it",
    "sfwebhooks/scan/run.py ScanRun.__init__: 0.0 -> (number) 1.0": "read only in trouble, which sets it",
    "sfwebhooks/scan/run.py ScanRun.end: time.monotonic() < deadline -> (compared) time.monotonic() <="
    " deadline": "no clock reads the very deadline",
    "sfwebhooks/scan/run.py ScanRun.end: time.sleep(0.2) -> (gone) pass": "only speed: more tries",
    "sfwebhooks/scan/run.py ScanRun.end: 0.2 -> (number) 1.2": "only speed: fewer tries",
    "sfwebhooks/scan/run.py"
    " ScanRun.end: self._dispatcher.wake() -> (gone) pass": "only speed: lingering wakes the queues too",
    "sfwebhooks/scan/run.py ScanRun._report_end: while True: -> (always) while True:": "the same code",
    "sfwebhooks/scan/run.py ScanRun._report_end: time.monotonic() > deadline -> (compared) time.monotonic() >="
    " deadline": "no clock reads the very deadline",
    "sfwebhooks/scan/run.py ScanRun._report_end: time.sleep(0.2) -> (gone) pass": "only speed: more tries",
    "sfwebhooks/scan/run.py ScanRun._report_end: 0.2 -> (number) 1.2": "only speed: fewer tries",
    "sfwebhooks/scan/run.py ScanRun._flush:"
    " if not self._begun_in: -> (always) if True:": "only speed: `_begin_once` returns at once if the scan has begun",
    "sfwebhooks/scan/run.py ScanRun._report_trouble: now - self._warned_at >= TROUBLE_SECONDS -> (compared)"
    " now - self._warned_at > TROUBLE_SECONDS": "no clock reads the very second",
    "sfwebhooks/scan/run.py ScanRun._report_errors:"
    " if errors: -> (always) if True:": "only speed: nothing is accepted, and the queues look for work once more",
    "sfwebhooks/scan/run.py"
    " ScanRun._report_errors: self._dispatcher.wake() -> (gone) pass": "only speed: the queues look each second",
    "sfwebhooks/scan/run.py"
    " ScanRun._report_progress: self._dispatcher.wake() -> (gone) pass": "only speed: the queues look each second",
    "sfwebhooks/scan/run.py ScanRun._begin_once: if self._begun_in and self._begun_in =="
    " self._outbox.file.generation():"
    " -> (never) if False:": "only speed: what is begun is committed once more, and ignored",
    "sfwebhooks/pipeline.py deliver: excerpt(reply, state.mask) if reply.body or reply.detail else '' ->"
    " (always) excerpt(reply, state.mask) if True else ''": "only speed: the excerpt of nothing is empty",
    "sfwebhooks/scan/backfill.py _check_over: abs(time.time() - row.ended) < RULES_SECONDS -> (compared)"
    " abs(time.time() - row.ended) <= RULES_SECONDS": "no clock reads the very second",
    "sfwebhooks/scan/progress.py Progress.look:"
    " if self._modules is None: -> (always) if True:": "only speed: the modules of a scan do not change",
    "sfwebhooks/scan/parentage.py"
    " process_mark: 32 -> (number) 320": "a longer part of the same digest, compared with one as long",
    "sfwebhooks/scan/findings.py can_be_wanted: 0 -> (number) 1": "a risk of 1 is below the least bound, as 0 is",
    "sfwebhooks/scan/findings.py source_data: 2 -> (number) 20": "only speed: more text is cleaned before the cut",
    "sfwebhooks/scan/findings.py"
    " event_of_finding: 0.0 -> (number) 1.0": "an event with a problem is counted, and its time is not stored",
    "sfwebhooks/scan/host_database.py HostDatabase._open: time.monotonic() > deadline -> (compared)"
    " time.monotonic() >= deadline": "no clock reads the very deadline",
    "sfwebhooks/scan/recovery.py _accept_all: time.monotonic() > deadline -> (compared) time.monotonic() >="
    " deadline": "no clock reads the very deadline",
    "sfwebhooks/scan/host_log.py"
    " stop_listening: if listener: -> (always) if True:": "removing nothing from a logger is harmless",
    "sfwebhooks/scan/host_log.py ErrorListener._is_new: return False -> (returns None) return None": "None is as false",
    "sfwebhooks/scan/host_log.py"
    " _in_traceback: break -> (continue) continue": "only speed: what follows the end of a traceback is nothing",
    "sfwebhooks/scan/host_log.py _module: record.msg if isinstance(record.msg, str) else '' -> (always)"
    " record.msg"
    " if True else ''": "a message that is not a text names no module either way: the failure is swallowed",
}
