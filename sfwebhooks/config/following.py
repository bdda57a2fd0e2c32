"""Following the settings' files in a process that goes on: a look comes in; if they were changed, new Settings go out.

A file that is still being written is not read before two looks agree. Settings with a new mistake, or without any
endpoint if there must be one, are not used, and the log says so, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import ConfigError
from sfwebhooks.text_file import FileState, state_of

log = logging.getLogger("spiderfoot.webhooks")


class SettingsFiles:
    """The files of a process's settings.

    Args:
        settings: the current settings.
        load: reads them again.
        log: gets the mistakes of settings that are not used.
        may_be_empty: whether settings without any endpoint are used.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        log: logging.Logger | logging.LoggerAdapter[logging.Logger] = log,
        may_be_empty: bool = False,
    ) -> None:
        #: the last ones that could be used
        self.settings = settings
        self._load = load
        self._log = log
        self._may_be_empty = may_be_empty
        #: states of the files when they were last read, used or not, and at the last look
        self._seen = self._looked = settings.files

    @property
    def are_changing(self) -> bool:
        """Whether a file was changed since they were read."""
        return _states(self._seen) != self._seen

    def look(self, always: bool = False) -> Settings | None:
        """Return the new settings if they changed and can be used; call about once a second.

        Args:
            always: read them even if no file seems to have changed.
        """
        before, self._looked = self._looked, _states(self._seen)
        if always or (self._looked != self._seen and self._looked == before):  # no longer being written
            return self._read()
        return None

    def _read(self) -> Settings | None:
        self._seen = _states(self._seen)
        try:
            new = self._load()
        except ConfigError as error:
            self._log.warning("webhooks: %s; keeping the previous configuration", error)
            return None
        self._seen = new.files
        known = {*self.settings.mistakes, *self.settings.warnings}
        for text in (*new.mistakes, *new.warnings):
            if text not in known:
                self._log.warning("webhooks: %s", text)
        is_empty = not (new.known or new.enabled is False or self._may_be_empty)
        if is_empty or set(new.mistakes) - set(self.settings.mistakes):
            self._log.warning(
                "webhooks: the changed configuration has mistakes or no endpoint; keeping the previous one"
            )
            return None
        self.settings = new
        return new


def _states(files: Iterable[Path]) -> dict[Path, FileState]:
    return {path: state_of(path) for path in files}
