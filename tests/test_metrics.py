"""Metrics as `sfwebhooks metrics` shows them."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sfwebhooks import __version__
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.demo.certificates import Identity
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.health import FAILURES_MAX
from sfwebhooks.metrics import UNUSED_SECONDS
from sfwebhooks.network.certificates import certificates_of, validity
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.reasons import DeadReason, Failure
from sfwebhooks.retry import State
from tests import filled
from tests.builders import NOW, a_scan
from tests.conftest import Clock, Result, Team, fail, hold, put, sql
from tests.stores import BOTH

STORES = BOTH

#: (name, labels) -> value
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Return what Prometheus reads in a text."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((f"sfwebhooks_{name}", frozenset(labels.items())))


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., None]:
    """Write the settings of an endpoint named team: `configure(team, more, general)`."""

    def write(team: Team, more: str = "", general: str = "") -> None:
        path = tmp_path / "webhooks.ini"
        path.touch(0o600)
        path.write_text(f"[webhooks]\n{general}\n[webhooks.team]\nurl = {team.url}\nevents = all\n{more}")

    return write


@pytest.fixture
def show(cli: Callable[..., Result], configure: Callable[..., None], team: Team) -> Callable[[], str]:
    """Return what the command prints, with one endpoint in the settings."""
    configure(team)

    def run() -> str:
        result = cli("metrics")
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


@pytest.mark.sqlite("no outbox is created")
def test_without_an_outbox_all_is_zero(show: Callable[[], str], tmp_path: Path) -> None:
    found = samples(show())
    version = ("sfwebhooks_build_info", frozenset({("version", __version__)}))
    limit = ("sfwebhooks_outbox_limit_bytes", frozenset[tuple[str, str]]())
    state = frozenset({("endpoint", "team"), ("sfwebhooks_endpoint_state", "healthy")})
    others = {version: 1.0, limit: 512e6, ("sfwebhooks_endpoint_state", state): 1.0}
    assert {key: number for key, number in found.items() if number} == others
    assert not (tmp_path / "webhooks.db").exists()


def test_what_was_never_counted_is_zero_so_that_the_first_one_is_an_increase(show: Callable[[], str]) -> None:
    text = show()
    assert value(text, "deliveries_total", endpoint="team", outcome="delivered", reason="") == 0
    for reason in DeadReason:
        assert value(text, "deliveries_total", endpoint="team", outcome="dead", reason=reason.value) == 0
    for failure in Failure:
        assert value(text, "attempts_failed_total", endpoint="team", reason=failure.value) == 0
    assert value(text, "withheld_total", endpoint="team", reason="outbox_full") == 0
    assert value(text, "scans_total", event="scan_aborted") == 0


def test_deliveries_and_failed_attempts_are_counted(
    show: Callable[[], str], queue: SendQueue, outbox: Outbox, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=3)
    assert queue.step()
    fail(queue, team, 503)
    text = show()
    assert value(text, "deliveries_total", endpoint="team", outcome="delivered", reason="") == 1
    assert value(text, "attempts_failed_total", endpoint="team", reason="http_503") == 1
    assert value(text, "retries_total", endpoint="team") == 1
    assert value(text, "attempt_duration_seconds_count", endpoint="team") == 2
    assert value(text, "delivery_latency_seconds_count", endpoint="team") == 1
    assert value(text, "delivery_latency_seconds_bucket", endpoint="team", le="+Inf") == 1
    assert value(text, "queue_depth", endpoint="team") == 2
    oldest, last = value(text, "queue_oldest_seconds", endpoint="team"), "last_success_timestamp_seconds"
    assert oldest and oldest > 0
    assert value(text, last, endpoint="team") == pytest.approx(NOW, abs=60)
    size = value(text, "outbox_bytes")
    assert size and 10_000 < size < 10_000_000


def test_the_buckets_of_a_histogram_grow(show: Callable[[], str], outbox: Outbox) -> None:
    filled.put(outbox, 1, 2, 3)
    for wait in (0.0, 100.0, 1e9):
        filled.send(outbox, at=NOW + wait)
    text = show()
    buckets = {le: value(text, "delivery_latency_seconds_bucket", endpoint="team", le=le) for le in ("0.05", "0.25")}
    assert buckets == {"0.05": 0, "0.25": 1}
    assert value(text, "delivery_latency_seconds_bucket", endpoint="team", le="300.0") == 2
    assert value(text, "delivery_latency_seconds_bucket", endpoint="team", le="604800.0") == 2
    assert value(text, "delivery_latency_seconds_bucket", endpoint="team", le="+Inf") == 3
    assert value(text, "delivery_latency_seconds_sum", endpoint="team") == pytest.approx(1e9 + 100.375)


def test_no_counter_goes_down_when_deliveries_are_deleted_or_replayed(
    show: Callable[[], str], cli: Callable[..., Result], outbox: Outbox
) -> None:
    filled.put(outbox, 1, 2, 3)
    filled.send(outbox)
    filled.send(outbox, State.DEAD, "refused: http_400")
    before = samples(show())
    dead = (
        "sfwebhooks_deliveries_total",
        frozenset({("endpoint", "team"), ("outcome", "dead"), ("reason", "refused")}),
    )
    assert before[dead] == 1
    assert cli("dead", "replay", "--all").code == 0
    assert cli("drop", "--state", "waiting", "--all").code == 0
    assert cli("dead", "drop", "--all").code == 0
    outbox.retention.prune(NOW + 1e9, 0, 0)
    after = samples(show())
    gauges = ("sfwebhooks_queue", "sfwebhooks_outbox")
    assert {key for key in before if after[key] < before[key] and not key[0].startswith(gauges)} == set()
    assert after[dead] == 1
    assert sql(outbox, "SELECT count(*) FROM delivery") == [(0,)]


@pytest.mark.parametrize(
    ("statuses", "label"), [((503,), "http_503"), ((590, 591, 599), "http_5xx"), ((299 + 1, 399), "http_3xx")]
)
def test_a_receiver_cannot_make_up_labels(
    show: Callable[[], str], outbox: Outbox, statuses: tuple[int, ...], label: str
) -> None:
    filled.put(outbox, 1)
    for place, status in enumerate(statuses):
        filled.send(outbox, State.WAITING, f"http_{status}", at=NOW + 60 * place)
    text = show()
    assert value(text, "attempts_failed_total", endpoint="team", reason=label) == len(statuses) - (300 in statuses)


def test_the_reason_of_an_error_in_a_reply_is_its_status(show: Callable[[], str], outbox: Outbox) -> None:
    filled.put(outbox, 1)
    filled.send(outbox, State.WAITING, "words of a receiver 200")
    assert value(show(), "attempts_failed_total", endpoint="team", reason="http_200") == 1


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
def test_a_damaged_row_breaks_neither_lines_nor_the_command(show: Callable[[], str], outbox: Outbox) -> None:
    filled.put(outbox, 1, 2)
    filled.put(outbox, 1, endpoint=filled.HOSTILE)
    filled.send(outbox, endpoint=filled.HOSTILE)
    filled.send(outbox)
    sql(outbox, "INSERT INTO tally (endpoint, what, reason, number) VALUES (x'ff00', 'death', 'x', 1)")
    sql(outbox, "INSERT INTO tally (endpoint, what, reason, number) VALUES ('team', 'death', 'x\nsfwebhooks_y 1', 1)")
    sql(outbox, "INSERT INTO tally VALUES ('team', x'01', x'ff', 'x', 'x', 'x', 'x', 'x', 'x')")
    sql(outbox, "UPDATE delivery_attempt SET seconds = 'x', at = x'ff', reason = x'ff', status = 'x', outcome = x'01'")
    text = show()
    assert {dict(labels).get("endpoint", "team") for _, labels in samples(text)} == {"team"}
    assert "sfwebhooks_y" not in text and text.isascii()
    assert value(text, "queue_depth", endpoint="team") == 1
    assert value(text, "deliveries_total", endpoint="team", outcome="dead", reason="other") == 1


def state_of_team(text: str) -> list[str]:
    found = samples(text)
    states = [
        dict(labels)["sfwebhooks_endpoint_state"]
        for (name, labels), on in found.items()
        if name == "sfwebhooks_endpoint_state" and on
    ]
    return states


def test_the_state_of_an_endpoint_is_one_of_several(
    show: Callable[[], str],
    cli: Callable[..., Result],
    configure: Callable[..., None],
    queue: SendQueue,
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    clock: Clock,
) -> None:
    put(outbox, endpoint, events=10)
    assert state_of_team(show()) == ["healthy"]
    fail(queue, team, 503, FAILURES_MAX)
    assert state_of_team(show()) == ["failing"]
    hold(queue, team, clock)
    assert state_of_team(show()) == ["held"]
    assert cli("pause", "team").code == 0
    assert state_of_team(show()) == ["paused"]
    configure(team, "timeout = soon\n")
    assert state_of_team(cli("metrics").out) == ["config_mistake"]
    configure(team, general="enabled = false\n")
    assert state_of_team(cli("metrics").out) == ["off"]


def test_an_endpoint_that_answered_410_is_disabled(
    show: Callable[[], str], queue: SendQueue, outbox: Outbox, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 410)
    assert state_of_team(show()) == ["disabled"]


def test_the_end_of_a_client_certificate_is_shown(
    cli: Callable[..., Result], configure: Callable[..., None], team: Team, client_identity: Identity
) -> None:
    configure(team, f"client_cert = {client_identity.cert}\nclient_key = {client_identity.key}\n")
    end = validity(certificates_of(client_identity.cert, "client_cert")[0])[1]
    assert value(cli("metrics").out, "client_certificate_expiry_timestamp_seconds", endpoint="team") == end


def test_a_certificate_that_cannot_be_read_has_no_end(
    cli: Callable[..., Result], configure: Callable[..., None], team: Team, tmp_path: Path
) -> None:
    (tmp_path / "cert.pem").write_text("rubbish")
    configure(team, f"client_cert = {tmp_path / 'cert.pem'}\n")
    result = cli("metrics")
    assert (result.code, "client_certificate_expiry_timestamp_seconds{" in result.out) == (0, False)
    assert state_of_team(result.out) == ["config_mistake"]


def test_withheld_events_and_ends_of_scans_are_counted(show: Callable[[], str], outbox: Outbox) -> None:
    filled.begin(outbox, a_scan())
    sql(outbox, "INSERT INTO withheld VALUES ('scan', 'team', 'outbox_full', 3)")
    sql(outbox, "UPDATE scan SET ended = 'scan_aborted'")
    text = show()
    assert value(text, "withheld_total", endpoint="team", reason="outbox_full") == 3
    assert value(text, "scans_total", event="scan_aborted") == 1


def test_an_endpoint_that_was_removed_keeps_its_numbers_and_has_no_state(
    show: Callable[[], str], outbox: Outbox
) -> None:
    filled.put(outbox, 1, endpoint="gone")
    filled.send(outbox, endpoint="gone")
    text = show()
    assert value(text, "deliveries_total", endpoint="gone", outcome="delivered", reason="") == 1
    assert 'sfwebhooks_endpoint_state{endpoint="gone"' not in text


def test_of_an_endpoint_that_is_no_longer_used_only_what_it_counted_stays(
    show: Callable[[], str], outbox: Outbox
) -> None:
    long_ago = time.time() - UNUSED_SECONDS - 60
    for name, at in (("gone", long_ago), ("team", long_ago), ("waiting", long_ago), ("recent", long_ago + 120)):
        filled.put(outbox, 1, 2, endpoint=name)
        filled.send(outbox, endpoint=name, at=at)
        if name != "waiting":
            filled.send(outbox, State.DEAD, "timeout", endpoint=name, at=at)
    text = show()
    assert {name for (name, labels), _ in samples(text).items() if ("endpoint", "gone") in labels} == {
        "sfwebhooks_deliveries_total",
        "sfwebhooks_attempts_failed_total",
    }
    assert value(text, "deliveries_total", endpoint="gone", outcome="delivered", reason="") == 1
    assert value(text, "deliveries_total", endpoint="gone", outcome="dead", reason="refused") is None
    for name in ("team", "waiting", "recent"):
        assert value(text, "delivery_latency_seconds_count", endpoint=name) == 1
        assert value(text, "queue_depth", endpoint=name) == (name == "waiting")


@pytest.mark.sqlite("the file's content")
def test_counting_changes_nothing_in_an_outbox(show: Callable[[], str], outbox: Outbox) -> None:
    filled.put(outbox, 1)
    filled.send(outbox)
    before = [*sqlite3.connect(outbox.path).iterdump()]
    show()
    assert [*sqlite3.connect(outbox.path).iterdump()] == before


# --- trouble


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    cli: Callable[..., Result], configure: Callable[..., None], team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(team)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for arguments in (["metrics"], ["run", "--metrics", "127.0.0.1:0"]):
        result = cli(*arguments)
        assert (result.code, result.out) == (1, "")
        assert "requires another package: pip install 'sfwebhooks[metrics]'" in result.err


@pytest.mark.sqlite("the file is damaged")
def test_a_corrupt_outbox_is_said_and_left_as_it_is(
    show: Callable[[], str], cli: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "webhooks.db").write_bytes(b"rubbish" * 1000)
    result = cli("metrics")
    assert (result.code, result.out) == (1, "")
    assert "is corrupt" in result.err
    assert (tmp_path / "webhooks.db").read_bytes() == b"rubbish" * 1000


@pytest.mark.skipif(not os.getuid(), reason="root may write everywhere")
def test_an_outbox_that_cannot_be_written_is_read(show: Callable[[], str], outbox: Outbox, tmp_path: Path) -> None:
    filled.put(outbox, 1)
    outbox.close()
    tmp_path.chmod(0o500)
    try:
        assert value(show(), "queue_depth", endpoint="team") == 1
    finally:
        tmp_path.chmod(0o700)


# --- the file for node_exporter


def test_the_file_has_what_the_command_prints(
    show: Callable[[], str], cli: Callable[..., Result], tmp_path: Path
) -> None:
    show()
    file = tmp_path / "sfwebhooks.prom"
    file.write_text("what was there before")
    result = cli("metrics", "--textfile", str(file))
    assert (result.code, result.out, result.err) == (0, "", "")
    assert samples(file.read_text()).keys() == samples(show()).keys()
    assert [path.name for path in tmp_path.glob("*.prom*")] == ["sfwebhooks.prom"]


def test_attempts_in_the_file_are_read_once_and_counted(
    show: Callable[[], str],
    cli: Callable[..., Result],
    outbox: Outbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.totals.COUNT_LEAST", 1)
    filled.put(outbox, 1)
    filled.send(outbox)
    before = samples(show())
    for _ in range(2):
        assert cli("metrics", "--textfile", str(tmp_path / "sfwebhooks.prom")).code == 0
    assert sql(outbox, "SELECT counted, (SELECT sum(number) FROM tally) FROM file") == [(1, 1)]
    after = samples((tmp_path / "sfwebhooks.prom").read_text())
    assert {key for key in before if after[key] != before[key]} <= {("sfwebhooks_outbox_bytes", frozenset())}


@pytest.mark.parametrize("place", ["none/x.prom", "folder.prom", "pipe.prom", "loop.prom"])
def test_a_file_that_cannot_be_written_is_said(
    show: Callable[[], str], cli: Callable[..., Result], tmp_path: Path, place: str
) -> None:
    show()
    (tmp_path / "folder.prom").mkdir()
    os.mkfifo(tmp_path / "pipe.prom")
    (tmp_path / "loop.prom").symlink_to("loop.prom")
    before = sorted(tmp_path.iterdir())
    result = cli("metrics", "--textfile", str(tmp_path / place))
    assert (result.code, result.out) == (1, "")
    assert f"--textfile {tmp_path / place} cannot be written: " in result.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("target", ["there.prom", "new.prom"])
def test_a_link_to_the_file_stays(
    show: Callable[[], str], cli: Callable[..., Result], tmp_path: Path, target: str
) -> None:
    show()
    (tmp_path / "there.prom").write_text("what was there before")
    (tmp_path / "link.prom").symlink_to(target)
    assert cli("metrics", "--textfile", str(tmp_path / "link.prom")).code == 0
    assert (tmp_path / "link.prom").is_symlink()
    assert samples((tmp_path / target).read_text()).keys() == samples(show()).keys()


@pytest.mark.parametrize("name", ["m.txt", "m.prom.txt", "m", "m.PROM"])
def test_a_file_that_node_exporter_would_ignore_is_wrong_usage(
    cli: Callable[..., Result], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli("metrics", "--textfile", str(tmp_path / name))
    assert (caught.value.code, [*tmp_path.glob("m*")]) == (2, [])
    assert "expected a file whose name ends in .prom" in capsys.readouterr().err


@pytest.mark.sqlite("the file is damaged")
def test_a_failed_reading_leaves_the_file_as_it_was(
    show: Callable[[], str], cli: Callable[..., Result], tmp_path: Path
) -> None:
    show()
    file = tmp_path / "sfwebhooks.prom"
    file.write_text("what was there before")
    (tmp_path / "webhooks.db").write_bytes(b"rubbish" * 1000)
    assert cli("metrics", "--textfile", str(file)).code == 1
    assert (file.read_text(), [path.name for path in tmp_path.glob("*.prom*")]) == (
        "what was there before",
        ["sfwebhooks.prom"],
    )


def test_what_was_selected_to_be_deleted_stays_counted(show: Callable[[], str], outbox: Outbox) -> None:
    filled.put(outbox, 1)
    filled.send(outbox, State.WAITING, "timeout")
    outbox.retention.take_away(Selection())
    assert value(show(), "attempts_failed_total", endpoint="team", reason="timeout") == 1
