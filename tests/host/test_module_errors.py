"""Modules that fail in a real scan: each error is reported once, and the scan and its log are as without us."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import host_shim
from tests.host.conftest import QUICK, SECRET, Scanner, Team
from tests.host.modules.sfp_test_floods import LINES
from tests.tiers import quick_first, slow

SOURCES = sorted(Path(__file__).with_name("modules").glob("sfp_*.py"))
FAULTY = tuple(source.stem for source in SOURCES)


@pytest.fixture(autouse=True)
def faulty(alone: None) -> Iterator[None]:
    """The faulty modules, among the host's: other scans would load them, and miss them afterwards."""
    folder = host_shim().parent
    for source in SOURCES:
        shutil.copy(source, folder)
    yield
    for source in SOURCES:
        (folder / source.name).unlink()


def configure(scanner: Scanner, team: Team, enabled: bool = True) -> None:
    scanner.configure(
        f"[webhooks]\nenabled = {str(enabled).lower()}\nteam.url = {team.receiver.url}\nteam.secret = {SECRET}\n"
        "team.events = module_error, scan_*\n"
    )


def findings(scanner: Scanner) -> Counter[tuple[str, str, str]]:
    """What the last scan found."""
    rows = scanner.rows(
        "SELECT module, type, data FROM tbl_scan_results WHERE scan_instance_id ="
        " (SELECT guid FROM tbl_scan_instance ORDER BY created DESC LIMIT 1)"
    )
    return Counter((module, kind, data) for module, kind, data in rows)


def errors(log: str) -> Counter[str]:
    """The kinds of error lines in a scan's log, and how many there are of each."""
    kinds = ("flood line", "Error in thread worker", "Exception (ZeroDivisionError) in module sfp__stor_test_raises",
             "Module sfp_test_fails initialization failed", "KeyError: ")  # fmt: skip
    return Counter({kind: log.count(kind) for kind in kinds})


@slow
def test_modules_that_fail_are_reported_once_and_the_scan_is_as_without_us(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    logs, found = [], []
    for enabled in (False, True):
        configure(scanner, team, enabled)
        code, log = scanner.scan(modules=(*FAULTY, *QUICK))
        assert (code, scanner.status()) == (0, "FINISHED")
        logs.append(log)
        found.append(findings(scanner))

    sent = [message["data"] for message in team.messages if message["event_type"] == "module_error"]
    assert sorted((one["module"], one.get("exception"), one["error"]) for one in sent if one["module"] in FAULTY) == [
        ("sfp__stor_test_raises", "ZeroDivisionError", "nothing to divide by"),
        ("sfp_test_fails", "OSError", "no such device"),
        ("sfp_test_floods", None, "flood line 0"),
        ("sfp_test_raises", "KeyError", "'ROOT with ***'"),
    ]
    kinds = [(one["module"], one.get("exception")) for one in sent]
    assert len(kinds) == len(set(kinds))
    assert team.names()[0] == "scan_started" and team.names()[-1] == "scan_completed"
    assert found[0] == found[1], "the others found the same"
    assert errors(logs[0]) == errors(logs[1]), "the host's log is the same"
    assert errors(logs[1])["flood line"] == LINES
    assert re.findall(r"flood line (\d+)", logs[1]) == [str(number) for number in range(LINES)]


#: three that want an API key, and look for it at their first event
KEYLESS = ("sfp_hunter", "sfp_securitytrails", "sfp_fullhunt")


@pytest.mark.parametrize("quiet", quick_first([("-q",), ()], 0, 1))
def test_modules_without_an_api_key_are_one_message_and_the_end_names_them_too(
    quiet: tuple[str, ...], scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team)
    code, log = scanner.scan(modules=(*KEYLESS, "sfp_pageinfo"), target="acme.test", more=quiet)
    assert code == 0, log
    (error,) = (message["data"] for message in team.messages if message["event_type"] == "module_error")
    (end,) = (message["data"] for message in team.messages if message["event_type"] == "scan_completed")
    assert error["modules"] == end["modules_failed"] == sorted(KEYLESS)
    assert team.names()[-1] == "scan_completed"


@slow
def test_a_scan_whose_output_is_quiet_reports_errors_all_the_same(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team)
    code, _ = scanner.scan(modules=("sfp_test_raises", "sfp_pageinfo"), more=("-q",))
    assert code == 0
    sent = [message["data"]["module"] for message in team.messages if message["event_type"] == "module_error"]
    assert sent == ["sfp_test_raises"]
