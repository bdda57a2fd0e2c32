"""Changes that no test can notice, each with its reason; they are not run."""

from __future__ import annotations

EQUIVALENT = {
    "sfwebhooks/outbox/sequence_numbers.py begin_series: 0 -> (number) 1": "lastrowid is never None after an INSERT",
    "sfwebhooks/delivery/alert_timing.py Alerting.__init__: 0.0 -> (number) 1.0": "read only once a death has set it",
    "sfwebhooks/delivery/alert_timing.py Alerting.__init__: self._died_at = 0.0 -> (gone) pass": "as above",
    "sfwebhooks/outbox/permissions.py make: system.OWNERS and os.fstat(descriptor).st_mode & mode != mode -> (and/or)"
    " system.OWNERS or os.fstat(descriptor).st_mode & mode != mode": "sets the mode that the file already has",
    "sfwebhooks/outbox/permissions.py make: if system.OWNERS and os.fstat(descriptor).st_mode & mode != mode:"
    " -> (always) if True:": "sets the mode that the file already has",
    "sfwebhooks/outbox/permissions.py _is_private: return False -> (returns None) return None": "its caller negates it",
    "sfwebhooks/scan/host_database.py HostDatabase.worst: True -> (bool) False": "only speed: fewer calls",
    "sfwebhooks/outbox/file.py File.__init__: self._mark ="
    " HighWaterMark(path) -> (gone) pass": "replaced when the file is opened, before it is used",
    "sfwebhooks/outbox/file.py File.__init__: self._marked = 0 "
    "-> (gone) pass": "set when the file is opened, before it is used",
    "sfwebhooks/outbox/file.py File.__init__: True -> (bool) False": "the first file differs from none",
    "sfwebhooks/outbox/file.py File.__init__: 0.0 -> (number) 1.0": "a machine is up for more than a second",
    "sfwebhooks/outbox/file.py File.look: 0.0 -> (number) 1.0": "a machine is up for more than a second",
    "sfwebhooks/outbox/file.py File.empty_log: "
    "self.checkpoint() -> (gone) pass": "only speed: the log is emptied by the next statement",
    "sfwebhooks/outbox/file.py File.raise_mark: position(sql) if number "
    "+ reused > self._marked else None -> (always) position(sql) if True"
    " else None": "only speed: the mark is there already",
    "sfwebhooks/outbox/file.py File.raise_mark: number + reused > "
    "self._marked -> (compared) number + reused >= self._marked": "only speed: the mark is there already",
    "sfwebhooks/outbox/file.py File.raise_mark: self._marked = has.rows "
    "-> (gone) pass": "only speed: the mark is there already",
    "sfwebhooks/outbox/file.py File._corrupt: "
    "True -> (bool) False": "the file set aside keeps its inode, so the new one has another",
    "sfwebhooks/outbox/file.py File._connect: now - self._looked_at > "
    "LOOK_SECONDS -> (compared) now - self._looked_at >= LOOK_SECONDS": "the clock never shows exactly this time",
    "sfwebhooks/outbox/file.py File._connect: now - self._looked_at -> "
    "(computed) now + self._looked_at": "only speed: it looks at each call",
    "sfwebhooks/outbox/file.py File._connect: self._looked_at = now -> "
    "(gone) pass": "only speed: it looks at each call",
    "sfwebhooks/outbox/file.py _locked: time.monotonic() < deadline ->"
    " (compared) time.monotonic() <= deadline": "the clock never shows exactly this time",
    "sfwebhooks/outbox/file.py _locked: time.sleep(0.01) -> (gone) pass": "only speed: it tries without a pause",
    "sfwebhooks/outbox/file.py _locked: 0.01 -> (number) 1.01": "only speed: it tries less often",
    "sfwebhooks/outbox/sequence_numbers.py HighWaterMark.raise_to: before.rows < "
    "here.rows -> (compared) before.rows <= here.rows": "writes what is there already",
    "sfwebhooks/outbox/sequence_numbers.py HighWaterMark.replace: 4 -> "
    "(number) 40": "a longer name of a temporary file",
    "sfwebhooks/outbox/sequence_numbers.py _FileState.write: if has: -> (always) if True:": "a series was just begun",
    "sfwebhooks/outbox/locks.py Lock.__init__: self._path = "
    "outbox -> (gone) pass": "set when the lock is taken, before it is used",
    "sfwebhooks/outbox/locks.py Lock.take: self._close() -> (gone) pass": "_lock closes it too",
    "sfwebhooks/outbox/claim.py Pick: 2 -> (number) 20": "another value of a member that is used by its name",
    "sfwebhooks/outbox/opening.py opened_to_read: connection.close() -> "
    "(gone) pass": "the garbage collector closes it too",
    "sfwebhooks/outbox/opening.py use_log: time.monotonic() > deadline"
    " -> (compared) time.monotonic() >= deadline": "the clock never shows exactly this time",
    "sfwebhooks/outbox/opening.py use_log: time.sleep(0.01) -> (gone) pass": "only speed: it tries without a pause",
    "sfwebhooks/outbox/opening.py use_log: 0.01 -> (number) 1.01": "only speed: it tries less often",
    "sfwebhooks/outbox/retention.py Retention.drop: if dropped: -> "
    "(always) if True:": "only speed: there is nothing to erase",
    "sfwebhooks/outbox/retention.py Retention._erase: if not "
    "is_rewritten: -> (always) if True:": "only speed: it is rewritten at each try",
    "sfwebhooks/outbox/retention.py Retention._erase: time.monotonic()"
    " > deadline -> (compared) time.monotonic() >= deadline": "the clock never shows exactly this time",
    "sfwebhooks/outbox/bulk.py _transact: raise "
    "AssertionError('the last try returns or raises') -> "
    "(gone) pass": "never reached: it is there for the type checker",
    "sfwebhooks/outbox/bulk.py change_in_chunks: 0.0 -> (number) 1.0": "only speed: a pause before the first one",
    "sfwebhooks/outbox/listing.py Listing._beginning: 1 -> (number) 2": "reads a row that is not shown",
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
