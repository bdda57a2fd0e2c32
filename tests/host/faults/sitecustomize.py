"""Faults for the scanner's process, put on its PYTHONPATH by a test: each patches a module when it is loaded.

`SFWEBHOOKS_TEST_FAULT` names the fault. Nothing of this is ever part of the package.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from types import ModuleType
from typing import Any, Callable


def journal(plugin: Any) -> None:
    """Write down the hash of each event for which handleEvent has returned."""
    file = os.open(os.environ["SFWEBHOOKS_TEST_JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    handle = plugin.sfp__stor_webhooks.handleEvent

    def handle_and_note(self: Any, event: Any) -> None:
        handle(self, event)
        os.write(file, f"{event.eventType} {event.hash}\n".encode())

    plugin.sfp__stor_webhooks.handleEvent = handle_and_note


def slow(plugin: Any) -> None:
    """Take a while for each event, so that a backlog builds up."""
    handle = plugin.sfp__stor_webhooks.handleEvent

    def handle_slowly(self: Any, event: Any) -> None:
        time.sleep(0.3)
        handle(self, event)

    plugin.sfp__stor_webhooks.handleEvent = handle_slowly


def strange_target(helpers: Any) -> None:
    """Let the host take every target for one of a type that its scans do not know."""
    helpers.SpiderFootHelpers.targetTypeFromString = staticmethod(lambda target: "NONSENSE")


def interrupted(module: Any) -> None:
    """Interrupt a scan while its modules are set up, as Ctrl-C does."""

    def interrupt(self: Any, *args: Any) -> None:
        raise KeyboardInterrupt

    module.sfp_pageinfo.setup = interrupt


def stuck(module: Any) -> None:
    """Let a module's set-up, which comes before ours, take for ever."""
    module.sfp_pageinfo.setup = lambda self, *args: time.sleep(600)


def raising(module: Any) -> None:
    """Let every function and method of a module raise when it is called."""

    def explode(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("forced by a test")

    for owner in [module, *(value for value in vars(module).values() if isinstance(value, type))]:
        if getattr(owner, "__module__", module.__name__) == module.__name__:
            for name, value in list(vars(owner).items()):
                if type(value).__name__ == "function" and value.__module__ == module.__name__:
                    setattr(owner, name, explode)


FAULTS: dict[str, dict[str, Callable[[Any], None]]] = {
    "journal": {"sfwebhooks.host.plugin": journal},
    "strange_target": {"spiderfoot.helpers": strange_target},
    "interrupted": {"modules.sfp_pageinfo": interrupted},
    "stuck": {"modules.sfp_pageinfo": stuck},
    "slow": {"sfwebhooks.host.plugin": slow},
    "raise_in_scans": {"sfwebhooks.scan.run": raising},
    "raise_in_config": {"sfwebhooks.config.settings": raising},
    "raise_in_outbox": {"sfwebhooks.outbox.outbox": raising},
    "raise_in_database": {"sfwebhooks.outbox.file": raising},
    "raise_in_queues": {"sfwebhooks.outbox.queue": raising},
    "raise_in_stored_scans": {"sfwebhooks.outbox.scans": raising},
    "raise_in_scan_end": {"sfwebhooks.outbox.scan_end": raising},
    "raise_in_states": {"sfwebhooks.outbox.endpoint_state": raising},
    "raise_in_recovery": {"sfwebhooks.scan.recovery": raising},
    "raise_in_results": {"sfwebhooks.scan.from_host": raising},
    "raise_in_correlations": {"sfwebhooks.scan.correlations": raising},
    "raise_in_accepted": {"sfwebhooks.outbox.accepted": raising},
    "raise_in_tally": {"sfwebhooks.outbox.tally": raising},
    "raise_in_parentage": {"sfwebhooks.scan.parentage": raising},
    "raise_in_escapes": {"sfwebhooks.scan.escapes": raising},
    "raise_in_risks": {"sfwebhooks.host.risks": raising},
    "raise_in_claims": {"sfwebhooks.outbox.claim": raising},
    "raise_in_rows": {"sfwebhooks.outbox.rows": raising},
    "raise_in_pending": {"sfwebhooks.scan.outbox_failure": raising},
    "raise_in_chores": {"sfwebhooks.delivery.chores": raising},
    "raise_in_maintenance": {"sfwebhooks.delivery.maintenance": raising},
    "raise_in_workers": {"sfwebhooks.delivery.workers": raising},
    "raise_in_dispatcher": {"sfwebhooks.delivery.dispatcher": raising},
    "raise_in_send_queue": {"sfwebhooks.delivery.send_queue": raising},
    "raise_in_sending": {"sfwebhooks.sending": raising},
    "raise_in_lifecycle": {"sfwebhooks.scan.lifecycle": raising},
    "raise_in_hostlog": {"sfwebhooks.scan.host_log": raising},
    "raise_in_progress": {"sfwebhooks.scan.progress": raising},
    "raise_in_hostdb": {"sfwebhooks.scan.host_database": raising},
    "raise_in_findings": {"sfwebhooks.scan.findings": raising},
    "raise_in_pipeline": {"sfwebhooks.pipeline": raising},
    "raise_in_sender": {"sfwebhooks.network.sender": raising},
}


class Patching(importlib.abc.MetaPathFinder):
    """Finds the modules to be patched, and patches them after they were loaded."""

    def __init__(self, patches: dict[str, Callable[[Any], None]]) -> None:
        self.patches = patches

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self.patches:
            return None
        patch = self.patches.pop(name)
        spec = importlib.util.find_spec(name)
        assert spec and spec.loader
        loader: Any = spec.loader
        load = loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            patch(module)

        loader.exec_module = load_and_patch
        return spec


if os.environ.get("SFWEBHOOKS_TEST_FAULT"):
    sys.meta_path.insert(0, Patching(dict(FAULTS[os.environ["SFWEBHOOKS_TEST_FAULT"]])))
