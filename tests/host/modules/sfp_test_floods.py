"""A module that floods the log: put among the host's modules by a test, and taken away again."""

from typing import Any

from spiderfoot import SpiderFootPlugin

#: lines for the first event that it sees
LINES = 5000


class sfp_test_floods(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    meta = {"name": "Floods", "summary": "Floods the log.", "useCases": [], "categories": []}
    opts: dict[str, Any] = {}
    optdescs: dict[str, str] = {}
    flooded = False

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        return ["*"]

    def handleEvent(self, event: Any) -> None:
        if not self.flooded:
            self.flooded = True
            for number in range(LINES):
                self.error(f"flood line {number}")
