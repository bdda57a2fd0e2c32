"""The Installation that is examined, and the Report of a check: command-line options come in, facts go out.

A fact is found when the first check asks for it, since finding it may fail or take long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path

from sfwebhooks.config.filter_warnings import unknown_modules
from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, InstallError, OutboxError
from sfwebhooks.host.hosts import remembered
from sfwebhooks.host.install import SHIM, modules_folder
from sfwebhooks.inspection.live_state import LiveState, live_state
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.postgres.dsn import Place, is_missing, local_path

#: the files of the host's modules
MODULES = "sfp_*.py"


class Level(str, Enum):
    """How bad a thing is."""

    OK = "ok"
    #: it needs attention
    WARNING = "warning"
    #: while it lasts, nothing is accepted, or nothing is sent
    ERROR = "error"


@dataclass(frozen=True)
class Report:
    """What a check has found."""

    #: what was looked at
    name: str
    words: str
    level: Level = Level.OK
    #: what to do; empty: nothing, or the words say it
    cure: str = ""


@dataclass(frozen=True)
class Installation:
    """What is to be examined."""

    #: the data folder
    folder: Path
    #: reads the settings
    load: Callable[[], Settings]
    #: the SpiderFoot that the command line names
    spiderfoot: Path | None = None
    #: whether all of the outbox is read
    full: bool = False

    #: epoch seconds
    now: float = field(default_factory=time.time)

    @property
    def place(self) -> Place:
        """Where the outbox is, which need not exist.

        Raises:
            ConfigError: a mistake in the settings makes that unknown.
        """
        return self.settings.place(self.folder) if self.settings else self.folder / FILE

    @property
    def path(self) -> Path:
        """The outbox's file, or the path next to which this machine has its notes about it."""
        return self.folder / FILE if self.settings and self.settings.outbox_mistake else local_path(self.place)

    @property
    def is_on_server(self) -> bool:
        """Whether the outbox is not, or is not meant to be, in the data folder."""
        return bool(self.settings and (self.settings.outbox or self.settings.outbox_mistake))

    @property
    def has_outbox(self) -> bool:
        """Whether it exists, as far as that is known."""
        return not (self.settings and self.settings.outbox_mistake) and not is_missing(self.place)

    @property
    def settings(self) -> Settings | None:
        """The settings; None if they cannot be found, which the check of the configuration reports."""
        return self._loaded[0]

    @property
    def problem(self) -> str:
        """Why the settings cannot be found; empty: they can."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[Settings | None, str]:
        try:
            return self.load(), ""
        except ConfigError as error:
            return None, str(error)

    @cached_property
    def live(self) -> LiveState | None:
        """The live state; None without settings, or if the outbox cannot be read, which its check reports."""
        try:
            return live_state(self.settings, self.place) if self.settings else None
        except (ConfigError, OutboxError):
            return None

    @cached_property
    def modules(self) -> dict[Path, bool]:
        """As `modules_of`."""
        return modules_of(self.spiderfoot)


def modules_of(spiderfoot: Path | None) -> dict[Path, bool]:
    """Return the module's path in each SpiderFoot -> whether it should be there: the SpiderFoot that the command line
    names, else those into which it was installed, else the one installed for this Python.

    Raises:
        InstallError: the named folder is not a SpiderFoot.
        ConfigError: the record of installations is damaged.
    """
    if spiderfoot:
        return {modules_folder(spiderfoot) / SHIM: True}
    known = {path / "modules" / SHIM: True for path in remembered()}
    try:
        return known or {modules_folder() / SHIM: False}
    except InstallError:
        return {}  # no SpiderFoot is installed with pip


def module_names_in(shims: Iterable[Path]) -> set[str]:
    """Return the names of the modules in the folders of `modules_of`; none if these cannot be read."""
    return {path.stem for shim in shims for path in shim.parent.glob(MODULES)}


def module_warnings(endpoints: Iterable[Endpoint]) -> list[str]:
    """Return a warning for each module that endpoints name and no SpiderFoot here has."""
    with suppress(ConfigError):
        return [*unknown_modules(endpoints, module_names_in(modules_of(None)))]
    return []
