"""A throw-away PostgreSQL on a Unix socket, and a fresh database for a test.

`postgres` is one server for all processes of a run of pytest: nobody may stop it, or change its settings. A test that
must do so runs a server of its own: `with Postgres.running() as server`.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.users import NOBODY

#: where Debian has the programs, the newest version last
DEBIAN = "/usr/lib/postgresql"
#: the variable with another folder, to test with the version there
WANTED = "SFWEBHOOKS_TESTS_POSTGRES"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
#: who owns the server's databases, and its password, which the server does not ask for
OWNER, PASSWORD = "scanner", "pg-password-in-tests"
#: seconds after which a start is given up, for pg_ctl
START_SECONDS = "60"
#: settings of a server whose data outlive its processes, but not the machine
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "1min",
}
NO_SETTINGS: Mapping[str, str] = {}
_numbers = itertools.count(1)


def programs() -> Path | None:
    """Return the folder with PostgreSQL's programs: the one that is wanted, else that of the newest version."""
    wanted = os.environ.get(WANTED)
    versions = sorted(Path(DEBIAN).glob("*/bin"), key=lambda path: int(path.parent.name.partition(".")[0] or 0))
    found = shutil.which("initdb")
    folders = [*reversed(versions), *([Path(found).resolve().parent] if found else [])]
    folders = [Path(wanted)] if wanted else folders
    return next((each for each in folders if all((each / name).exists() for name in PROGRAMS)), None)


def missing() -> str:
    """Return why there can be no PostgreSQL here, or nothing."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed: pip install 'psycopg[binary]'"
    return "" if programs() else f"PostgreSQL is not installed (Debian: postgresql): no {', '.join(PROGRAMS)}"


def demand() -> None:
    """Skip the test if there can be no PostgreSQL, in CI fail."""
    reason = missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


class Postgres:
    """A server in a folder, which other processes may use too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bin_folder = programs()
        assert bin_folder, missing()
        self._programs = bin_folder

    @classmethod
    @contextmanager
    def running(cls, settings: Mapping[str, str] = NO_SETTINGS, auth: str = "trust") -> Iterator[Postgres]:
        """Run a server of the test's own while the block runs.

        Args:
            auth: how users are authenticated; `scram-sha-256` wants the password.
        """
        with cls._of(lambda server: server.create(settings, auth)) as server:
            yield server

    @classmethod
    @contextmanager
    def standby_of(cls, primary: Postgres) -> Iterator[Postgres]:
        """Run a server that follows another one while the block runs."""
        with cls._of(lambda server: server.copy(primary, "-R")) as server:
            yield server

    @classmethod
    @contextmanager
    def without_files(cls) -> Iterator[Postgres]:
        """Return a server that has none yet, as the place of a backup."""
        with tempfile.TemporaryDirectory(prefix="sfpg-", dir="/tmp") as name:
            yield cls(Path(name))

    @classmethod
    @contextmanager
    def _of(cls, make: Callable[[Postgres], None]) -> Iterator[Postgres]:
        """Run a server whose files are made first."""
        with cls.without_files() as server:
            make(server)
            server.start()
            try:
                yield server
            finally:
                if server.is_running:
                    server.stop()

    def create(self, settings: Mapping[str, str] = NO_SETTINGS, auth: str = "trust") -> None:
        """Make the server's files, for a user who is not root."""
        self._open_folder()
        password = self.folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        self._run("initdb", "--no-sync", "--no-locale", "-E", "UTF8", "-A", auth, "-U", OWNER,
                  f"--pwfile={password}", "-D", self._data)  # fmt: skip
        self._set({**SETTINGS, **settings})

    def copy(self, running: Postgres, *options: str) -> None:
        """Make the server's files as a copy of those of a running one, as a base backup is.

        Args:
            options: of pg_basebackup; `-R`: it will follow the other one.
        """
        self._open_folder()
        self._run("pg_basebackup", "-h", running.folder, "-U", OWNER, "-c", "fast", *options, "-D", self._data)
        self._set({})

    def put_back(self, backup: Postgres) -> None:
        """Put other files in the place of the server's own ones, while it is stopped: those of a backup."""
        shutil.rmtree(self._data)
        shutil.copytree(backup._data, self._data)
        for path in (self._data, *self._data.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        self._set({})

    def recover(self) -> None:
        """Let the next start be a recovery to the end of the log in its files, after which a new timeline begins."""
        (self._data / "recovery.signal").touch()
        if os.geteuid() == 0:
            os.chown(self._data / "recovery.signal", NOBODY, NOBODY)
        self._set({"restore_command": "false"})

    def dump(self, name: str) -> Path:
        """Write a database into a file, as a logical backup is; return its path."""
        path = self.folder / f"{name}.dump"
        self._run("pg_dump", "-h", self.folder, "-U", OWNER, "-Fc", "-f", path, name)
        return path

    def restore(self, name: str, dump: Path) -> None:
        """Put a database of a file in the place of one that may be there."""
        self._run("pg_restore", "-h", self.folder, "-U", OWNER, "--clean", "--if-exists", "-d", name, dump)

    def promote(self) -> None:
        """Let a standby go on as a server of its own, and wait until it can be written to."""
        self._run("pg_ctl", "promote", "-w", "-t", START_SECONDS, "-D", self._data)

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        self._run("pg_ctl", "start", "-w", "-t", START_SECONDS, "-D", self._data, "-l", self.folder / "log")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server by its own pid file.

        Args:
            mode: `smart`, `fast` or `immediate`, which is what a crash is.
        """
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", self._data)

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and not been stopped."""
        return (self._data / "postmaster.pid").exists()

    @property
    def pid(self) -> int:
        """The process that all of the server's processes end with."""
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])

    def dsn(self, name: str, user: str = OWNER) -> str:
        """Return the address of a database, with a password."""
        return f"postgresql://{user}:{PASSWORD}@/{name}?host={self.folder}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Lend a database that has what its template has, by its address."""
        address = self.create_database(template)
        try:
            yield address
        finally:
            self.drop_database(address)

    def create_database(self, template: str = "template1") -> str:
        """Return the address of a new database."""
        name = f"t{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.dsn(name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database, whoever uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {name_of(dsn)} WITH (FORCE)")

    def execute(self, query: str, dsn: str = "") -> list[tuple[Any, ...]]:
        """Run a statement outside of a transaction; return its rows."""
        import psycopg

        with psycopg.connect(dsn or self.dsn("postgres"), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _open_folder(self) -> None:
        self.folder.chmod(0o755)  # its socket is for every user of a test
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)

    def _set(self, settings: Mapping[str, str]) -> None:
        """Change settings; the last one counts."""
        lines = [f"{key} = '{value}'" for key, value in settings.items()]
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, f"unix_socket_directories = '{self.folder}'", ""]))

    def _run(self, name: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs, which root may not."""
        command = [str(each) for each in (self._programs / name, *arguments)]
        user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.folder / "output").open("w+", encoding="utf-8") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", env={"LC_ALL": "C"}, **user)
            output.seek(0)
            assert done.returncode == 0, f"{name} failed: {output.read()}"


def name_of(dsn: str) -> str:
    """Return the name of the database at an address of `Postgres.dsn`."""
    return dsn.partition("@/")[2].partition("?")[0]


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    """Stop a server as a crash does; start it again."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The server that all tests share; the first process that needs it starts it, the last one stops it."""
    demand()
    run, shared = getattr(request.config, "workerinput", {}).get("testrunuid"), tmp_path_factory.getbasetemp()
    shared = shared.parent if run else shared  # of all workers
    folder = Path(f"/tmp/sfpg-{run or uuid.uuid4().hex}")  # the path of a socket is short
    server, changing = Postgres(folder), shared / "postgres.changing"
    with (shared / "postgres.users").open("w") as users:
        with _alone(changing):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not folder.exists():
                folder.mkdir()
                server.create()
                server.start()
        yield server
        with _alone(changing):
            if _is_last(users) and folder.exists():
                server.stop()
                shutil.rmtree(folder)


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A server that the test may stop."""
    demand()
    with Postgres.running() as server:
        server.execute("CREATE DATABASE hooks")
        yield server


@pytest.fixture
def postgres_dsn(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database, with a password."""
    with postgres.database() as dsn:
        yield dsn


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes out of the block."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_last(users: IO[str]) -> bool:
    """Return whether no other process uses the server any more."""
    fcntl.flock(users, fcntl.LOCK_UN)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
