"""Names and targets arrive as people typed them, from the web UI and from the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host.conftest import SECRET, Scanner, Team, WebUi, until

pytestmark = pytest.mark.slow

NAME = 'R&D <west> "Q4" O\'Neil'
TARGET = "Siobhan O'Brien"


@pytest.fixture
def team(scanner: Scanner, new_team: Callable[..., Team]) -> Team:
    made = new_team(tls=False)
    url = made.receiver.url
    scanner.configure(
        f"[webhooks]\nenabled = true\nteam.url = {url}\nteam.secret = {SECRET}\nteam.events = all, !surface_changed\n"
    )
    return made


def said(team: Team) -> set[tuple[str, str]]:
    """The name and the target that all messages of a scan have."""
    return {(message["metadata"]["scan_name"], message["data"]["target"]) for message in team.messages}


def of_the_target(team: Team) -> list[str]:
    return [one["data"]["data"] for one in team.messages if one["data"].get("module") == "SpiderFoot UI"]


def test_a_scan_of_the_web_ui_is_named_as_it_was_typed_live_and_by_a_backfill(
    scanner: Scanner, team: Team, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    scan_id = web_ui().start_scan(modules=("sfp_pageinfo",), target=f'"{TARGET}"', name=NAME)
    until(team.ends, seconds=120)
    assert scanner.rows("SELECT name, seed_target FROM tbl_scan_instance") == [
        ('R&D &lt;west&gt; "Q4" O&#x27;Neil', "Siobhan O&#x27;Brien")
    ]
    assert (said(team), of_the_target(team)) == ({(NAME, TARGET)}, [TARGET])

    late = new_team(tls=False)
    scanner.configure(
        f"[webhooks.late]\nurl = {late.receiver.url}\nsecret = {SECRET}\nevents = all, !surface_changed\n"
    )
    done = scanner.command("backfill", scan_id, "--endpoint", "late")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (said(late), of_the_target(late)) == ({(NAME, TARGET)}, [TARGET])


def test_a_scan_of_the_command_line_is_named_as_it_was_typed(scanner: Scanner, team: Team) -> None:
    typed = "Siobhan &lt;west&gt; &amp; O&#x27;Brien"
    code, log = scanner.scan(modules=("sfp_pageinfo",), target=typed)
    assert code == 0, log
    assert (said(team), of_the_target(team)) == ({(typed, typed)}, [typed])
