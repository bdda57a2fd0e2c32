"""Three machines that deliver, three that scan, five receivers and one PostgreSQL: kills, partitions, machines that
sleep, immediate stops of the server, a transaction that is held open. `-s` shows the figures."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.crash.fleet_campaign import Campaign, Size
from tests.crash.fleet_evidence import FleetEvidence
from tests.machines import demand_machines
from tests.postgres import demand

SMALL = Size(events=1_500, kills=20, partitions=2, sleeps=2, stops=2, stopping_seconds=25.0, held_seconds=50.0)
LARGE = Size(events=20_000, kills=200, partitions=20, sleeps=12, stops=20, stopping_seconds=300.0, held_seconds=600.0)


@pytest.fixture(
    scope="module",
    params=[pytest.param(SMALL, marks=pytest.mark.slow), pytest.param(LARGE, marks=pytest.mark.campaign)],
    ids=["small", "large"],
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetEvidence]:
    demand()
    demand_machines()
    seed = request.config.getoption("--seed")
    seed = random.randrange(2**32) if seed is None else seed
    print(f"\n--seed {seed}")
    with Campaign(tmp_path_factory.mktemp("fleet"), seed, request.param) as campaign:
        campaign.run()
        evidence = FleetEvidence(campaign)
        print(evidence.figures())
        yield evidence


def test_as_much_happened_as_was_asked_for(found: FleetEvidence) -> None:
    done, size = found.campaign.done, found.campaign.size
    for what, number in (("kills", size.kills), ("partitions", size.partitions), ("sleeps", size.sleeps),
                         ("immediate stops", size.stops)):  # fmt: skip
        assert sum(times for name, times in done.items() if name.startswith(what)) == number
    assert len(found.kinds) == size.events
    assert found.campaign.was_held
    assert found.campaign.held_seconds >= size.held_seconds


def test_nothing_that_was_accepted_is_lost(found: FleetEvidence) -> None:
    assert found.accepted
    assert found.accepted - found.taken == set()


def test_a_scan_that_the_server_knows_is_complete(found: FleetEvidence) -> None:
    assert found.due - found.taken == set()


def test_nothing_is_dead(found: FleetEvidence) -> None:
    assert found.dead() == []


def test_each_scan_has_one_end_for_each_endpoint(found: FleetEvidence) -> None:
    assert set(found.ends().values()) == {1}


def test_what_comes_again_has_the_id_and_the_bytes_that_it_had(found: FleetEvidence) -> None:
    assert found.repeats
    assert (found.renamed(), found.changed()) == (set(), set())


def test_sequence_numbers_have_no_gaps(found: FleetEvidence) -> None:
    gaps = [(scan, name) for scan, name, numbers in found.numbers() if numbers != [*range(1, len(numbers) + 1)]]
    assert gaps == []


def test_a_receiver_sees_two_machines_at_once_only_for_what_was_begun_before_a_takeover(found: FleetEvidence) -> None:
    assert found.overlaps[""] == []
    assert found.from_former_owners[""] == []


def test_late_results_are_refused(found: FleetEvidence) -> None:
    assert sum(found.late_results.values()) > 0
    assert found.settled_twice() == 0


def test_no_process_met_a_bug(found: FleetEvidence) -> None:
    assert found.bugs == []
