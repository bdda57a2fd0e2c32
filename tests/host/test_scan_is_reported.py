"""A real scan, started in each way that users have, reaches an mTLS receiver: complete, in order, signed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks import Webhook

from sfwebhooks.demo.certificates import Identity
from sfwebhooks.receive.completeness import CompletenessCheck
from sfwebhooks.severity import Severity, severity_of
from sfwebhooks.signing_keys import receiver_form
from tests.host.conftest import SECRET, Scanner, Team, WebUi, until
from tests.tiers import slow

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def run_command_line(through: str) -> Callable[[Scanner, Any], None]:
    def run(scanner: Scanner, web_ui: Any) -> None:
        code, log = scanner.scan(through=through)
        assert code == 0, log

    return run


def run_web_ui(scanner: Scanner, web_ui: Callable[..., WebUi]) -> None:
    ui = web_ui()
    scan_id = ui.start_scan()
    until(lambda: ui.ask(f"/scanstatus?id={scan_id}")[5] == "FINISHED", seconds=120)


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run_command_line("console"), id="console-script"),
        pytest.param(run_command_line("module"), id="python-m-sf", marks=slow),
        pytest.param(run_web_ui, id="web-ui", marks=slow),
    ],
)
def test_a_scan_reaches_its_teams_complete_and_signed(
    run: Callable[[Scanner, Any], None],
    scanner: Scanner,
    team: Team,
    new_team: Callable[..., Team],
    client_identity: Identity,
    web_ui: Callable[..., WebUi],
) -> None:
    on_call = new_team(tls=False, secret=WHSEC)
    scanner.configure(
        "[webhooks]\nenabled = true\nmetadata.workspace_id = ws_1\nprogress_interval = 1s\nui_url = https://sf.test\n"
        f"on_call.url = {on_call.receiver.url}\non_call.secret = {WHSEC}\non_call.events = high_risk_event, scan_*\n"
        + scanner.mtls(team, client_identity),
        "spiderfoot.conf",
    )

    run(scanner, web_ui)
    with contextlib.suppress(AssertionError):
        until(lambda: team.ends() and on_call.ends())

    high = {row[0] for row in scanner.rows("SELECT type FROM tbl_scan_results") if severity_of(row[0]) >= Severity.HIGH}
    assert high, "the fictional web has findings of high severity"
    assert team.hashes() == scanner.hashes(), "every finding of the host's database, and each once"
    assert on_call.hashes() == scanner.hashes(*high), "only what the endpoint wants"
    for receiver, secret in ((team, SECRET), (on_call, WHSEC)):
        names = receiver.names()
        assert (names[0], names[-1]) == ("scan_started", "scan_completed")
        assert receiver.ends() == ["scan_completed"]
        numbers = sorted(message["metadata"]["sequence"] for message in receiver.messages)
        assert numbers == list(range(1, len(numbers) + 1)), "sequence numbers without gaps"
        assert [received.problems for received in receiver.got if received.problems] == []
        for received in receiver.got:
            Webhook(receiver_form(secret)).verify(received.body.decode(), dict(received.headers.items()))
    assert {received.client for received in team.got} == {"spiderfoot"}, "the client certificate was presented"
    check_messages(scanner, team)
    check_end(scanner, team, wanted=len(scanner.hashes()))
    check_end(scanner, on_call, wanted=len(scanner.hashes(*high)))


def check_end(scanner: Scanner, team: Team, wanted: int) -> None:
    """Prove by the completeness check that all came, and compare what the end says with the host's database."""
    check = CompletenessCheck()
    reported = [str(account) for message in team.messages if (account := check.enter(message))]
    count = len(team.messages)
    assert f": complete, {count:,} of {count:,} messages, none missing" in reported[-1]
    assert check.open == []
    (end,) = (message["data"] for message in team.messages if message["event_type"] == "scan_completed")
    assert end["receipt"] == {
        **{"first_sequence": 1, "last_sequence": count, "accepted": count, "withheld": 0, "withheld_by_reason": {}},
        **{"not_wanted": len(scanner.hashes()) - wanted, "dead": 0},
        **{"series": team.messages[0]["metadata"]["series"], "earlier_series": {}},
    }
    found = scanner.rows("SELECT type, generated, hash FROM tbl_scan_results WHERE type <> 'ROOT'")
    order = sorted(((severity_of(kind), at, key) for kind, at, key in found if severity_of(kind)), reverse=True)
    top = [finding["hash"] for finding in end["top_findings"]]
    assert set(top) <= {key for *_, key in order}
    assert [severity_of(finding["event_type"]) for finding in end["top_findings"]] == [one[0] for one in order[:10]]
    by_risk = scanner.rows("SELECT rule_risk, count(*) FROM tbl_scan_correlation_results GROUP BY 1")
    assert {risk: number for risk, number in end["correlations_by_risk"].items() if number} == dict(by_risk)
    assert end["modules_failed"] == []
    assert end["link"] == f"https://sf.test/scaninfo?id={end['scan_id']}"
    progress = [message["data"] for message in team.messages if message["event_type"] == "scan_progress"]
    assert sorted(data["number"] for data in progress) == list(range(1, len(progress) + 1)) and progress
    assert all(0 <= data["events_found"] <= end["events_found"] for data in progress)


def check_messages(scanner: Scanner, team: Team) -> None:
    """Compare what was sent with what the host knows."""
    by_hash = {row[0]: row[1:] for row in scanner.rows(
        "SELECT hash, type, event_descr, module, confidence, visibility, risk, source_event_hash, data"
        " FROM tbl_scan_results JOIN tbl_event_types ON event = type")}  # fmt: skip
    for message in team.messages:
        data = message["data"]
        assert (data["target"], data["target_type"]) == ("www.acme.test", "INTERNET_NAME")
        assert message["version"] and message["source"] == "spiderfoot"
        assert message["metadata"]["workspace_id"] == "ws_1"
        if "hash" not in data:
            continue
        kind, words, module, confidence, visibility, risk, parent, text = by_hash[data["hash"]]
        reported = [data[key] for key in ("event_type", "description", "module", "confidence", "visibility", "risk")]
        assert reported == [kind, words, module, confidence, visibility, risk]
        assert data["data"].startswith(text[:1000])
        assert [source["hash"] for source in data["sources"]] == chain(by_hash, parent)
    end = next(message["data"] for message in team.messages if message["event_type"] == "scan_completed")
    assert end["events_found"] == len(by_hash) - 1  # without ROOT
    assert end["status"] == "FINISHED"
    assert "sfp_spider" in end["modules_used"]


def chain(by_hash: dict[str, Any], parent: str) -> list[str]:
    found = []
    while parent in by_hash and by_hash[parent][0] != "ROOT":
        found.append(parent)
        parent = by_hash[parent][6]
    return found


@slow
def test_the_module_can_be_chosen_for_one_scan_only(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    scanner.configure(f"[webhooks]\ndefault_url = {team.receiver.url}\nsecret = {SECRET}\n")
    scanner.scan(modules=("sfp_pageinfo",))
    assert team.got == []
    scanner.scan(modules=("sfp_pageinfo", "sfp__stor_webhooks"))
    assert team.names() == ["scan_started", "correlation_found", "scan_completed"]  # "test" in a name is one


@slow
@pytest.mark.parametrize("switch", ["enabled = false in the file", "SFWEBHOOKS_DISABLED=1"])
def test_off_is_off(switch: str, scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    enabled = "false" if "file" in switch else "true"
    scanner.configure(f"[webhooks]\nenabled = {enabled}\ndefault_url = {team.receiver.url}\nsecret = {SECRET}\n")
    stop = {"SFWEBHOOKS_DISABLED": "1"} if "=1" in switch else {}
    code, _ = scanner.scan(modules=("sfp_pageinfo", "sfp__stor_webhooks"), environment=scanner.environment(**stop))
    assert (code, team.got) == (0, [])
    assert not (scanner.home.data / "webhooks.db").exists()


@slow
def test_a_command_shows_the_result_of_a_web_uis_scan(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    scanner.configure(
        f"[webhooks]\nenabled = true\ndefault_url = {team.receiver.url}\nsecret = {SECRET}\n"
        "events = all, !surface_changed\n"
    )
    scan_id = web_ui().start_scan(modules=("sfp_pageinfo",))
    until(team.ends)
    number = len(team.got)
    until(lambda: scanner.outbox("SELECT count(*) FROM delivery WHERE state = 'delivered'") == [(number,)])
    listed = scanner.command("deliveries", "--scan", scan_id, "--limit", "1")
    assert f"{number} delivered" in listed.stdout, listed.stdout
