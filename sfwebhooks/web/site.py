"""The site: what a process serves. A handler has it as an argument, `TheSite`, and opens the outbox with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from sfwebhooks.config.settings import Settings
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.scan_list import ScanCounts
from sfwebhooks.text_file import state_of
from sfwebhooks.web.feeds import opened_feeds
from sfwebhooks.web.idempotency import IdempotencyKeys
from sfwebhooks.web.logins import Logins
from sfwebhooks.web.problems import Problem
from sfwebhooks.web.stream import Broadcaster


@dataclass
class Site:
    """What one process serves."""

    #: the data folder
    folder: Path
    #: of the outbox, which need not exist
    place: Place
    #: reads the settings now
    load: Callable[[], Settings]
    #: the INI file that is edited; None: there is none
    file: Path | None
    logins: Logins
    #: IP address and port that it listens on
    listen: tuple[str, int]
    #: further names under which it may be asked, as in the Host header
    names: tuple[str, ...] = ()
    read_only: bool = False
    #: whether this process also delivers
    delivers: bool = True
    #: whether a reverse proxy in front of it ends TLS
    behind_tls: bool = False
    #: set when the process ends
    stopping: threading.Event = field(default_factory=threading.Event)
    #: the requests that may be repeated
    idempotency: IdempotencyKeys = field(default_factory=IdempotencyKeys)
    #: the deliveries of scans, as they were counted last
    counts: ScanCounts = field(default_factory=ScanCounts)
    #: the event streams
    streams: Broadcaster = field(init=False)
    _settings: Settings | None = None
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.streams = Broadcaster(lambda: opened_feeds(self.place, self.reading, self.settings, self.counts))

    def settings(self) -> Settings:
        """Return the current settings; they are read again when one of their files has changed.

        Raises:
            ConfigError: they cannot be read.
        """
        with self._reading:
            known = self._settings
            if known is None or {path: state_of(path) for path in known.files} != known.files:
                self._settings = known = self.load()
            return known

    @contextmanager
    def reading(self) -> Iterator[Outbox]:
        """Open the outbox for reading; one that is not there is empty."""
        with closing(Outbox(self.place, listing=True)) as outbox:
            yield outbox

    @contextmanager
    def changing(self) -> Iterator[Outbox]:
        """Open the outbox for changes.

        Raises:
            Problem: the site is read-only.
        """
        self.demand_writable()
        with closing(Outbox(self.place, storage=self.settings().storage)) as outbox:
            try:
                yield outbox
            finally:
                self.counts.forget()

    def demand_writable(self) -> None:
        """Check that the site may change anything.

        Raises:
            Problem: it is read-only.
        """
        if self.read_only:
            raise Problem(HTTPStatus.FORBIDDEN, "this server is read-only: it was started with --read-only")


def site_of(request: Request) -> Site:
    """Return the site that a request is for."""
    site: Site = request.app.state.site
    return site


#: argument of a handler
TheSite = Annotated[Site, Depends(site_of)]
