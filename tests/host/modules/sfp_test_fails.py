"""A module that cannot be set up: put among the host's modules by a test, and taken away again."""

from typing import Any

from spiderfoot import SpiderFootPlugin


class sfp_test_fails(SpiderFootPlugin):  # type: ignore[misc]  # the host has no types
    meta = {"name": "Fails", "summary": "Cannot be set up.", "useCases": [], "categories": []}
    opts: dict[str, Any] = {}
    optdescs: dict[str, str] = {}

    def setup(self, sfc: Any, userOpts: Any = None) -> None:
        raise OSError("no such device")
