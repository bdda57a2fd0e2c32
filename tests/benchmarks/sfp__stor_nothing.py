"""A module of the scanner, for benchmarks only: it is given each event and does nothing, which is the least that any
output module costs a scan."""

from typing import Any

from spiderfoot import SpiderFootPlugin


class sfp__stor_nothing(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    """Loaded by the scanner."""

    meta = {"name": "Nothing", "summary": "Does nothing.", "flags": [], "useCases": [], "categories": []}
    opts = {"unused": ""}
    optdescs = {"unused": "Nothing."}
    _priority = 0

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        """Keep the host's options, which its thread needs."""
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self) -> list[str]:
        """Watch everything."""
        return ["*"]

    def producedEvents(self) -> list[str]:
        """Return that it finds nothing."""
        return []

    def handleEvent(self, event: Any) -> None:
        """Do nothing."""
