"""A fleet of machines: a hub with a PostgreSQL and receivers, and around it machines that deliver or scan, each with a
cable to the database and one to the receivers."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.builders import PATIENCE
from tests.crash.catcher import Catcher, Caught, Message
from tests.crash.scanner import NOTES, OVER
from tests.machines import Cable, Machine
from tests.postgres import OWNER, Postgres
from tests.processes import Process

#: addresses of the hub
DATABASE, RECEIVERS = "10.77.0.1", "10.77.0.2"
#: what the server has besides `postgres.SETTINGS`
SERVER = {"listen_addresses": DATABASE, "synchronous_commit": "on", "max_connections": "300"}
#: keeps who was given an endpoint's lock, and when
HISTORY = """
    CREATE TABLE public.owner_history (name text, number bigint, address text, at double precision);
    CREATE FUNCTION public.keep_owner() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.owner_history VALUES (substr(new.name, 10), new.number, host(inet_client_addr()),
            extract(epoch FROM clock_timestamp()));
        RETURN NULL; END $$;
    CREATE TRIGGER owner_kept AFTER INSERT OR UPDATE OF number ON sfwebhooks.ownership FOR EACH ROW
        WHEN (new.name LIKE 'endpoint-%') EXECUTE FUNCTION public.keep_owner()
"""
#: how a program begins there: what was imported before it had another name of its machine
HERE = """
import os, socket, sys
from sfwebhooks.outbox.postgres import advisory_locks
advisory_locks.MACHINE = socket.gethostname()
log = os.open("{log}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.dup2(log, 1)
os.dup2(log, 2)
"""
#: the database of SpiderFoot on a machine that scans
HOST_FILE = "spiderfoot.db"
#: seconds in which a process ends that is asked to
STOP_SECONDS = 90.0


@dataclass(repr=False)
class Life:
    """A process of a machine, from its start to its end. Times are monotonic seconds."""

    process: Process
    begun_at: float
    killed_at: float = float("inf")


@dataclass(frozen=True)
class Incident:
    """What a machine was not warned of."""

    #: cut, asleep
    kind: str
    begun_at: float


class Door(Catcher):
    """A receiver, with what its messages say of themselves."""

    def __init__(self, fleet: Fleet, path: str) -> None:
        with fleet.hub.inside():
            super().__init__(lambda caught: fleet.answer(caught), address=RECEIVERS)
        self.address = self.url(path)
        #: id of a delivery -> its message, without data
        self.messages: dict[str, Message] = {}
        self._fleet = fleet

    def sender_of(self, headers: Mapping[str, str], address: str) -> int:
        return self._fleet.numbers[address]

    def keep(self, caught: Caught, messages: Sequence[Message]) -> None:
        for one in messages:
            short = {"event_type": one["event_type"], "scan": one["data"]["scan_id"], **one["metadata"]}
            self.messages.setdefault(one["metadata"]["delivery_id"], short)
        super().keep(caught, messages)


class Node:
    """A machine of the fleet."""

    def __init__(self, fleet: Fleet, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.folder = fleet.folder / name
        self.folder.mkdir()
        self.lives: list[Life] = []
        self.incidents: list[Incident] = []
        self.is_cut = self.is_asleep = False
        self._fleet = fleet
        self.machine = fleet.stack.enter_context(Machine(name))
        self._to_database = Cable(fleet.hub, self.machine, DATABASE, 2 * number - 1)
        self._to_receivers = Cable(fleet.hub, self.machine, RECEIVERS, 2 * number)
        #: its address for receivers, and for the server
        self.source, self.client = self._to_receivers.source, self._to_database.source

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def is_alive(self) -> bool:
        return bool(self.lives) and self.lives[-1].process.poll() is None

    def configure(self, spool: str = "none") -> None:
        """Write its settings."""
        text = f"[webhooks]\noutbox = {self._fleet.dsn}\nspool = {spool}\ndrain_timeout = 1s\n{self._fleet.settings}"
        draft = self.folder / "draft"
        draft.touch(0o600)
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.folder / "webhooks.ini")

    def start(self, program: str, *arguments: object) -> Life:
        """Start a program on it, whose log is a file."""
        environment = {**os.environ, "HOME": str(self.folder), "SPIDERFOOT_DATA": str(self.folder)}
        text = self.machine.program + HERE.format(log=self.folder / "log") + program
        begun_at = time.monotonic()
        process = Process(arguments, text, environment, Path("/"), stdin=subprocess.DEVNULL)
        self.lives.append(Life(process, begun_at))
        return self.lives[-1]

    def command(self, *arguments: str) -> Life:
        """Start a command of ours."""
        return self.start("from sfwebhooks.__main__ import main; sys.exit(main())", *arguments)

    def deliver(self) -> Life:
        return self.command("run")

    def kill(self) -> None:
        """Kill its process, if there is one."""
        if self.lives and self.lives[-1].process.poll() is None:
            self.lives[-1].killed_at = time.monotonic()
            self.lives[-1].process.kill()
            self.lives[-1].process.wait(PATIENCE)
        self.is_asleep = False

    def check(self) -> None:
        """Check that its last process has not ended by a fault."""
        if self.lives:
            code = self.lives[-1].process.poll()
            assert code in (None, 0) or self.lives[-1].killed_at < float("inf"), f"{self.name}: {self.log[-2000:]}"

    def end(self) -> None:
        """Let its process end by itself."""
        if self.lives:
            self.lives[-1].process.send_signal(signal.SIGTERM)
            assert self.lives[-1].process.wait(STOP_SECONDS) == 0, self.log[-2000:]

    def cut(self, from_receivers: bool = False) -> None:
        """Pull its cable to the database, or both."""
        self.is_cut = True
        self.incidents.append(Incident("cut", time.monotonic()))
        self._to_database.pull()
        if from_receivers:
            self._to_receivers.pull()

    def heal(self) -> None:
        self._to_database.plug()
        self._to_receivers.plug()
        self.is_cut = False

    def sleep(self) -> None:
        """Let it do nothing, as a machine that is suspended."""
        self.is_asleep = True
        self.incidents.append(Incident("asleep", time.monotonic()))
        self.lives[-1].process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        if self.is_alive:
            self.lives[-1].process.send_signal(signal.SIGCONT)
        self.is_asleep = False

    def found(self) -> list[tuple[str, str, str]]:
        """Return (scan, hash, type) of each finding in the database of its SpiderFoot."""
        with closing(sqlite3.connect(self.folder / HOST_FILE, timeout=PATIENCE)) as connection:
            return connection.execute("SELECT scan_instance_id, hash, type FROM tbl_scan_results").fetchall()

    def accepted(self) -> list[tuple[str, str]]:
        """Return (scan, hash) of each finding that it noted as accepted."""
        return [(scan, hash) for scan, _, hash in (line.partition(" ") for line in self._lines(NOTES))]

    def over(self) -> list[float]:
        """Return when its scans were over, in monotonic seconds."""
        return [float(line) for line in self._lines(OVER)]

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@dataclass(repr=False)
class Fleet:
    """The hub, and the machines around it; use it as a context.

    Args:
        folder: for the machines' own folders.
        endpoints: name -> lines of its settings, without its url.
    """

    folder: Path
    endpoints: Mapping[str, str]
    #: address for receivers -> number of the machine
    numbers: dict[str, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    #: monotonic seconds at which the server was stopped
    stops: list[float] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Fleet:
        #: epoch seconds at the monotonic second 0
        self.epoch = time.time() - time.monotonic()
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *args: object) -> None:
        self.stack.close()

    def answer(self, caught: Caught) -> int:
        """Return the status for a request."""
        return 200

    def _open(self) -> None:
        self.hub = self.stack.enter_context(Machine("hub"))
        self.hub.configure(*(f"address add {one}/32 dev lo" for one in (DATABASE, RECEIVERS)))
        self.server = self._new_server()
        self.doors = {name: Door(self, f"/{name}") for name in self.endpoints}
        for one in self.doors.values():
            self.stack.enter_context(one)
        self.settings = "".join(
            f"[webhooks.{name}]\nurl = {self.doors[name].address}\n{lines}\n" for name, lines in self.endpoints.items()
        )
        self.dsn = f"postgresql://{OWNER}@{DATABASE}/hooks"
        self.outbox = Outbox(Dsn(self.server.dsn("hooks"), self.folder))
        self.stack.callback(self.outbox.close)
        self.outbox.scans.tallies()  # creates the tables
        self.server.execute(HISTORY, self.server.dsn("hooks"))

    def _new_server(self) -> Postgres:
        folder = Path(tempfile.mkdtemp(prefix="sfpg-", dir="/tmp"))
        self.stack.callback(shutil.rmtree, folder)
        server = Postgres(folder)
        server.create(SERVER)
        with (folder / "data" / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write("host all all 10.78.0.0/16 trust\n")
        self.is_up = False
        self.stack.callback(self.stop_server)
        with self.hub.inside():
            server.start()
        self.is_up = True
        server.execute("CREATE DATABASE hooks")
        return server

    def stop_server(self) -> None:
        """Stop the server as a crash does, if it runs."""
        if self.is_up:
            self.is_up = False
            self.stops.append(time.monotonic())
            self.server.stop("immediate")

    def start_server(self) -> None:
        if not self.is_up:
            with self.hub.inside():
                self.server.start()
            self.is_up = True

    def add(self, name: str, spool: str = "none") -> Node:
        """Add a machine, on which nothing runs yet."""
        node = Node(self, name, len(self.nodes) + 1)
        self.nodes.append(node)
        self.numbers[node.source] = node.number
        node.configure(spool)
        self.stack.callback(node.kill)
        return node

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.server.execute(query, self.server.dsn("hooks"))

    @property
    def waiting(self) -> int:
        return self.outbox.scans.tallies()["waiting"]
