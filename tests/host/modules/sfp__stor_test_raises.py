"""An output module that raises: put among the host's modules by a test, and taken away again."""

from typing import Any

from spiderfoot import SpiderFootPlugin


class sfp__stor_test_raises(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    meta = {"name": "Raises", "summary": "Raises on its first event, and is deaf from then on."}
    opts: dict[str, Any] = {}
    optdescs: dict[str, str] = {}

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        return ["*"]

    def handleEvent(self, event: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")
