"""A module of the scanner, for benchmarks only: it finds STORM_EVENTS pages as fast as it can."""

import os
from typing import Any

from spiderfoot import SpiderFootEvent, SpiderFootPlugin


class sfp_storm(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    """Loaded by the scanner."""

    meta = {"name": "Storm", "summary": "Finds pages.", "flags": [], "useCases": [], "categories": []}
    opts = {"unused": ""}
    optdescs = {"unused": "Nothing."}

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        """Keep the host's options, which its thread needs."""
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        """Watch the target."""
        return ["INTERNET_NAME"]

    def producedEvents(self) -> list[str]:
        """Return what it finds."""
        return ["LINKED_URL_INTERNAL", "TARGET_WEB_CONTENT"]

    def handleEvent(self, event: Any) -> None:
        """Find all pages at once."""
        for event_type in ("LINKED_URL_INTERNAL", "TARGET_WEB_CONTENT"):
            event = SpiderFootEvent(event_type, f"{event_type} of the target", self.__name__, event)
            self.notifyListeners(event)
        for number in range(int(os.environ["STORM_EVENTS"])):
            url = f"https://www.acme.test/{number:0180d}"
            self.notifyListeners(SpiderFootEvent("LINKED_URL_INTERNAL", url, self.__name__, event))
