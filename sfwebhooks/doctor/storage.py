"""Checks of the data folder, its file system and its disk, and of the outbox."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sfwebhooks import system
from sfwebhooks.config.settings import Settings
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.doctor.server import server_reports
from sfwebhooks.errors import ConfigError, OutboxBusyError, OutboxError
from sfwebhooks.files import SQLITE, is_deleted
from sfwebhooks.inspection.spooled import spool_state
from sfwebhooks.outbox.admission import LEAST_MARK
from sfwebhooks.outbox.file import File, Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import checked, permission_warnings, real_path, refused, write_problem
from sfwebhooks.outbox.postgres.dsn import Dsn, Place, local_path
from sfwebhooks.outbox.soundness import soundness
from sfwebhooks.text import age

#: seconds for a quick look at the outbox
LOOK_SECONDS = 1.0
MB = 1_000_000
ELSEWHERE = "set SPIDERFOOT_DATA to a folder on a local disk"
VOLUME = "mount a volume at {folder}"
#: type of a file system -> what it means for the outbox, and what to do
FILE_SYSTEMS = {
    **dict.fromkeys(
        ("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs",
         "fuse.rclone", "fuse.s3fs", "glusterfs", "lustre", "beegfs", "gpfs", "ocfs2", "gfs2"),
        ("a network file system: locks between machines and the outbox's log are not reliable there", ELSEWHERE),
    ),
    **dict.fromkeys(
        ("virtiofs", "vboxsf", "prl_fs", "drvfs", "osxfs", "grpcfuse", "fuse.grpcfuse", "fakeowner"),
        ("a folder of the host of this virtual machine: the outbox's log is not reliable there", ELSEWHERE),
    ),
    **dict.fromkeys(
        ("overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs"),
        ("the file system of a container: undelivered messages are deleted with the container", VOLUME),
    ),
    **dict.fromkeys(
        ("tmpfs", "ramfs"), ("in memory: undelivered messages are lost when the machine stops", ELSEWHERE)
    ),
}  # fmt: skip


def folder_access(found: Installation) -> Iterator[Report]:
    """Report whether the data folder can be used, and who else can change it."""
    if is_deleted(found.folder):
        words = f"{found.folder} does not exist; SpiderFoot creates it at its first start"
        cure = "start SpiderFoot once, or name its data folder with --folder"
        yield Report("data folder", words, Level.WARNING, cure)
        return
    problem = write_problem(found.path)
    if problem:
        words, _, cure = str(problem).rpartition(": ")
        yield Report("data folder", words or cure, Level.ERROR, cure if words else "")
        return
    warnings = [*permission_warnings(found.path)]
    for warning in warnings:
        words, _, cure = warning.rpartition(": ")
        yield Report("data folder", words or cure, Level.WARNING, cure if words else "")
    if not warnings:
        yield Report("data folder", f"{found.folder} is writable")


def file_system_kind(found: Installation) -> Iterator[Report]:
    """Report on which kind of file system the data folder is, if it has the outbox."""
    if found.is_on_server:
        return
    kind = system.file_system(found.path.absolute().parent)
    if kind not in FILE_SYSTEMS:  # else it may not answer; the outbox may be a link to another one
        kind = system.file_system(real_path(found.path).parent)
    words, cure = FILE_SYSTEMS.get(kind, ("", ""))
    if words:
        yield Report("file system", f"{kind}, {words}", Level.WARNING, cure.format(folder=found.folder))
    else:
        yield Report("file system", f"{kind}, local" if kind else "its type is not known on this system")


def disk(found: Installation) -> Iterator[Report]:
    """Report whether the disk has room for all that the outbox may accept."""
    if is_deleted(found.folder) or found.is_on_server:
        return
    storage = found.settings.storage if found.settings else Storage()
    free, left = shutil.disk_usage(found.folder).free, max(storage.max_bytes - _size(found.path), 0)
    words = f"{_megabytes(free)} free"
    if free >= left:
        yield Report("disk", words)
        return
    words += f", but the outbox may grow by {_megabytes(left)}"
    cure = f"make room, or lower outbox_max_mb ({storage.max_bytes / MB:,.0f}) so that the outbox is full first"
    yield Report("disk", words, Level.WARNING if free else Level.ERROR, cure)


def outbox(found: Installation) -> Iterator[Report]:
    """Report whether the outbox can be used, and whether it is sound."""
    if found.settings and found.settings.outbox_mistake:
        cure = "sfwebhooks check shows the mistake"
        yield Report("outbox", "it is not known where it is: no scan is sent, nothing is delivered", Level.ERROR, cure)
        return
    place = found.place
    problems = [*outbox_problems(found.settings or Settings(), place)]
    for words, separator, cure in (problem.rpartition("; ") for problem in problems):
        yield Report("outbox", words or cure, Level.ERROR, cure if separator else "")
    if problems:
        return
    if isinstance(place, Dsn):
        yield from server_reports(found, place)
        return
    if not found.has_outbox:
        yield Report("outbox", f"there is no {found.path.name} yet: no scan has had webhooks")
        return
    with closing(File(place, listing=True)) as opened:
        result = soundness(opened, None if found.full else LOOK_SECONDS)
    if result.damage:
        cure = "stop whatever sends, and move the file to another folder: a new one is created"
        yield Report("outbox", f"{found.path} is damaged: {result.damage}", Level.ERROR, cure)
    elif result.is_complete:
        yield Report("outbox", f"{found.path} is sound")
    else:
        words = f"{found.path}: no damage in what can be read in {LOOK_SECONDS:.0f} s; --full reads all of it"
        yield Report("outbox", words)


def spooled_events(found: Installation) -> Iterator[Report]:
    """Report how many events wait in the spool of this machine, and whether scans can use it."""
    try:
        if found.settings:
            found.settings.spool_in(found.folder)
    except ConfigError as error:
        words, _, cure = str(error).rpartition("; ")
        yield Report("spool", words, Level.ERROR, cure)
        return
    state = spool_state(found.settings, found.place) if found.settings and not found.settings.outbox_mistake else None
    if state is None:
        return
    is_trouble = state.needs_attention(found.now)
    *aside, cure_of_aside = state.lines_of_aside() or [""]
    words = "; ".join([f"{state.path}: {state.words(found.now)}", *aside])
    cure = "the check of the outbox says more; sfwebhooks run or drain forwards them" if state.backlog.waiting else ""
    cure = "; ".join(filter(None, (cure, cure_of_aside))) if is_trouble else ""
    yield Report("spool", words, Level.WARNING if is_trouble else Level.OK, cure)


def fullness(found: Installation) -> Iterator[Report]:
    """Report how full the outbox is, how many deliveries are waiting in it, and for how long."""
    if not (found.has_outbox and found.live and found.settings):
        return
    with closing(Outbox(found.place, storage=found.settings.storage, listing=True)) as opened:
        part = opened.database.fullness()
    backlogs = [look.situation.backlog for look in found.live.looks.values() if look.situation]
    oldest = min((one.oldest_at for one in backlogs if one.oldest_at is not None), default=None)
    most = found.settings.storage.max_bytes / MB
    size = part * found.settings.storage.max_bytes if found.is_on_server else _size(found.path)
    words = f"{_megabytes(size)}, {part:.0%} of outbox_max_mb ({most:,.0f})"
    words += f"; {sum(one.waiting for one in backlogs):,} waiting"
    words += "" if oldest is None else f", the oldest for {age(found.now - oldest)}"
    if part < LEAST_MARK:
        yield Report("queue", words)
        return
    words += "; new findings are refused, the least severe ones first"
    cure = "sfwebhooks status shows what is waiting; sfwebhooks drain sends it; or raise outbox_max_mb"
    yield Report("queue", words, Level.WARNING if part < 1 else Level.ERROR, cure)


def outbox_problems(found: Settings, place: Place) -> Iterator[str]:
    """Yield the reasons why this user cannot use the outbox or the lock of an endpoint."""
    try:
        if not isinstance(place, Dsn) and is_deleted(place):
            folder = place.parent
            trouble = None if is_deleted(folder) else write_problem(checked(place))  # SpiderFoot creates its folder
            if trouble:
                yield f"outbox {place} cannot be created: {trouble}"
            return
        with closing(Outbox(place, listing=True)) as outbox:
            outbox.database.check()
            for endpoint in found.endpoints:
                outbox.locks.endpoint(endpoint.name).check()
                outbox.locks.url(endpoint.url_id).check()
    except OutboxBusyError as error:
        yield f"{error}; {error.cure}" if error.cure else str(error)
    except OutboxError as error:
        yield str(error)
    except OSError as error:
        yield str(refused(f"outbox {place}", local_path(place), error))


def _size(path: Path) -> int:
    """Return the bytes of the outbox's files."""
    files = (path.with_name(path.name + suffix) for suffix in SQLITE)
    return sum(file.stat().st_size for file in files if not is_deleted(file))


def _megabytes(number: float) -> str:
    return f"{number / MB / 1000:,.1f} GB" if number >= 10_000 * MB else f"{number / MB:,.1f} MB"
