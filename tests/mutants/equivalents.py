"""Changes that no test can notice, each with its reason; they are not run."""

from __future__ import annotations

EQUIVALENT = {
    "sfwebhooks/outbox/sequence_numbers.py begin_series: 0 -> (number) 1": "lastrowid is never None after an INSERT",
    "sfwebhooks/delivery/alert_timing.py Alerting.__init__: 0.0 -> (number) 1.0": "read only once a death has set it",
    "sfwebhooks/outbox/permissions.py make: system.OWNERS and os.fstat(descriptor).st_mode & mode != mode -> (and/or)"
    " system.OWNERS or os.fstat(descriptor).st_mode & mode != mode": "sets the mode that the file already has",
    "sfwebhooks/outbox/permissions.py make: if system.OWNERS and os.fstat(descriptor).st_mode & mode != mode:"
    " -> (always) if True:": "sets the mode that the file already has",
    "sfwebhooks/outbox/permissions.py _is_private: return False -> (returns None) return None": "its caller negates it",
    "sfwebhooks/scan/host_database.py HostDatabase.worst: True -> (bool) False": "only speed: fewer calls",
}
