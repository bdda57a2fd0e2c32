"""Checks of what is sent: the endpoints, the sending processes, the last scan, and the machine's clock and limits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import sfwebhooks
from sfwebhooks import system
from sfwebhooks.attempts import NoReplyError, Reply
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import lifecycle_id
from sfwebhooks.files import SQLITE
from sfwebhooks.health import SET_SECONDS
from sfwebhooks.network.local_address import local_address
from sfwebhooks.outbox.locks import scan_lock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.host_database import DATABASE, READ_SECONDS, HostDatabase
from sfwebhooks.text import age, moment

#: files that a process has open besides its connections
OTHER_FILES = 64
#: names that are looked up at once, and seconds for one of them
LOOKUPS = 8
LOOKUP_SECONDS = 2.0
SEND = "sfwebhooks drain sends once, sfwebhooks run keeps sending"


def endpoints(found: Installation) -> Iterator[Report]:
    """Report the live state of each endpoint."""
    if not (found.live and found.settings):
        return
    places = {one.name: one.place for one in (*found.settings.endpoints, *found.settings.off)}
    for name, look in found.live.looks.items():
        words = (look.situation and look.situation.switch) or look.words
        to = f" ({places[name]})" if name in places else ""
        helps = look.advice if look.is_trouble else ""
        level = Level.WARNING if look.is_trouble else Level.OK
        yield Report(f"endpoint {name}", f"{words}{to}", level, helps)


def addresses(found: Installation) -> Iterator[Report]:
    """Report from which address of this machine each endpoint, or its proxy, is reached; receivers may ask for it."""
    usable = [one for one in found.settings.endpoints if not one.mistake] if found.settings else []
    with ThreadPoolExecutor(LOOKUPS) as threads:
        reached = [*threads.map(_address, usable)]
    names: dict[str, list[str]] = {}
    for endpoint, address in zip(usable, reached):
        if isinstance(address, str):
            names.setdefault(address, []).append(endpoint.name)
        else:
            reason = address.failure.value if address.failure else ""
            words = f"{endpoint.name}: {reason}, {address.detail}"
            yield Report("address", words, Level.WARNING, cure(reason, address.detail))
    for address, its in names.items():
        yield Report("address", f"{', '.join(its)}: reached from {address}")


def _address(endpoint: Endpoint) -> str | Reply:
    """Return the address from which an endpoint is reached, or the reply that says why it is not."""
    try:
        return local_address(endpoint, LOOKUP_SECONDS)
    except NoReplyError as error:
        return error.reply


def sender(found: Installation) -> Iterator[Report]:
    """Report which processes send."""
    if found.live:
        yield Report("sender", found.live.sending)


def last_scan(found: Installation) -> Iterator[Report]:
    """Report the last scan with webhooks and how it ended; and one that SpiderFoot has run since without them."""
    if not found.has_outbox:
        yield Report("last scan", "no scan has had webhooks yet")
        return
    if found.settings and found.live is None:
        return  # the outbox cannot be read: its own check says why
    with closing(Outbox(found.path, listing=True)) as outbox:
        ids = outbox.listing.scans(1)
        known = outbox.scans.scan(ids[0]) if ids else None
        end = outbox.scans.event(lifecycle_id(ids[0], "ended")) if ids else None
        missed = _missed(found, outbox)
    if known is None:
        yield Report("last scan", "none is in the outbox")
    else:
        scan, ended = known
        about = f"{scan.id}{f' of {scan.target}' if scan.target else ''}"
        if ended:
            yield Report("last scan", f"{about}: {ended}{f' {age(found.now - end.at)} ago' if end else ''}")
        elif scan_lock(found.path, scan.id).is_free:
            words = f"{about}: its process has died, and its end is not reported yet"
            yield Report("last scan", words, Level.WARNING, f"the next scan reports it; {SEND}")
        else:
            yield Report("last scan", f"{about}: running")
    if missed:
        always = found.settings and found.settings.enabled
        helps = f"sfwebhooks backfill {missed} --endpoint NAME sends it"
        words = f"SpiderFoot's last one, {missed}, had no webhooks"
        yield Report("last scan", words, Level.WARNING if always else Level.OK, helps)


def _missed(found: Installation, outbox: Outbox) -> str:
    """Return the id of the last scan in SpiderFoot's database if the outbox has nothing of it; else an empty text."""
    with suppress(sqlite3.Error):  # there is no database, or it is locked
        ids = HostDatabase(str(found.folder / DATABASE), READ_SECONDS).scan_ids()
        return ids[0] if ids and not outbox.listing.knows(ids[0]) else ""
    return ""


def clock(found: Installation) -> Iterator[Report]:
    """Report a clock that is behind the times of our files. One that is ahead cannot be recognised here."""
    files = [found.path.with_name(found.path.name + suffix) for suffix in SQLITE]
    files += [Path(sfwebhooks.__file__), *([found.settings.file] if found.settings and found.settings.file else [])]
    times: dict[float, Path] = {}
    for file in files:
        with suppress(OSError):
            times[file.stat().st_mtime] = file
    newest = max(times)
    if newest - found.now <= SET_SECONDS:
        yield Report("clock", f"{moment(found.now)}, not behind the times of our files")
        return
    words = f"{moment(found.now)} is {age(newest - found.now)} behind the time of {times[newest]}"
    yield Report("clock", words, Level.WARNING, "set this machine's clock (timedatectl set-ntp true)")


def limits(found: Installation) -> Iterator[Report]:
    """Report whether this user's processes may open a connection for each attempt that can be in flight."""
    most, active = system.descriptors_max(), found.settings.endpoints if found.settings else ()
    needed = OTHER_FILES + sum(endpoint.concurrency for endpoint in active)
    if most is None or most >= needed:
        yield Report("limits", f"{'any number of' if most is None else f'{most:,}'} open files, {needed:,} are needed")
        return
    words = f"this user's processes may open {most:,} files, and need up to {needed:,}"
    yield Report("limits", words, Level.WARNING, f"ulimit -n {needed}, or lower concurrency")
