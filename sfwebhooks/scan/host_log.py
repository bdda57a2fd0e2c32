"""Module failures in the scanner's log: log records come in, one ModuleError for each module and exception goes out,
which `run` reports. Modules that only lack a setting are reported together by `recovery` at the scan's end, since some
notice it only at their first event.

The work inside the host's logging is small and bounded: a module may log a million errors. It never touches the outbox
and must not raise.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent, clean_text, id_of
from sfwebhooks.own_secrets import masked_error
from sfwebhooks.scan.host_address import database_secrets
from sfwebhooks.scan.host_database import MODULE, HostDatabase
from sfwebhooks.severity import Severity

HOST = "spiderfoot"
#: characters of an error that are kept until it is reported, then cut further (a cut secret would not be recognised)
KEPT_MAX = 16 * 1024
#: limits of different exceptions in a scan: of one module, and of all modules
EXCEPTIONS_MAX = 10
ERRORS_MAX = 1000
#: frames of a traceback that are searched, from the one that caught the exception down
FRAMES_MAX = 100
#: a module's own logger; the task name of a thread in the host's pool
LOGGER = re.compile(rf"{HOST}\.(sfp_\w+)")
TASK = re.compile(r"(sfp_\w+)_threadWorker")
#: the host's messages that a module could not be used, or no longer
FAILED = re.compile(
    r"Failed to load module: (\w+)$"
    r"|Module \(?(?:modules\.)?(\w+)\)? (?:encountered an error:|(?:[\w ]+ )?failed\b)"
    r"|Exception \(\w+\) in module (\w+)\."
)
#: the starts of these messages, and characters of them that are matched
BEGINNINGS = ("Failed to load module: ", "Module ", "Exception (")
FAILED_MAX = 200
#: a module's message that a setting is missing without which it does little or nothing: mostly an API key
UNSET = re.compile(r"(?:Warning: )?You enabled (\w+),? but did not set\b")
UNSET_BEGINNINGS = ("You enabled ", "Warning: You enabled ")
POOL = "Error in thread worker "
FILE = re.compile(r"[/\\]modules[/\\](sfp_\w+)\.py$")
#: options of the host's modules that hold credentials, and the shortest value that is masked
CREDENTIALS = re.compile(r"api_?key|passw|pwd|secret|token|user(name|_?id)|user$|login", re.IGNORECASE)
CREDENTIAL_LEAST = 4


@dataclass(frozen=True)
class ModuleError:
    """The first error of its kind in a scan."""

    module: str
    #: the exception's class; empty: the module logged an error without one
    exception: str
    #: as logged or raised, cut
    text: str
    #: epoch seconds
    at: float


class ErrorListener(logging.Handler):
    """Collects the errors of the host's modules while it is attached to the host's logger.

    Args:
        options: of the host; their credentials are masked in the reports.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(logging.ERROR)
        self.credentials = frozenset(_credentials(options))
        #: modules that lack a setting
        self.unset: set[str] = set()
        #: module -> its exceptions so far
        self._known: dict[str, set[str]] = {}
        self._count = 0
        self._heard: deque[ModuleError] = deque()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error if it is the first of its kind."""
        try:
            error = (record.exc_info or sys.exc_info())[1]  # the host logs inside its except blocks
            module = _module(record, error)
            exception = type(error).__name__ if error else ""
            if module in (MODULE, ""):
                return
            if _is_unset(record):
                self.unset.add(module)
            elif self._is_new(module, exception):
                text = str(error) if error and not LOGGER.fullmatch(record.name) else record.getMessage()
                self._heard.append(ModuleError(module, exception, text[:KEPT_MAX], record.created))
        except Exception:  # noqa: S110  # would be raised in the module that logs; logging it would come back here
            pass

    @property
    def failed(self) -> set[str]:
        """The modules with an error."""
        return {*self._known, *self.unset}

    def heard(self) -> list[ModuleError]:
        """Return the errors that were collected and not dropped since."""
        return list(self._heard)

    def drop(self, count: int) -> None:
        """Forget the oldest ones: they are committed."""
        for _ in range(count):
            self._heard.popleft()

    def _is_new(self, module: str, exception: str) -> bool:
        known = self._known.get(module, set())
        if exception in known or len(known) >= EXCEPTIONS_MAX or self._count >= ERRORS_MAX:
            return False
        self._known[module] = known | {exception}
        self._count += 1
        return True


#: the listeners of this process: scan id -> the one of its scan
LISTENERS: dict[str, ErrorListener] = {}


def listen(scan_id: str, options: Mapping[str, Any]) -> None:
    """Start collecting the errors of a scan's modules. The host's own handlers must be attached already."""
    LISTENERS[scan_id] = ErrorListener(options)
    logging.getLogger(HOST).addHandler(LISTENERS[scan_id])


def credentials_of(scan_id: str) -> frozenset[str]:
    """Return the credentials of a scan's options if the scan has a listener in this process."""
    listener = LISTENERS.get(scan_id)
    return listener.credentials if listener else frozenset()


def stop_listening(scan_id: str = "") -> None:
    """Detach a scan's listener, if it has one, from the host's logger."""
    listener = LISTENERS.pop(scan_id, None)
    if listener:
        logging.getLogger(HOST).removeHandler(listener)


def event_of_error(
    error: ModuleError, scan: Scan, endpoints: Iterable[Endpoint], credentials: Iterable[str]
) -> WebhookEvent:
    """Return the event that reports an error; endpoints' secrets and `credentials` are masked in its text."""
    text = masked_error(clean_text(error.text), endpoints, credentials)
    data: dict[str, Any] = {**scan.about, "module": error.module, "modules": [error.module]}
    if error.exception:
        data["exception"] = clean_text(error.exception)
    data["error"] = text.strip()
    identity = f"module_error/{scan.id}/{error.module}/{data.get('exception', '')}"
    return WebhookEvent(id_of(identity), "module_error", Severity.LOW, error.at, data, scan)


def unset_event(modules: Iterable[str], scan: Scan) -> WebhookEvent:
    """Return the event that reports the modules of a scan that lack a setting."""
    names = sorted(modules)
    words = f"Enabled without an API key or another setting that they need: {', '.join(names)}"
    data = {**scan.about, "modules": names, "error": words}
    return WebhookEvent(id_of(f"modules not set up/{scan.id}"), "module_error", Severity.LOW, time.time(), data, scan)


def modules_failed(scan_id: str, database: HostDatabase) -> set[str]:
    """Return the modules of a scan, except our own, whose errors were collected or are in the host's log.

    Raises:
        HostDatabaseError: the host's database cannot be read.
    """
    listener = LISTENERS.get(scan_id)
    heard = listener.failed if listener else set()
    said = {_failed(text) for text in database.errors(scan_id, BEGINNINGS)}
    return (heard | said | {*database.failing_modules(scan_id)} | modules_unset(scan_id, database)) - {MODULE, ""}


def modules_unset(scan_id: str, database: HostDatabase) -> set[str]:
    """Return the modules of a scan that logged that one of their settings is missing.

    Raises:
        HostDatabaseError: the host's database cannot be read.
    """
    listener = LISTENERS.get(scan_id)
    found = map(UNSET.match, database.errors(scan_id, UNSET_BEGINNINGS))
    return {match[1] for match in found if match} | (listener.unset if listener else set())


def _is_unset(record: logging.LogRecord) -> bool:
    """Return whether a module logs that one of its settings is missing."""
    return isinstance(record.msg, str) and bool(UNSET.match(record.msg)) and bool(LOGGER.fullmatch(record.name))


def _failed(text: str) -> str:
    """Return the module that failed according to the host's message, or nothing."""
    found = FAILED.match(text, 0, FAILED_MAX)
    return found[found.lastindex or 0] if found else ""


def _module(record: logging.LogRecord, error: BaseException | None) -> str:
    """Return the module that a record is about, or nothing."""
    own = LOGGER.fullmatch(record.name)
    if own:
        return own[1]
    text = record.msg if isinstance(record.msg, str) else ""
    if not text.startswith(POOL):
        return _failed(text)
    task = TASK.fullmatch(getattr(threading.current_thread(), "taskName", ""))
    return task[1] if task else _in_traceback(error.__traceback__ if error else None)


def _in_traceback(frame: TracebackType | None) -> str:
    """Return the last module of the host in a traceback: a module's own threads have no task name."""
    found = ""
    for _ in range(FRAMES_MAX):
        if frame is None:
            break
        file = FILE.search(frame.tb_frame.f_code.co_filename)
        found, frame = file[1] if file else found, frame.tb_next
    return found


def _credentials(options: Mapping[str, Any]) -> Iterable[str]:
    """Yield the credentials in the host's options, its own and its modules'."""
    groups = [options, *(module["opts"] for module in options["__modules__"].values())]
    yield from database_secrets(str(options.get("__database", "")))
    for name, value in (pair for group in groups for pair in group.items()):
        if isinstance(value, str) and len(value) >= CREDENTIAL_LEAST and CREDENTIALS.search(name):
            yield value
