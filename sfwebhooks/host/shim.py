"""SpiderFoot loads its modules from this folder; this one loads the package sfwebhooks.

Added by `sfwebhooks install`, removed by `sfwebhooks uninstall`. If the package is missing or broken, the scanner runs
without webhooks and logs one line. If SFWEBHOOKS_DISABLED is set, nothing of the package is imported, which saves a
tenth of a second. A scan's process calls `start_scan` if the package was present when the host started: it may be gone
now.
"""

import importlib.util
import logging
import os

from spiderfoot import SpiderFootPlugin

log = logging.getLogger("spiderfoot.webhooks")
is_disabled = os.environ.get("SFWEBHOOKS_DISABLED", "") not in ("", "0")
words = "webhooks: disabled: SFWEBHOOKS_DISABLED is set" if is_disabled else ""
if not is_disabled:
    try:
        from sfwebhooks.host.around_scan import attach, start_scan
        from sfwebhooks.host.plugin import sfp__stor_webhooks

        attach()
    except Exception as error:  # no error may stop the scanner
        words = f"webhooks: disabled: the package cannot be loaded: {error!r}"
        log.warning(words)

if words:

    def start_scan(logging_queue, *args):  # type: ignore[no-untyped-def,misc]
        """Run a scan without webhooks, and log that."""
        usual = importlib.util.find_spec("sfscan") is not None
        log_of_host = importlib.import_module("spiderfoot.logger" if usual else "spiderfoot.observability.logger")
        log_of_host.logWorkerSetup(logging_queue)
        log.warning(words, extra={"scanId": args[1]})
        host = importlib.import_module("sfscan" if usual else "spiderfoot.scan.scanner")
        return host.startSpiderFootScanner(logging_queue, *args)

    class sfp__stor_webhooks(SpiderFootPlugin):  # type: ignore[no-redef,misc]
        """Replaces the module and does nothing."""

        meta = {"name": "Webhooks (not working)", "summary": f"Sends nothing: {words}."}
        opts = {"config": "", "enabled": True}
        optdescs = {"config": "File with the [webhooks] settings.", "enabled": "Send webhooks?"}

        def setup(self, sfc, userOpts=None):  # type: ignore[no-untyped-def]
            """Store the host's options, which its thread needs."""
            self.sf = sfc
            self.opts = {**self.opts, **(userOpts or {})}

        def setTarget(self, target):  # type: ignore[no-untyped-def]
            """Say in the log of a scan that has chosen this module why it does nothing."""
            super().setTarget(target)
            if is_disabled:
                log.info(words, extra={"scanId": self.getScanId()})

        def watchedEvents(self):  # type: ignore[no-untyped-def]
            """Watch nothing."""
            return []
