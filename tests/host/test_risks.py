"""A finding that only its risk makes somebody want is handed over live, and what nobody wants costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from spiderfoot import SpiderFootEvent

from sfwebhooks.config.settings import Settings
from sfwebhooks.host.plugin import watched_types
from sfwebhooks.host.risks import raised
from tests.builders import an_endpoint, an_enrichment
from tests.conftest import host_shim
from tests.host.conftest import SECRET, Scanner, Team
from tests.tiers import slow

TYPES = ("ROOT", "EMAILADDR", "TCP_PORT_OPEN", "VULNERABILITY_CVE_HIGH")
URGENT = Settings((an_endpoint(events=("high_risk_event",)),))
MODULE = """
from spiderfoot import SpiderFootEvent, SpiderFootPlugin


class sfp_test_risky(SpiderFootPlugin):
    meta = {"name": "Risky", "summary": "Knows a risk.", "flags": [], "useCases": [], "categories": []}
    opts = {"unused": ""}
    optdescs = {"unused": "Nothing."}

    def setup(self, sfc, userOpts=None):
        self.sf = sfc
        self.opts = {**self.opts, **(userOpts or {})}

    def watchedEvents(self):
        return ["INTERNET_NAME"]

    def producedEvents(self):
        return ["EMAILADDR"]

    def handleEvent(self, event):
        for number, risk in enumerate((0, 95, 20)):
            found = SpiderFootEvent("EMAILADDR", f"{number}@acme.test", self.__name__, event)
            found.risk = risk
            self.notifyListeners(found)
"""


@pytest.fixture
def risky(alone: None) -> Iterator[str]:
    """A module of the host that gives its findings a risk."""
    path = host_shim().with_name("sfp_test_risky.py")
    path.write_text(MODULE, encoding="utf-8")
    yield path.stem
    path.unlink()


@slow
def test_a_finding_that_only_its_risk_makes_urgent_is_handed_over_live(
    risky: str, scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    url = team.receiver.url
    scanner.configure(f"[webhooks]\nenabled = true\nteam.url = {url}\nsecret = {SECRET}\nevents = high_risk_event\n")
    code, log = scanner.scan(modules=(risky,))
    assert code == 0, log
    (found,) = (message["data"] for message in team.messages)
    assert (found["data"], found["severity"], found["risk"]) == ("1@acme.test", "critical", 95)
    assert "recovered" not in found


def test_a_type_is_watched_once_one_of_its_events_was_given_a_risk() -> None:
    found = raised()
    assert found is not None and raised() is found
    watched = watched_types(URGENT, TYPES, found)
    event = SpiderFootEvent("EMAILADDR", "a@acme.test", "sfp_x", SpiderFootEvent("ROOT", "acme.test", "", None))
    assert [name in watched for name in (*TYPES, "*")] == [False, False, False, True, False]
    event.risk = 95
    assert (event.risk, [name in watched for name in TYPES]) == (95, [False, True, False, True])
    with pytest.raises(ValueError, match="risk"):
        event.risk = 101


@pytest.mark.parametrize(
    ("events", "watched"),
    [
        (("scan_*",), set()),
        (("low_risk_event",), {"EMAILADDR", "TCP_PORT_OPEN"}),
        (("high_risk_event",), {"EMAILADDR", "TCP_PORT_OPEN", "VULNERABILITY_CVE_HIGH"}),
        (("finding.critical",), {"EMAILADDR", "TCP_PORT_OPEN", "VULNERABILITY_CVE_HIGH"}),
        (("vulnerability_found",), {"VULNERABILITY_CVE_HIGH"}),
    ],
)
def test_where_a_risk_cannot_be_seen_each_type_that_it_could_raise_is_watched(
    events: tuple[str, ...], watched: set[str]
) -> None:
    settings = Settings((an_endpoint(events=events),))
    assert watched_types(settings, TYPES, None) == frozenset(watched)
    assert {name for name in TYPES if name in watched_types(settings, TYPES, TYPES)} == watched


@pytest.mark.parametrize(("due", "is_watched"), [("2026-12-01", True), (None, False)])
def test_a_vulnerability_that_may_be_known_to_be_exploited_is_watched(
    tmp_path: Path, due: str | None, is_watched: bool
) -> None:
    an_enrichment(tmp_path, due=due)
    settings = replace(URGENT, kev_file=tmp_path / "kev.csv" if due else None)
    types = ("VULNERABILITY_CVE_LOW", "VULNERABILITY_GENERAL", "EMAILADDR", "BLACKLISTED_IPADDR")
    watched = watched_types(settings, types, frozenset())
    assert [name in watched for name in types] == [is_watched, is_watched, False, False]


def test_all_is_watched_where_the_host_could_not_say_which_types_there_are() -> None:
    assert watched_types(URGENT, (), None) == frozenset("*")
