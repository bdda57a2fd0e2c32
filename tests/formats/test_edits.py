"""One message about the progress of a scan, which is edited, in the chats that can do that."""

from __future__ import annotations

from typing import Any

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import WebhookEvent
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.scan.progress import NAME
from sfwebhooks.severity import Severity
from tests.builders import a_scan, an_endpoint, an_event
from tests.conftest import sql
from tests.formats.conftest import Sending, Served, Start
from tests.receivers.chats import Discord, Telegram
from tests.receivers.vendor import Answer

ONE_STORE = "a format's messages are the same wherever deliveries are"

Chat = Any
EACH = pytest.mark.parametrize("make", [Discord, Telegram])


def progress(number: int, scan: str = "S1") -> WebhookEvent:
    data = {"status": "RUNNING", "number": number, "elapsed": 60 * number, "events_found": 1000 + number}
    its = {"type": NAME, "severity": Severity.INFO, "data": data, "subject": f"progress/{scan}"}
    return an_event(number, scan=a_scan(scan), **its)


@pytest.fixture
def started(served: Served, sending: Start) -> Any:
    def start(make: Any, **keys: Any) -> tuple[Chat, Sending]:
        ours = served(make())
        return ours, sending(ours, events=("all",), **keys)

    return start


def versions(chat: Chat) -> list[list[str]]:
    """Return the numbers of findings in the versions of each message, as the chat has them."""
    return [[found for one in message for found in _found_in(one)] for message in chat.messages.values()]


def _found_in(message: Any) -> list[str]:
    return [word for word in ("1,001", "1,002", "1,003", "1,004") if word in str(message)]


@EACH
def test_the_progress_of_a_scan_is_one_message_that_changes(make: Any, started: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1), progress(2), progress(3)])
    one.finish()
    assert one.numbers("delivered") == [1, 2, 3]
    assert versions(ours) == [["1,001", "1,002", "1,003"]]


@EACH
def test_each_scan_has_its_own_and_other_events_are_messages_of_their_own(make: Any, started: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1, "A"), progress(2, "B"), an_event(9), progress(3, "A"), progress(4, "B")])
    one.finish()
    assert [one for one in versions(ours) if one] == [["1,001", "1,003"], ["1,002", "1,004"]]
    assert len(ours.messages) == 3


@EACH
def test_what_somebody_deleted_is_posted_anew_once(make: Any, started: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1)])
    one.step()
    ours.delete(*ours.messages)
    one.accept([progress(2), progress(3)])
    one.finish()
    assert [message for message in versions(ours) if message[0] != "1,001"] == [["1,002", "1,003"]]
    assert one.numbers("delivered") == [1, 2, 3]
    assert one.condition == "healthy"
    assert reasons(one).count("message_gone") == 1


def reasons(one: Sending) -> list[str]:
    return [reason for (reason,) in sql(one.outbox, "SELECT reason FROM delivery_attempt")]


@EACH
def test_a_service_that_says_gone_to_everything_is_not_asked_for_ever(make: Any, started: Any) -> None:
    ours, one = started(make, retry_schedule=(1.0,))
    one.accept([progress(1)])
    one.step()
    telegram = {"ok": False, "error_code": 400, "description": "Bad Request: message to edit not found"}
    ours.instead = Answer(404, {"code": 10008}) if make is Discord else Answer(400, telegram)
    one.accept([progress(2)])
    for _ in range(10):
        one.step(1)
    assert one.numbers("waiting") == [2]
    assert reasons(one).count("message_gone") == 1


@EACH
def test_an_edit_that_fails_is_repeated_before_the_next_one(make: Any, started: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1)])
    one.step()
    ours.instead = Answer(503)
    one.accept([progress(2), progress(3)])
    assert one.step() and not one.step(), "the next one would be older than what is there"
    ours.instead = None
    one.finish()
    assert versions(ours) == [["1,001", "1,002", "1,003"]]


@EACH
def test_a_replay_edits_nothing(make: Any, started: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1), progress(2)])
    one.finish()
    one.outbox.retention.replay(Selection(), one.clock.now)
    one.finish()
    one.accept([progress(3)])
    one.finish()
    first, *replayed = versions(ours)
    assert first == ["1,001", "1,002", "1,003"]
    assert len(replayed) == 1, "the two replays are one digest"


@EACH
def test_another_chat_knows_nothing_of_the_message(make: Any, served: Served, started: Any, new_queue: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1)])
    one.step()
    other = served(make())
    own = {key: Secret(value) for key, value in other.keys.items()}
    moved = an_endpoint(url=other.url, format=other.format, own=own, events=("all",))
    one.queue.stop(0)
    queue: SendQueue = new_queue(moved)
    one.accept([progress(2)])
    assert queue.step()
    assert (versions(ours), versions(other)) == ([["1,001"]], [["1,002"]])


def test_an_unchanged_message_is_right_as_it_is(started: Any) -> None:
    ours, one = started(Telegram)
    one.accept([progress(1)])
    one.step()
    same = "Bad Request: message is not modified: specified new message content and reply markup are exactly the same"
    ours.instead = Answer(400, {"ok": False, "error_code": 400, "description": same})
    one.accept([progress(2)])
    assert one.step()
    assert one.states[1] == ("delivered", "http_400_not_modified")


def test_a_thread_of_discord_keeps_its_message(served: Served, sending: Start) -> None:
    ours = served(Discord())
    one = sending(ours, url=f"{ours.url}?thread_id=42", events=("all",))
    one.accept([progress(1), progress(2)])
    one.finish()
    edit = ours.got[1]
    assert (edit.method, edit.query) == ("PATCH", {"thread_id": ["42"], "wait": ["true"]})
    assert versions(ours) == [["1,001", "1,002"]]


@pytest.mark.parametrize("its_id", [None, 17, True, "", "1/../2", "x" * 50, ["1"], {"a": 1}, "9" * 21, "1\n"])
def test_what_is_no_id_is_not_used_as_one(its_id: Any, started: Any) -> None:
    ours, one = started(Discord)
    ours.instead = Answer(200, {"id": its_id})
    one.accept([progress(1)])
    one.step()
    ours.instead = None
    one.accept([progress(2)])
    one.step(100)
    if its_id == 17:
        assert [asked.path for asked in ours.got] == [Discord.path, f"{Discord.path}/messages/17"]
    else:
        assert {asked.path for asked in ours.got} == {Discord.path}


@EACH
def test_a_replay_of_progress_takes_the_others_of_its_digest_with_it(make: Any, started: Any) -> None:
    ours, one = started(make)
    one.accept([progress(1), an_event(7), an_event(8)])
    one.finish()
    before = [*ours.messages]
    one.outbox.retention.replay(Selection(), one.clock.now)
    one.finish()
    (digest,) = (message for number, message in ours.messages.items() if number not in before)
    assert all(words in str(digest) for words in ("3 replayed messages", "CVE-2026-0007", "CVE-2026-0008"))


@EACH
def test_what_another_chat_says_is_not_about_it(make: Any, served: Served, started: Any, new_queue: Any) -> None:
    _, one = started(make)
    one.accept([progress(1)])
    one.step()
    other = served(make())
    other.instead = Answer(404, {"code": 10008}) if make is Discord else Answer(400, Telegram.unchanged.body)
    own = {key: Secret(value) for key, value in other.keys.items()}
    one.queue.stop(0)
    queue = new_queue(an_endpoint(url=other.url, format=other.format, own=own, events=("all",)))
    one.accept([progress(2)])
    assert queue.step()
    assert one.states[1][0] == "waiting" and not {"message_gone", "http_400_not_modified"} & {*reasons(one)}
