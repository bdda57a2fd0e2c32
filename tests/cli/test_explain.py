"""`sfwebhooks explain`: the answers to "why did I not get this?", each from what really happened."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.cli import main
from sfwebhooks.config.settings import Settings, load
from sfwebhooks.events import Scan, delivery_id, finding_id, lifecycle_id
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.pipeline import accept
from sfwebhooks.reasons import DeadReason, Unsent, WaitingReason, Withheld
from sfwebhooks.retry import State
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.host_database import MODULE, HostDatabase
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.recovery import replay_scan, report_end
from tests.builders import NOW, a_finding, a_scan
from tests.filled import HOSTILE, send
from tests.hosted import add_scan
from tests.outbox_rows import rows_of
from tests.stores import BOTH, place_in
from tests.terminals import in_terminal
from tests.tiers import slow

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

URL = "url = http://127.0.0.1:9/hook-path-token"
#: the host's own hashes have 64 digits
HASH = "ab" * 32


@dataclass
class World:
    """A data folder: SpiderFoot's database, settings, an outbox."""

    folder: Path
    scans: int = 0
    found: list[Finding] = field(default_factory=list)

    @property
    def path(self) -> Place:
        return place_in(self.folder)

    @property
    def host(self) -> Path:
        return self.folder / "spiderfoot.db"

    def configure(self, *lines: str, general: str = "", name: str = "team", url: str = URL) -> Settings:
        path = self.folder / "webhooks.ini"
        path.write_text("\n".join(["[webhooks]", general, f"[webhooks.{name}]", url, *lines]) + "\n")
        path.chmod(0o600)
        return load(path)

    def scan(self, *found: Finding, known: bool = True, ends: bool = True, accepts: bool = True) -> Scan:
        """Let a scan find something, and send it to the endpoints of the settings as they are now."""
        self.scans += 1
        scan = a_scan(f"5C4A000{self.scans}", database=str(self.host))
        self.found = list(found or [a_finding(HASH, sources=())])
        add_scan(self.host, scan, self.found, NOW + self.scans, status="FINISHED" if ends else "RUNNING")
        if known:
            settings = load(self.folder / "webhooks.ini")
            with closing(Outbox(self.path, storage=settings.storage)) as outbox:
                screen, begin = screen_for(scan, settings.endpoints, HostDatabase(scan.database)), started(scan)
                outbox.scans.begin_scan(scan, begin, screen.of(begin)[0], NOW)
                if accepts:
                    accept([event_of_finding(one, scan, "") for one in self.found], screen, outbox, NOW)
                if ends:
                    replay_scan(outbox, settings, scan, screen=screen)
                    report_end(outbox, settings, scan, screen=screen)
        return scan

    def outbox(self) -> closing[Outbox]:
        return closing(Outbox(self.path))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.configure("events = all")
    return made


@pytest.fixture
def explain(world: World, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the fields for an endpoint: `explain(scan)` asks for its first finding."""

    def run(scan: Scan, id: str = HASH, endpoint: str = "team") -> dict[str, Any]:
        capsys.readouterr()
        words = ["explain", id, "--scan", scan.id, "--endpoint", endpoint, "--folder", str(world.folder)]
        assert main([*words, "--json"]) == 0, capsys.readouterr().err
        fields = json.loads(capsys.readouterr().out)
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert fields["then"]["words"] in shown
        assert not fields["then"]["cure"] or fields["then"]["cure"] in shown
        assert isinstance(fields, dict)
        return fields

    return run


def reasons(fields: dict[str, Any]) -> tuple[str, str]:
    then, today = (fields[part]["reason"] for part in ("then", "today"))
    return (f"waiting: {fields['then']['waits_for']}" if then == "waiting" else then), today


def test_an_event_that_its_events_do_not_ask_for(world: World, explain: Any) -> None:
    world.configure("events = scan_*, low_risk_event")
    fields = explain(world.scan())
    assert reasons(fields) == (Unsent.NOT_SUBSCRIBED.value, Unsent.NOT_SUBSCRIBED.value)
    assert "events = scan_*, low_risk_event; this is high_risk_event, high" in fields["then"]["words"]
    assert fields["then"]["cure"] == "sfwebhooks update team --events ..., with high_risk_event among them"


FILTERS = (
    ("finding_types = TCP_*", Withheld.FINDING_TYPE, "finding_types = TCP_*; this is VULNERABILITY_CVE_HIGH"),
    ("min_severity = critical", Withheld.SEVERITY, "min_severity = critical; this is high"),
    ("min_confidence = 99", Withheld.CONFIDENCE, "min_confidence = 99; this has 40"),
    ("modules = sfp_spider", Withheld.MODULE, "modules = sfp_spider; this is of sfp_example"),
    ("targets = 192.0.2.0/24, *.other.example", Withheld.TARGET, "*.other.example; the scan is of acme.example"),
    ("data_match = ^nothing$", Withheld.DATA, "data_match = ^nothing$; nothing in its data matches"),
    ("data_not_match =\n  ^x\n  2026-\\d+", Withheld.DATA, r"data_not_match = 2026-\d+; its data matches"),
)


@pytest.mark.parametrize(("line", "reason", "words"), FILTERS)
def test_a_filter_with_its_value_and_what_the_event_has(
    line: str, reason: Withheld, words: str, world: World, explain: Any
) -> None:
    world.configure("events = all", line)
    fields = explain(world.scan(a_finding(HASH, confidence=40, sources=())))
    assert reasons(fields) == (reason.value, reason.value)
    assert words in fields["then"]["words"]
    assert fields["then"]["cure"] == reason.cure
    assert fields["again"] == "sfwebhooks backfill 5C4A0001 --endpoint team"


def test_raw_data_that_is_not_included(world: World, explain: Any) -> None:
    world.configure("events = all", "include_raw = false")
    fields = explain(world.scan(a_finding(HASH, type="LEAKSITE_CONTENT", sources=())))
    assert reasons(fields) == ("finding_type", "finding_type")
    assert "include_raw = false; LEAKSITE_CONTENT is one of *_CONTENT" in fields["then"]["words"]


def test_a_false_positive(world: World, explain: Any) -> None:
    world.scan()
    with closing(sqlite3.connect(world.host)) as connection, connection:
        connection.execute("UPDATE tbl_scan_results SET false_positive = 1")
    fields = explain(world.scan())
    assert reasons(fields) == ("false_positive", "false_positive")
    assert "remove the mark in SpiderFoot" in fields["then"]["cure"]


def test_a_mute_with_its_time_and_the_command_that_ends_it(
    world: World, explain: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = world.scan()
    its = finding_id(first.id, HASH)
    assert main(["mute", its, "--endpoint", "team", "--for", "30d", "--folder", str(world.folder)]) == 0
    second = world.scan()
    fields = explain(second)
    assert reasons(fields) == ("muted", "muted")
    assert "muted by an operator: for team since 20" in fields["then"]["words"]
    assert ", until 20" in fields["then"]["words"]
    assert main([*fields["then"]["cure"].split()[1:], "--folder", str(world.folder)]) == 0
    assert "1 mute removed" in capsys.readouterr().out
    assert reasons(explain(second)) == ("settings_changed", "sent"), "muted then, and not now"


def test_what_an_earlier_scan_found_names_it(world: World, explain: Any) -> None:
    world.configure("events = all", "only_new = true", "baseline = send")
    world.scan()
    fields = explain(world.scan())
    assert reasons(fields) == ("known", "known")
    assert "first by scan 5C4A0001, 2026-11-21 10:00:01 UTC" in fields["then"]["words"]


def test_a_first_scan_is_a_silent_baseline(world: World, explain: Any) -> None:
    world.configure("events = all", "only_new = true")
    fields = explain(world.scan())
    assert reasons(fields) == ("baseline", "baseline")
    assert "no earlier scan of acme.example is complete" in fields["then"]["words"]
    assert fields["then"]["cure"] == Withheld.BASELINE.cure


def test_a_comparison_of_a_first_scan(world: World, explain: Any) -> None:
    world.configure("events = all", "only_if_changed = true")
    path = world.folder / "webhooks.ini"
    path.write_text(path.read_text() + f"[webhooks.all]\n{URL}\nevents = all\n")
    first, second = world.scan(), world.scan()
    fields = explain(first, lifecycle_id(first.id, "surface"))
    assert reasons(fields) == ("not_comparable", "not_comparable")
    assert "only_if_changed = true; this has not_comparable = first_scan" in fields["then"]["words"]
    fields = explain(second, lifecycle_id(second.id, "surface"))
    assert reasons(fields) == ("unchanged", "unchanged")
    assert "only_if_changed = true; nothing is new or gone" in fields["then"]["words"]
    assert reasons(explain(second, lifecycle_id(second.id, "surface"), "all"))[1] == "sent"


def test_a_full_outbox(world: World, explain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure("events = all")
    with closing(Outbox(world.path, storage=Storage(max_bytes=10_000))) as outbox:
        scan = world.scan(a_finding(HASH, sources=()), ends=True, accepts=False, known=False)
        settings = load(world.folder / "webhooks.ini")
        outbox.scans.begin_scan(scan, started(scan), [], NOW)
        replay_scan(outbox, settings, scan)
        report_end(outbox, settings, scan)
    fields = explain(scan)
    assert reasons(fields) == ("outbox_full", "sent")
    assert fields["then"]["words"] == "1 of this scan refused because the outbox was full"
    assert fields["then"]["cure"] == f"sfwebhooks backfill {scan.id} --endpoint team"


def test_an_event_that_cannot_be_stored(world: World, explain: Any) -> None:
    with world.outbox() as outbox:
        scan = world.scan(known=False)
        settings = load(world.folder / "webhooks.ini")
        screen = screen_for(scan, settings.endpoints, HostDatabase(scan.database))
        outbox.scans.begin_scan(scan, started(scan), [], NOW)
        event = event_of_finding(world.found[0]._replace(generated=float("nan")), scan, "")
        accept([event], screen, outbox, NOW)
        report_end(outbox, settings, scan, screen=screen)
    assert reasons(explain(scan))[0] == "unwritable"


def test_a_scan_that_ran_without_webhooks(world: World, explain: Any) -> None:
    world.configure("events = all", "min_severity = critical")
    fields = explain(world.scan(known=False))
    assert reasons(fields) == (Unsent.WITHOUT_US.value, "severity"), "then and by today's settings"
    assert fields["then"]["cure"] == "sfwebhooks backfill 5C4A0001 --endpoint team"


def test_webhooks_that_are_off(world: World, explain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = world.scan(known=False)
    with closing(sqlite3.connect(world.host)) as connection, connection:
        connection.execute("INSERT INTO tbl_config VALUES (?, 'enabled', '0')", (MODULE,))
    assert reasons(explain(scan))[0] == Unsent.MODULE_OFF.value
    world.configure("events = all", general="enabled = false")
    assert reasons(explain(scan))[0] == Unsent.WEBHOOKS_OFF.value
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    assert reasons(explain(scan))[0] == Unsent.DISABLED.value


def test_an_endpoint_that_is_off(world: World, explain: Any) -> None:
    world.configure("events = all", "enabled = false")
    fields = explain(world.scan())
    assert reasons(fields) == (Unsent.ADDED_LATER.value, Unsent.ENDPOINT_OFF.value)
    assert fields["today"]["cure"] == "sfwebhooks enable team"


def test_an_endpoint_whose_mistake_hides_its_events(world: World, explain: Any) -> None:
    world.configure("events = hihg_risk_event")
    fields = explain(world.scan())
    assert (fields["again"], "backfill" in fields["then"]["cure"]) == (None, True), "it is said once"
    assert reasons(fields) == (Unsent.EVENTS_UNKNOWN.value,) * 2


def test_a_mistake_elsewhere_holds_what_was_accepted(world: World, explain: Any) -> None:
    world.configure("events = all", "timeout = 5 apples")
    fields = explain(world.scan())
    assert reasons(fields) == (f"waiting: {WaitingReason.MISTAKE.value}", "sent")
    assert "sfwebhooks check" in fields["then"]["words"]


def test_an_endpoint_that_was_added_after_the_scan(world: World, explain: Any) -> None:
    scan = world.scan()
    world.configure("events = all", name="late")
    fields = explain(scan, endpoint="late")
    assert reasons(fields) == (Unsent.ADDED_LATER.value, "sent")
    assert fields["then"]["cure"] == f"sfwebhooks backfill {scan.id} --endpoint late"


def test_an_endpoint_that_was_removed(world: World, explain: Any) -> None:
    scan = world.scan()
    with world.outbox() as outbox:
        send(outbox)
        send(outbox)
    world.configure("events = all", name="other")
    fields = explain(scan)
    assert reasons(fields) == ("delivered", Unsent.NOT_IN_SETTINGS.value)


def test_settings_that_were_others_then(world: World, explain: Any) -> None:
    world.configure("events = all", "min_severity = critical")
    scan = world.scan()
    world.configure("events = all")
    fields = explain(scan)
    assert reasons(fields) == (Unsent.SETTINGS_CHANGED.value, "sent")
    assert "of this scan 1 below min_severity" in fields["then"]["words"]
    world.configure("events = all", "modules = sfp_spider")
    assert reasons(explain(scan)) == (Unsent.SETTINGS_CHANGED.value, "module")


def test_what_was_delivered_would_not_be_sent_today(
    world: World, explain: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = world.scan()
    with world.outbox() as outbox:
        send(outbox)
        id = send(outbox, at=NOW + 90)
    assert id == delivery_id(finding_id(scan.id, HASH), "team")
    world.configure("events = all", "min_severity = critical")
    fields = explain(scan, id[:10])
    assert reasons(fields) == ("delivered", "severity")
    assert "delivered as high_risk_event at 2026-11-21 10:01:30 UTC, 1 attempt" in fields["then"]["words"]
    assert main(["explain", id[:10], "--folder", str(world.folder)]) == 0
    assert "today    below min_severity: min_severity = critical" in capsys.readouterr().out


@pytest.mark.parametrize("reason", [DeadReason.RETRIES, DeadReason.EXPIRED, DeadReason.DROPPED])
def test_a_dead_letter_with_its_reason(reason: DeadReason, world: World, explain: Any) -> None:
    scan = world.scan()
    with world.outbox() as outbox:
        for _ in range(2):
            send(outbox, State.DEAD, f"{reason.value}: http_503")
    fields = explain(scan)
    assert reasons(fields) == ("dead", "sent")
    assert reason.meaning in fields["then"]["words"]
    assert fields["then"]["cure"]


def put_health(world: World, health: Health) -> None:
    with world.outbox() as outbox:
        outbox.queue.settle([], {"team": health})


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (Condition.HELD, WaitingReason.HELD),
        (Condition.FAILING, WaitingReason.FAILING),
        (Condition.DISABLED, WaitingReason.GONE),
    ],
)
def test_a_delivery_that_waits_for_an_endpoint_in_trouble(
    condition: Condition, reason: WaitingReason, world: World, explain: Any
) -> None:
    scan = world.scan()
    put_health(world, Health(condition, "http_401", open_at=time.time() + 60, since=NOW))
    fields = explain(scan)
    assert reasons(fields) == (f"waiting: {reason.value}", "sent")


def test_a_delivery_that_waits_for_a_sender_a_pause_or_its_digest(world: World, explain: Any) -> None:
    scan = world.scan()
    assert reasons(explain(scan))[0] == f"waiting: {WaitingReason.NO_SENDER.value}"
    with world.outbox() as outbox:
        outbox.endpoints.pause("team", time.time() + 3600)
    fields = explain(scan)
    assert (fields["then"]["waits_for"], fields["then"]["cure"]) == ("paused", "sfwebhooks resume team")
    with world.outbox() as outbox:
        outbox.endpoints.resume("team", time.time())
    world.configure("events = all", "enabled = false")
    assert reasons(explain(scan)) == ("waiting: off", Unsent.ENDPOINT_OFF.value)


def test_a_finding_that_waits_for_the_digest_of_its_day(world: World, explain: Any) -> None:
    world.configure("events = high_risk_event", "format = slack", "digest = daily 08:00")
    scan = world.scan(a_finding(HASH, type="JUNK_FILE", sources=()), known=False)
    world.configure("events = medium_risk_event", "format = slack", "digest = daily 08:00")
    settings = load(world.folder / "webhooks.ini")
    with world.outbox() as outbox:
        screen = screen_for(scan, settings.endpoints, HostDatabase(scan.database))
        outbox.scans.begin_scan(scan, started(scan), [], time.time())
        accept([event_of_finding(world.found[0], scan, "")], screen, outbox, time.time())
    fields = explain(scan)
    assert reasons(fields) == (f"waiting: {WaitingReason.DIGEST.value}", "sent")
    assert "its digest at" in fields["then"]["words"]


def test_deliveries_that_were_deleted(world: World, explain: Any) -> None:
    scan = world.scan()
    with world.outbox() as outbox:
        for _ in range(2):
            send(outbox)
        outbox.retention.prune(NOW + 9 * 86400, 7 * 86400, 90 * 86400)
    fields = explain(scan)
    assert reasons(fields) == (Unsent.DELETED.value, "sent")
    assert fields["then"]["cure"].endswith("--again")


def test_a_scan_that_is_running_or_whose_process_has_died(world: World, explain: Any) -> None:
    scan = world.scan(ends=False, accepts=False)
    lock = Outbox(world.path).locks.scan(scan.id)
    assert lock.take()
    assert reasons(explain(scan)) == (Unsent.RUNNING.value, "sent")
    lock.release(remove=True)
    fields = explain(scan)
    assert reasons(fields) == (Unsent.UNRECOVERED.value, "sent")
    assert fields["then"]["cure"] == "sfwebhooks drain, or the next scan"


def test_what_nobody_can_explain_is_said_to_be_so(world: World, explain: Any) -> None:
    scan = world.scan()
    late = [a_finding("cd" * 32, sources=())]
    with closing(sqlite3.connect(world.host)) as connection, connection:
        connection.execute("UPDATE tbl_scan_results SET hash = ? WHERE hash = ?", (late[0].hash, HASH))
    assert reasons(explain(scan, late[0].hash)) == (Unsent.MISSED.value, "sent")


# --- the command itself


def refused(world: World, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["explain", *words, "--folder", str(world.folder)]) == 1
    return capsys.readouterr().err


def test_an_id_that_names_nothing_or_several_is_refused_with_what_helps(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = world.scan(a_finding(HASH, sources=()), a_finding("cd" * 32, sources=()))
    assert "add --scan ID" in refused(world, capsys, HASH)
    assert "--scan ID also looks" in refused(world, capsys, "ffffffff-0000")
    assert "too short" in refused(world, capsys, "abc", "--scan", scan.id)
    assert 'has the id or hash "' in refused(world, capsys, "ef" * 32, "--scan", scan.id)
    assert "has no scan" in refused(world, capsys, HASH, "--scan", "NONE0000")
    assert "there is no endpoint" in refused(world, capsys, HASH, "--scan", scan.id, "--endpoint", "nobody")


def test_neither_an_outbox_nor_a_lock_is_made(world: World, explain: Any) -> None:
    scan = world.scan(known=False)
    assert reasons(explain(scan))[0] == Unsent.WITHOUT_US.value
    assert sorted(one.name for one in world.folder.iterdir()) == ["spiderfoot.db", "webhooks.ini"]


def test_hostile_data_cannot_move_the_cursor_nor_does_a_password_show(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = a_finding(HASH, type="PASSWORD_COMPROMISED", data=f"ada@acme.example:hunter22 {HOSTILE}", sources=())
    scan = world.scan(evil)
    capsys.readouterr()
    assert main(["explain", HASH, "--scan", scan.id, "--folder", str(world.folder)]) == 0
    shown = capsys.readouterr().out
    assert "hunter22" not in shown
    assert "hook-path-token" not in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_a_damaged_event_is_explained_as_far_as_it_goes(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    scan = world.scan()
    rows_of(world.path, "UPDATE event SET data = 'garbage' WHERE type = 'high_risk_event'")
    capsys.readouterr()
    code = main(["explain", finding_id(scan.id, HASH), "--folder", str(world.folder)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert code == 0
    assert "not JSON" in captured.out


@slow
def test_every_word_fits_a_terminal_of_80_columns(world: World) -> None:
    world.configure("events = all", "min_severity = critical", "description = x")
    scan = world.scan()
    code, shown = in_terminal(["explain", HASH, "--scan", scan.id, "--folder", str(world.folder)], [])
    assert code == 0
    assert max(map(len, shown.replace("\x1b[", "").splitlines())) < 100
    assert "team" in shown
