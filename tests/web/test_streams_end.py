"""When event streams end: with their session, with the server, and by their number."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.config import settings
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.web.app import guarded
from sfwebhooks.web.logins import SESSION_SECONDS, Access, Logins
from sfwebhooks.web.server import listening, serving
from sfwebhooks.web.site import Site
from tests import filled
from tests.builders import PATIENCE
from tests.conftest import Clock
from tests.threads import until
from tests.tiers import slow
from tests.web.listening import Listener, asked, connected
from tests.web.serving import OPERATOR

ONE_STORE = "it is about a server's clients"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(site_folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve a site whose streams are looked after in a hurry."""
    monkeypatch.setattr("sfwebhooks.web.stream.LOOK_SECONDS", 0.02)
    with listening(("127.0.0.1", 0)) as listener:
        made = Site(
            folder=site_folder,
            place=site_folder / FILE,
            load=lambda: settings.load(site_folder / "webhooks.ini"),
            file=site_folder / "webhooks.ini",
            logins=Logins({Access.OPERATOR: OPERATOR}, clock),
            listen=listener.getsockname()[:2],
        )
        with serving(guarded(made), made, listener):
            yield made


@pytest.fixture
def listen(site: Site) -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def listen(token: str = "", cookie: str = "") -> Listener:
        opened.append(Listener(connected(site.listen[1], token, cookie)))
        return opened[-1]

    yield listen
    for one in opened:
        one.socket.close()


def test_a_stream_ends_when_its_session_expires(site: Site, clock: Clock, listen: Callable[..., Listener]) -> None:
    browser, program = listen(cookie=site.logins.begin(Access.VIEWER)[0]), listen(OPERATOR)
    browser.next("status")
    clock.now += SESSION_SECONDS - 1
    late = listen(cookie=site.logins.begin(Access.VIEWER)[0])
    clock.now += 2
    assert browser.rest().endswith(b"0\r\n\r\n")
    until(lambda: site.streams.number == 2)
    late.next("status")
    program.next("status")


def test_a_session_of_the_same_browser_does_not_keep_the_stream_of_another_one(
    site: Site, listen: Callable[..., Listener]
) -> None:
    cookie, _ = site.logins.begin(Access.OPERATOR)
    stream = listen(cookie=cookie)
    stream.next("status")
    site.logins.end(cookie)
    site.logins.begin(Access.OPERATOR)
    assert stream.rest().endswith(b"0\r\n\r\n")


def test_one_stream_too_many_is_refused_until_another_one_ends(
    site: Site, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.web.stream.STREAMS_MAX", 2)
    first, _ = listen(OPERATOR), listen(OPERATOR)
    refused = listen(OPERATOR)
    assert (refused.status, "retry-after: " in refused.head.lower()) == (503, True)
    first.socket.close()
    until(lambda: site.streams.number == 1)
    assert listen(OPERATOR).status == 200


def test_a_client_that_reads_nothing_is_disconnected_and_no_other_one(
    site: Site, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.web.api.stream.END_SECONDS", 0.1)
    reading = listen(OPERATOR)
    with socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect(("127.0.0.1", site.listen[1]))
        unread.sendall(asked(site.listen[1], OPERATOR))
        until(lambda: site.streams.number == 2)
        with closing(Outbox(site.place)) as outbox:
            number = 0
            while site.streams.number == 2:
                filled.put(outbox, *range(number, number := number + 20))
                for _ in range(20):
                    filled.send(outbox, excerpt="x" * 1000)
                reading.next("attempts")
                assert number < 20_000
        unread.settimeout(PATIENCE)
        assert not Listener(unread).rest().endswith(b"0\r\n\r\n")
    assert site.streams.number == 1
    reading.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        while reading.socket.recv(1 << 20):
            pass


@slow
def test_the_end_of_the_server_ends_each_stream(site_folder: Path, site: Site, listen: Callable[..., Listener]) -> None:
    streams = [listen(OPERATOR) for _ in range(5)]
    site.streams.close()
    for stream in streams:
        assert stream.rest().endswith(b"0\r\n\r\n")
    assert listen(OPERATOR).status == 503
