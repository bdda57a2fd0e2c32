"""Random histories of scans, in the store and in a plain model: both say the same is new, gone and unchanged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from sfwebhooks.fingerprints import lineage_of, of_event
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.sightings import Surface
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event
from tests.tiers import slow

ONE_STORE = "each example needs an outbox of its own"

NAMES = ("a.example", "b.example", "c.example", "d.example")
#: the same name, as another scan may have it
FORMS = (str, str.upper, lambda name: f"{name}.", lambda name: f"{name.title()}..")


@dataclass(frozen=True)
class Past:
    """A scan of a history: its target's form, its modules, what it finds (names with their forms), how it ends."""

    target: int
    modules: tuple[str, ...]
    found: tuple[tuple[str, int], ...]
    end: str
    only_new: str
    #: whether a process is killed before the end, and another one starts again with it
    repeats: bool


@dataclass
class Model:
    """What the store should answer, said plainly; names stand for fingerprints."""

    #: name -> scans that saw it, or sent it as new
    seen: dict[str, set[int]] = field(default_factory=dict)
    #: (modules, what was found, time of its end, unchanged since) of the complete scans
    complete: list[tuple[tuple[str, ...], set[str], float, float | None]] = field(default_factory=list)

    def sent(self, number: int, scan: Past) -> set[str]:
        found = {name for name, _ in scan.found}
        if not self.complete and scan.only_new == "silent":
            return set()
        return {name for name in found if not self.seen.get(name, set()) - {number}}

    def end(self, number: int, scan: Past, at: float) -> tuple[set[str], set[str], float | None, str]:
        found = {name for name, _ in scan.found}
        if scan.end != "finished" and not self.complete:
            return set(), set(), None, scan.end
        for name in found:
            self.seen.setdefault(name, set()).add(number)
        if scan.end != "finished":
            return set(), set(), None, scan.end
        before = next((one for one in reversed(self.complete) if one[0] == scan.modules), None)
        if before is None:
            why = "other_modules" if self.complete else "first_scan"
            self.complete.append((scan.modules, found, at, None))
            return set(), set(), None, why
        since = (before[3] or before[2]) if found == before[1] else None
        self.complete.append((scan.modules, found, at, since))
        return found - before[1], before[1] - found, since, ""


scans = st.builds(
    Past,
    target=st.integers(0, len(FORMS) - 1),
    modules=st.sampled_from([("sfp_dns",), ("sfp_dns", "sfp_spider")]),
    found=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, len(FORMS) - 1)), max_size=6).map(tuple),
    end=st.sampled_from(["finished", "finished", "finished", "aborted", "failed", "died"]),
    only_new=st.sampled_from(["silent", "send"]),
    repeats=st.booleans(),
)


def ended(outbox: Outbox, scan_id: str, target: str, scan: Past, at: float) -> Surface:
    found = [(fingerprint(name, form), "INTERNET_NAME") for name, form in scan.found]
    outbox.sightings.record(scan_id, target, lineage_of(scan.modules), iter(found), at)
    return outbox.sightings.finish(scan_id, scan.end == "finished", "" if scan.end == "finished" else scan.end, at)


def fingerprint(name: str, form: int = 0) -> bytes:
    found = of_event(an_event(data={"event_type": "INTERNET_NAME", "data": FORMS[form](name)}))
    assert found
    return found


@slow
@settings(deadline=None, max_examples=150)
@given(st.lists(scans, max_size=7))
def test_any_history_of_scans_gives_what_a_plain_model_gives(history: list[Past]) -> None:
    model = Model()
    named = {fingerprint(name): name for name in NAMES}
    with TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder) / "webhooks.db")
        for number, scan in enumerate(history):
            at, scan_id, target = NOW + number, f"5C4A{number:04d}", FORMS[scan.target]("Acme.example")
            its = a_scan(scan_id, target=target)
            events = [
                an_event(place, scan=its, data={"event_type": "INTERNET_NAME", "data": FORMS[form](name)})
                for place, (name, form) in enumerate(scan.found)
            ]
            expected = model.sent(number, scan)
            for event in events * (1 + scan.repeats):
                outbox.accept([(event, [Wanted("team", "all", scan.only_new)])], at)
            sent = outbox.scans.known_events(scan_id)
            names = [name for event, (name, _) in zip(events, scan.found) if event.id in sent]
            assert sorted(names) == sorted(name for name, _ in scan.found if name in expected)
            before = outbox.sightings.known(scan_id, target, named)
            answers = [ended(outbox, scan_id, target, scan, at) for _ in range(1 + scan.repeats)]
            if scan.end == "finished" or model.complete:
                assert outbox.sightings.known(scan_id, target, named) == before
            new, gone, since, why = model.end(number, scan, at)
            for found in answers:
                assert {named[one] for one, _ in found.new} == new
                assert {named[one] for one, _ in found.gone} == gone
                assert (found.unchanged_since, found.not_comparable) == (since, why)
        outbox.close()
