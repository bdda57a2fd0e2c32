"""The forwarder: the events of a machine's spool come in, and are admitted to the outbox of the settings, mostly on
PostgreSQL, by the settings of this process: filters, sightings, numbers and deliveries are decided there, in one
transaction for each group.

    spool --first--> begin_scan | accept | end, committed in the outbox --> forget, committed in the spool

A process that is killed between the two repeats the group, and ids make that harmless. One process at a time forwards
from a spool: it holds its lock. A scan's end is an event behind all others of the scan; what it needs of the host's
database (`recovery`) is read here, on the scan's own machine.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import NO_MEMORY, HostDatabaseError, OutboxError, RejectedError, TargetBusyError, is_shortage
from sfwebhooks.events import Delivery, Scan, WebhookEvent, lifecycle_id
from sfwebhooks.files import is_deleted
from sfwebhooks.log_once import Trouble
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.spool import OVER, Spool, over
from sfwebhooks.outbox.store import Store
from sfwebhooks.retry import State
from sfwebhooks.scan.isolation import Isolation
from sfwebhooks.scan.recovery import running_scans
from sfwebhooks.scan.spooled_scans import SpooledScans
from sfwebhooks.text import amount

log = logging.getLogger("spiderfoot.webhooks")
#: most events of a group
GROUP_MAX = 500
#: seconds between two looks at the spool
LOOK_SECONDS = 0.05
#: seconds until a server that cannot be used is tried again: doubled up to the second
AGAIN_SECONDS, AGAIN_MOST_SECONDS = 1.0, 30.0
#: seconds until a scan is tried again that could not be forwarded or ended, and between two looks for scans whose
#: process died
SCAN_AGAIN_SECONDS, ORPHAN_SECONDS = 30.0, 30.0
#: seconds between two looks after the spool's file and the scans that are vouched for
TIDY_SECONDS = 60.0


class Forwarder:
    """Forwards from a spool while it runs.

    Args:
        path: of the spool.
        place: of the outbox.
        admitted: called after each group that has new deliveries.
    """

    def __init__(
        self, path: Path, place: Place, settings: Settings, admitted: Callable[[], object] = lambda: None
    ) -> None:
        self.spool = Spool(path, storage=settings.storage)
        self._place = place
        self._outbox: Store = Outbox(place, storage=settings.storage)
        self._isolation = Isolation(self.spool, self._outbox)
        self._scans = SpooledScans(self.spool, self._outbox, self._isolation, settings)
        self._settings = settings
        self._admitted = admitted
        self._trouble = Trouble("spool: ", over="the events of the spool are forwarded again")
        #: seconds until the next try while there is trouble
        self._patience = AGAIN_SECONDS
        #: what the spool has noted of it by this process; None: nothing yet
        self._noted: str | None = None
        #: scan that cannot be forwarded now -> when it is tried again (monotonic seconds), and why
        self._late: dict[str, tuple[float, str]] = {}
        self._orphans_at = self._tidied_at = float("-inf")
        self._is_owner = False
        #: held for a step, and while the settings change
        self._guard = threading.RLock()
        self._stopping, self._hurried = threading.Event(), threading.Event()
        #: how often the thread has tried
        self._tries = 0
        self._thread: threading.Thread | None = None

    def use(self, settings: Settings) -> None:
        """Use other settings from now on."""
        with self._guard:
            self._settings = settings
            self._scans.use(settings)
            self._late.clear()
            self._isolation.reset()

    def start(self) -> None:
        """Forward in a thread until `stop`; the next call tries again if none can be started now."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="webhooks-forwarder", daemon=True)
            with suppress(RuntimeError, MemoryError):
                thread.start()
                self._thread = thread

    def stop(self, seconds: float) -> bool:
        """End the thread, which closes the files, and wait for it at most `seconds`; return whether it has ended."""
        self._stopping.set()
        self._hurried.set()
        if self._thread:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        self._close()
        return True

    def linger(self, deadline: float, is_over: Callable[[], bool] = lambda: False, everything: bool = False) -> None:
        """Wait while events are forwarded, by whichever process, at most until `deadline` (monotonic seconds).

        Args:
            everything: wait also while the server cannot be used; else only for one more try.
        """
        before = self._tries
        while time.monotonic() < deadline and not is_over():
            self._hurried.set()
            with suppress(OutboxError):
                is_empty = is_deleted(self.spool.path) or self.spool.is_empty([*self._late])
                has_tried = self._tries > before + 1  # the first one may have begun before
                if is_empty or self._is_off or (has_tried and self.trouble and not everything):
                    return
            self._stopping.wait(LOOK_SECONDS)

    def forward_here(self, deadline: float, stopped: Container[str] = ()) -> None:
        """Forward all in the calling thread, until `deadline` (monotonic seconds).

        Args:
            stopped: marks of scan processes that were stopped together with this process, their host.
        """
        with suppress(OutboxError, HostDatabaseError):
            if is_deleted(self.spool.path):
                return
            self._report_dead(stopped)  # only this process knows why
            if self.spool.lock.take():
                while self.step() and time.monotonic() < deadline:
                    pass

    @property
    def _is_off(self) -> bool:
        """Whether nobody would get what is forwarded, so that it waits for other settings."""
        return self._settings.enabled is False or not (self._settings.endpoints or self._settings.is_complete)

    @property
    def has_work(self) -> bool:
        """Whether events wait to be forwarded."""
        return not is_deleted(self.spool.path) and not self.spool.is_empty()

    @property
    def waiting(self) -> int:
        """How many events wait to be forwarded. Counts the rows."""
        return 0 if is_deleted(self.spool.path) else self.spool.backlog().waiting

    def running_scans(self) -> dict[str, str]:
        """Return the scans that accept into the spool; as `recovery.running_scans`."""
        return {} if is_deleted(self.spool.path) else running_scans(self.spool.outbox)

    def left_of(self, scan_id: str) -> str:
        """Return how many events of a scan are left in the spool, why, and who forwards them; empty: none.

        Raises:
            OutboxError: the spool cannot be read.
        """
        if is_deleted(self.spool.path):
            return ""
        found = self.spool.outbox.scans.tallies(scan_id)
        waiting, aside = found[State.WAITING.value], found[State.DEAD.value]
        why = f": {self.trouble}" if self.trouble else ""
        pid = self.spool.sender
        who = f"process {pid}" if pid not in (0, os.getpid()) else "sfwebhooks run, drain or the next scan"
        parts = [f"{amount(waiting, 'event')} of this scan left in the spool{why}; {who} forwards them"] * bool(waiting)
        parts += [f"{amount(aside, 'event')} of this scan set aside in the spool: sfwebhooks spool list"] * bool(aside)
        return "; ".join(parts)

    @property
    def trouble(self) -> str:
        """What keeps this process, or another one that owns the spool, from forwarding; empty: nothing."""
        return self._trouble.text or ("" if self.spool.lock.held else self.spool.forwarding().trouble)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                pause = self._try()
                self._tries += 1
                self._hurried.wait(pause)
                self._hurried.clear()
            except (RuntimeError, MemoryError):  # waiting and logging take locks, and there is no memory for one
                time.sleep(AGAIN_SECONDS)
        self._close()

    def _try(self) -> float:
        """Forward what there is; return the seconds until the next try."""
        try:
            return self._turn()
        except (OutboxError, HostDatabaseError) as error:
            return self._fail(str(error))
        except Exception as error:  # the thread would end, and nothing be forwarded any more
            if is_shortage(error):
                return self._fail(NO_MEMORY)
            if repr(error) != self._trouble.text:
                log.exception("webhooks: bug while forwarding, which is tried again")
            return self._fail(repr(error))

    def _close(self) -> None:
        """Close the files, and let another process forward."""
        self.spool.lock.release()
        self.spool.close()
        self._outbox.close()

    def _fail(self, text: str) -> float:
        """Note what keeps this process from forwarding; return the seconds until the next try."""
        self._trouble.met(text, "; events wait in the spool")
        self._note(text)
        with suppress(OutboxError):  # which is met again
            self._scans.look_for_loss()
        pause, self._patience = self._patience, min(2 * self._patience, AGAIN_MOST_SECONDS)
        return pause

    def _turn(self) -> float:
        """Forward what there is; return after how many seconds to look again."""
        if is_deleted(self.spool.path) or not self.spool.lock.take():
            self._is_owner = False
            return 20 * LOOK_SECONDS
        if not self._is_owner:
            self._is_owner = True
            self.spool.lock.note(str(os.getpid()))
            self._say_where()
            self._note("")  # the trouble of the process before it may be over
        self._scans.look_for_loss()
        now = time.monotonic()
        if now - self._orphans_at > ORPHAN_SECONDS:
            self._orphans_at = now
            self._report_dead()
        if now - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = now
            self._tidy()
        while self.step() and not self._stopping.is_set():
            pass
        self._outbox.write_withheld()
        late = next((why for _, why in self._late.values()), "")
        if late and late != self._trouble.text:
            self._trouble.met(late)
        elif self._trouble and not late:
            self._outbox.database.generation()  # there may be nothing to forward
            self._trouble.ended()
        if self._noted != late:
            self._note(late)
        self._patience = AGAIN_SECONDS
        return LOOK_SECONDS

    def _note(self, trouble: str) -> None:
        """Let other processes know what keeps this one from forwarding."""
        if self.spool.lock.held:
            with suppress(OutboxError):  # it is logged, and the next process to look tries the same
                self.spool.note(trouble, str(self._place), time.time())
                self._noted = trouble

    def _say_where(self) -> None:
        """Log where events go that were left by other settings."""
        waiting, before = self.waiting, self.spool.forwarding().place
        is_other = before not in ("", str(self._place))
        if waiting and (is_other or not self._settings.has_spool):
            setting = f"outbox {before}" if is_other else "spool = sqlite"
            text = "webhooks: %s left in %s by settings with %s; forwarding to outbox %s"
            log.warning(text, amount(waiting, "event"), self.spool.path, setting, self._place)

    def _tidy(self) -> None:
        """Look after the file, and vouch for the scans in it."""
        self.spool.outbox.retention.erasure.maintain(time.time())
        self.spool.outbox.database.checkpoint()
        self._scans.vouch()

    def _report_dead(self, stopped: Container[str] = ()) -> None:
        """Note that scans are over whose process died; the step that comes to it reports that."""
        for scan in self.spool.outbox.scans.open_scans():
            lock = self.spool.outbox.locks.scan(scan.id)
            if not lock.take():
                continue
            mark = lock.noted().partition(" ")[0]
            now, why = time.time(), "host_stopped" if mark in stopped else "process_died"
            self.spool.end(over(scan, now, late=why), now)
            lock.release(remove=True)

    def step(self) -> bool:
        """Forward the oldest events; return whether there were any.

        Raises:
            OutboxError: the spool or the server cannot be used; what was not forwarded stays.
        """
        with self._guard:
            if self._is_off:
                return False
            self._late = {scan_id: its for scan_id, its in self._late.items() if its[0] > time.monotonic()}
            has_worked = self._isolation.works
            found = self.spool.first(GROUP_MAX, [*self._late])
            scans: dict[str, list[Delivery]] = {}
            for one in found:
                scans.setdefault(one.event.scan_id, []).append(one)
            for scan_id, its in scans.items():
                try:
                    self._forward(its)
                except RejectedError as error:
                    self._postpone(scan_id, str(error))
                except (OutboxError, HostDatabaseError):
                    raise
                except Exception as error:  # the other scans would wait for this one
                    if is_shortage(error):
                        raise
                    if repr(error) not in self._trouble.text:
                        log.exception("webhooks: bug while forwarding scan %s, which is tried again", scan_id or "none")
                    self._postpone(scan_id, f"{error!r}: please report it; the log has more")
            if self._isolation.works and not has_worked:  # from now on an event at fault is recognised
                self._late.clear()
        return bool(found)

    def _postpone(self, scan_id: str, why: str) -> None:
        """Leave a scan in the spool for a while; the others are forwarded."""
        self._late[scan_id] = (time.monotonic() + SCAN_AGAIN_SECONDS, f"scan {scan_id or 'none'}: {why}")

    def _forward(self, its: Sequence[Delivery]) -> None:
        """Forward events of one scan, or of none."""
        scan = its[0].event.scan
        ends = [one.event for one in its if one.event.type == OVER]
        found = [one.event for one in its if one.event.type != OVER]
        if found:
            generation = self._outbox.database.generation()
            screen = self._scans.screen(scan)
            first = lifecycle_id(scan.id, "started") if scan else ""
            start = [event for event in found if event.id == first]
            is_late = scan is not None and self._scans.begin(scan, generation, start)
            if start:
                self._admitted()
                self.spool.forget(start, time.time())
            rest = [event for event in found if event.id != first]
            if rest and self._isolation.admit(rest, screen, generation, is_late, bool(ends)):
                self._admitted()
            if scan and any(one.replayed for one in its):
                self._isolation.count(scan, screen)
                self.spool.forget_scan(scan.id)
        for end in ends:
            if scan:
                self._end(scan, end)

    def _end(self, scan: Scan, event: WebhookEvent) -> None:
        """Report the end of a scan, all of whose events are forwarded or set aside; later if that is not possible."""
        problem = "" if self._settings.is_complete else "the events of an endpoint are not known: sfwebhooks check"
        try:
            if not problem:
                self._scans.report_end(scan, event)
                self.spool.forget([event], time.time())
                self.spool.forget_scan(scan.id)
                self._admitted()
        except (HostDatabaseError, TargetBusyError) as error:
            problem = str(error)
        if problem:
            self._postpone(scan.id, f"its end is not reported yet: {problem}")
