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
}
