"""SpiderFoot loads its modules from this folder; this one brings in the package sfwebhooks.

Put here by `sfwebhooks install`, taken away by `sfwebhooks uninstall`. If the package is missing or broken, the
scanner runs without webhooks and says so in one line. `start_scan` is what a scan's process calls, if the package was
there when the host started: it may be gone now.
"""

import logging

from spiderfoot import SpiderFootPlugin

try:
    from sfwebhooks.host.attach import attach, start_scan
    from sfwebhooks.host.plugin import sfp__stor_webhooks

    attach()
except Exception as error:  # whatever it is, it must not stop the scanner
    log, words = logging.getLogger("spiderfoot.webhooks"), f"webhooks: off, the package cannot be loaded: {error!r}"
    log.warning(words)

    def start_scan(logging_queue, *args):  # type: ignore[no-untyped-def,misc]
        """Run a scan without webhooks, and say so in its log."""
        from sfscan import startSpiderFootScanner
        from spiderfoot.logger import logWorkerSetup

        logWorkerSetup(logging_queue)
        log.warning(words, extra={"scanId": args[1]})
        return startSpiderFootScanner(logging_queue, *args)

    class sfp__stor_webhooks(SpiderFootPlugin):  # type: ignore[no-redef,misc]
        """Stands in for the module, and does nothing."""

        meta = {"name": "Webhooks (not working)", "summary": "The package sfwebhooks cannot be loaded: see the log."}
        opts = {"config": "", "enabled": True}
        optdescs = {"config": "File with the [webhooks] settings.", "enabled": "Send webhooks?"}

        def setup(self, sfc, userOpts=None):  # type: ignore[no-untyped-def]
            """Keep the host's options, which its thread needs."""
            self.sf = sfc
            self.opts = {**self.opts, **(userOpts or {})}

        def watchedEvents(self):  # type: ignore[no-untyped-def]
            """Watch nothing."""
            return []
