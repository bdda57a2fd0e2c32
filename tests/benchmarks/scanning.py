"""What we cost a scan, as the scanner itself measures it: `ended - started` of real scans, with us and without.

A scanner is made of links to the installed one, so that "without us" is without our module in its folder. Each scan
has a home of its own. Two kinds: the fictional site, scanned with all modules that find something there, and a storm,
whose only module (`sfp_storm`) emits its events as fast as it can. A storm is compared with one that has an output
module that does nothing, which no output module can be cheaper than.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import resource
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sfwebhooks.demo import scanner as host
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.events import finding_id
from sfwebhooks.host.install import SHIM, install, modules_folder
from sfwebhooks.outbox.file import FILE
from sfwebhooks.scan.host_database import HostDatabase
from tests.benchmarks.accepting import DEAD
from tests.benchmarks.handling import BRIEF, write_settings
from tests.benchmarks.measure import Measure, Row, with_null_row
from tests.benchmarks.receiving import receiver, slow
from tests.outbox_rows import rows_of

SCAN_SECONDS = 600
STORM_MODULE = "sfp_storm"
IDLE_MODULE = "sfp__stor_nothing"
#: without a delivery process
ALONE = f"{BRIEF}\ndetach_timeout = 0"
#: lends the URL of a receiver; None: without us
Receivers = Callable[[], AbstractContextManager[str]]


#: our modules for the scanner, which are chosen by name
OWN = tuple(Path(__file__).with_name(f"{name}.py") for name in (STORM_MODULE, IDLE_MODULE))


def dead() -> AbstractContextManager[str]:
    return contextlib.nullcontext(DEAD)


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    """Lend the URL of a receiver that takes what it is sent and never answers: only its kernel is there."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def scanning(
    receivers: Receivers | None,
    modules: Sequence[str] = host.MODULES,
    endpoints: int = 1,
    wanted: str = "all",
    more: str = BRIEF,
) -> Callable[[int], Measure]:
    """Return a row: a scan from its start to its end.

    Args:
        more: lines of [webhooks].
    """

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.ExitStack() as stack:
            folder, site = Path(name), stack.enter_context(FictionalWeb())
            home = host.prepare(folder / "home", site.port)
            if receivers:
                url = stack.enter_context(receivers())
                write_settings(home.data, [f"{url}?{number}" for number in range(endpoints)], wanted, more)
            scanner = a_scanner(folder / "scanner", with_us=receivers is not None)
            cpu = cpu_of_children()
            scan(scanner, home, modules, events)
            return measured(home, receivers is not None, wanted == "all", cpu_of_children() - cpu)

    return row


def a_scanner(folder: Path, with_us: bool) -> Path:
    """Return the folder of a scanner that is the installed one, with our module or without."""
    original = modules_folder()
    modules = folder / "modules"
    modules.mkdir(parents=True)
    for name in ("sf.py", "sfscan.py", "correlations"):
        (folder / name).symlink_to(original.parent / name)
    for file in (*original.glob("*.py"), original / "__pycache__", *OWN):
        if file.name != SHIM:
            (modules / file.name).symlink_to(file)
    if with_us:
        install(modules)
    return folder


def scan(scanner: Path, home: host.Home, modules: Sequence[str], events: int) -> None:
    """Run a scan in a process group of its own, and leave no process of it behind."""
    with (home.folder / "scan.log").open("w") as log:
        process = subprocess.Popen(
            host.scan_command("www.acme.test", modules, through="module"),
            env={**home.environment, "STORM_EVENTS": str(events), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=scanner,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        try:
            process.wait(SCAN_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def cpu_of_children() -> float:
    """Return the seconds of CPU that processes of ours have used which are gone, with those that they had started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(home: host.Home, with_us: bool, all_wanted: bool, cpu_seconds: float) -> Measure:
    """Return what the scanner measured, if it is comparable: all that it found was accepted while it was found.

    Args:
        all_wanted: whether endpoints want what it found.
        cpu_seconds: of the whole scanner, its start and what it does after the scan's end among it.
    """
    database = HostDatabase(str(home.database))
    scan_id = database.scan_ids()[0]
    row, found = database.scan(scan_id), database.index(scan_id)
    outbox, log = home.data / FILE, (home.folder / "scan.log").read_text()
    assert row and row.status == "FINISHED" and found and outbox.exists() == with_us, log
    if with_us and all_wanted:
        accepted = dict(rows_of(outbox, "SELECT id, coalesce(json_extract(data, '$.recovered'), 0) FROM event"))
        late = [event_hash for event_hash, *_ in found if accepted.get(finding_id(scan_id, event_hash), 1)]
        assert not late, f"{len(late)} of {len(found)} events were not accepted in time"
    seconds = row.ended - row.started
    return Measure(len(found) / seconds, cpu_seconds=cpu_seconds / len(found), seconds=seconds)


def rows(kind: str, modules: Sequence[str]) -> dict[str, Callable[[int], Measure]]:
    """Return the rows of a kind of scan with us."""
    return {
        f"host: {kind}, no endpoint wants it": scanning(dead, modules, wanted="scan_*"),
        f"host: {kind}, endpoint healthy": scanning(receiver, modules),
        f"host: {kind}, ten endpoints healthy": scanning(receiver, modules, endpoints=10),
        f"host: {kind}, endpoint healthy, the scan's own threads send": scanning(receiver, modules, more=ALONE),
        f"host: {kind}, endpoint dead": scanning(dead, modules),
        f"host: {kind}, endpoint slow": scanning(slow, modules),
        f"host: {kind}, endpoint hangs": scanning(hanging, modules),
    }


STORM, IDLE = (STORM_MODULE,), (STORM_MODULE, IDLE_MODULE)
WITHOUT, NOTHING = "host: scan without us", "host: storm, a module that does nothing"
ROWS = {
    **with_null_row(WITHOUT, scanning(None)),
    **{name: Row(measure, WITHOUT) for name, measure in rows("scan", host.MODULES).items()},
    **with_null_row(NOTHING, scanning(None, IDLE), events="storm"),
    "host: storm without us": Row(scanning(None, STORM), NOTHING, "storm"),
    **{name: Row(measure, NOTHING, "storm") for name, measure in rows("storm", STORM).items()},
}
if importlib.util.find_spec("sfscan") is None:
    ROWS = {}
