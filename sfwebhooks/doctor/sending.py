"""Checks of what is sent: the endpoints, the sending processes, the last scan, and the machine's clock and limits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import sfwebhooks
from sfwebhooks import system
from sfwebhooks.attempts import NoReplyError
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.events import lifecycle_id
from sfwebhooks.files import SQLITE
from sfwebhooks.health import SET_SECONDS
from sfwebhooks.network.local_address import local_address
from sfwebhooks.network.route import Route
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import Failure, WaitingReason
from sfwebhooks.scan.host_address import current_database
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase
from sfwebhooks.text import age, moment

#: files that a process has open besides its connections
OTHER_FILES = 64
#: names that are looked up at once, and seconds for all of them: less than a check may take
LOOKUPS = 32
LOOKUPS_SECONDS = 6.0
#: the result for a name that was not looked up in that time
UNRESOLVED = (Failure.DNS.value, "no name server answered in time")


def endpoints(found: Installation) -> Iterator[Report]:
    """Report the live state of each endpoint."""
    if not (found.live and found.settings):
        return
    places = {one.name: one.place for one in found.settings.known}
    for name, look in found.live.looks.items():
        words = (look.situation and look.situation.switch) or look.words
        to = f" ({places[name]})" if name in places else ""
        helps = look.advice if look.is_trouble else ""
        level = Level.WARNING if look.is_trouble else Level.OK
        yield Report(f"endpoint {name}", f"{words}{to}", level, helps)


def addresses(found: Installation) -> Iterator[Report]:
    """Report from which address of this machine each endpoint, or its proxy, is reached; receivers may ask for it."""
    usable = [one for one in found.settings.endpoints if not one.mistake] if found.settings else []
    reached = _addresses(usable)
    names: dict[str | tuple[str, str], list[str]] = {}
    for endpoint in usable:
        names.setdefault(reached.get(_way(endpoint), UNRESOLVED), []).append(endpoint.name)
    for answer, its in names.items():
        if isinstance(answer, str):
            yield Report("address", f"{', '.join(its)}: reached from {answer}")
        else:
            yield Report("address", f"{', '.join(its)}: {', '.join(answer)}", Level.WARNING, cure(*answer))


def _way(endpoint: Endpoint) -> tuple[object, ...]:
    """Return what the address from which an endpoint is reached depends on."""
    route = Route.to(endpoint)
    return route.host, route.proxy and (route.proxy.host, route.proxy.port), route.allow_private, route.source


def _addresses(endpoints: list[Endpoint]) -> dict[tuple[object, ...], str | tuple[str, str]]:
    """Return each way's address, or the reason and the words why it has none; it is missing if a name server hangs.

    The threads are daemons: the process does not wait for them.
    """
    reached: dict[tuple[object, ...], str | tuple[str, str]] = {}
    ways = deque({_way(endpoint): endpoint for endpoint in endpoints}.items())
    deadline = time.monotonic() + LOOKUPS_SECONDS

    def look_up() -> None:
        with suppress(IndexError):
            while (left := deadline - time.monotonic()) > 0:
                way, endpoint = ways.popleft()
                reached[way] = _address(endpoint, left)

    threads = [Thread(target=look_up, name="doctor-address", daemon=True) for _ in range(min(LOOKUPS, len(ways)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return {**reached}


def _address(endpoint: Endpoint, seconds: float) -> str | tuple[str, str]:
    """Return the address from which an endpoint is reached, or the reason and the words why it is not."""
    try:
        return local_address(endpoint, seconds)
    except NoReplyError as error:
        return error.reply.failure.value if error.reply.failure else "", error.reply.detail


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
    with closing(Outbox(found.place, listing=True)) as outbox:
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
        elif outbox.locks.scan(scan.id).is_free:
            words = f"{about}: its process has died, and its end is not reported yet"
            yield Report("last scan", words, Level.WARNING, f"the next scan reports it; {WaitingReason.NO_SENDER.cure}")
        else:
            yield Report("last scan", f"{about}: running")
    if missed:
        always = found.settings and found.settings.enabled
        helps = f"sfwebhooks backfill {missed} --endpoint NAME sends it"
        words = f"SpiderFoot's last one, {missed}, had no webhooks"
        yield Report("last scan", words, Level.WARNING if always else Level.OK, helps)


def _missed(found: Installation, outbox: Outbox) -> str:
    """Return the id of the last scan in SpiderFoot's database if the outbox has nothing of it; else an empty text."""
    with suppress(HostDatabaseError):  # there is no database, or it is locked
        ids = HostDatabase(current_database(found.folder), READ_SECONDS).scan_ids()
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
