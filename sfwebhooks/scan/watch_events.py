"""The events of the watch over scans: what `watch` has found comes in, the event that reports it goes out.

Their ids are derived from what they are about, and those about the same thing are sent one after the other. They have
no scan of their own: its numbers end with the event that reports its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from sfwebhooks.events import WebhookEvent, id_of, timestamp
from sfwebhooks.expectations import GRACE_SECONDS, Expectation, Missed
from sfwebhooks.scan.history import KnownScan
from sfwebhooks.severity import Severity
from sfwebhooks.text import amount, duration, in_line, moment

MISSED, OVERDUE, THIN, DEGRADED = "scan_missed", "scan_overdue", "scan_thin", "modules_degraded"
#: what helps when one begins
ADVICE = {
    MISSED: "See why it was not started (cron, a timer, the machine), and start it: the next scan of it ends this.",
    OVERDUE: "See in SpiderFoot's log of the scan what it waits for, and stop it if it hangs.",
    THIN: "See whether its modules failed (modules_failed, the scan's log), API keys and the network still work, and"
    " the target is right.",
    DEGRADED: "See the errors of these modules in the scan's log: API keys, quotas, or a service that has changed.",
}
SEVERITY = {MISSED: Severity.HIGH, OVERDUE: Severity.MEDIUM, THIN: Severity.MEDIUM, DEGRADED: Severity.MEDIUM}
#: characters of a target in a message, and modules
SHOWN_MAX = 100
MODULES_MAX = 10


def missed_event(
    one: Expectation, found: Missed, zone: tzinfo, about: Mapping[str, Any], by: KnownScan | None
) -> WebhookEvent:
    """Return the event about scans that were missed, or, if one has started since, that it is well again.

    Args:
        about: further fields; `now` in epoch seconds.
        by: the scan that has started.
    """
    first, now, of = local_time(found.first_at, zone), about["now"], _short(one.of)
    times = f" Scans were missed {amount(found.number, 'time')}, the last one at {local_time(found.last_at, zone)}."
    if by:
        message = f"A scan of {of} has started again, at {local_time(by.started, zone)}; none had at {first}."
    elif about.get("is_expected", True):
        message = f"No scan of {of} has started at {first}, nor within {_grace(one, found.first_at, zone)} after it."
    else:
        message = f"A scan of {of} is no longer expected; none had started at {first}."
    is_over = by is not None or not about.get("is_expected", True)
    data = {
        "target": one.of,
        "expectation": one.name,
        "schedule": one.cron,
        "expected_at": timestamp(found.first_at),
        "missed": found.number,
        "next_at": timestamp(one.next_at(now, zone)),
        **({"scan_id": by.id} if by else {}),
        "last_scan": about["last_scan"],
        "usual_duration": about["usual_duration"],
    }
    message += times if found.number > 1 else ""
    return _event(MISSED, one.id, (repr(found.first_at), is_over), (message, found.first_at, now), data)


def overdue_event(
    scan: KnownScan, known: Mapping[str, Any], limit: float, is_over: bool, now: float, last: Any
) -> WebhookEvent:
    """Return the event about a scan that runs longer than usual, or that it is over.

    Args:
        known: its usual duration and the number of scans compared.
        limit: seconds from which it was overdue.
        last: the last finished scan of the target, as a field.
    """
    elapsed = (scan.ended if is_over and scan.ended else now) - scan.started
    if is_over and scan.ended:
        message = f"is over after {duration(elapsed)}"
    elif is_over:
        message = f"does not run any more, or a later one has finished, after {duration(elapsed)}"
    else:
        message = f"has been running for {duration(elapsed)}"
    message = f"The scan of {_short(scan.target)} {message}; {duration(known['usual'])} is usual."
    data = {
        **_of_scan(scan),
        "started": timestamp(scan.started),
        **({"status": scan.status} if scan.status else {}),
        "elapsed": round(elapsed),
        "usual_duration": known["usual"],
        "compared_scans": known["compared"],
        "last_scan": last,
    }
    return _event(OVERDUE, scan.id, ("", is_over), (message, scan.started + limit, now), data)


def thin_event(scan: KnownScan, about: Mapping[str, Any], since: float, is_over: bool, now: float) -> WebhookEvent:
    """Return the event about a scan that found less than usual, or as much as usual again.

    Args:
        about: the fields that only the history knows.
        since: end of the first such scan.
    """
    found, typical = about["events_found"], about["usual_events_found"]
    again = "again " if is_over else ""
    words = f"; {typical:,} {'is' if typical == 1 else 'are'} usual" if typical is not None else ""
    message = f"The scan of {_short(scan.target)} {again}found {amount(found, 'finding')}{words}."
    data = {**_of_ended(scan), **about}
    return _event(THIN, _subject(scan, about), (scan.id, is_over), (message, since, now), data)


def degraded_event(scan: KnownScan, about: Mapping[str, Any], since: float, is_over: bool, now: float) -> WebhookEvent:
    """Return the event about modules that fail in a scan and did not before, or that work again; for the arguments see
    `thin_event`."""
    names, of = about["modules"], _short(scan.target)
    number = amount(len(names), "module")
    if is_over:
        message = f"{number} that had failed {'works' if len(names) == 1 else 'work'} again in the scan of {of}"
    else:
        message = f"{number} failed in the scan of {of} and did not before"
    message += f": {_listed(names)}."
    data = {**_of_ended(scan), **about}
    return _event(DEGRADED, _subject(scan, about), (scan.id, is_over), (message, since, now), data)


def local_time(at: float, zone: tzinfo) -> str:
    """Return epoch seconds as a date and a time with the zone's name."""
    try:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M %Z").strip()
    except (OverflowError, ValueError, OSError):
        return moment(at)


def _event(
    kind: str, about: str, which: tuple[str, bool], said: tuple[str, float, float], data: Mapping[str, Any]
) -> WebhookEvent:
    (mark, is_over), (message, since, now) = which, said
    subject = id_of(f"watch/{kind}/{about}")
    identity = f"watch/{kind}/{about}/{mark}/{'over' if is_over else 'begun'}"
    fields: dict[str, Any] = {"resolved": is_over, "message": message, "since": timestamp(since)}
    fields |= {} if is_over else {"what_to_do": ADVICE[kind]}
    severity = Severity.INFO if is_over else SEVERITY[kind]
    return WebhookEvent(id_of(identity), kind, severity, now, {**fields, **data}, subject=subject)


def _of_scan(scan: KnownScan) -> dict[str, str]:
    return {"scan_id": scan.id, "scan_name": scan.name, "target": scan.target}


def _of_ended(scan: KnownScan) -> dict[str, str]:
    return {**_of_scan(scan), "started": timestamp(scan.started), "ended": timestamp(scan.ended)}


def _subject(scan: KnownScan, about: Mapping[str, Any]) -> str:
    return f"{scan.key} {about['lineage']}"


def _grace(one: Expectation, at: float, zone: tzinfo) -> str:
    """Return the time that a scan had to start, in words."""
    seconds = one.grace(at, zone)
    return "an hour" if seconds == GRACE_SECONDS else duration(seconds)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - MODULES_MAX} more" if len(found) > MODULES_MAX else ""
    return f"{', '.join(found[:MODULES_MAX])}{more}"


def _short(text: str) -> str:
    return in_line(text, SHOWN_MAX)
