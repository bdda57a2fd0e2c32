"""What our module adds to the start of the scanner, against a Python that does nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sfwebhooks.host import install
from tests.benchmarks.measure import Measure, Row, of_times, with_null_row

BARE = "start: python -c pass"
#: what a scanner has loaded before it loads its modules
IMPORTING = """
import sys, time
import sfscan, spiderfoot
sys.path.insert(0, sys.argv[1])
begin = time.perf_counter()
import sfp__stor_webhooks
print(time.perf_counter() - begin)
"""
#: part of the events: each sample is a process
SHARE = 0.005


def process(*arguments: str) -> Callable[[int], Measure]:
    """Return a row: processes of Python from their start to their end."""

    def row(starts: int) -> Measure:
        def seconds() -> float:
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - begin

        return of_times([seconds() for _ in range(starts)])

    return row


def importing(environment: Mapping[str, str]) -> Callable[[int], Measure]:
    """Return a row: the import of our module by a scanner that has loaded its own packages."""

    def row(starts: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(Path(install.__file__).with_name("shim.py"), Path(folder) / install.SHIM)
            command = [sys.executable, "-c", IMPORTING, folder]
            variables = {**os.environ, **environment}
            return of_times(float(subprocess.check_output(command, env=variables)) for _ in range(starts))

    return row


ROWS = {
    **with_null_row(BARE, process("-c", "pass"), share=SHARE, compares="p50"),
    "start: python -m sfwebhooks --version": Row(
        process("-m", "sfwebhooks", "--version"), BARE, share=SHARE, compares="p50"
    ),
}
if importlib.util.find_spec("sfscan") is not None:
    ROWS |= {
        "start: import of the module": Row(importing({}), BARE, share=SHARE, compares="p50"),
        "start: import of the module, SFWEBHOOKS_DISABLED=1": Row(
            importing({"SFWEBHOOKS_DISABLED": "1"}), BARE, share=SHARE, compares="p50"
        ),
    }
