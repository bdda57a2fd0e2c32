"""Attach to the scanner: the wrapper around its scan start, and the hook at the end of its parent process.

The shim in the host's `modules/` folder calls `attach()` when the host loads its modules, in the parent and again in
each scan's process; a Celery worker of a fork loads them only within its first scan. From then on a scan runs inside
`start_scan`, which adds our module to its list if the configuration says so, reports the scan's start before the host
stores it (so its end is reported even if its process is killed at once), and its end afterwards. Nothing here may
prevent a scan from running, and nothing of this package is pickled into its process: the package may be gone by then.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import multiprocessing
import multiprocessing.util
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import spiderfoot

from sfwebhooks.config import settings as config
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.errors import WebhooksError
from sfwebhooks.host.hosts import data_folder_of
from sfwebhooks.host.plugin import HERE, begin_run, say_why_off, settings_of
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.scan.escapes import as_typed
from sfwebhooks.scan.forwarder import Forwarder
from sfwebhooks.scan.host_database import MODULE
from sfwebhooks.scan.host_log import listen, stop_listening
from sfwebhooks.scan.own_host import FUNCTION, NO_SCANS, STARTERS, is_importable, saved_options
from sfwebhooks.scan.parentage import children, has_crashed, stopped
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.scan.run import RUNS

log = logging.getLogger("spiderfoot.webhooks")
#: seconds that the scan's end waits for a thread that still handles an event; storing one waits up to 5 s for the lock
#: of the host's database
JOIN_SECONDS = 10.0
#: seconds that a stopping host continues to send
EXIT_SECONDS = 3.0
SHIM = f"modules.{MODULE}"
#: the host's module that has its log, the usual one first
LOGS = ("spiderfoot.logger", "spiderfoot.observability.logger")
#: what the host's scanner knows of its scan, in the order of the function's arguments, and its method that runs it
PRIVATE = "_SpiderFootScanner__"
ARGUMENTS = ("scanName", "scanId", "targetValue", "targetType", "moduleList", "config")
RUN = f"{PRIVATE}startScan"

_original: Callable[..., Any] | None = None
#: ids of the scans of this process that run inside our function
_inside: set[str] = set()
#: marks of the scan processes that are stopped together with this process, the host
_stopped: frozenset[str] = frozenset()


class Late:
    """An object that is looked up by name when unpickled; None if nothing has that name there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        from pydoc import locate  # a process that does not start scans has no use for it

        return locate, (self.name,)


class Start:
    """Replaces the host's function.

    A host that starts its scans with multiprocessing's `spawn` pickles it: as the shim's `start_scan`, which works
    without the package if that was uninstalled meanwhile, or as the host's own function if the shim was.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return start_scan(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (Late(SHIM), start_scan.__name__, Late(f"{_starter()}.{FUNCTION}"))


def attach() -> None:
    """Replace the host's function by `start_scan` in every loaded module that has it."""
    global _original
    log.addFilter(_as_module)
    name = _starter()
    if not name:
        log.warning("webhooks: disabled: %s", NO_SCANS)
    # a fork may load its modules first; the usual host, where that means that no scans are started here, never does
    host = sys.modules.get(name) if name in ("", STARTERS[0]) else importlib.import_module(name)
    if host is None or isinstance(getattr(host, FUNCTION), Start):
        return
    if name != STARTERS[0]:
        _attach_inside(host)
    _original = getattr(host, FUNCTION)
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(FUNCTION) is _original:
            setattr(module, FUNCTION, Start())
    if multiprocessing.current_process().name == "MainProcess":
        # the first runs while the children live, and before the host stops its log, where it hangs if a scan's process
        # was killed while logging; the second runs after the children have ended
        atexit.register(report_crashed)
        multiprocessing.util.Finalize(None, report_stopped, exitpriority=-10)


def _starter() -> str:
    """Return the module of this host that starts scans, or nothing."""
    return next(filter(is_importable, STARTERS), "")


def _attach_inside(host: ModuleType) -> None:
    """Let a scan whose function was called before the module was loaded run inside ours from here on."""
    run = getattr(host.SpiderFootScanner, RUN)

    def run_inside(scanner: Any) -> None:
        args = tuple(getattr(scanner, f"{PRIVATE}{name}") for name in ARGUMENTS)
        if scanner.scanId in _inside:
            run(scanner)
            return

        def run_with(*arguments: Any) -> Any:
            setattr(scanner, f"{PRIVATE}moduleList", arguments[-2])
            run(scanner)
            return scanner

        _around(args, run_with)

    setattr(host.SpiderFootScanner, RUN, run_inside)


def start_scan(logging_queue: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a scan as the host does, and report its start and end. Called by the host in the scan's process.

    Args:
        args: scan name, scan id, target, type of the target, list of modules, options of the host.
    """
    original = _original or getattr(importlib.import_module(_starter()), FUNCTION)
    with suppress(Exception):  # the scan must start
        # the host adds its handler only if there is none; after ours it would log nothing
        importlib.import_module(next(filter(is_importable, LOGS))).logWorkerSetup(logging_queue)
    return _around(args, lambda *arguments: original(logging_queue, *arguments, **kwargs))


def _around(args: tuple[Any, ...], run: Callable[..., Any]) -> Any:
    """Run a scan, and report its start and end.

    Args:
        args: as for `start_scan`.
        run: takes them, and returns the host's scanner.
    """
    scanner, error = None, ""
    _inside.update(args[1:2])
    try:
        arguments = with_our_module(args)
        begin_scan(arguments)
        scanner = run(*arguments)
        return scanner
    except BaseException as failure:
        error = str(failure)
        raise
    finally:
        _inside.difference_update(args[1:2])
        finish(args, scanner, error)


def _as_module(record: logging.LogRecord) -> bool:
    """Set our module's name for the host's log, which otherwise shows the record's file as the component."""
    record.module = MODULE
    return True


def begin_scan(args: tuple[Any, ...]) -> None:
    """Report the start of a scan that has our module, and watch the log for errors of its modules; otherwise log why
    webhooks are disabled."""
    try:
        name, scan_id, target, target_type, modules, options = args
        chosen = MODULE in modules
        if chosen:
            listen(scan_id, options)
            name, target = as_typed(name, modules), as_typed(target, modules)
            shim = getattr(sys.modules.get(SHIM), "__file__", None) or str(HERE / "modules" / f"{MODULE}.py")
            begin_run(scan_id, name, target, target_type, _options(options), modules, shim)
        else:
            say_why_off(scan_id, _options(options))
    except Exception:  # the scan must start
        log.exception("webhooks: bug at the scan's start")


def with_our_module(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the scan's arguments, with our module added if it is enabled for every scan."""
    try:
        *head, modules, options = args
        settings = settings_of(_options(options))
        if settings and settings.enabled and MODULE not in modules:
            return (*head, [*modules, MODULE], options)
    except Exception:  # the scan must start
        log.exception("webhooks: bug while reading the configuration; no webhooks are sent for this scan")
    return args


def finish(args: tuple[Any, ...], scanner: Any, error: str) -> None:
    """Report the end of the scan and send what can be sent at once."""
    try:
        run = RUNS.pop(args[1], None)
        if run is None:
            _say_why_not(args)
        else:
            for thread in _late_threads(scanner):
                thread.join(JOIN_SECONDS)
            run.end(error)
    except Exception:  # the scan's own result is kept; the next process reports the end
        log.exception("webhooks: bug at the scan's end")
    finally:
        stop_listening(*args[1:2])


def _say_why_not(args: tuple[Any, ...]) -> None:
    """Log the mistakes of a configuration that prevented webhooks for this scan."""
    settings = settings_of(_options(args[-1]))
    for mistake in settings.mistakes if settings else ():
        log.warning("webhooks: no webhooks were sent for this scan: %s", mistake, extra={"scanId": args[1]})


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the host's options together with our module's."""
    return {**options, **options["__modules__"][MODULE]["opts"]}


def _late_threads(scanner: Any) -> list[threading.Thread]:
    """Return the threads of the host's storage and of our module: the host does not wait for them."""
    modules = getattr(scanner, "_SpiderFootScanner__moduleInstances", {})
    threads = [getattr(modules.get(name), "thread", None) for name in ("sfp__stor_db", MODULE)]
    return [thread for thread in threads if thread]


def report_crashed() -> None:
    """Report the ends of scans whose process died before this process, the host, is stopped; note which scan processes
    are stopped with it."""
    global _stopped
    try:
        own = children()
        _stopped = stopped(own)
        if any(map(has_crashed, own)):
            _report_at_exit(_stopped)
    except Exception:  # an exit must not fail
        log.exception("webhooks: bug at the scanner's exit")


def report_stopped() -> None:
    """Report the ends of scans that were stopped with their host, and of all others whose process is gone."""
    _report_at_exit(_stopped)


def _report_at_exit(stopped: frozenset[str]) -> None:
    """Report the ends of scans whose process is gone, and try to send them. Runs in the parent, without threads."""
    try:
        folder = data_folder_of(Path(spiderfoot.__file__).parent.parent)
        settings = config.active(saved_options(folder), folder)
        place = settings.place(folder) if settings else None
        if settings is None or place is None or (is_missing(place) and not settings.spool_left_in(folder)):
            return
        dispatcher = Dispatcher(settings.endpoints, place)
        _forward_at_exit(settings, folder, stopped)
        if report_dead_scans(dispatcher.outbox, settings, stopped):
            dispatcher.run_here(time.monotonic() + EXIT_SECONDS)
        dispatcher.stop(0.0)
    except WebhooksError as error:
        log.warning("webhooks: the next process will report the ends of scans whose process died: %s", error)
    except Exception:  # an exit must not fail
        log.exception("webhooks: bug at the scanner's exit")


def _forward_at_exit(settings: config.Settings, folder: Path, stopped: frozenset[str]) -> None:
    """Do the same for the scans in the spool, if there is one."""
    spool = settings.spool_left_in(folder)
    if spool:
        forwarder = Forwarder(spool, settings.place(folder), settings)
        forwarder.forward_here(time.monotonic() + EXIT_SECONDS, stopped)
        forwarder.stop(0.0)
