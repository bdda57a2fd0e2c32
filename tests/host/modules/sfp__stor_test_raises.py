"""An output module that raises: put among the host's modules by a test, and taken away again."""

from spiderfoot import SpiderFootPlugin


class sfp__stor_test_raises(SpiderFootPlugin):
    meta = {"name": "Raises", "summary": "Raises on its first event, and is deaf from then on."}
    opts = {}
    optdescs = {}

    def setup(self, sfc, userOpts=None):
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self):
        return ["*"]

    def handleEvent(self, event):
        raise ZeroDivisionError("nothing to divide by")
