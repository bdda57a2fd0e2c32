"""The feeds: what an outbox's changes are to those who follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.scan_list import ScanCounts
from sfwebhooks.retry import State
from sfwebhooks.sensitive import WITHHELD
from sfwebhooks.web.feeds import (
    ATTEMPTS_MAX,
    LOOK_SHARE,
    QUIET_SECONDS,
    REPLY_SECONDS,
    AttemptFeed,
    PacedFeed,
    StatusFeed,
    opened_feeds,
)
from sfwebhooks.web.stream import Feed, StreamEvent
from tests import filled
from tests.builders import a_scan, an_endpoint, an_event
from tests.conftest import Clock
from tests.outbox_rows import rows_of
from tests.stores import BOTH, place_in
from tests.threads import until

STORES = BOTH

SECRET = "correct-horse-battery"
FOUND = {"event_type": "PASSWORD_COMPROMISED", "data": f"bob@acme.example:{SECRET} [Example leak]"}


@pytest.fixture
def attempts(outbox: Outbox) -> AttemptFeed:
    return AttemptFeed(outbox, Settings)


def items(change: StreamEvent | None) -> list[dict[str, Any]]:
    assert change
    return list(change.data["items"])


def test_attempts_come_once_in_order_with_their_deliveries(outbox: Outbox, attempts: AttemptFeed) -> None:
    filled.put(outbox, 1, 2)
    assert attempts() is None
    ids = [filled.send(outbox), filled.send(outbox, State.WAITING, "timeout")]
    found = items(attempts())
    assert [one["delivery"] for one in found] == ids
    assert [(one["state"], one["attempt"]["reason"]) for one in found] == [
        ("delivered", "http_200"),
        ("waiting", "timeout"),
    ]
    assert attempts() is None


def test_those_from_before_it_are_not_among_them(outbox: Outbox) -> None:
    filled.put(outbox, 1)
    filled.send(outbox)
    assert AttemptFeed(outbox, Settings)() is None


@pytest.mark.parametrize(("number", "missed"), [(ATTEMPTS_MAX, 0), (ATTEMPTS_MAX + 1, 1), (ATTEMPTS_MAX + 50, 50)])
def test_of_too_many_the_last_ones_are_sent_and_the_others_counted(
    outbox: Outbox, attempts: AttemptFeed, number: int, missed: int
) -> None:
    filled.put(outbox, *range(1, number + 1))
    ids = [filled.send(outbox) for _ in range(number)]
    change = attempts()
    assert change and change.data["missed"] == change.redacted()["missed"] == missed
    assert [one["delivery"] for one in items(change)] == ids[missed:]
    assert attempts() is None


def test_deleted_attempts_are_not_waited_for(outbox: Outbox, attempts: AttemptFeed) -> None:
    filled.put(outbox, 1, 2)
    filled.send(outbox)
    items(attempts())
    rows_of(outbox, "DELETE FROM delivery_attempt")
    assert attempts() is None
    filled.send(outbox)
    assert len(items(attempts())) == 1


@pytest.mark.parametrize("batch", [False, True])
def test_viewers_see_no_quotation_in_a_reply(outbox: Outbox, attempts: AttemptFeed, batch: bool) -> None:
    filled.put_event(outbox, an_event(data=FOUND))
    filled.send(outbox, State.WAITING, "http_400", f"this is no key: {SECRET}")
    if batch:
        rows_of(outbox, "UPDATE delivery SET batch = 'of others too'")
    change = attempts()
    assert change
    assert SECRET in str(change.data)
    shown = change.redacted()["items"][0]["attempt"]["excerpt"]
    assert (shown == WITHHELD, SECRET in shown) == (batch, False)


def test_redaction_of_replies_takes_little_time_from_the_deliveries(outbox: Outbox) -> None:
    ticks = Clock()

    def clock() -> float:
        ticks.now += REPLY_SECONDS / 3
        return ticks.now

    attempts = AttemptFeed(outbox, Settings, clock)
    filled.put(outbox, *range(1, 11))
    for _ in range(10):
        filled.send(outbox, excerpt="ok")
    change = attempts()
    assert change and change.data["items"][-1]["attempt"]["excerpt"] == "ok"
    assert [one["attempt"]["excerpt"] for one in change.redacted()["items"]] == ["ok"] * 2 + [WITHHELD] * 8


def test_an_empty_reply_stays_empty(outbox: Outbox, attempts: AttemptFeed) -> None:
    filled.put(outbox, 1)
    filled.send(outbox, excerpt="")
    change = attempts()
    assert change and change.redacted()["items"][0]["attempt"]["excerpt"] == ""


@contextmanager
def followed(path: Place) -> Iterator[Callable[[], dict[str, StreamEvent]]]:
    """Lend what looks at an outbox once: name -> change."""

    @contextmanager
    def reading() -> Iterator[Outbox]:
        with closing(Outbox(path, listing=True)) as outbox:
            yield outbox

    settings = Settings((an_endpoint(events=("all",)),))
    with opened_feeds(path, reading, lambda: settings, ScanCounts()) as feeds:
        yield lambda: {change.name: change for feed in feeds for change in [feed()] if change}


@pytest.mark.sqlite("no outbox is created")
def test_an_outbox_that_is_not_there_has_a_status_and_is_followed_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.web.feeds.LOOK_SHARE", 1e6)
    with followed(tmp_path / FILE) as look:
        found = look()
        assert [*found] == ["status"]
        assert [one["waiting"] for one in found["status"].data["endpoints"]] == [0]
        assert look() == {}
        with closing(Outbox(place_in(tmp_path))) as outbox:
            filled.begin(outbox, a_scan())
            filled.put(outbox, 1)
            filled.send(outbox)
        found = until(look)  # for a moment it is as it was
        assert {*found} == {"status", "attempts", "scans"}
        assert items(found["scans"])[0]["deliveries"]["delivered"] == 1


def test_a_status_with_nothing_but_a_new_sign_of_life_is_not_sent() -> None:
    found: dict[str, Any] = {"endpoints": [{"last_error": None, "sender": {"pid": 1, "seen_at": "before"}}]}
    feed = StatusFeed(lambda: found)
    assert feed()
    assert feed() is None
    found = {"endpoints": [{**found["endpoints"][0], "sender": {"pid": 1, "seen_at": "now"}}]}
    assert feed() is None
    found = {"endpoints": [{**found["endpoints"][0], "sender": {"pid": 2, "seen_at": "now"}}]}
    change = feed()
    assert change and change.data == found


def test_only_scans_that_have_changed_are_sent(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.web.feeds.LOOK_SHARE", 1e6)
    monkeypatch.setattr("sfwebhooks.outbox.scan_list.COUNT_SHARE", 1e6)  # counted again at each look
    one, other = a_scan("5C4A0001"), a_scan("5C4A0002")
    filled.begin(outbox, one)
    with followed(outbox.place) as look:
        assert "scans" not in look()
        filled.begin(outbox, other)
        assert [item["scan"] for item in items(look()["scans"])] == [other.id]
        filled.put(outbox, 1, scan=one)
        change = look()["scans"]
        assert [item["scan"] for item in items(change)] == [one.id]
        assert change.redacted() == change.data


class Costly:
    """A feed that takes time."""

    def __init__(self, clock: Clock) -> None:
        self.looks, self.version, self._clock = 0, 0, clock

    def __call__(self) -> StreamEvent | None:
        self.looks += 1
        self._clock.now += 1.0
        return None


def test_a_costly_feed_takes_a_small_part_of_the_time() -> None:
    clock = Clock()
    costly = Costly(clock)
    feed: Feed = PacedFeed(costly, lambda: clock.now, clock)
    for _ in range(100):
        feed()
        clock.now += 1.0
    assert costly.looks == pytest.approx(100 * LOOK_SHARE, abs=1)


def test_it_does_not_look_while_nothing_changes_but_now_and_then() -> None:
    clock = Clock()
    costly = Costly(clock)
    feed: Feed = PacedFeed(costly, lambda: costly.version, clock)
    feed()
    clock.now += QUIET_SECONDS - 0.1
    feed()
    assert costly.looks == 1
    clock.now += 1 / LOOK_SHARE
    feed()
    assert costly.looks == 2
    clock.now += 1 / LOOK_SHARE - 0.1
    costly.version += 1
    feed()
    assert costly.looks == 2
    clock.now += 0.1
    feed()
    assert costly.looks == 3
