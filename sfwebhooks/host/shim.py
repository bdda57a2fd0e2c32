"""SpiderFoot loads its modules from this folder; this one loads the package sfwebhooks.

Added by `sfwebhooks install`, removed by `sfwebhooks uninstall`. If the package is missing or broken, the scanner runs
without webhooks and logs one line. A scan's process calls `start_scan` if the package was present when the host
started: it may be gone now.
"""

import logging

from spiderfoot import SpiderFootPlugin

try:
    from sfwebhooks.host.around_scan import attach, start_scan
    from sfwebhooks.host.plugin import sfp__stor_webhooks

    attach()
except Exception as error:  # no error may stop the scanner
    log, words = (
        logging.getLogger("spiderfoot.webhooks"),
        f"webhooks: disabled: the package cannot be loaded: {error!r}",
    )
    log.warning(words)

    def start_scan(logging_queue, *args):  # type: ignore[no-untyped-def,misc]
        """Run a scan without webhooks, and log that."""
        from sfscan import startSpiderFootScanner
        from spiderfoot.logger import logWorkerSetup

        logWorkerSetup(logging_queue)
        log.warning(words, extra={"scanId": args[1]})
        return startSpiderFootScanner(logging_queue, *args)

    class sfp__stor_webhooks(SpiderFootPlugin):  # type: ignore[no-redef,misc]
        """Replaces the module and does nothing."""

        meta = {"name": "Webhooks (not working)", "summary": "The package sfwebhooks cannot be loaded: see the log."}
        opts = {"config": "", "enabled": True}
        optdescs = {"config": "File with the [webhooks] settings.", "enabled": "Send webhooks?"}

        def setup(self, sfc, userOpts=None):  # type: ignore[no-untyped-def]
            """Store the host's options, which its thread needs."""
            self.sf = sfc
            self.opts = {**self.opts, **(userOpts or {})}

        def watchedEvents(self):  # type: ignore[no-untyped-def]
            """Watch nothing."""
            return []
