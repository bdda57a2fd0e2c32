"""The spool: a scan's events come in, on the disk of its machine; the forwarder (`scan/forwarder`) takes them out again
once they are committed to the outbox of the settings.

It is an outbox of its own with one endpoint, which wants whatever an endpoint of the settings subscribes to: filters,
sightings and numbers are decided where an event is forwarded to. An event is known by its id here too, so that a second
forwarder, or a second attempt, removes nothing that came since. One that cannot be forwarded because of an error of
ours is set aside: it stays, dead, until an operator lets it be tried again or drops it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sfwebhooks.events import Delivery, Scan, WebhookEvent, event_key_of, lifecycle_id
from sfwebhooks.health import Condition, Health
from sfwebhooks.jsontext import Stored
from sfwebhooks.outbox.counting import ADD
from sfwebhooks.outbox.endpoint_state import save_health
from sfwebhooks.outbox.erasure import note_deletion, note_order
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.rows import EVENT, READABLE, deliveries
from sfwebhooks.outbox.selection import marks
from sfwebhooks.retry import State
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.severity import Severity

log = logging.getLogger("spiderfoot.webhooks")
#: its only endpoint, and who wants each of its events
FORWARDER = "forwarder"
TO_FORWARD = (Wanted(FORWARDER, FORWARDER),)
#: type of the event that says that a scan is over
OVER = "scan_over"
#: bytes of data after which a group is large enough
BYTES_MOST = 8_000_000
#: events that are set aside and read at once
PAGE = 20
#: the oldest events, but those of some scans
OLDEST = "WHERE d.state = 'waiting' AND coalesce(s.id, '') NOT IN ({0}) ORDER BY d.number LIMIT ?"
#: of some deliveries, those with an event that we never wrote: no message could be built from it
DAMAGED = f"""
    SELECT d.number FROM delivery d JOIN event e ON e.number = d.event WHERE d.number IN ({{0}})
    AND NOT (typeof(id) = 'blob' AND length(id) = 16 AND typeof(at) = 'real' AND severity IN (0, 1, 2, 3, 4)
        AND {READABLE} AND (e.scan = 0 OR EXISTS (SELECT 1 FROM scan WHERE number = e.scan)))
"""  # noqa: S608
#: what is left of a scan (?1) that is over and has no events: its ids stay in the outbox that it was forwarded to
FORGET = tuple(
    f"DELETE FROM {table} WHERE {scan} = ?1 AND NOT EXISTS ("  # noqa: S608
    "SELECT 1 FROM event e JOIN scan s ON s.number = e.scan WHERE s.id = ?1)"
    " AND NOT EXISTS (SELECT 1 FROM scan s WHERE s.id = ?1 AND s.ended IS NULL)"
    for table, scan in (("sequence", "scan_id"), ("earlier", "scan_id"), ("withheld", "scan_id"),
                        ("withheld_most", "scan_id"), ("scan", "id"))
)  # fmt: skip
#: counts events (?1) that were forwarded at a time (?2)
COUNT = f"""
    INSERT INTO tally (endpoint, what, reason, number, last_at)
    VALUES ('{FORWARDER}', '{State.DELIVERED.value}', '', ?1, ?2) {ADD}
"""  # noqa: S608
COUNTED = "SELECT number, last_at FROM tally WHERE endpoint = ? AND what = ?"
#: why (?3) an event could not be forwarded at a time (?4); and that it is not tried again
TRIED = f"""
    INSERT INTO delivery_attempt (number, at, seconds, reason, excerpt, cause, outcome)
    SELECT number, ?4, 0.0, 'not_forwarded', ?3, 'schedule', 'dead' FROM delivery WHERE event = ({EVENT})
"""  # noqa: S608
SET_ASIDE = f"""
    UPDATE delivery SET state = 'dead', reason = 'not_forwarded', settled_at = ?3, attempts = attempts + 1
    WHERE event = ({EVENT})
"""  # noqa: S608
ASIDE = "WHERE d.state = 'dead' AND d.number > ? AND (? IS NULL OR s.id = ?) ORDER BY d.number LIMIT ?"
WHY = "SELECT at, excerpt FROM delivery_attempt WHERE number = ? ORDER BY id DESC LIMIT 1"
#: those of them with some ids of events; and of these the ones whose scan's end is reported
CHOSEN = "SELECT d.number FROM delivery d JOIN event e ON e.number = d.event WHERE d.state = 'dead' AND {0}"
IS_OVER = f"""
    NOT EXISTS (SELECT 1 FROM scan s WHERE s.number = e.scan AND (
        s.ended IS NULL OR EXISTS (SELECT 1 FROM event o WHERE o.scan = s.number AND o.type = '{OVER}')))
"""  # noqa: S608


@dataclass(frozen=True)
class SetAside:
    """An event that is set aside."""

    event: WebhookEvent
    #: epoch seconds of the last try
    at: float
    #: why it failed
    reason: str


@dataclass(frozen=True)
class Forwarding:
    """What the spool knows of its forwarding."""

    #: how many events were forwarded, and when the last ones were (epoch seconds; 0: never)
    total: int = 0
    last_at: float = 0.0
    #: what keeps events from being forwarded; empty: nothing that is known
    trouble: str = ""
    #: the last trouble, also one that is over, and when it was last met
    last_error: str = ""
    last_error_at: float = 0.0
    #: where the events go, as it is shown; empty: not known
    place: str = ""


class Spool:
    """The spool in a data folder. All methods raise OutboxError; its arguments are those of `Outbox`."""

    def __init__(
        self, path: Path, accepting: bool = False, storage: Storage | None = None, listing: bool = False
    ) -> None:
        self.path = path
        self.outbox = Outbox(path, accepting, storage, listing)
        #: the process that forwards holds it
        self.lock = self.outbox.locks.endpoint(FORWARDER)

    def accept(self, events: Iterable[WebhookEvent], screen: Screen, now: float, generation: int = 0) -> int:
        """Commit the events that an endpoint subscribes to, whatever its filters; return how many are new.

        Args:
            generation: as for `Outbox.accept`.
        """
        items = [(event, TO_FORWARD) for event in events if any(screen.asking(event))]
        return self.outbox.accept(items, now, generation=generation) if items else 0

    def end(self, event: WebhookEvent, now: float) -> bool:
        """Commit that a scan is over, behind all of its events; return False if it was before."""
        return self.outbox.scans.end_scan(event, TO_FORWARD, now)

    def first(self, most: int, besides: Collection[str] = ()) -> list[Delivery]:
        """Return the oldest events; fewer if they are large. Damaged ones are deleted on the way.

        Args:
            besides: ids of scans whose events are left where they are.
        """
        found, size = dict[int, Delivery](), 0
        with self.outbox.database.reading() as sql:
            for number, delivery in deliveries(sql, OLDEST.format(marks(besides)), (*besides, most)):
                found[number] = delivery
                data = delivery.event.data
                size += data.size if isinstance(data, Stored) else 0
                if size > BYTES_MOST:
                    break
            damaged = {number for (number,) in sql.execute(DAMAGED.format(marks(found)), [*found])}
        if not damaged:
            return [*found.values()]
        self._delete(damaged)
        text = "webhooks: %d events in the spool were damaged; findings come again at the end of their scan"
        log.warning(text, len(damaged))
        sound = [delivery for number, delivery in found.items() if number not in damaged]
        return sound or self.first(most, besides)

    def is_empty(self, besides: Collection[str] = ()) -> bool:
        """Return whether nothing waits to be forwarded.

        Args:
            besides: as for `first`.
        """
        with self.outbox.database.reading() as sql:
            return next(deliveries(sql, OLDEST.format(marks(besides)), (*besides, 1)), None) is None

    def forget(self, events: Collection[WebhookEvent], now: float) -> None:
        """Delete events that were forwarded, and count them."""
        its = [(event.scan_id, event_key_of(event.id)) for event in events]
        with self.outbox.database.writing() as sql:
            of_tries = f"SELECT number FROM delivery WHERE event = ({EVENT}) AND attempts > 0"  # noqa: S608
            sql.executemany(f"DELETE FROM delivery_attempt WHERE number IN ({of_tries})", its)  # noqa: S608
            sql.executemany(f"DELETE FROM delivery WHERE event = ({EVENT})", its)  # noqa: S608
            sql.executemany(f"DELETE FROM event WHERE number = ({EVENT})", its)  # noqa: S608
            sql.execute(COUNT, (len(its), now))
            note_deletion(sql, now)

    def forget_scan(self, scan_id: str) -> None:
        """Forget a scan that is over; if it has events, nothing is forgotten."""
        with self.outbox.database.writing() as sql:
            for statement in FORGET:
                sql.execute(statement, (scan_id,))

    def set_aside(self, event: WebhookEvent, reason: str, now: float) -> None:
        """Keep an event without trying it again.

        Args:
            reason: why, in a line without a secret.
        """
        its = (event.scan_id, event_key_of(event.id))
        with self.outbox.database.writing() as sql:
            sql.execute(TRIED, (*its, reason, now))
            sql.execute(SET_ASIDE, (*its, now))

    def aside(self, scan_id: str | None = None) -> Iterator[SetAside]:
        """Yield the events that are set aside, of a scan or of all, oldest first."""
        last = 0
        while True:
            with self.outbox.database.reading() as sql:
                page = [*deliveries(sql, ASIDE, (last, scan_id, scan_id, PAGE))]
                tries = [sql.execute(WHY, (number,)).fetchone() or (0.0, "") for number, _ in page]
            for (last, delivery), (at, reason) in zip(page, tries):  # noqa: B007  # the last one is the next page's
                yield SetAside(delivery.event, at, reason)
            if len(page) < PAGE:
                return

    def number_aside(self) -> int:
        """Return how many events are set aside."""
        with self.outbox.database.reading() as sql:
            return int(sql.execute("SELECT count(*) FROM delivery WHERE state = 'dead'").fetchone()[0])

    def retry(self, ids: Collection[str] = ()) -> int:
        """Let events that are set aside be tried again; return how many.

        Args:
            ids: of events; without any, all.
        """
        with self.outbox.database.writing() as sql:
            return sql.execute(
                "UPDATE delivery SET state = 'waiting', reason = '', settled_at = NULL, replays = replays + 1"  # noqa: S608
                f" WHERE number IN ({CHOSEN.format(_has_id(ids))})",
                [*map(event_key_of, ids)],
            ).rowcount

    def drop(self, ids: Collection[str] = ()) -> int:
        """Delete events that are set aside, but those of a scan whose end is not reported; return how many.

        Args:
            ids: as for `retry`.
        """
        chosen = f"{CHOSEN.format(_has_id(ids))} AND {IS_OVER}"
        with self.outbox.database.reading() as sql:
            numbers = {number for (number,) in sql.execute(chosen, [*map(event_key_of, ids)])}
            scans = [id for (id,) in sql.execute("SELECT id FROM scan WHERE ended IS NOT NULL")]
        if numbers:
            self._delete(numbers, ordered=True)
            for scan in scans:
                self.forget_scan(scan)
        return len(numbers)

    def _delete(self, numbers: Collection[int], ordered: bool = False) -> None:
        """Delete deliveries with their events.

        Args:
            ordered: whether an operator does so.
        """
        rows = [(number,) for number in numbers]
        with self.outbox.database.writing() as sql:
            sql.executemany("DELETE FROM event WHERE number = (SELECT event FROM delivery WHERE number = ?)", rows)
            sql.executemany("DELETE FROM delivery_attempt WHERE number = ?", rows)
            sql.executemany("DELETE FROM delivery WHERE number = ?", rows)
            if ordered:
                note_order(sql)

    def backlog(self) -> Backlog:
        """Return how many events wait here, and since when. Counts the rows."""
        return self.outbox.listing.backlog(FORWARDER)

    def note(self, trouble: str, place: str, now: float) -> None:
        """Note where events go, and what keeps them from being forwarded; empty: nothing does any more."""
        with self.outbox.database.writing() as sql:
            before = self.outbox.endpoints.health(FORWARDER)
            condition = Condition.FAILING if trouble else Condition.HEALTHY
            reason, at = (trouble, now) if trouble else (before.reason, before.alerted_at)
            noted = Health(condition, reason, since=now, alerted_at=at, fingerprint=place)
            save_health(sql, FORWARDER, noted)

    def forwarding(self) -> Forwarding:
        """Return what is known of the forwarding."""
        noted = self.outbox.endpoints.health(FORWARDER)
        with self.outbox.database.reading() as sql:
            total, last_at = sql.execute(COUNTED, (FORWARDER, State.DELIVERED.value)).fetchone() or (0, 0.0)
        trouble = "" if noted.healthy else noted.reason
        return Forwarding(total, last_at, trouble, noted.reason, noted.alerted_at, noted.fingerprint)

    @property
    def sender(self) -> int:
        """Id of the process that forwards; 0: none does."""
        pid = self.lock.noted()
        return int(pid) if pid.isdecimal() and not self.lock.is_free else 0

    def close(self) -> None:
        """Close the outbox; the next call opens it again."""
        self.outbox.close()


def over(scan: Scan, now: float, error: str = "", late: str = "") -> WebhookEvent:
    """Return the event that says in the spool that a scan is over.

    Args:
        error: why it failed, without any secret.
        late: as for `scan/lifecycle.ended`.
    """
    data = {"error": error, "late": late}
    return WebhookEvent(lifecycle_id(scan.id, "ended"), OVER, Severity.INFO, now, data, scan)


def _has_id(ids: Collection[str]) -> str:
    return f"e.id IN ({marks(ids)})" if ids else "true"
