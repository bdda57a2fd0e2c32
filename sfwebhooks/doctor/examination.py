"""The examination: an Installation comes in, the Reports of all checks go out, in order.

A disk may be slow, and a network file system may never answer: a check that takes too long is left behind in its
thread, and reported.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from sfwebhooks.doctor.configuration import certificates, configuration, cve_lists, switch
from sfwebhooks.doctor.expected import expected_scans_report
from sfwebhooks.doctor.host import hosts, modules, versions
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.doctor.sending import addresses, clock, endpoints, last_scan, limits, sender
from sfwebhooks.doctor.storage import disk, file_system_kind, folder_access, fullness, outbox, spooled_events
from sfwebhooks.errors import WebhooksError

T = TypeVar("T")
Check = Callable[[Installation], Iterator[Report]]
#: name, and the check; in the order in which they are shown
CHECKS: tuple[tuple[str, Check], ...] = (
    ("version", versions),
    ("SpiderFoot", hosts),
    ("module", modules),
    ("configuration", configuration),
    ("enabled", switch),
    ("data folder", folder_access),
    ("file system", file_system_kind),
    ("disk", disk),
    ("outbox", outbox),
    ("spool", spooled_events),
    ("queue", fullness),
    ("endpoint", endpoints),
    ("address", addresses),
    ("certificate", certificates),
    ("CVE lists", cve_lists),
    ("sender", sender),
    ("last scan", last_scan),
    ("expected scans", expected_scans_report),
    ("clock", clock),
    ("limits", limits),
)
#: limit of one check, and of all of them, in seconds; one may have to wait 5 s for SpiderFoot's database
CHECK_SECONDS = 8.0
ALL_SECONDS = 30.0


def examine(
    found: Installation, checks: tuple[tuple[str, Check], ...] = CHECKS, limit: float = CHECK_SECONDS
) -> Iterator[Report]:
    """Yield what the checks report. One that fails or takes too long says so, and does not end the others.

    Args:
        limit: seconds for one check.
    """
    deadline = time.monotonic() + ALL_SECONDS
    for name, check in checks:
        left = min(limit, max(deadline - time.monotonic(), 0.0))
        is_long = found.full and check is outbox  # all of it is to be read, however long that takes
        begun_at = time.monotonic()
        try:
            yield from in_time(None if is_long else left, lambda check=check: [*check(found)])  # type: ignore[misc]
        except TimeoutError:
            cure = "a disk is slow, or a network file system does not answer"
            yield Report(name, f"no result within {left:.0f} s", Level.WARNING, cure)
        except WebhooksError as error:
            yield Report(name, str(error), Level.WARNING)
        except Exception as error:  # a bug in one check would hide what the others find
            frame = extract_tb(error.__traceback__)[-1]
            words = f"the check failed: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
            yield Report(name, words, Level.WARNING, "this is a bug in sfwebhooks: please report it")
        deadline += time.monotonic() - begun_at if is_long else 0.0


def in_time(seconds: float | None, function: Callable[[], T]) -> T:
    """Return what a function returns, or raise what it raises.

    Args:
        seconds: limit; None: there is none.

    Raises:
        TimeoutError: it takes longer.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=call, name="doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
