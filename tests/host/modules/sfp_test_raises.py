"""A module that raises on every event: put among the host's modules by a test, and taken away again."""

from typing import Any

from spiderfoot import SpiderFootPlugin


class sfp_test_raises(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    meta = {"name": "Raises", "summary": "Raises on every event.", "useCases": [], "categories": []}
    opts = {"api_key": "a key of the scanner"}
    optdescs = {"api_key": "Key."}

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        return ["*"]

    def handleEvent(self, event: Any) -> None:
        raise KeyError(f"{event.eventType} with {self.opts['api_key']}")
