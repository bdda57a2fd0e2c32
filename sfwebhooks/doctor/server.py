"""The checks of an outbox on PostgreSQL that can be reached: its user's privileges, its clock, and what keeps it from
removing deleted rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.examination import Holder, ServerState, state_of_server
from sfwebhooks.text import age

#: seconds that the clocks of this machine and of the server may differ, and that a transaction may be open
CLOCK_SECONDS, OPEN_SECONDS = 5.0, 300.0
#: most transactions that are named
HOLDERS_MAX = 3


def server_reports(found: Installation, place: Dsn) -> Iterator[Report]:
    """Report what is wrong with a server that can be used, or that nothing is."""
    with closing(Outbox(place, listing=True)) as outbox:
        state = state_of_server(outbox.database)
    words = f"{place}: PostgreSQL {state.version}, schema {state.schema}"
    if state.refused:
        cure = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {state.schema} TO its user"
        yield Report("outbox", f"{words}; no access to {', '.join(state.refused)}", Level.ERROR, cure)
    else:
        yield Report("outbox", words)
    skew = state.clock_at - found.now
    if abs(skew) > CLOCK_SECONDS:
        which = "ahead of" if skew > 0 else "behind"
        words = f"the server's clock is {age(abs(skew))} {which} that of this machine"
        yield Report("outbox", words, Level.WARNING, "set both clocks (timedatectl set-ntp true)")
    yield from _open_transactions(state)


def _open_transactions(state: ServerState) -> Iterator[Report]:
    """Report transactions that have been open for long: what is settled and deleted meanwhile stays in the tables."""
    for one in [one for one in state.holders if one.age is None or one.age > OPEN_SECONDS][:HOLDERS_MAX]:
        words = f"{_named(one)} keeps deleted rows from being removed: tables grow, and reading them becomes slow"
        yield Report("outbox", words, Level.WARNING, _cure(one))
    if not state.sees_all:
        cure = "GRANT pg_read_all_stats TO its user, to see them"
        yield Report("outbox", "open transactions of other users are not visible", Level.OK, cure)


def _named(one: Holder) -> str:
    user = f" of {one.user}" if one.user else ""
    return f"{one.name}{user}{'' if one.age is None else f', open for {age(one.age)},'}"


def _cure(one: Holder) -> str:
    kind, _, name = one.name.partition(" ")
    if kind == "process":
        return f"end it, or SELECT pg_terminate_backend({name})"
    return f"ROLLBACK PREPARED '{name.rpartition(' ')[2]}'" if kind == "prepared" else "remove it if nothing uses it"
