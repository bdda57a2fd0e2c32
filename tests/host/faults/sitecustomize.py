"""Faults for the scanner's process, put on its PYTHONPATH by a test: each patches a module when it is loaded.

`SFWEBHOOKS_TEST_FAULT` names the fault. Nothing of this is ever part of the package.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from types import ModuleType
from typing import Any, Callable


def journal(run: Any) -> None:
    """Write down the hash of each finding that was accepted."""
    file = os.open(os.environ["SFWEBHOOKS_TEST_JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    accept = run.ScanRun.accept

    def accept_and_note(self: Any, *findings: Any) -> None:
        accept(self, *findings)
        os.write(file, "".join(f"{finding.hash}\n" for finding in findings).encode())

    run.ScanRun.accept = accept_and_note


def killed_at_end(run: Any) -> None:
    """Kill the scan's process once the host has ended the scan, and before we report that."""
    run.ScanRun.end = lambda self, *args: os.kill(os.getpid(), signal.SIGKILL)


def slow(plugin: Any) -> None:
    """Take a while for each event, one at a time, so that a backlog builds up."""
    plugin.GROUP_MAX = 1
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


def no_python(process: Any) -> None:
    """Let the delivery process not start."""
    process.sys = ModuleType("sys")
    process.sys.executable = "/nonexistent/python"


FAULTS: dict[str, dict[str, Callable[[Any], None]]] = {
    "journal": {"sfwebhooks.scan.run": journal},
    "killed_at_end": {"sfwebhooks.scan.run": killed_at_end},
    "strange_target": {"spiderfoot.helpers": strange_target},
    "interrupted": {"modules.sfp_pageinfo": interrupted},
    "stuck": {"modules.sfp_pageinfo": stuck},
    "no_python": {"sfwebhooks.delivery.process": no_python},
    "slow": {"sfwebhooks.host.plugin": slow},
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
    fault = os.environ["SFWEBHOOKS_TEST_FAULT"]
    # any other fault is the name of a module of ours that raises when it is called
    sys.meta_path.insert(0, Patching(dict(FAULTS.get(fault) or {f"sfwebhooks.{fault}": raising})))
