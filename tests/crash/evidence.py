"""The evidence of a crash test: what processes said that they accepted, what the outbox holds and what a receiver got,
side by side."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sfwebhooks.delivery.alerts import ALERT
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import delivery_id, id_of_key
from sfwebhooks.outbox.claim import ENDS
from sfwebhooks.outbox.postgres.dsn import Place, local_path
from sfwebhooks.reasons import Failure
from tests.crash.catcher import LATE, UNWANTED, Caught
from tests.crash.looking import Look
from tests.crash.worker import ERRORS, WARNINGS

OK = 200
REFUSED = 403
#: the rows of attempts that failed for want of a descriptor, or of memory
SHORTAGES = f"delivery_attempt WHERE reason = '{Failure.SHORTAGE.value}'"
#: who takes over says it again if the one before it was killed at that moment
MADE = re.compile(r"(process \d+) crashed while building message (\S+);")


class Stored(NamedTuple):
    """A delivery in the outbox."""

    id: str
    #: empty: it belongs to none
    scan: str
    endpoint: str
    #: of the event, as the endpoint subscribed to it
    name: str
    state: str
    reason: str
    #: how often its rendering was killed
    crashes: int
    series: int
    sequence: int
    #: whether some receivers refuse it
    unwanted: bool


#: the columns of Stored, with the key of the event in the place of the id
STORED = f"""
    SELECT e.id, coalesce(s.id, ''), d.endpoint, d.name, d.state, d.reason, d.crashes, d.series, d.sequence,
        e.data LIKE '%{UNWANTED}%'
    FROM delivery d JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.number = e.scan
    ORDER BY d.sequence
"""


@dataclass(frozen=True, repr=False)
class Evidence:
    """What there is to compare once all processes have ended."""

    outbox: Place
    #: those that want all events of a scan
    endpoints: Sequence[Endpoint]
    caught: Sequence[Caught]
    #: names of the endpoints that refuse what is UNWANTED
    picky: Collection[str] = ()

    @cached_property
    def notes(self) -> list[list[list[str]]]:
        """What the processes noted, each in its order, as [word, id of an event]."""
        files = sorted(local_path(self.outbox).parent.glob("*.notes"))
        return [[line.split() for line in notes_file.read_text().splitlines()] for notes_file in files]

    @cached_property
    def accepted(self) -> set[str]:
        """Ids of the deliveries whose acceptance a process lived to note."""
        events = {identity for notes in self.notes for word, identity in notes if word == "accepted"}
        return {delivery_id(event, endpoint.name) for event in events for endpoint in self.endpoints}

    @cached_property
    def look(self) -> Look:
        """Reads the rows of the outbox."""
        return Look(self.outbox)

    @cached_property
    def deliveries(self) -> list[Stored]:
        """The deliveries in the outbox, each scan's and endpoint's by their numbers."""
        return [
            Stored(delivery_id(id_of_key(key), endpoint), scan, endpoint, *values)
            for key, scan, endpoint, *values in self.look.rows(STORED)
        ]

    @cached_property
    def stored(self) -> set[str]:
        """Ids of the deliveries in the outbox."""
        return {one.id for one in self.deliveries}

    @cached_property
    def received(self) -> set[str]:
        """Ids of the deliveries that the receiver got."""
        return {delivery for caught in self.caught for delivery in caught.deliveries}

    @cached_property
    def taken(self) -> set[str]:
        """Ids of the deliveries that the receiver got and answered with success in time."""
        return {delivery for caught in self.caught if caught.status == OK for delivery in caught.deliveries}

    @cached_property
    def lost(self) -> set[str]:
        """What was accepted, and is neither taken nor has to be dead."""
        return self.accepted - self.taken - self.doomed

    @cached_property
    def doomed(self) -> set[str]:
        """Ids of the deliveries that have to be dead: those that their endpoint refuses, while it takes others."""
        return {one.id for one in self.deliveries if one.unwanted and one.endpoint in self.picky}

    @cached_property
    def dead(self) -> dict[str, str]:
        """Id of a dead letter -> the reason."""
        return {one.id: one.reason for one in self.deliveries if one.state == "dead"}

    @cached_property
    def alerts(self) -> Counter[tuple[str, str]]:
        """(endpoint, reason) -> how many alerts were accepted."""
        alerts = [json.loads(data) for (data,) in self.look.rows(f"SELECT data FROM event WHERE type = '{ALERT}'")]
        return Counter(
            (name, f"{data['alert']} {data['reason']}".strip())
            for data in alerts
            for name in data.get("endpoints", [data["endpoint"]])
        )

    @cached_property
    def ends(self) -> dict[tuple[str, str], int]:
        """(scan, endpoint) -> how many messages were accepted that report the scan's end."""
        scans = [scan for (scan,) in self.look.rows("SELECT id FROM scan")]
        found = {(scan, one.name): 0 for scan in scans for one in self.endpoints}
        return found | Counter((one.scan, one.endpoint) for one in self.deliveries if one.name in ENDS)

    @cached_property
    def repeats(self) -> list[Caught]:
        """Requests under an id for which the receiver's last answer had been success."""
        answered: dict[str, int] = {}
        found = []
        for caught in self.caught:
            if answered.get(caught.id) == OK:
                found.append(caught)
            answered[caught.id] = caught.status
        return found

    @cached_property
    def late(self) -> list[Caught]:
        """Requests that were answered once the sender had given up."""
        return [caught for caught in self.caught if caught.status == LATE]

    @cached_property
    def shortages(self) -> int:
        """How many attempts failed for want of a descriptor, or of memory."""
        return self.look.count(SHORTAGES)

    def changed(self) -> set[str]:
        """Return the ids under which two different messages came."""
        digests: dict[str, set[str]] = defaultdict(set)
        for caught in self.caught:
            digests[caught.id].add(caught.digest)
        return {identity for identity, found in digests.items() if len(found) > 1}

    def renamed(self) -> set[str]:
        """Return the deliveries that came under more than one id.

        Of a batch that was refused fewer go on together, under another id, until each is alone; and the members of one
        whose making killed processes go alone from the second one on.
        """
        refused = {caught.id for caught in self.caught if caught.status == REFUSED}
        before: dict[str, Caught] = {}
        known, found = set(), set()
        for caught in self.caught:
            for delivery in caught.deliveries:
                last = before.get(delivery, caught)
                if (delivery, caught.id) not in known:
                    known.add((delivery, caught.id))
                    before[delivery] = caught
                    is_part = last.id in refused and {*caught.deliveries} < {*last.deliveries}
                    if last.id != caught.id and not is_part:
                        found.add(delivery)
        return found - self.blamed(2)

    @cached_property
    def named(self) -> Counter[str]:
        """Id of a message -> how many processes were making it when they were killed."""
        crashes = set(MADE.findall(local_path(self.outbox).with_name(WARNINGS).read_text()))
        return Counter(identity for _, identity in crashes)

    def blamed(self, times: int = 1) -> set[str]:
        """Return the ids of the deliveries in messages whose making so many processes were killed at, at least."""
        often = {identity for identity, number in self.named.items() if number >= times}
        members = {delivery for caught in self.caught if caught.id in often for delivery in caught.deliveries}
        return members | {one.id for one in self.deliveries if one.crashes >= times}

    @cached_property
    def _last(self) -> dict[str, float]:
        """Id -> when a request came under it for the last time."""
        return {caught.id: caught.begin for caught in sorted(self.caught, key=lambda caught: caught.begin)}

    def came_again(self, caught: Caught) -> bool:
        """Say whether a request came once more after this one."""
        return self._last[caught.id] > caught.begin

    def gaps(self) -> Iterator[tuple[str, str, int]]:
        """Yield (scan, endpoint, series) whose deliveries are not numbered 1, 2, 3 ... up to the last number given, or
        that a kill began: only a loss does."""
        numbers: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        for one in self.deliveries:
            numbers[one.scan, one.endpoint, one.series].append(one.sequence)
        given = "SELECT scan_id, endpoint, series, last FROM {}"
        for scan, endpoint, series, last in self.look.rows(f"{given} UNION {given}".format("sequence", "earlier")):
            if series > 1 or numbers[scan, endpoint, series] != list(range(1, last + 1)):
                yield scan, endpoint, series

    @property
    def errors(self) -> str:
        """What processes logged of our bugs and of a broken outbox."""
        return local_path(self.outbox).with_name(ERRORS).read_text()
