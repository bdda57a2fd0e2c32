"""The transfer of an outbox file to PostgreSQL: every row is there afterwards, also after damage, beside rows of other
machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.errors import OutboxError
from sfwebhooks.events import lifecycle_id
from sfwebhooks.outbox.moved import Mark
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.server import Server
from sfwebhooks.outbox.scan_list import ScanList
from sfwebhooks.outbox.sighting_list import SightingFilter
from sfwebhooks.outbox.statistics import Statistics
from sfwebhooks.outbox.totals import Totals
from sfwebhooks.outbox.transfer import source as source_module
from sfwebhooks.outbox.transfer import transfer as transfer_module
from sfwebhooks.outbox.transfer.retiring import NAMES, retire
from sfwebhooks.outbox.transfer.source import SourceFile
from sfwebhooks.outbox.transfer.tables import STEPS
from sfwebhooks.outbox.transfer.target import Target, TransferState
from sfwebhooks.outbox.transfer.transfer import Transfer
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event
from tests.conftest import sql
from tests.filled import SEEN as FOUND
from tests.filled import begin, end, fill, put, send

pytestmark = pytest.mark.slow
#: what a listing shows; numbers of rows are no part of it
SEEN: Sequence[str] = (
    "SELECT e.id, s.id, d.endpoint, d.name, r.name, d.sequence, d.state, d.attempts, d.crashes, d.due_at, d.settled_at,"
    " d.reason, d.accepted_at, d.replays, d.batch, d.refusals, d.refused_in, d.subject, d.backfilled, d.alone"
    " FROM delivery d JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.number = e.scan"
    " LEFT JOIN series r ON r.number = d.series ORDER BY d.number",
    "SELECT e.id, s.id, e.type, severity, special, at, data FROM event e LEFT JOIN scan s ON s.number = e.scan"
    " ORDER BY e.number",
    "SELECT e.id, d.endpoint, a.at, a.seconds, a.status, a.reason, a.excerpt, a.cause, a.outcome, a.waited"
    " FROM delivery_attempt a JOIN delivery d ON d.number = a.number JOIN event e ON e.number = d.event ORDER BY a.id",
    "SELECT id, name, target, target_type, version, database, begun_at, ended FROM scan ORDER BY number",
    "SELECT q.scan_id, q.endpoint, r.name, q.last FROM sequence q JOIN series r ON r.number = q.series ORDER BY 1, 2",
    "SELECT q.scan_id, q.endpoint, r.name, q.last FROM earlier q JOIN series r ON r.number = q.series ORDER BY 1, 2, 3",
    *(f"SELECT * FROM {name} ORDER BY 1, 2, 3" for name in ("withheld", "withheld_most", "health", "operator", "handle",
                                                            "ticketed", "digest_part", "watch", "statement")),
    "SELECT v.scan_id, t.name, v.is_first, l.modules, v.place, v.complete, v.at, v.kept, v.not_comparable, p.scan_id,"
    " v.unchanged_since FROM surveyed v JOIN target t ON t.number = v.target"
    " LEFT JOIN lineage l ON l.number = v.lineage LEFT JOIN surveyed p ON p.number = v.previous ORDER BY v.scan_id",
    "SELECT t.name, i.fingerprint, l.modules, k.name, version, f.scan_id, z.scan_id, w.scan_id FROM sighting i"
    " JOIN target t ON t.number = i.target LEFT JOIN lineage l ON l.number = i.lineage JOIN kind k ON k.number = i.kind"
    " JOIN surveyed f ON f.number = i.first JOIN surveyed z ON z.number = i.last"
    " LEFT JOIN surveyed w ON w.number = i.whole ORDER BY 1, 2, 3",
    "SELECT t.name, fingerprint, endpoint, k.name, until, at FROM mute m JOIN target t ON t.number = m.target"
    " JOIN kind k ON k.number = m.kind ORDER BY 1, 2, 3",
    "SELECT endpoint, s.id, v.id, sha256, messages, accepted, at, stated FROM evidence v"
    " JOIN scan s ON s.number = v.scan ORDER BY 1, 2, 3, 4",
)  # fmt: skip
#: what no command makes in a few lines
MORE = (
    "INSERT INTO handle VALUES ('team', 'subject', 'address', 'message-1', 5.5)",
    "INSERT INTO ticketed VALUES ('team', 'ticket/1', 'acme.example', x'00112233445566778899aabbccddeeff', '5C4A0001')",
    "INSERT INTO digest_part VALUES ('batch', 'team', '5C4A0001', 1, 2, 5.5)",
    "INSERT INTO statement VALUES (x'00112233445566778899aabbccddeeff', 3, x'ff00')",
    "INSERT INTO evidence SELECT 'team', number, x'00ff', x'ff00', 1, 1, 5.5, 0 FROM scan",
    "INSERT INTO series VALUES (77, 'older')",
    "INSERT INTO earlier SELECT scan_id, endpoint, 77, last + 1 FROM sequence",
    "INSERT INTO operator VALUES ('team', 9e999, 3)",
)


@pytest.fixture
def there(postgres_dsn: str, tmp_path: Path) -> Any:
    """An empty outbox on PostgreSQL."""
    with closing(Outbox(Dsn(postgres_dsn, tmp_path))) as outbox:
        yield outbox


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows are many groups."""
    monkeypatch.setattr(source_module, "GROUP_EVENTS", 3)
    monkeypatch.setattr(transfer_module, "GROUP_ROWS", 2)


def moved(outbox: Outbox, there: Outbox, id: str = "one") -> TransferState:
    """Freeze a file, and move it."""
    assert isinstance(there.database, Server)
    target = Target(there.database)
    state = target.register(id)
    outbox.close()
    with closing(Outbox(outbox.path)) as file:
        retire(file.database, Mark(id, "env:THERE", "there", None))
    with closing(SourceFile(outbox.path)) as source:
        state = Transfer(source, target, {"url-1": "5.000 0 6  0.000"}).run(state)
        source.finish()
    return state


def rows(outbox: Outbox, query: str) -> list[Any]:
    with outbox.database.reading() as session:
        return [tuple(row) for row in session.execute(query).fetchall()]


def all_rows(outbox: Outbox) -> list[list[Any]]:
    return [rows(outbox, query) for query in SEEN]


def tallies(outbox: Outbox) -> dict[Any, tuple[float, ...]]:
    found: dict[Any, tuple[float, ...]] = {}
    for one in Totals(outbox.database).tallies():
        before = found.get(one[:5], (0.0, 0.0, 0.0, 0.0))
        found[one[:5]] = (*(round(a + b, 6) for a, b in zip(before, one[5:8])), max(before[3], one.last_at))
    return found


def test_each_table_is_moved() -> None:
    assert {step.table for step in STEPS} == {*NAMES} - {"file", "event", "delivery", "delivery_attempt", "frozen"}


def test_every_row_is_there(outbox: Outbox, there: Outbox) -> None:
    fill(outbox, "5C4A0001", "5C4A0002", "5C4A0003")
    for statement in MORE:
        sql(outbox, statement)
    before, counted, figures = all_rows(outbox), tallies(outbox), Statistics(outbox.database).figures(0)
    state = moved(outbox, there)
    after = all_rows(there)
    for query, one, other in zip(SEEN, before, after):
        assert one, f"nothing to compare: {query}"
        assert one == other, query
    assert tallies(there) == counted
    assert Statistics(there.database).figures(0) == figures
    assert (state.damage, state.moved["delivery"], state.is_again) == ({}, 27, False)
    assert rows(there, "SELECT note FROM ownership WHERE name = 'url-1'") == [("5.000 0 6  0.000",)]


def test_numbers_go_on_without_gaps(outbox: Outbox, there: Outbox) -> None:
    fill(outbox, "5C4A0001")
    moved(outbox, there)
    put(there, 20, 21)
    last = rows(there, "SELECT sequence, r.name FROM delivery d JOIN series r ON r.number = d.series WHERE endpoint ="
                       " 'team' ORDER BY d.number")  # fmt: skip
    assert [number for number, _ in last] == [*range(1, 10)]
    assert len({name for _, name in last}) == 1


def test_counts_of_attempts_are_added_once(outbox: Outbox, there: Outbox) -> None:
    """Neither those that the file had not counted, nor those of the server, are counted twice or never."""
    fill(outbox, "5C4A0001")
    put(there, 1, scan=a_scan("5C4A0077"))
    send(there)
    expected = {key: value[0] for key, value in tallies(outbox).items()}
    for key, value in tallies(there).items():
        expected[key] = expected.get(key, 0) + value[0]
    moved(outbox, there)
    assert {key: value[0] for key, value in tallies(there).items()} == expected
    Totals(there.database).count()
    there.retention.prune(NOW * 2, 0, 0, 1000)
    assert {key: value[0] for key, value in tallies(there).items()} == expected


def test_what_waits_is_sent_in_its_order(outbox: Outbox, there: Outbox) -> None:
    put(outbox, 5, 3, 4)
    moved(outbox, there)
    batches = there.queue.claim("team", (), NOW, most=10)
    assert [batch.deliveries[0].event.id for batch in batches] == [an_event(number).id for number in (5, 3, 4)]
    send(there)
    assert there.scans.tallies() == {"waiting": 2, "delivered": 1, "dead": 0}


def test_several_files_become_one_outbox(outbox: Outbox, there: Outbox, tmp_path: Path) -> None:
    other_path = tmp_path / "b" / "webhooks.db"
    other_path.parent.mkdir()
    fill(outbox, "5C4A0001")
    with closing(Outbox(other_path)) as other:
        fill(other, "5C4A0002", at=NOW + 500)
        other.sightings.mute("acme.example", FOUND[0], "team", None, NOW)
        moved(outbox, there)
        moved(other, there, "two")
    assert there.scans.tallies() == {"waiting": 14, "delivered": 2, "dead": 2}
    assert [mute.until for mute in there.sightings.mutes(NOW)] == [None]
    listed = there.sighting_list.of("acme.example", SightingFilter(), 50)
    seen = {one.fingerprint: (one.first_scan, one.last_scan) for one in listed}
    assert seen == dict.fromkeys((key for key, _ in FOUND[:4]), ("5C4A0001", "5C4A0002"))
    assert rows(there, "SELECT scan_id, place FROM surveyed ORDER BY place") == [("5C4A0001", 1), ("5C4A0002", 2)]
    assert [len({*names}) for names in zip(*rows(there, "SELECT name, number FROM series"))] == [3, 3]


def test_a_scan_on_both_sides_is_one(outbox: Outbox, there: Outbox) -> None:
    """What the file has delivered is not sent again; the rest is."""
    for one in (outbox, there):
        begin(one, a_scan())
        put(one, 1, 2, 3)
    put(outbox, 4)
    send(outbox)
    end(outbox, a_scan())
    moved(outbox, there)
    states = rows(there, "SELECT e.id, d.state FROM delivery d JOIN event e ON e.number = d.event ORDER BY d.number")
    assert [state for _, state in states] == ["delivered", "waiting", "waiting", "waiting"]
    assert rows(there, "SELECT id, ended FROM scan") == [("5C4A0001", "high_risk_event")]
    assert rows(there, "SELECT count(*) FROM delivery_attempt") == [(1,)]
    assert not there.scans.end_scan(an_event(scan=a_scan()), (), NOW)


def test_a_file_that_is_used_again_can_be_moved_again(outbox: Outbox, there: Outbox) -> None:
    fill(outbox, "5C4A0001")
    counted = tallies(outbox)
    moved(outbox, there)
    with closing(SourceFile(outbox.path)) as source:
        source.reinstate()
    send(outbox)
    put(outbox, 30)
    state = moved(outbox, there, "two")
    assert state.is_again
    assert {key: one[0] for key, one in tallies(there).items()} == {key: one[0] for key, one in counted.items()}
    assert there.scans.tallies() == {"waiting": 7, "delivered": 2, "dead": 1}
    assert rows(there, "SELECT count(*) FROM delivery_attempt") == [(6,)]


def test_a_scan_that_died_is_reported_once_all_of_it_is_there(
    outbox: Outbox, there: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(outbox, "5C4A0001", "5C4A0002")
    seen = list[bool]()
    put_events = Target.put_events

    def look(self: Target, *args: Any) -> TransferState:
        seen.append(there.locks.may_be_alive("5C4A0002"))
        return put_events(self, *args)

    monkeypatch.setattr(Target, "put_events", look)
    moved(outbox, there)
    assert seen
    assert all(seen)
    assert not there.locks.may_be_alive("5C4A0002")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET severity = 'x', data = x'ff00' WHERE number = 2",
        "UPDATE event SET id = 'text' || number WHERE number IN (2, 3)",
        "UPDATE event SET at = x'ff', special = 5 WHERE number = 2",
        "UPDATE delivery SET series = 'x', sequence = x'00', attempts = 'many' WHERE number = 2",
        "UPDATE delivery SET endpoint = x'ff00', state = 7, due_at = 'soon' WHERE number = 2",
        "UPDATE delivery SET event = 999 WHERE number = 2",
        "UPDATE delivery_attempt SET at = 'abc', seconds = 'x', status = 'y', reason = x'ff' WHERE id = 1",
        "UPDATE scan SET name = x'ff00', begun_at = 'x', ended = 5",
        "UPDATE sighting SET kind = 'x', first = x'00'",
        "UPDATE health SET since = 'x', condition = x'ff'",
        "INSERT INTO withheld VALUES ('', 'team', x'ff', 'many')",
        "INSERT INTO tally VALUES ('', 'x', 'y', 'a', 'b', 'c', 'd', 'e', 'f')",
        "UPDATE watch SET data = x'ff', checked_at = 'x'",
        "DELETE FROM scan",
        "DELETE FROM series",
    ],
)
def test_damaged_rows_do_not_stop_it(outbox: Outbox, there: Outbox, damage: str) -> None:
    fill(outbox, "5C4A0001")
    sql(outbox, damage)
    moved(outbox, there)
    left = dict(there.scans.tallies() if "state = 7" not in damage else {"waiting": 7})
    assert left["waiting"] in (6, 7)
    while True:  # all of it can be sent, or is dead
        batches = there.queue.claim("team", (), NOW + 1e6, most=10)
        if not batches:
            break
        send(there, at=NOW + 1e6)


def test_damaged_rows_are_counted_and_named(outbox: Outbox, there: Outbox) -> None:
    fill(outbox, "5C4A0001")
    sql(outbox, "UPDATE event SET severity = 'x' WHERE number IN (2, 3)")
    sql(outbox, "UPDATE delivery SET attempts = 'many' WHERE number = 5")
    state = moved(outbox, there)
    found = {words: number for words, number in state.damage.items() if number}
    assert found == {"event: no message can be built from it": 2, "delivery: values of another type": 1}


def test_large_and_hostile_texts_come_over(outbox: Outbox, there: Outbox) -> None:
    texts = ["\\N", "a\tb\nc\rd\\e", "\\.", "ü€😀" * 10, "x" * 5_000_000, "\u2028"]
    events = [an_event(number, data={"data": text}) for number, text in enumerate(texts, start=1)]
    outbox.accept([(event, [Wanted("team", "all")]) for event in events], NOW)
    moved(outbox, there)
    got = [json.loads(data)["data"] for (data,) in rows(there, "SELECT data FROM event ORDER BY number")]
    assert got == texts


def test_another_process_that_moves_the_same_file_is_noticed(outbox: Outbox, there: Outbox) -> None:
    fill(outbox, "5C4A0001")
    assert isinstance(there.database, Server)
    target = Target(there.database)
    state = target.register("one")
    with closing(Outbox(outbox.path)) as file:
        retire(file.database, Mark("one", "env:THERE", "there", None))
    with closing(SourceFile(outbox.path)) as source:
        Transfer(source, target, {}).run(state)
    with (
        closing(SourceFile(outbox.path)) as source,
        pytest.raises(OutboxError, match="another process moves the same file"),
    ):
        Transfer(source, target, {}).run(state)
    assert there.scans.tallies() == {"waiting": 7, "delivered": 1, "dead": 1}


def test_the_end_names_its_series_last_whatever_their_numbers(outbox: Outbox, there: Outbox) -> None:
    """A scan that has messages of the file's series, moved here later, and of the server's."""
    begin(outbox, a_scan())
    put(outbox, 1, 2)
    begin(there, a_scan())
    put(there, 3)
    moved(outbox, there)
    over = an_event(scan=a_scan(), id=lifecycle_id("5C4A0001", "ended"), data={"events_found": 3})
    assert there.scans.end_scan(over, [Wanted("team", "all")], NOW)
    receipt = ScanList(there.database).receipts("5C4A0001")["team"]
    ((own,),) = rows(there, "SELECT name FROM series WHERE number = (SELECT series FROM file)")
    assert (receipt["series"], receipt["last_sequence"]) == (own, 2)
    assert [*receipt["earlier_series"].values()] == [2]
