"""A module that finds something until it is stopped: put among the host's modules by a test, and taken away again."""

import os
import time
from pathlib import Path
from typing import Any

from spiderfoot import SpiderFootEvent, SpiderFootPlugin

#: variable with the path of the file that stops it
UNTIL = "SFWEBHOOKS_TEST_UNTIL"
KINDS = ("VULNERABILITY_GENERAL", "EMAILADDR")


class sfp_test_goes_on(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    """Loaded by the scanner."""

    meta = {"name": "Goes on", "summary": "Finds something all the time.", "useCases": [], "categories": []}
    opts: dict[str, Any] = {}
    optdescs: dict[str, str] = {}
    number = 0

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        return ["INTERNET_NAME"]

    def producedEvents(self) -> list[str]:
        return list(KINDS)

    def handleEvent(self, event: Any) -> None:
        """Find something of each kind, again and again."""
        while not (self.number and Path(os.environ[UNTIL]).exists()) and not self.checkForStop():
            self.number += 1
            for kind in KINDS:
                self.notifyListeners(SpiderFootEvent(kind, f"{self.number}@acme.test", self.__name__, event))
            time.sleep(0.02)
