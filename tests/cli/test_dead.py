"""`sfwebhooks dead` and `replay`: what an operator does about deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

import pytest

from sfwebhooks.delivery.status import IDLE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from tests.builders import NOW, a_scan
from tests.cli.test_deliveries import listed
from tests.conftest import Result, sql
from tests.filled import an_id, begin, put, send
from tests.stores import BOTH

STORES = BOTH


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    """To the team: 1 delivered, 2 and 3 dead, 4 waiting; to the siem: 1 dead."""
    put(outbox, 1, 2, 3, 4)
    put(outbox, 1, endpoint="siem", at=NOW + 60)
    for state, reason in ((State.DELIVERED, "http_200"), (State.DEAD, "http_400"), (State.DEAD, "http_422")):
        send(outbox, state, reason, "what it said")
    send(outbox, State.DEAD, "too_old", endpoint="siem")
    return outbox


def all_of(outbox: Outbox) -> list[Record]:
    return Outbox(outbox.place).listing.deliveries(Selection(), 100)


def again(outbox: Outbox) -> set[str]:
    """Return the ids of what is sent again."""
    return {record.id for record in all_of(outbox) if record.replays and record.state is State.WAITING}


# --- dead list, dead show


def test_only_dead_letters_are_listed_with_why(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("dead", "list")
    assert (result.code, listed(result)) == (0, [an_id(1, "siem"), an_id(3), an_id(2)])
    row = f"{an_id(2)} 2026-11-21 10:00:00 team high_risk_event high 5C4A0001 acme.example 1 http_400 what it said"
    assert row in result.words


def test_dead_letters_are_listed_by_filter_and_limit(cli: Callable[..., Result], filled: Outbox) -> None:
    assert listed(cli("dead", "list", "--endpoint", "team", "--limit", "1")) == [an_id(3)]
    assert [found["reason"] for found in cli("dead", "list", "--json").objects] == ["too_old", "http_422", "http_400"]


def test_no_dead_letter_is_said(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    assert cli("dead", "list").out == "No deliveries.\n"


def test_a_dead_letter_is_shown(cli: Callable[..., Result], filled: Outbox) -> None:
    assert "why http_422" in cli("dead", "show", an_id(3)[:8]).words


def test_what_is_not_dead_is_not_shown_as_that(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("dead", "show", an_id(4))
    assert (result.code, "no dead letter, nor the event of one, has an id" in result.err) == (1, True)


# --- what may be changed


@pytest.mark.parametrize(
    "command",
    [
        *(["replay"], ["dead", "replay"], ["dead", "drop"], ["replay", "--state", "dead"]),
        *(["drop", "--state", "waiting"], ["drop", "--state", "dead"]),
    ],
)
def test_all_of_them_must_be_said(cli: Callable[..., Result], filled: Outbox, command: Sequence[str]) -> None:
    before = all_of(filled)
    result = cli(*command)
    assert (result.code, result.out, "or --all" in result.err) == (1, "", True)
    assert all_of(filled) == before


@pytest.mark.parametrize("option", ["--endpoint", "--scan", "--type"])
def test_an_empty_filter_is_none(cli: Callable[..., Result], filled: Outbox, option: str) -> None:
    assert cli("dead", "drop", option, "").code == 1


@pytest.mark.parametrize("command", [["replay"], ["dead", "replay"], ["dead", "drop"]])
def test_a_wrong_id_among_right_ones_changes_nothing(
    cli: Callable[..., Result], filled: Outbox, command: Sequence[str]
) -> None:
    before = all_of(filled)
    result = cli(*command, an_id(2), "beef0000")
    assert (result.code, "beef0000" in result.err, all_of(filled)) == (1, True, before)


@pytest.mark.parametrize(
    ("command", "table"),
    [
        (["replay"], "endpoint delivered dead siem 0 1 team 1 2 4 deliveries; nothing was changed (--dry-run)."),
        (["replay", "--state", "delivered"], "endpoint delivered team 1 1 delivery; nothing was changed (--dry-run)."),
        (["dead", "replay"], "endpoint dead siem 1 team 2 3 deliveries; nothing was changed (--dry-run)."),
        (["dead", "drop"], "endpoint dead siem 1 team 2 3 deliveries; nothing was changed (--dry-run)."),
    ],
)
def test_a_dry_run_shows_the_counts_and_changes_nothing(
    cli: Callable[..., Result], filled: Outbox, command: Sequence[str], table: str
) -> None:
    before = all_of(filled)
    result = cli(*command, "--all", "--dry-run")
    assert (result.code, result.words.startswith(table)) == (0, True)
    assert all_of(filled) == before


def test_a_dry_run_of_nothing_says_so(cli: Callable[..., Result], filled: Outbox) -> None:
    words = "0 deliveries; nothing was changed (--dry-run).\n"
    assert cli("dead", "drop", "--until", "2026-11-21", "--dry-run").out == words


# --- replay


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["replay", "--all"], [an_id(1), an_id(2), an_id(3), an_id(1, "siem")]),
        (["replay", "--all", "--state", "delivered"], [an_id(1)]),
        (["replay", "--all", "--state", "dead"], [an_id(2), an_id(3), an_id(1, "siem")]),
        (["replay", "--endpoint", "team"], [an_id(1), an_id(2), an_id(3)]),
        (["replay", "--scan", "5C4A0001", "--endpoint", "siem"], [an_id(1, "siem")]),
        (["replay", "--type", "high*", "--since", "2026-11-21T10:00:30"], [an_id(1, "siem")]),
        (["replay", "--until", "2026-11-21T10:00:30", "--state", "dead"], [an_id(2), an_id(3)]),
        (["replay", an_id(1)[:8]], [an_id(1)]),
        (["dead", "replay", "--all"], [an_id(2), an_id(3), an_id(1, "siem")]),
        (["dead", "replay", an_id(2), an_id(3)[:12]], [an_id(2), an_id(3)]),
    ],
)
def test_what_is_chosen_is_sent_again(
    cli: Callable[..., Result], filled: Outbox, arguments: Sequence[str], ids: Sequence[str]
) -> None:
    result = cli(*arguments)
    number = "1 delivery" if len(ids) == 1 else f"{len(ids)} deliveries"
    assert (result.code, result.out.startswith(f"{number} will be sent again.\n")) == (0, True)
    assert again(filled) == set(ids)


def test_a_replay_says_how_many_wait_already(cli: Callable[..., Result], filled: Outbox) -> None:
    assert "1 delivery already waiting: unchanged." in cli("replay", "--all").out
    assert "5 deliveries already waiting: unchanged." in cli("replay", "--all").out
    assert "waiting already" not in cli("replay", "--until", "2026-11-21", "--dry-run").out


CHANGES = [
    ["replay"],
    ["dead", "replay"],
    ["dead", "drop"],
    ["drop", "--state", "waiting"],
    ["drop", "--state", "dead"],
]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    "filters", [["--scan", "NOPE"], ["--endpoint", "nobody"], ["--type", "scan_fialed"]], ids=" ".join
)
@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_a_name_that_the_outbox_does_not_know_is_an_error(
    cli: Callable[..., Result], filled: Outbox, command: Sequence[str], filters: Sequence[str], dry_run: Sequence[str]
) -> None:
    before = all_of(filled)
    result = cli(*command, *filters, *dry_run)
    assert (result.code, result.out, f'"{filters[1]}"' in result.err) == (1, "", True)
    assert all_of(filled) == before


@pytest.mark.sqlite("no outbox is created")
@pytest.mark.parametrize("filters", [["--scan", "NOPE"], ["--endpoint", "nobody"], ["abcdef"]])
def test_without_an_outbox_no_name_is_known(cli: Callable[..., Result], filters: Sequence[str]) -> None:
    result = cli("dead", "drop", *filters)
    assert (result.code, result.out, "There is no outbox" in result.err) == (1, "", True)
    assert cli("dead", "drop", "--all").code == 0


FILTERS = [["--type", "scan_failed"], ["--until", "2026-11-21"]]


@pytest.mark.parametrize("filters", FILTERS, ids=" ".join)
@pytest.mark.parametrize(
    ("command", "which"),
    [(["replay"], "delivered or dead"), (["dead", "replay"], "dead"), (["dead", "drop"], "dead")],
)
def test_filters_that_find_nothing_are_an_error(
    cli: Callable[..., Result], filled: Outbox, command: Sequence[str], which: str, filters: Sequence[str]
) -> None:
    before = all_of(filled)
    result = cli(*command, *filters)
    said = f"sfwebhooks: no {which} delivery matches the filters"
    assert (result.code, result.out, result.err.splitlines()[-1], all_of(filled)) == (1, "", said, before)
    assert cli(*command, *filters, "--dry-run").code == 0


def test_that_there_is_nothing_at_all_is_not_an_error(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    assert cli("dead", "drop", "--all").out == "0 deliveries dropped.\n"
    assert cli("dead", "replay", "--all").code == 0


def test_a_delivery_that_waits_already_is_a_match(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1)
    result = cli("replay", "--endpoint", "team")
    assert (result.code, "1 delivery already waiting: unchanged." in result.out) == (0, True)


def test_a_replay_can_have_a_pace(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("replay", "--all", "--rate", "2/m")
    due = [number for (number,) in sql(filled, "SELECT due_at FROM delivery WHERE replays > 0 ORDER BY number")]
    assert [number - due[0] for number in due] == pytest.approx([0.0, 30.0, 60.0, 90.0], abs=0.001)
    assert "will be sent again, the last one in 1 min 30 s.\n" in result.out


@pytest.mark.parametrize("rate", ["fast", "0/s", "10", "1/d", "-1/s"])
def test_a_pace_that_cannot_be_read_is_wrong_usage(
    cli: Callable[..., Result], capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli("replay", "--all", f"--rate={rate}")
    assert (ended.value.code, "expected " in capsys.readouterr().err) == (2, True)


# --- drop


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--all"], [an_id(1), an_id(4)]),
        (["--endpoint", "siem"], [an_id(1), an_id(2), an_id(3), an_id(4)]),
        ([an_id(2)], [an_id(1), an_id(3), an_id(4), an_id(1, "siem")]),
    ],
)
def test_the_chosen_dead_letters_are_dropped(
    cli: Callable[..., Result], filled: Outbox, arguments: Sequence[str], left: Sequence[str]
) -> None:
    result = cli("dead", "drop", *arguments)
    dropped = 5 - len(left)
    assert result.out == f"{dropped} deliver{'y' if dropped == 1 else 'ies'} dropped.\n"
    assert {record.id for record in all_of(filled)} == set(left)


def test_a_dead_letter_of_a_running_scan_stays_and_that_is_said(cli: Callable[..., Result], outbox: Outbox) -> None:
    begin(outbox, a_scan())
    put(outbox, 1)
    send(outbox, State.DEAD)
    result = cli("dead", "drop", "--all")
    assert "0 deliveries dropped. 1 delivery left: the end of their scan is not reported yet" in result.words
    assert len(all_of(outbox)) == 1


def test_a_replay_says_why_its_deliveries_wait(cli: Callable[..., Result], filled: Outbox) -> None:
    words = cli("dead", "replay", "--all").words
    assert f"siem: 1 waiting: {IDLE} team: 3 waiting: {IDLE}" in words


# --- drop what waits


def test_a_waiting_delivery_is_dropped_and_can_be_sent_after_all(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("drop", "--endpoint", "team", "--state", "waiting")
    assert result.words.startswith("1 delivery dropped, now a dead letter: sfwebhooks dead replay sends")
    dropped = Outbox(filled.place).listing.find(an_id(4))
    assert (result.code, dropped.state, dropped.reason) == (0, State.DEAD, "dropped")
    assert cli("dead", "replay", an_id(4)).code == 0
    assert again(filled) == {an_id(4)}


def test_waiting_deliveries_of_a_running_scan_are_dropped_and_stay_known(
    cli: Callable[..., Result], outbox: Outbox
) -> None:
    begin(outbox, a_scan())
    put(outbox, 1, 2)
    cli("drop", an_id(1), "--state", "waiting")
    assert [record.state for record in all_of(outbox)] == [State.WAITING, State.DEAD]
    put(outbox, 1, 2)  # as its recovery does
    assert [record.state for record in all_of(outbox)] == [State.WAITING, State.DEAD]


def test_a_dry_run_drops_nothing_that_waits(cli: Callable[..., Result], filled: Outbox) -> None:
    before = all_of(filled)
    result = cli("drop", "--state", "waiting", "--all", "--dry-run")
    assert result.words == "endpoint waiting team 1 1 delivery; nothing was changed (--dry-run)."
    assert all_of(filled) == before


def test_dead_letters_are_dropped_by_their_state_too(cli: Callable[..., Result], filled: Outbox) -> None:
    assert cli("drop", "--state", "dead", "--all").out == "3 deliveries dropped.\n"
    assert {record.id for record in all_of(filled)} == {an_id(1), an_id(4)}


def test_which_ones_are_dropped_must_be_said(
    cli: Callable[..., Result], filled: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli("drop", "--all")
    assert (ended.value.code, "--state" in capsys.readouterr().err) == (2, True)


def test_filters_that_nothing_that_waits_passes_are_an_error(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("drop", "--state", "waiting", "--endpoint", "siem")
    assert (result.code, "no waiting delivery matches the filters" in result.err) == (1, True)
