"""A real scan whose receiver repeats all that it is sent: nothing of it gets into the host's files or its log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.builders import PATIENCE
from tests.host.conftest import Scanner, stop_group
from tests.hostile import Hostile
from tests.secrecy.planted import FROM_ENVIRONMENT, VARIABLE, echoing, section, written
from tests.secrecy.witness import Witness

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("status", [400, 401])
def test_a_scan_leaves_no_secret_in_the_host(
    scanner: Scanner,
    hostile: Callable[..., Hostile],
    tmp_path_factory: pytest.TempPathFactory,
    status: int,
) -> None:
    receiver = hostile(echoing(status))
    enabled = "[webhooks]\nenabled = true\ndrain_timeout = 1s\n"
    path = written(tmp_path_factory.mktemp("settings"), enabled, section("team", receiver.place), "[webhooks.bad]\n")
    more = {"SFWEBHOOKS_CONFIG": str(path), VARIABLE: FROM_ENVIRONMENT}
    witness = Witness(scanner.home.folder)
    process = scanner.start(modules=("sfp_pageinfo",), environment=scanner.environment(**more))
    try:
        witness.see("log", process.communicate(timeout=PATIENCE * 5)[1])
    finally:
        stop_group(process)
    witness.look_into_files()
    assert (process.returncode, bool(receiver.requests), witness.has_seen(f"http_{status}")) == (0, True, True)
    assert witness.secrets() == []
