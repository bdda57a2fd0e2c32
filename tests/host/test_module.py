"""What SpiderFoot's own tests demand of each module, of the host that is installed here."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sfwebhooks
from sfwebhooks.events import clean_text
from sfwebhooks.host.plugin import sfp__stor_webhooks

SHIM = Path(sfwebhooks.__file__).parent / "host" / "shim.py"
USE_CASES = {"Footprint", "Passive", "Investigate"}


@pytest.fixture
def module() -> Any:
    return sfp__stor_webhooks()


def test_what_it_watches_and_produces_are_lists(module: Any) -> None:
    assert (module.watchedEvents(), module.producedEvents()) == (["*"], [])


def test_what_it_says_of_itself_is_what_the_host_takes(module: Any) -> None:
    said = module.asdict()
    assert said["consumes"] == ["*"]
    assert all(isinstance(said[name], list) for name in ("cats", "group", "labels", "provides", "consumes"))
    assert set(said["group"]) <= USE_CASES
    assert said["name"] == clean_text(said["name"]) != ""
    assert said["opts"].keys() == said["optdescs"].keys()


def test_it_can_be_set_up_without_options_and_pickled(module: Any) -> None:
    module.setup(object(), {})
    assert pickle.loads(pickle.dumps(sfp__stor_webhooks())).watchedEvents() == ["*"]


# --- switched off by the environment

#: imports the module as the host does, and prints what of the package was imported with it
IMPORTED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("modules.sfp__stor_webhooks", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
plugin = module.sfp__stor_webhooks()
plugin.setup(None, {"enabled": True})
print(plugin.watchedEvents(), [name for name in sys.modules if name.startswith("sfwebhooks")])
"""


@pytest.mark.parametrize(("value", "imports"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_where_the_environment_disables_it_nothing_of_the_package_is_imported(value: str, imports: bool) -> None:
    command = [sys.executable, "-c", IMPORTED, str(SHIM)]
    done = subprocess.run(
        command, env={**os.environ, "SFWEBHOOKS_DISABLED": value}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert ("sfwebhooks.host.plugin" in done.stdout) is imports
    assert imports or done.stdout == "[] []\n"
