"""The service behind `sfwebhooks run` and `web`: it delivers what any process stores, until it is stopped.

It also reports the ends of scans whose process died, maintains the outbox, and reloads a changed configuration. The
delivery process, which a scan starts (`delivery/process`), is the same with an end of its own (`Need`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Callable

import sfwebhooks
from sfwebhooks import system
from sfwebhooks.config.following import SettingsFiles
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.background import ROUND_SECONDS, BackgroundWork
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.process import Role, note_service, service_lock
from sfwebhooks.delivery.status import config_mistake
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.files import is_deleted
from sfwebhooks.log_once import Trouble
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn, Place, is_missing, local_path
from sfwebhooks.scan.forwarder import Forwarder
from sfwebhooks.scan.recovery import report_dead_scans, running_scans
from sfwebhooks.scan.watch_thread import WatchThread
from sfwebhooks.sending import load_senders
from sfwebhooks.text_file import state_of

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks for scans whose process died
ORPHAN_SECONDS = 30.0
#: seconds between two looks for what other processes have accepted
FOLLOW_SECONDS = 0.02
#: seconds to wait at the end beyond the longest attempt
GRACE_SECONDS = 3.0
#: seconds without a need until a delivery process ends: the next scan may need it
IDLE_SECONDS = 30.0
#: seconds for which a delivery process tries to become the only one: a scan that looks takes its lock for a moment
LOCK_SECONDS = 0.3
#: seconds without a turn of its loop after which a service is stuck: no wait for a server, and none for the attempts in
#: flight when the settings change, takes as long
STUCK_SECONDS = 300.0
PACKAGE = Path(sfwebhooks.__file__)


class Need:
    """The need for a delivery process: scans, and deliveries that they leave behind.

    Args:
        place: of the outbox.
        module: our file in the modules folder of the host that started it.
        now: monotonic seconds.
    """

    def __init__(self, place: Place, module: Path | None, now: float) -> None:
        self._place = place
        self._module = module
        self._package = state_of(PACKAGE)
        #: when a scan was last seen running, and when the process was last needed; monotonic seconds
        self._scan_at = self._needed_at = now
        #: digests of all settings that the process has had
        self._digests: set[str] = set()

    def lasts(self, dispatcher: Dispatcher, settings: Settings, now: float, forwarder: Forwarder | None = None) -> bool:
        """Return whether the process is still needed; call about once a second.

        Args:
            now: monotonic seconds.
            forwarder: of the spool, if scans have one.
        """
        if is_missing(self._place) or state_of(PACKAGE) != self._package:
            return False
        if not settings.is_at(self._place) or (self._module and is_deleted(self._module)):
            return False
        self._digests.add(settings.digest)
        with suppress(OutboxError):
            scans = forwarder.running_scans() if forwarder else running_scans(dispatcher.outbox)
            if {*filter(None, scans.values())} - self._digests:  # other settings, or secrets in the environment
                return False
            self._scan_at = now if scans else self._scan_at
            if forwarder and forwarder.has_work:  # also while the server is away
                self._needed_at = now
            dispatcher.hurry(not scans)
            until = time.time() + self._scan_at + settings.detach_timeout - now
            if dispatcher.outbox.scans.open_scans() or dispatcher.next_at() <= until:
                self._needed_at = now
        return now < self._scan_at + settings.detach_timeout and now < self._needed_at + IDLE_SECONDS


class Service:
    """Delivers from an outbox while it runs.

    Args:
        load: reads the configuration.
        place: of the outbox.
        role: of its process; that of `web` goes on when the last endpoint is removed from the settings.
    """

    def __init__(self, load: Callable[[], Settings], place: Place, role: Role = Role.RUN) -> None:
        self._place = place
        self._settings = load()
        self._files = SettingsFiles(self._settings, load, may_be_empty=role is Role.WEB)
        self._orphans_at = float("-inf")
        self._trouble = Trouble(over="the outbox can be used again")
        #: by it, scans find the process that sends
        self._lock = service_lock(local_path(place))
        self._role = role
        #: when its loop turned last, in monotonic seconds, and whether it is between its start and its end
        self._turned_at, self._is_sending = time.monotonic(), False
        self._watch = WatchThread(place, lambda: self._settings)
        self._begin()

    @property
    def settings(self) -> Settings:
        """The current settings."""
        return self._settings

    @property
    def is_turning(self) -> bool:
        """Whether its loop goes on; if not, only a new process helps."""
        return time.monotonic() - self._turned_at < STUCK_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether it sends: it has started, and the outbox could be used in the last round."""
        return self._is_sending and self.is_turning and not self._trouble

    def run(self, stop: threading.Event, reload: threading.Event, need: Need | None = None) -> bool:
        """Run until `stop` is set; return whether all attempts in flight at that time were settled.

        Args:
            reload: when set, the configuration is read again even if no file seems to have changed.
            need: the process ends with it; and at once if there is another one.

        Raises:
            OutboxError: the outbox cannot be used at the start.
        """
        if need:
            self._role = Role.DELIVERY
            if not self._is_only_one():
                return self._end()
            system.give_way()
        else:
            self._open(stop)
            self._background.attempt(self._announce)
            self._watch.start(stop)
        self._log_state("sending")
        self._wake()
        round_at, self._is_sending = time.monotonic() + ROUND_SECONDS, True
        while not stop.wait(FOLLOW_SECONDS):
            self._turned_at = time.monotonic()
            self._background.attempt(self._dispatcher.follow)
            if time.monotonic() < round_at:
                continue
            round_at = time.monotonic() + ROUND_SECONDS
            if need and not (
                self._files.are_changing  # a scan may have read them first
                or need.lasts(self._dispatcher, self._settings, time.monotonic(), self._forwarder)
            ):
                break
            self._background.attempt(self._announce)
            if need and not self._lock.held:  # its file was removed, and another process is the one
                break
            trouble = self._background.attempt(lambda: self._reread_if_changed(stop, reload))
            trouble = trouble or self._background.round(self._report_dead_scans)
            if trouble:
                self._trouble.met(trouble)
            else:
                self._trouble.ended()
        self._is_sending = False
        self._lock.note("")  # first: from now on it claims nothing
        self._lock.release()
        settled = self._end()
        self._watch.join()
        self._log_state("stopped" if settled else "stopped with attempts in flight, which will be repeated")
        return settled

    def _is_only_one(self) -> bool:
        """Take the lock of services; return whether that was possible.

        Raises:
            OutboxError: its file cannot be used.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        while not self._announce():
            if time.monotonic() > deadline:
                return False
            time.sleep(FOLLOW_SECONDS)
        return True

    def _announce(self) -> bool:
        """Let scans know that this process sends, and with which settings, unless another one does."""
        if self._lock.take():
            note_service(self._lock, self._settings, self._role)
        return self._lock.held

    def _open(self, stop: threading.Event) -> None:
        """Check that the outbox can be used; while another process has locked it, wait.

        Raises:
            OutboxError: it cannot be used.
        """
        with closing(Outbox(self._place)) as outbox:
            while not stop.is_set():
                try:
                    outbox.scans.waiting()
                    return
                except OutboxBusyError as error:
                    self._turned_at = time.monotonic()
                    self._trouble.met(str(error), "; waiting until it can be used")
                    stop.wait(ROUND_SECONDS)

    def _reread_if_changed(self, stop: threading.Event, reload: threading.Event) -> None:
        always = reload.is_set()
        if always:
            reload.clear()
        new = self._files.look(always)
        if new:
            self._use(new, stop)

    def _report_dead_scans(self) -> None:
        if time.monotonic() - self._orphans_at > ORPHAN_SECONDS:
            self._orphans_at = time.monotonic()
            report_dead_scans(self._dispatcher.outbox, self._settings)

    def _use(self, new: Settings, stop: threading.Event) -> None:
        """Use other settings from now on."""
        for words in _moves(self._settings, new):
            log.warning("webhooks: %s", words)
        if not new.is_at(self._place):
            text = "webhooks: the settings have another address for the outbox now; this process keeps %s until its end"
            log.warning(text, self._place)
        self._end()
        self._settings = new
        self._begin()
        if stop.is_set():
            return
        self._wake()
        self._log_state("configuration reloaded")

    def _begin(self) -> None:
        endpoints = () if self._settings.enabled is False else self._settings.endpoints
        load_senders()
        self._dispatcher = Dispatcher(endpoints, self._place, storage=self._settings.storage)
        folder = self._place.folder if isinstance(self._place, Dsn) else self._place.parent
        spool = self._settings.spool_left_in(folder)
        self._forwarder = Forwarder(spool, self._place, self._settings, self._dispatcher.wake) if spool else None
        self._background = BackgroundWork(self._dispatcher, self._settings)

    def _wake(self) -> None:
        self._dispatcher.wake()
        if self._forwarder:
            self._forwarder.start()

    def _end(self) -> bool:
        longest = max((endpoint.timeout for endpoint in self._settings.endpoints), default=0.0)
        self._background.close()
        if self._forwarder:
            self._forwarder.stop(GRACE_SECONDS)
        return self._dispatcher.stop(longest + GRACE_SECONDS)

    def _log_state(self, what: str) -> None:
        names = ", ".join(_shown(endpoint) for endpoint in self._settings.endpoints) or "none"
        if self._settings.enabled is False:
            names = "none, since enabled = false"
        with closing(Outbox(self._place)) as outbox:
            try:
                waiting = f"{outbox.scans.waiting()} waiting"
            except OutboxError as error:
                waiting = str(error)
        log.info("webhooks: %s; endpoints: %s; %s", what, names, waiting)


def _shown(endpoint: Endpoint) -> str:
    """Return an endpoint's name, with the mistake in its settings if it has one."""
    return f"{endpoint.name} ({config_mistake(endpoint.mistake)})" if endpoint.mistake else endpoint.name


def _moves(old: Settings, new: Settings) -> Iterator[str]:
    """Yield a text for each endpoint whose URL changed, with the parts of the URLs that may be shown."""
    before = {endpoint.name: endpoint for endpoint in old.endpoints}
    for endpoint in new.endpoints:
        was = before.get(endpoint.name, endpoint)
        if was.url != endpoint.url:
            same = " (its path changed)" if was.place == endpoint.place else f" instead of {was.place}"
            yield f"deliveries to endpoint {endpoint.name} now go to {endpoint.place}{same}"
