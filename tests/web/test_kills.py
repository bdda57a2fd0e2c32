"""A server that is killed again and again while it delivers and writes its settings: nothing is lost, and both files
are whole."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx
import pytest

from sfwebhooks.config.rewriting import PREVIOUS
from sfwebhooks.config.settings import load
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.receive.received import Received
from tests.builders import PATIENCE, a_delivery, an_event
from tests.conftest import Team, put, sql
from tests.stores import BOTH, place_in
from tests.threads import until
from tests.tiers import slow
from tests.web.serving import Web, served

STORES = BOTH

EVENTS, KILLS = 400, 8
#: requests after which a server is killed, by its turn
AFTER = [5 + 7 * turn for turn in range(KILLS)]
INI = "# by hand\n[webhooks.team]\nurl = {}\nevents = all\ndescription = version 0\n\n[other]\nkey = value\n"
pytestmark = [slow, pytest.mark.usefixtures("store")]


class Settings:
    """The settings file, and what the API has said about it.

    Args:
        url: of the receiver.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.path = folder / "spiderfoot.conf"
        self.path.touch(0o600)
        self._first = INI.format(url)
        self.path.write_text(self._first)
        #: the last version that was asked for, and the last one that was confirmed
        self.asked = self.confirmed = 0

    def change(self, web: Web, times: int, after: Callable[[Web], None]) -> None:
        """Write one version after the other until the server is gone.

        Args:
            after: called once so many were confirmed, before the next one is asked for.
        """
        for done in count():
            if done == times:
                after(web)
            self.asked += 1
            try:
                reply = web.client.patch("/v1/webhooks/team", json={"description": f"version {self.asked}"})
            except httpx.TransportError:
                return
            assert reply.status_code == 200, reply.text
            self.confirmed = self.asked

    def check(self) -> None:
        """Check that the file is whole, and that of the last version that was confirmed, or of the one asked for."""
        texts = [self._first.replace("version 0", f"version {version}") for version in {self.confirmed, self.asked}]
        assert self.path.read_text() in texts
        assert [one.name for one in load(self.path).endpoints] == ["team"]


class Killer:
    """Answers requests, and kills the server at one of them before it answers, but not before it knows which one.

    Args:
        requests: the number of that one.
    """

    def __init__(self, requests: int) -> None:
        self._numbers, self._requests = count(1), requests
        self._web: Web | None = None
        self._is_known = threading.Event()

    def aim(self, web: Web) -> None:
        self._web = web
        self._is_known.set()

    def __call__(self, _: Received) -> int:
        number = next(self._numbers)
        if number >= self._requests:
            assert self._is_known.wait(PATIENCE)
        if number == self._requests and self._web:
            os.kill(self._web.process.pid, signal.SIGKILL)
        return 200


def test_killed_while_it_delivers_and_writes_its_settings_it_loses_nothing(
    tmp_path: Path, receive: Callable[..., Team]
) -> None:
    team = receive()
    settings = Settings(tmp_path, team.url)
    with closing(Outbox(place_in(tmp_path))) as outbox:
        put(outbox, load(settings.path).endpoints[0], events=EVENTS)
    for turn, requests in enumerate(AFTER):
        team.answer = killer = Killer(requests)
        with served(tmp_path) as web:
            writer = threading.Thread(target=settings.change, args=(web, turn % 4, killer.aim))
            writer.start()
            assert web.process.wait(PATIENCE) == -signal.SIGKILL
            writer.join(PATIENCE)
        settings.check()
    assert settings.confirmed >= KILLS
    team.answer = 200
    with served(tmp_path) as web, closing(Outbox(place_in(tmp_path), listing=True)) as outbox:
        until(lambda: outbox.scans.tallies() == {"waiting": 0, "delivered": EVENTS, "dead": 0})
        if isinstance(outbox.place, Path):
            assert sql(outbox, "PRAGMA integrity_check") == [("ok",)]
        assert web.client.patch("/v1/webhooks/team", json={"description": "the last"}).status_code == 200
    assert {*team.ids} == {a_delivery(an_event(number), "team").id for number in range(1, EVENTS + 1)}
    left = {one.name for one in tmp_path.iterdir() if "spiderfoot.conf" in one.name}
    assert left == {"spiderfoot.conf", f"spiderfoot.conf{PREVIOUS}"}
