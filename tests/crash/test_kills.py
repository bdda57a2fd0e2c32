"""Kills at all moments, with the outbox in a file, on a server, and there behind a spool: some, or a campaign of them;
`-s` shows the figures."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.crash.campaign import Campaign, Moment
from tests.crash.evidence import REFUSED, Evidence
from tests.crash.grounds import Ground


@dataclass(frozen=True)
class Run:
    """A campaign that is over, and its evidence. A test that fails shows what is not left out of its repr."""

    kills: int
    seed: int
    campaign: Campaign = field(repr=False)
    evidence: Evidence = field(repr=False)

    def again(self, moment: Moment) -> int:
        """Return how many of the requests at which a sender was killed came again."""
        return sum(self.evidence.came_again(caught) for caught in self.campaign.snapped[moment])

    def figures(self) -> str:
        campaign, evidence = self.campaign, self.evidence
        cut = sum(notes[-1][0] == "accepting" for notes in evidence.notes if notes)
        store = "server with a spool" if campaign.ground.has_spool else "server" if campaign.ground.server else "file"
        lines = [f"{sum(campaign.kills.values())} kills, outbox on a {store} (--seed {self.seed}):"]
        lines += [f"  {number:5} {moment.value}" for moment, number in campaign.kills.items()]
        lines += [
            f"  requests that came again after a kill: {self.again(Moment.SENDING)} sending,"
            f" {self.again(Moment.SETTLING)} between reply and settle, {self.again(Moment.RELIEVED)} others waiting",
            f"  processes that did not come back from accept(): {cut}",
            f"  schema versions that kills left: {dict(campaign.left)}",
            f"  {len(evidence.accepted)} deliveries noted as accepted, {len(evidence.stored)} stored,"
            f" {len(evidence.received)} received in {len(evidence.caught)} requests,"
            f" {len(evidence.repeats)} of them repeats, {len(evidence.late)} answered late, {len(evidence.lost)} lost",
            f"  messages whose rendering was killed: {len(evidence.named)}, times: {sorted(evidence.named.values())}",
            f"  ends of scans: {len(evidence.ends)}; attempts without descriptors or memory: {evidence.shortages}",
            f"  dead letters: {dict(Counter(evidence.dead.values()))}, expected: {len(evidence.doomed)}",
            f"  alerts: {dict(evidence.alerts)}",
        ]
        return "\n".join(lines)


def killed(kills: int, ground: Ground, config: pytest.Config) -> Run:
    """Kill so many processes, and show how to do it again and what came of it."""
    seed, kills = config.getoption("--seed"), config.getoption("--kills") or kills
    seed = random.randrange(2**32) if seed is None else seed
    print(f"\n--seed {seed}")
    campaign = Campaign(ground, seed)
    run = Run(kills, seed, campaign, campaign.run(kills))
    print(run.figures())
    return run


def kills_of(where: str, some: int, many: int) -> list[object]:
    """Return the two sizes of a campaign."""
    return [
        pytest.param((where, some), marks=pytest.mark.slow, id=f"{where}-{some}"),
        pytest.param((where, many), marks=pytest.mark.campaign, id=f"{where}-{many}"),
    ]


@pytest.fixture(
    scope="module", params=[*kills_of("file", 100, 2000), *kills_of("server", 50, 500), *kills_of("spool", 50, 500)]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    where, kills = request.param
    folder = tmp_path_factory.mktemp("kills")
    if where == "file":
        yield killed(kills, Ground(folder / FILE), request.config)
        return
    with request.getfixturevalue("outbox_databases").one() as address:
        ground = Ground(Dsn(address, folder), request.getfixturevalue("postgres"), where == "spool")
        yield killed(kills, ground, request.config)


def test_as_many_were_killed_as_was_asked_for(run: Run) -> None:
    assert sum(run.campaign.kills.values()) >= run.kills


def test_nothing_that_was_accepted_is_lost(run: Run) -> None:
    assert run.evidence.accepted
    assert run.evidence.lost == set()


def test_nothing_comes_that_the_outbox_does_not_have(run: Run) -> None:
    assert run.evidence.received - run.evidence.stored == set()


def test_nothing_waits(run: Run) -> None:
    assert [one for one in run.evidence.deliveries if one.state == "waiting"] == []
    assert run.campaign.ground.spooled == 0


def test_what_counts_as_delivered_was_taken(run: Run) -> None:
    delivered = {one.id for one in run.evidence.deliveries if one.state == "delivered"}
    assert delivered - run.evidence.taken == set()


def test_dead_is_what_its_endpoint_refuses_and_nothing_else(run: Run) -> None:
    assert run.evidence.doomed
    assert run.evidence.dead == dict.fromkeys(run.evidence.doomed, f"refused: http_{REFUSED}")


def test_each_scan_has_one_end(run: Run) -> None:
    assert run.evidence.look.rows("SELECT id FROM scan WHERE ended IS NULL") == []
    assert set(run.evidence.ends.values()) == {1}


def test_trouble_is_alerted_once_or_twice(run: Run) -> None:
    assert {name for name, _ in run.evidence.alerts} >= {"picky", "picky-batch"}
    assert max(run.evidence.alerts.values()) <= 2


def test_some_attempts_had_no_descriptor_or_no_memory(run: Run) -> None:
    assert run.evidence.shortages


def test_the_kills_between_reply_and_settle_caused_repeats(run: Run) -> None:
    assert run.again(Moment.SETTLING)


def test_a_request_that_was_answered_late_comes_again(run: Run) -> None:
    assert run.evidence.late
    assert all(run.evidence.came_again(caught) for caught in run.evidence.late)


def test_a_request_that_was_never_answered_comes_again(run: Run) -> None:
    unanswered = run.campaign.snapped[Moment.SENDING] + run.campaign.snapped[Moment.RELIEVED]
    lost = [caught for caught in unanswered if not run.evidence.came_again(caught)]
    assert {delivery for caught in lost for delivery in caught.deliveries} <= run.evidence.blamed(2)


def test_what_comes_again_has_the_id_that_it_had(run: Run) -> None:
    assert run.evidence.renamed() == set()


def test_what_comes_again_has_the_bytes_that_it_had(run: Run) -> None:
    assert run.evidence.changed() == set()


def test_sequence_numbers_have_no_gaps(run: Run) -> None:
    assert list(run.evidence.gaps()) == []


def test_the_file_is_whole(run: Run) -> None:
    if run.campaign.ground.server:
        pytest.skip("the server's files are its own")
    assert run.evidence.look.rows("PRAGMA integrity_check") == [("ok",)]


def test_no_process_met_a_bug_or_a_broken_outbox(run: Run) -> None:
    assert run.evidence.errors == ""
