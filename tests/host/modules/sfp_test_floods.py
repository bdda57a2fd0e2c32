"""A module that floods the log: put among the host's modules by a test, and taken away again."""

from spiderfoot import SpiderFootPlugin

#: lines for the first event that it sees
LINES = 5000


class sfp_test_floods(SpiderFootPlugin):
    meta = {"name": "Floods", "summary": "Floods the log.", "useCases": [], "categories": []}
    opts = {}
    optdescs = {}
    flooded = False

    def setup(self, sfc, userOpts=None):
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self):
        return ["*"]

    def handleEvent(self, event):
        if not self.flooded:
            self.flooded = True
            for number in range(LINES):
                self.error(f"flood line {number}")
