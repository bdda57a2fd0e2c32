"""The evidence of a campaign against a fleet: what scanners noted, what the host's databases have, what the receivers
got from which machine, and who owned an endpoint by the server's word, side by side."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from sfwebhooks.endpoints import SCAN_ENDS
from sfwebhooks.events import delivery_id, finding_id
from tests.crash.catcher import Caught
from tests.crash.fleet import Door, Life, Node
from tests.crash.fleet_campaign import PICKY, Campaign
from tests.crash.scanner import LOW

OK = 200
#: what a process says that settles too late
LATE_RESULTS = re.compile(r"another process .*; (\d+) late results of this process are dropped")
BUGS = re.compile(r"Traceback|bug in|bug while")
#: seconds for which a process that is cut off goes on sending what it has claimed (`lock_session.ANSWER_SECONDS`)
UNAWARE_SECONDS = 8.0
#: seconds from the release of the locks until a scan is over
ENDING_SECONDS = 3.0


@dataclass(frozen=True, repr=False)
class FleetEvidence:
    """What there is to compare once the fleet is at rest."""

    campaign: Campaign

    @cached_property
    def doors(self) -> Sequence[tuple[str, Door]]:
        return [*self.campaign.doors.items()]

    @cached_property
    def taken(self) -> set[str]:
        """Ids of the deliveries that were answered with success."""
        return {one for _, door in self.doors for caught in door.caught if caught.status == OK
                for one in caught.deliveries}  # fmt: skip

    @cached_property
    def stored(self) -> set[str]:
        """Ids of the scans that the server knows."""
        return {scan for (scan,) in self.campaign.rows("SELECT id FROM sfwebhooks.scan")}

    def wanted(self, scan: str, hash: str, kind: str) -> set[str]:
        """Return the ids of the deliveries of a finding."""
        event = finding_id(scan, hash)
        return {delivery_id(event, name) for name, _ in self.doors if kind != LOW or name not in PICKY}

    @cached_property
    def kinds(self) -> dict[tuple[str, str], str]:
        """(scan, hash) -> type of each finding in the host's databases."""
        return {(scan, hash): kind for node in self.campaign.scanners for scan, hash, kind in node.found()}

    @cached_property
    def accepted(self) -> set[str]:
        """Ids of the deliveries of findings that were noted as accepted."""
        noted = (one for node in self.campaign.scanners for one in node.accepted())
        return {delivery for scan, hash in noted for delivery in self.wanted(scan, hash, self.kinds[scan, hash])}

    @cached_property
    def due(self) -> set[str]:
        """Ids of the deliveries of all findings of scans that the server knows."""
        return {delivery for (scan, hash), kind in self.kinds.items() if scan in self.stored
                for delivery in self.wanted(scan, hash, kind)}  # fmt: skip

    def numbers(self) -> Iterator[tuple[str, str, list[int]]]:
        """Yield (scan, endpoint, the numbers of its messages in order)."""
        for name, door in self.doors:
            found: dict[tuple[str, str], list[int]] = defaultdict(list)
            for one in door.messages.values():
                found[one["scan"], one["series"]].append(one["sequence"])
            for (scan, _), numbers in found.items():
                yield scan, name, sorted(numbers)

    def ends(self) -> dict[tuple[str, str], int]:
        """Return (scan, endpoint) -> how many different messages report its end."""
        found = {(scan, name): 0 for scan in self.stored for name, _ in self.doors}
        for name, door in self.doors:
            for one in door.messages.values():
                found[one["scan"], name] += one["event_type"] in SCAN_ENDS
        return found

    @cached_property
    def end_types(self) -> Counter[str]:
        """Type of a scan's end -> how many scans."""
        door = self.campaign.doors["quick"]
        return Counter(one["event_type"] for one in door.messages.values() if one["event_type"] in SCAN_ENDS)

    @cached_property
    def repeats(self) -> int:
        """How many requests came under an id for which the last answer had been success."""
        number = 0
        for _, door in self.doors:
            answered: dict[str, int] = {}
            for caught in door.caught:
                number += answered.get(caught.id) == OK
                answered[caught.id] = caught.status
        return number

    def changed(self) -> set[str]:
        """Return the ids under which two different messages came."""
        digests: dict[tuple[str, str], set[str]] = defaultdict(set)
        for name, door in self.doors:
            for caught in door.caught:
                digests[name, caught.id].add(caught.digest)
        return {identity for (_, identity), found in digests.items() if len(found) > 1}

    def renamed(self) -> set[str]:
        """Return the deliveries that came under more than one id."""
        ids: dict[str, set[str]] = defaultdict(set)
        for _, door in self.doors:
            for caught in door.caught:
                for one in caught.deliveries:
                    ids[one].add(caught.id)
        return {one for one, found in ids.items() if len(found) > 1}

    @cached_property
    def late_results(self) -> Counter[str]:
        """Machine -> how many of its results were refused."""
        found = {node.name: [*map(int, LATE_RESULTS.findall(node.log))] for node in self.campaign.nodes}
        return Counter({name: sum(numbers) for name, numbers in found.items()})

    @cached_property
    def bugs(self) -> list[str]:
        return [f"{node.name}: {line}" for node in self.campaign.nodes for line in node.log.splitlines()
                if BUGS.search(line)]  # fmt: skip

    # --- who sends

    @cached_property
    def owners(self) -> dict[str, tuple[list[float], list[str]]]:
        """Endpoint -> when, in monotonic seconds, which address was given it."""
        found: dict[str, tuple[list[float], list[str]]] = {name: ([], []) for name, _ in self.doors}
        for name, address, at in self.campaign.rows("SELECT name, address, at FROM owner_history ORDER BY at, number"):
            found[name][0].append(at - self.campaign.epoch)
            found[name][1].append(address)
        return found

    def begun(self, caught: Caught) -> float:
        """Return when a request was signed, in monotonic seconds, or up to a second before: on a busy machine it is
        read later."""
        return min(caught.begin, caught.signed - self.campaign.epoch)

    def owned_during(self, endpoint: str, begin: float, end: float) -> Sequence[str]:
        """Return the addresses of the machines that owned an endpoint within a time; the last one may have lost it."""
        times, addresses = self.owners[endpoint]
        return addresses[max(bisect_right(times, begin) - 1, 0) : bisect_right(times, end)]

    def given_at(self, caught: Caught, endpoint: str) -> float:
        """Return when the machine that made a request was given the endpoint, the last time before."""
        times, addresses = self.owners[endpoint]
        place = bisect_right(times, caught.begin)
        while place and addresses[place - 1] != self.node(caught).client:
            place -= 1
        return times[place - 1] if place else float("-inf")

    def node(self, caught: Caught) -> Node:
        return self.campaign.nodes[caught.worker - 1]

    def life(self, caught: Caught) -> Life:
        """Return the process that made a request."""
        lives = self.node(caught).lives
        return next(life for life in reversed(lives) if life.begun_at < caught.begin)

    @cached_property
    def from_former_owners(self) -> dict[str, list[Caught]]:
        """Why it may -> the requests that a machine made which did not own the endpoint any more."""
        found: dict[str, list[Caught]] = defaultdict(list)
        for name, door in self.doors:
            for caught in door.caught:
                why = self._why_former(caught, name)
                if why is not None:
                    found[why].append(caught)
        return found

    def _why_former(self, caught: Caught, endpoint: str) -> str | None:
        """Return why a machine may have made a request although it did not own the endpoint any more; empty: for no
        reason; None: it did."""
        node = self.node(caught)
        if node.client in self.owned_during(endpoint, self.begun(caught), caught.begin):
            return None
        taken_at = self._lost_at(endpoint, node.client, caught.begin)
        if self.life(caught).killed_at < caught.begin:
            return "was killed before it was read"
        if any(one.kind == "asleep" and one.begun_at < taken_at for one in node.incidents):
            return "was about to be sent when the machine fell asleep"
        return ""

    def _lost_at(self, endpoint: str, address: str, before: float) -> float:
        """Return when another machine was given an endpoint after this one had it last."""
        times, addresses = self.owners[endpoint]
        place = bisect_right(times, before)
        while place > 1 and addresses[place - 2] != address:
            place -= 1
        return times[place - 1] if place else before

    @cached_property
    def overlaps(self) -> dict[str, list[tuple[Caught, Caught]]]:
        """Why there may be two -> pairs of requests of different processes that a receiver had at once."""
        found: dict[str, list[tuple[Caught, Caught]]] = defaultdict(list)
        for name, door in self.doors:
            active: list[Caught] = []
            for caught in sorted(door.caught, key=lambda one: one.begin):
                active = [one for one in active if one.end > caught.begin]
                for one in active:
                    if self.life(one) is not self.life(caught):
                        found[self._why(one, caught, name)].append((one, caught))
                active.append(caught)
        return found

    def _why(self, caught: Caught, other: Caught, endpoint: str) -> str:
        """Return why the process that made a request may not own the endpoint any more when another one made one;
        empty: for none."""
        node, at = self.node(caught), other.begin
        if self.life(caught).killed_at <= at:
            return "whose process was killed"
        if any(caught.begin - UNAWARE_SECONDS < one.begun_at < at for one in node.incidents):
            return "whose machine was cut off or asleep"
        if any(caught.begin - UNAWARE_SECONDS < stop < at for stop in self.campaign.stops):
            return "before the server was stopped"
        if any(caught.begin < over < at + ENDING_SECONDS for over in node.over()):
            return "of a scan that was over"
        if node is self.node(other):
            return ""
        former = [*filter(None, (self._why_former(one, endpoint) for one in (caught, other)))]
        if former:
            return f"that {former[0]}"
        pairs = ((caught, other), (other, caught))
        is_older = any(self.begun(one) < self.given_at(its, endpoint) for one, its in pairs)
        return "begun before a takeover" if is_older else ""

    def settled_twice(self) -> int:
        """Return how many deliveries have two attempts that delivered them."""
        query = (
            "SELECT count(*) FROM (SELECT number FROM sfwebhooks.delivery_attempt WHERE outcome IS NULL"
            " GROUP BY number HAVING count(*) > 1) twice"
        )
        return int(self.campaign.rows(query)[0][0])

    def dead(self) -> list[tuple[str, str]]:
        """Return (endpoint, reason) of each dead letter."""
        return self.campaign.rows("SELECT endpoint, reason FROM sfwebhooks.delivery WHERE state = 'dead'")

    def figures(self) -> str:
        """Return a table of what happened."""
        campaign = self.campaign
        requests = Counter(self.node(one).name.rstrip("-0123456789") for _, door in self.doors for one in door.caught)
        rows = {
            **campaign.done,
            "seconds of a transaction that was held open": round(campaign.held_seconds),
            "processes": sum(len(node.lives) for node in campaign.nodes),
            "findings": len(self.kinds),
            "findings of scans that the server never heard of": sum(scan not in self.stored for scan, _ in self.kinds),
            "scans": len(self.stored),
            **{f"  {name}": number for name, number in self.end_types.items()},
            "deliveries noted as accepted": len(self.accepted),
            "deliveries received": len(self.taken),
            **{f"requests of {name}s": number for name, number in requests.items()},
            "repeats": self.repeats,
            "lost": len(self.accepted - self.taken),
            "changes of an endpoint's owner": sum(len(times) for times, _ in self.owners.values()),
            "late results that were refused": sum(self.late_results.values()),
            **{f"requests during one {why or 'OF ANOTHER OWNER'}": len(its) for why, its in self.overlaps.items()},
            **{f"requests after a takeover: {why or 'NO REASON'}": len(its)
               for why, its in self.from_former_owners.items()},
        }  # fmt: skip
        return "\n".join(f"{number:9,} {what}" for what, number in rows.items())
