"""Scans of one target by the real scanner, one after the other: only what is new is sent, and each one is compared."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.demo import scanner as host
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.demo.page import Page, html
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.events import timestamp
from tests.host.conftest import SECRET, Scanner, Team, free_port, scan_process, stop_group, until

pytestmark = pytest.mark.slow
MODULES = ("sfp_spider", "sfp_email", "sfp_pageinfo", "sfp_errors")
#: characters of the page whose end differs: neither its length nor what the host keeps of it does
LENGTH = 4096


class Company(FictionalWeb):
    """The demo's company, where people come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.people = ["ada", "bob", "cid"]

    def answer(self, url: str) -> Page:
        """Return the page with the people, or another one."""
        if not url.endswith("/about"):
            return super().answer(url)
        text = f"<p>{'We make anvils. ' * 100}</p>" + "".join(f"<p>{name}@acme.test</p>" for name in self.people)
        return html("About us", text.ljust(LENGTH))


@pytest.fixture
def company() -> Iterator[Company]:
    made = Company()
    with made:
        yield made


@pytest.fixture
def scanner(tmp_path: Path, ca: Authority, company: Company) -> Scanner:
    return Scanner(host.prepare(tmp_path / "home", company.port), ca, tmp_path)


def configure(scanner: Scanner, **urls: str) -> None:
    keys = {
        "new": "events = all\nonly_new = true\n",
        "surface": "events = surface_changed, scan_completed\n",
        "changes": "events = surface_changed, scan_completed\nonly_if_changed = true\n",
    }
    sections = [f"[webhooks.{name}]\nurl = {url}\nsecret = {SECRET}\n{keys[name]}" for name, url in urls.items()]
    scanner.configure("[webhooks]\nenabled = true\n" + "".join(sections))


def last_scan(scanner: Scanner) -> str:
    return str(scanner.rows("SELECT guid FROM tbl_scan_instance ORDER BY created DESC LIMIT 1")[0][0])


def findings(team: Team, scan_id: str) -> Counter[str]:
    """What a team was sent of a scan's findings, by the data."""
    sent = (one["data"] for one in team.messages if one["data"].get("scan_id") == scan_id)
    return Counter(data["data"] for data in sent if "hash" in data)


def comparisons(team: Team) -> list[dict[str, Any]]:
    return [message["data"] for message in team.messages if message["event_type"] == "surface_changed"]


def comparison(team: Team, scan_id: str) -> dict[str, Any]:
    """The only comparison of a scan."""
    (found,) = (data for data in comparisons(team) if data["scan_id"] == scan_id)
    return found


def named(part: dict[str, Any]) -> list[str]:
    return sorted(item["data"] for item in part["items"])


def test_four_scans_of_one_target(scanner: Scanner, company: Company, new_team: Callable[..., Team]) -> None:
    teams = {name: new_team(tls=False) for name in ("new", "surface", "changes")}
    configure(scanner, **{name: team.receiver.url for name, team in teams.items()})

    code, log = scanner.scan(modules=MODULES)
    assert code == 0, log
    assert findings(teams["new"], last_scan(scanner)) == Counter(), "the baseline"
    assert comparison(teams["surface"], last_scan(scanner))["not_comparable"] == "first_scan"
    first = last_scan(scanner)

    company.people = ["cid", "dan", "eve", "fay"]
    assert scanner.scan(modules=MODULES)[0] == 0
    mail = Counter(f"{name}@acme.test" for name in ("dan", "eve", "fay"))
    assert findings(teams["new"], last_scan(scanner)) == mail
    data = comparison(teams["surface"], last_scan(scanner))
    assert (data["new"]["total"], data["gone"]["total"]) == (3, 2), data
    assert (named(data["new"]), named(data["gone"])) == (sorted(mail), ["ada@acme.test", "bob@acme.test"])
    assert data["compared_with"]["scan_id"] == first
    assert comparisons(teams["changes"]) == [data]
    second = data

    assert scanner.scan(modules=MODULES)[0] == 0
    assert findings(teams["new"], last_scan(scanner)) == Counter()
    data = comparison(teams["surface"], last_scan(scanner))
    assert (data["new"]["total"], data["gone"]["total"]) == (0, 0)
    ended = scanner.rows("SELECT ended / 1000.0 FROM tbl_scan_instance WHERE guid = ?", second["scan_id"])[0][0]
    assert data["unchanged_since"] == timestamp(ended)
    assert comparisons(teams["changes"]) == [second], "nothing for one that wants changes only"

    company.people = ["guy"]
    process = scanner.start(modules=MODULES)
    try:
        rows = "SELECT count(*) > 10 FROM tbl_scan_results WHERE scan_instance_id NOT IN (?, ?, ?)"
        until(lambda: scanner.rows(rows, first, second["scan_id"], data["scan_id"]) == [(1,)])
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(60)
    finally:
        stop_group(process)
    scanner.command("drain")
    data = comparison(teams["surface"], last_scan(scanner))
    assert (data["scan_id"], data["not_comparable"], data["gone"]["total"]) == (last_scan(scanner), "aborted", 0)
    assert comparisons(teams["changes"]) == [second]


def test_what_a_killed_scan_had_accepted_as_new_is_neither_lost_nor_new_again(
    scanner: Scanner, company: Company, new_team: Callable[..., Team]
) -> None:
    port = free_port()
    configure(scanner, new=f"http://127.0.0.1:{port}/")  # nobody listens
    assert scanner.scan(modules=MODULES)[0] == 0
    company.people = ["ada", "bob", "cid", "dan", "eve", "fay"]
    mail = Counter(f"{name}@acme.test" for name in ("dan", "eve", "fay"))
    process = scanner.start(modules=MODULES)
    accepted = "SELECT json_extract(data, '$.data') FROM event WHERE type = 'info_event'"
    try:
        until(lambda: {row[0] for row in scanner.outbox(accepted)} & mail.keys())
        os.kill(scan_process(process.pid), signal.SIGKILL)
    finally:
        stop_group(process)
    killed = last_scan(scanner)

    team = new_team(tls=False, port=port)
    assert scanner.command("drain").returncode == 0
    sent = findings(team, killed)
    assert sent and not sent - mail, "each once, and nothing that was known"
    assert comparison(team, killed)["not_comparable"] == "died"

    assert scanner.scan(modules=MODULES)[0] == 0
    assert sent + findings(team, last_scan(scanner)) == mail, "what the killed scan did not come to is new now"
    assert set(named(comparison(team, last_scan(scanner))["new"])) == mail.keys(), (
        "compared with the last one that finished"
    )


def test_a_scan_that_is_killed_between_its_last_event_and_its_end_is_compared_by_the_next_process(
    scanner: Scanner, company: Company, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, new=team.receiver.url)
    assert scanner.scan(modules=MODULES)[0] == 0
    company.people = ["ada", "dan"]
    process = scanner.start(modules=MODULES, environment=scanner.environment("killed_at_end"))
    try:
        until(lambda: scanner.rows("SELECT count(*) FROM tbl_scan_instance WHERE status = 'FINISHED'") == [(2,)])
        child = Path(f"/proc/{scan_process(process.pid)}/status")
        until(lambda: not child.exists() or "State:\tZ" in child.read_text())
    finally:
        stop_group(process)
    for _ in range(2):
        assert scanner.command("drain").returncode == 0
    data = comparison(team, last_scan(scanner))
    assert (named(data["new"]), named(data["gone"])) == (["dan@acme.test"], ["bob@acme.test", "cid@acme.test"])
    assert findings(team, last_scan(scanner)) == Counter(["dan@acme.test"])
    (end,) = (
        one
        for one in team.messages
        if one["event_type"] == "scan_completed" and one["data"]["scan_id"] == last_scan(scanner)
    )
    known = (
        len(
            scanner.rows(
                "SELECT 1 FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> 'ROOT'", last_scan(scanner)
            )
        )
        - 1
    )
    assert (end["data"]["receipt"]["withheld_by_reason"]["known"] >= known, end["data"]["receipt"]["not_wanted"]) == (
        True,
        0,
    )
