"""A module that cannot be set up: put among the host's modules by a test, and taken away again."""

from spiderfoot import SpiderFootPlugin


class sfp_test_fails(SpiderFootPlugin):
    meta = {"name": "Fails", "summary": "Cannot be set up.", "useCases": [], "categories": []}
    opts = {}
    optdescs = {}

    def setup(self, sfc, userOpts=None):
        raise OSError("no such device")
