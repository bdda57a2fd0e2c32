from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from sfwebhooks.errors import OutboxBusyError, OutboxReplacedError
from sfwebhooks.events import Scan, WebhookEvent, correlation_id
from sfwebhooks.fingerprints import lineage_of, of_event
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.sighting_list import Presence, SightingFilter
from sfwebhooks.outbox.sightings import Seen, Surface
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event
from tests.filled import begin, end
from tests.outbox_rows import rows_of
from tests.processes import Process

STORES = ("sqlite", "postgres")

DAY = 86400.0
TYPE = "INTERNET_NAME"
DNS, WEB = ("sfp_dnsresolve",), ("sfp_dnsresolve", "sfp_spider")
#: accepts what a scan finds until it is killed, one finding per commit
FINDER = """
import sys
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event
from tests.stores import place_in

outbox, scan = Outbox(place_in(Path(sys.argv[1]))), a_scan("5C4A0002")
print("begun", flush=True)
for number in range(10**6):
    data = {"event_type": "INTERNET_NAME", "data": f"host-{number}"}
    outbox.accept([(an_event(number, scan=scan, data=data), [Wanted("team", "all", "silent")])], NOW)
"""


@pytest.fixture
def outbox(store: Place) -> Iterator[Outbox]:
    made = Outbox(store)
    yield made
    made.close()


def event(name: str, scan: Scan, number: int = 0) -> WebhookEvent:
    """Return the event of a host name that a scan finds."""
    return an_event(number or sum(name.encode()), scan=scan, data={"event_type": TYPE, "data": name})


def key(name: str) -> bytes:
    found = of_event(event(name, a_scan()))
    assert found
    return found


def seen(*names: str) -> list[Seen]:
    return [(key(name), TYPE) for name in names]


def accept(outbox: Outbox, scan: Scan, *names: str, only_new: str = "silent", endpoint: str = "team") -> list[str]:
    """Accept what a scan finds; return what is sent."""
    events = {name: event(name, scan) for name in names}
    outbox.accept([(one, [Wanted(endpoint, "all", only_new)]) for one in events.values()], NOW)
    return [name for name, one in events.items() if endpoint in outbox.scans.endpoints_of(one)]


def finish(
    outbox: Outbox, scan: Scan, *names: str, modules: Sequence[str] = DNS, why: str = "", at: float = NOW
) -> Surface:
    """Record what a scan has found, and end it."""
    outbox.sightings.record(scan.id, scan.target, lineage_of(modules), seen(*names), at)
    return outbox.sightings.finish(scan.id, not why, why, at)


def names_of(found: Sequence[Seen], *names: str) -> set[str]:
    return {name for name in names if (key(name), TYPE) in found}


def withheld(outbox: Outbox, scan: Scan) -> dict[str, int]:
    outbox.write_withheld()
    return outbox.scans.withheld(scan.id).get("team", {})


def test_only_what_no_earlier_scan_found_is_sent_and_the_rest_is_counted(outbox: Outbox) -> None:
    first, second = a_scan("5C4A0001"), a_scan("5C4A0002")
    assert accept(outbox, first, "a", "b") == []
    finish(outbox, first, "a", "b")
    assert accept(outbox, second, "a", "b", "c") == ["c"]
    assert withheld(outbox, first) == {Withheld.BASELINE: 2}
    assert withheld(outbox, second) == {Withheld.KNOWN: 2}


def test_a_first_scan_is_sent_as_a_whole_to_an_endpoint_whose_baseline_is_sent(outbox: Outbox) -> None:
    assert accept(outbox, a_scan(), "a", "b", only_new="send") == ["a", "b"]


def test_other_events_of_a_scan_are_sent_always(outbox: Outbox) -> None:
    for scan in (a_scan("5C4A0001"), a_scan("5C4A0002")):
        progress = an_event(1, scan=scan, type="scan_progress", data={"events_found": 1})
        outbox.accept([(progress, [Wanted("team", "all", "silent")])], NOW)
        finish(outbox, scan)
        assert outbox.scans.known_events(scan.id) == {progress.id}


def test_an_endpoint_without_only_new_gets_what_is_known_too(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a")
    scan = a_scan("5C4A0002")
    both = [Wanted("team", "all", "silent"), Wanted("siem", "all")]
    outbox.accept([(event("a", scan), both)], NOW)
    assert outbox.scans.endpoints_of(event("a", scan)) == {"siem"}


def test_two_events_with_the_same_data_are_both_new_in_one_scan(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"))
    scan = a_scan("5C4A0002")
    events = [event(name, scan, number) for number, name in enumerate(("A.example", "a.example."), 1)]
    outbox.accept([(one, [Wanted("team", "all", "silent")]) for one in events], NOW)
    assert outbox.scans.known_events(scan.id) == {one.id for one in events}


def test_a_correlation_is_new_once(outbox: Outbox) -> None:
    for number, sent in ((1, False), (2, True), (3, False)):
        scan = a_scan(f"5C4A000{number}")
        data = {"rule_id": "open_bucket", "title": "Bucket open: acme", "event_count": number}
        its = correlation_id(scan.id, "open_bucket", "Bucket open: acme")
        found = an_event(scan=scan, id=its, type="correlation_found", data=data)
        outbox.accept([(found, [Wanted("team", "all", "silent")])], NOW)
        assert bool(outbox.scans.known_events(scan.id)) is sent
        finish(outbox, scan)


def test_what_a_killed_scan_sent_is_known_to_the_next_one(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"))
    accept(outbox, a_scan("5C4A0002"), "a")
    assert accept(outbox, a_scan("5C4A0003"), "a", "b") == ["b"]


def test_what_was_offered_already_is_still_new_when_a_recovery_offers_it_again(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"))
    scan = a_scan("5C4A0002")
    assert accept(outbox, scan, "a") == accept(outbox, scan, "a") == ["a"]
    finish(outbox, scan, "a", why="died")
    assert accept(outbox, scan, "a", endpoint="late") == ["a"]  # as a backfill does


def test_two_scans_of_a_target_at_once_send_something_new_once(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"))
    one, other = a_scan("5C4A0002"), a_scan("5C4A0003")
    assert accept(outbox, one, "a") == ["a"]
    assert accept(outbox, other, "a", "b") == ["b"]
    assert accept(outbox, one, "b") == []
    assert names_of(finish(outbox, other, "a", "b").new, "a", "b") == {"a", "b"}
    assert finish(outbox, one, "a", "b") == Surface("5C4A0003", NOW, unchanged_since=NOW)


def test_what_another_scan_has_sent_stays_known_to_one_that_was_recorded_before_it(outbox: Outbox) -> None:
    """A process that was killed after it had recorded its scan is followed by one that asks again."""
    finish(outbox, a_scan("5C4A0001"))
    killed, other = a_scan("5C4A0002"), a_scan("5C4A0003")
    begin(outbox, killed)
    assert accept(outbox, other, "a") == ["a"]
    finish(outbox, killed, "a")
    finish(outbox, other, "a")
    assert accept(outbox, killed, "a") == []
    assert [one.presence for one in outbox.sighting_list.of(killed.target, SightingFilter(), 9)] == [Presence.NEW]
    finish(outbox, a_scan("5C4A0004"))
    assert [one.presence for one in outbox.sighting_list.of(killed.target, SightingFilter(), 9)] == [Presence.GONE]


def test_both_of_two_first_scans_at_once_are_baselines(outbox: Outbox) -> None:
    one, other = a_scan("5C4A0001"), a_scan("5C4A0002")
    assert accept(outbox, one, "a") == accept(outbox, other, "a") == []
    finish(outbox, one, "a")
    assert accept(outbox, other, "b") == []
    assert withheld(outbox, other) == {Withheld.BASELINE: 2}


def test_a_scan_waits_while_another_one_of_its_target_and_modules_is_being_recorded(outbox: Outbox) -> None:
    one, other = a_scan("5C4A0001"), a_scan("5C4A0002")
    lock = outbox.locks.scan(one.id)
    assert lock.take()
    outbox.sightings.record(one.id, one.target, lineage_of(DNS), seen("a"), NOW)
    with pytest.raises(OutboxBusyError):
        finish(outbox, other, "a")
    finish(outbox, other, "a", modules=WEB)
    lock.release()  # its process died, and a recovery repeats it later
    third = a_scan("5C4A0003")
    assert finish(outbox, third, "b").not_comparable == "other_modules"
    found = finish(outbox, one, "a", "b")
    assert (found.previous, names_of(found.new, "a", "b"), found.gone) == (third.id, {"a"}, ())


def test_the_target_is_the_same_in_any_case_and_with_a_final_dot(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001", target="ACME.example."), "a")
    assert accept(outbox, a_scan("5C4A0002", target="acme.example"), "a", "b") == ["b"]
    assert accept(outbox, a_scan("5C4A0003", target="other.example"), "a", "b") == []


def test_a_target_may_be_as_long_as_a_host_lets_it_be(outbox: Outbox) -> None:
    """The keys of PostgreSQL have at most 2,704 bytes (postgresql.org/docs/current/btree.html)."""
    name = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyzäöü☃🎉", k=5_000))
    first, second, other = a_scan("1", target=name), a_scan("2", target=name.upper()), a_scan("3", target=f"{name}x")
    for scan in (first, second, other):
        begin(outbox, scan)
    accept(outbox, first, "a", only_new="send")
    finish(outbox, first, "a")
    assert accept(outbox, second, "a", "b") == ["b"]
    assert accept(outbox, other, "a", only_new="send") == ["a"]


def test_new_and_gone_are_those_since_the_last_finished_scan(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a", "b")
    finish(outbox, a_scan("5C4A0002"), "a", "c", "d", why="aborted", at=NOW + 1)
    found = finish(outbox, a_scan("5C4A0003"), "a", "c", at=NOW + 2)
    assert (found.previous, found.previous_at) == ("5C4A0001", NOW)
    assert (names_of(found.new, *"abcd"), names_of(found.gone, *"abcd")) == ({"c"}, {"b"})
    again = finish(outbox, a_scan("5C4A0004"), "c", "a", at=NOW + 3)
    assert (again.new, again.gone, again.unchanged_since) == ((), (), NOW + 2)
    assert finish(outbox, a_scan("5C4A0005"), "c", "a", at=NOW + 4).unchanged_since == NOW + 2


def test_what_other_modules_would_have_found_is_known_and_never_gone(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a", "b", modules=WEB)
    scan = a_scan("5C4A0002")
    assert accept(outbox, scan, "a", "c") == ["c"]
    assert finish(outbox, scan, "a", "c", modules=DNS) == Surface(not_comparable="other_modules")
    found = finish(outbox, a_scan("5C4A0003"), "a", modules=tuple(reversed(WEB)))
    assert (found.previous, found.new, names_of(found.gone, *"abc")) == ("5C4A0001", (), {"b"})


@pytest.mark.parametrize("why", ["aborted", "failed", "died"])
@pytest.mark.parametrize("only_new", ["silent", "send"])
def test_a_first_scan_that_did_not_finish_leaves_nothing_and_is_no_baseline(
    outbox: Outbox, why: str, only_new: str
) -> None:
    accept(outbox, a_scan("5C4A0001"), "a", only_new=only_new)
    assert finish(outbox, a_scan("5C4A0001"), "a", "b", why=why) == Surface(not_comparable=why)
    assert rows_of(outbox, "SELECT * FROM sighting") == []
    assert outbox.sightings.is_first("5C4A0002", "acme.example")
    assert accept(outbox, a_scan("5C4A0002"), "a", only_new="send") == ["a"]


def test_a_later_scan_that_did_not_finish_is_compared_with_none_but_its_findings_are_known(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a")
    assert accept(outbox, a_scan("5C4A0002"), "b") == ["b"]
    assert finish(outbox, a_scan("5C4A0002"), "b", "c", why="aborted") == Surface(not_comparable="aborted")
    assert accept(outbox, a_scan("5C4A0003"), "a", "b", "c", "d") == ["d"]


def test_the_answer_is_the_same_when_a_recovery_asks_again(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a")
    before = finish(outbox, a_scan("5C4A0002"), "b")
    assert (len(before.new), len(before.gone)) == (1, 1)
    assert finish(outbox, a_scan("5C4A0002"), "b", "x") == before
    finish(outbox, a_scan("5C4A0003"), "a", "b")
    assert finish(outbox, a_scan("5C4A0002"), "b") == Surface(not_comparable="died")


def test_a_record_that_was_killed_is_repeated_by_another_process(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a", "b")

    def killed() -> Iterator[Seen]:
        yield from seen("a") * 300
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox.sightings.record("5C4A0002", "acme.example", lineage_of(DNS), killed(), NOW)
    with Outbox(outbox.place).database.writing():  # nothing is locked
        pass
    found = finish(Outbox(outbox.place), a_scan("5C4A0002"), "a", "c")
    assert (names_of(found.new, *"abc"), names_of(found.gone, *"abc")) == ({"c"}, {"b"})


@pytest.mark.sqlite("the file is lost")
def test_a_file_that_is_set_aside_meanwhile_is_noticed(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a")
    scan = a_scan("5C4A0002")

    def replaced() -> Iterator[Seen]:
        yield from seen("a") * 100
        for path in outbox.path.parent.glob("webhooks.db*"):
            if path.is_file():
                path.unlink()
        time.sleep(0.25)  # as long as a removed file may still be read
        yield from seen("b")

    with pytest.raises(OutboxReplacedError):
        outbox.sightings.record(scan.id, scan.target, lineage_of(DNS), replaced(), NOW)
    with pytest.raises(OutboxReplacedError):
        outbox.sightings.finish(scan.id, True, "", NOW)
    assert finish(outbox, scan, "a") == Surface(not_comparable="first_scan")


def test_the_log_says_that_a_scan_is_a_baseline_once(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "spiderfoot.webhooks")
    accept(outbox, a_scan("5C4A0001"), "a")
    accept(outbox, a_scan("5C4A0001"), "b")
    finish(outbox, a_scan("5C4A0001"), "a", "b")
    accept(outbox, a_scan("5C4A0002"), "c")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("webhooks: no earlier scan of acme.example is known")


def test_known_says_the_same_before_and_after_the_scan_is_recorded(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a")
    scan = a_scan("5C4A0002")
    asked = [key("a"), key("b")]
    assert outbox.sightings.known(scan.id, scan.target, asked) == {key("a")}
    accept(outbox, scan, "b")
    finish(outbox, scan, "a", "b")
    assert outbox.sightings.known(scan.id, scan.target, asked) == {key("a")}


@pytest.mark.parametrize(("endpoint", "sent"), [("", set()), ("team", {"siem"}), ("other", {"team", "siem"})])
def test_a_mute_withholds_a_finding_from_its_endpoint_or_from_all(
    outbox: Outbox, endpoint: str, sent: set[str]
) -> None:
    scan = a_scan()
    outbox.sightings.mute("ACME.example.", (key("a"), TYPE), endpoint, None, NOW)
    outbox.accept([(event("A.", scan), [Wanted("team", "all"), Wanted("siem", "all")])], NOW)
    assert outbox.scans.endpoints_of(event("A.", scan)) == sent
    outbox.write_withheld()
    assert outbox.scans.withheld(scan.id) == {name: {Withheld.MUTED: 1} for name in {"team", "siem"} - sent}


def test_a_mute_is_of_one_target_and_one_finding(outbox: Outbox) -> None:
    outbox.sightings.mute("acme.example", (key("a"), TYPE), "", None, NOW)
    assert accept(outbox, a_scan("5C4A0001"), "b", only_new="") == ["b"]
    assert accept(outbox, a_scan("5C4A0002", target="b.example"), "a", only_new="") == ["a"]


def test_a_mute_ends_by_itself_or_is_removed(outbox: Outbox) -> None:
    outbox.sightings.mute("acme.example", (key("a"), TYPE), "", NOW - 1, NOW - DAY)
    outbox.sightings.mute("acme.example", (key("b"), TYPE), "", NOW + 1, NOW - DAY)
    outbox.sightings.mute("acme.example", (key("b"), TYPE), "team", None, NOW - DAY)
    assert accept(outbox, a_scan(), "a", "b", only_new="") == ["a"]
    assert outbox.sightings.unmute("acme.example", key("b"), "team") == 1
    assert len(outbox.sightings.mutes(NOW)) == 1
    assert outbox.sightings.unmute("acme.example", key("b")) == 1
    assert outbox.sightings.mutes(NOW) == []
    assert accept(outbox, a_scan(), "b", only_new="") == ["b"]


def test_a_muted_finding_is_known_afterwards(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"))
    outbox.sightings.mute("acme.example", (key("a"), TYPE), "", None, NOW)
    scan = a_scan("5C4A0002")
    assert accept(outbox, scan, "a") == []
    finish(outbox, scan, "a")
    outbox.sightings.unmute("acme.example", key("a"))
    assert accept(outbox, a_scan("5C4A0003"), "a") == []


def test_a_renewed_mute_replaces_the_one_before(outbox: Outbox) -> None:
    for until in (NOW + 1, NOW + 2):
        outbox.sightings.mute("acme.example", (key("a"), TYPE), "team", until, NOW)
    assert [mute.until for mute in outbox.sightings.mutes(NOW, "ACME.example")] == [NOW + 2]
    assert outbox.sightings.mutes(NOW, "other.example") == []


def prune(outbox: Outbox, at: float, keep: float = 400 * DAY, chunks: int = 20) -> int:
    return outbox.sightings.prune(at, keep, chunks)


def test_what_was_not_seen_for_long_is_forgotten(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a", "b")
    finish(outbox, a_scan("5C4A0002"), "a", at=NOW + 300 * DAY)
    assert prune(outbox, NOW + 399 * DAY) == 0
    assert prune(outbox, NOW + 401 * DAY) == 1
    assert accept(outbox, a_scan("5C4A0003"), "a", "b") == ["b"]


def test_a_target_that_is_forgotten_as_a_whole_has_no_baseline_and_no_rows(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a", "b")
    assert prune(outbox, NOW + 401 * DAY) == 2
    assert accept(outbox, a_scan("5C4A0002"), "a") == []
    assert rows_of(outbox, "SELECT * FROM sighting") == []
    assert rows_of(outbox, "SELECT scan_id, is_first FROM surveyed") == [("5C4A0002", 1)]


def test_a_little_is_forgotten_at_a_time(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), *(f"host-{number}" for number in range(700)))
    finish(outbox, a_scan("5C4A0002"), "host-0", at=NOW + 300 * DAY)
    assert [prune(outbox, NOW + 401 * DAY, chunks=1) for _ in range(3)] == [500, 199, 0]


def test_nothing_of_a_target_is_forgotten_while_a_scan_of_it_runs(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a")
    scan = a_scan("5C4A0002")
    begin(outbox, scan)
    assert accept(outbox, scan, "b") == ["b"]
    assert prune(outbox, NOW + 401 * DAY) == 0
    assert accept(outbox, scan, "a") == []
    end(outbox, scan)
    assert prune(outbox, NOW + 401 * DAY) == 2


def test_mutes_stay_when_sightings_are_forgotten_and_go_when_they_are_over(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "a", "b")
    outbox.sightings.mute("acme.example", (key("a"), TYPE), "", None, NOW)
    outbox.sightings.mute("acme.example", (key("b"), TYPE), "", NOW + DAY, NOW)
    prune(outbox, NOW + 401 * DAY)
    assert rows_of(outbox, "SELECT fingerprint FROM mute") == [(key("a"),)]
    assert accept(outbox, a_scan("5C4A0002"), "a", only_new="") == []


def test_a_full_outbox_still_knows_what_it_refused_as_new_in_this_scan(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "webhooks.db", storage=Storage(max_bytes=100_000))
    finish(outbox, a_scan("5C4A0001"))
    scan = a_scan("5C4A0002")
    assert accept(outbox, scan, "a") == []
    assert withheld(outbox, scan) == {Withheld.OUTBOX_FULL: 1}
    finish(outbox, scan, "a")
    outbox.close()
    roomy = Outbox(tmp_path / "webhooks.db")
    assert accept(roomy, scan, "a") == ["a"]  # as a backfill does
    roomy.close()


def test_events_whose_data_have_no_fingerprint_are_accepted(outbox: Outbox) -> None:
    data: list[dict[str, Any]] = [{}, {"event_type": TYPE}, {"event_type": TYPE, "data": None}, {"title": "x"}]
    for number, its in enumerate(data, 1):
        outbox.accept([(an_event(number, data=its), [Wanted("team", "all", "silent")])], NOW)
    assert len(outbox.scans.known_events(a_scan().id)) == len(data) - 1  # data that are null are data


def test_a_killed_process_has_sent_and_noted_each_finding_or_neither(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"), "host-0")
    for _ in range(3):
        with Process([outbox.path.parent], FINDER, stdout=PIPE) as finder:
            assert finder.stdout
            assert finder.stdout.readline() == "begun\n"
            before = len(outbox.scans.known_events("5C4A0002"))
            while len(outbox.scans.known_events("5C4A0002")) <= before:
                assert finder.poll() is None
            finder.kill()
    sent = {data["data"] for data in (event.data for event in outbox.scans.found("5C4A0002"))}
    noted = {found for (found,) in rows_of(outbox, "SELECT fingerprint FROM sighting WHERE lineage = 0")}
    assert len(sent) >= 3
    assert {key(name) for name in sent} == noted
    assert outbox.sightings.known("5C4A0003", "acme.example", [key(name) for name in sent]) == noted


def test_what_was_sent_as_new_has_one_row_once_its_scan_is_recorded(outbox: Outbox) -> None:
    finish(outbox, a_scan("5C4A0001"))
    accept(outbox, a_scan("5C4A0002"), "a")
    finish(outbox, a_scan("5C4A0002"), "a")
    assert len(rows_of(outbox, "SELECT * FROM sighting")) == 1
    finish(outbox, a_scan("5C4A0003"))
    (found,) = outbox.sighting_list.of("acme.example", SightingFilter(), 9)
    assert found.presence is Presence.GONE
