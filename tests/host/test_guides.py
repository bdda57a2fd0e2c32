"""The receivers of both guides take all that a real scan tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.host.conftest import SECRET, Scanner
from tests.receivers import GUIDES, NAMES
from tests.receivers.serving import Served

pytestmark = pytest.mark.slow


@pytest.fixture
def receivers() -> Iterator[dict[str, Served]]:
    with ExitStack() as stack:
        yield {
            naming: stack.enter_context(closing(Served(guide, SECRET, {names[naming] for names in NAMES})))
            for naming, guide in GUIDES.items()
        }


def test_a_whole_scan_is_taken_by_the_receivers_of_both_guides(scanner: Scanner, receivers: dict[str, Served]) -> None:
    endpoints = [f"{name}.url = {one.url}\n{name}.format = {name}\n" for name, one in receivers.items()]
    scanner.configure(
        f"[webhooks]\nenabled = true\nsecret = {SECRET}\nevents = all, !surface_changed\n" + "".join(endpoints)
    )
    code, log = scanner.scan()
    assert code == 0, log
    drained = scanner.command("drain")
    assert drained.returncode == 0, drained.stdout
    one, other = (sorted(receiver.answered) for receiver in receivers.values())
    findings = len(scanner.hashes())
    assert (len(one) == len(other) >= findings + 2 > 2, {status for _, status in [*one, *other]}) == (True, {200})
    assert (("scan_completed", 200) in one, ("scan.completed", 200) in other) == (True, True)
