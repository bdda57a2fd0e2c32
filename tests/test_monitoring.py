"""The page about monitoring, the alerts and the dashboard, against the metrics that there are and Prometheus itself."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric

from sfwebhooks.demo.certificates import Authority
from sfwebhooks.metrics import STATES, Picture, SpoolFigures, families
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.spool import Forwarding
from sfwebhooks.outbox.totals import Tally
from sfwebhooks.reasons import DeadReason, Withheld
from sfwebhooks.retry import State
from tests import filled
from tests.builders import NOW, an_event
from tests.conftest import Result, Team, sql
from tests.test_docs import PAGES, ROOT
from tests.test_metrics import configure as configure
from tests.test_metrics_server import url_of
from tests.test_service import Run
from tests.test_service import run as run
from tests.threads import until
from tests.tiers import slow

ONE_STORE = "metrics are the same on both: test_metrics.py"

PAGE = PAGES["monitoring.md"]
ALERTS = ROOT / "docs" / "monitoring" / "alerts.yml"
DASHBOARD = ROOT / "docs" / "monitoring" / "dashboard.json"
EXPRESSIONS = re.findall(r"expr: (.*)", ALERTS.read_text(encoding="utf-8"))
#: everything happened to this endpoint
DELIVERED = Tally("siem", State.DELIVERED.value, "", 0.25, 1.0, 1, 0.1, 0.6, NOW)
SPOOLED = SpoolFigures(Backlog(1, 0, NOW, NOW), Forwarding(1, NOW, last_error_at=NOW), 1, NOW)
PICTURE = Picture(["siem"], [DELIVERED], states={"siem": "held"}, certificates={"siem": NOW}, spool=SPOOLED)
METRICS = [*families(PICTURE)]
#: suffixes of the documented names
SUFFIXES = {"counter": "_total", "info": "_info"}
#: word -> its values in the labels
LABELS = {
    "outcome": {"delivered", "dead"},
    "reason": {reason.value for reason in (*DeadReason, *Withheld)},
    "sfwebhooks_endpoint_state": {*STATES},
    "job": {"sfwebhooks"},
}


def labels_of(metric: Metric) -> list[str]:
    (names,) = {tuple(name for name in sample.labels if name != "le") for sample in metric.samples}
    return list(names)


def queries() -> list[str]:
    """Return the queries of the dashboard."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = [one["query"] for one in board["templating"]["list"]]
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]] + variables


def test_the_page_has_each_metric_and_no_other() -> None:
    rows = {
        f"| `{metric.name}{SUFFIXES.get(metric.type, '')}` | {metric.type}"
        f" | {', '.join(f'`{label}`' for label in labels_of(metric))} | {metric.documentation} |"
        for metric in METRICS
    }
    assert {*re.findall(r"^\| `sfwebhooks_\w+` \| \w+ .*$", PAGE, re.M)} == rows


def test_alerts_queries_and_the_dashboard_use_metrics_that_there_are() -> None:
    samples = {sample.name for metric in METRICS for sample in metric.samples}
    known = samples | {metric.name for metric in METRICS if metric.type == "histogram"} | {*LABELS}
    texts = [*EXPRESSIONS, *queries(), PAGE]
    assert {name for text in texts for name in re.findall(r"\bsfwebhooks_\w+", text)} <= known


def test_alerts_and_the_dashboard_use_values_of_labels_that_there_are() -> None:
    used = [found for text in [*EXPRESSIONS, *queries()] for found in re.findall(r'(\w+)(?:=~|!=|=)"(.*?)"', text)]
    assert len(used) > 10
    for label, values in used:
        assert label == "endpoint" or {*values.split("|")} <= LABELS[label], label


def test_the_page_has_each_alert() -> None:
    names = re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    assert re.findall(r"^\| `(Sfwebhooks\w+)` \|", PAGE, re.M) == names


def test_the_page_has_each_state_of_an_endpoint() -> None:
    (words,) = re.findall(r"one of the states (.*?); the", PAGE, re.S)
    assert re.findall(r"`(\w+)`", words) == [*STATES]


def test_each_metric_is_in_the_dashboard() -> None:
    text = " ".join(queries())
    unused = {"sfwebhooks_attempt_duration_seconds_count"}
    assert {metric.name for metric in METRICS if metric.name not in text} - unused == set()


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
@pytest.mark.parametrize(
    "arguments", [["check", "rules", ALERTS], ["test", "rules", ROOT / "tests" / "alerts_test.yml"]]
)
def test_promtool_finds_the_alerts_right(arguments: list[str | Path]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
def test_promtool_finds_the_metrics_right(
    cli: Callable[..., Result], configure: Callable[..., None], team: Team
) -> None:
    configure(team)
    text = cli("metrics").out
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Prometheus:
    """Prometheus itself, with the alerts of the documents without their waiting times."""

    def __init__(self, folder: Path, target: str) -> None:
        rules, settings = folder / "alerts.yml", folder / "prometheus.yml"
        rules.write_text(re.sub(r"^\s+for: .*\n", "", ALERTS.read_text(encoding="utf-8"), flags=re.M))
        settings.write_text(
            "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n"
            f"rule_files: [{rules}]\n"
            f"scrape_configs: [{{job_name: sfwebhooks, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._place = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = folder / "prometheus.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address={self._place}"],
                stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, what: str) -> Any:
        """Return an answer of its API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""
        try:
            with urllib.request.urlopen(f"http://{self._place}/api/v1/{what}") as reply:
                return json.load(reply)["data"]
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return {}

    def firing(self) -> set[tuple[str, str]]:
        """Return (alert, endpoint) of the firing alerts."""
        alerts = self.ask("alerts").get("alerts", [])
        return {
            (one["labels"]["alertname"], one["labels"].get("endpoint", ""))
            for one in alerts
            if one["state"] == "firing"
        }


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    started: list[Prometheus] = []

    def start(target: str) -> Prometheus:
        folder = tmp_path / "prometheus"
        folder.mkdir()
        started.append(Prometheus(folder, target))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="no Prometheus here")
def test_prometheus_scrapes_a_service_and_fires_the_alerts(
    prometheus: Callable[[str], Prometheus],
    run: Callable[..., Run],
    configure: Callable[..., None],
    receive: Callable[..., Team],
    outbox: Outbox,
    authority: Authority,
) -> None:
    team, identity = receive(), authority.issue("ends-soon", client=True, days=3)
    team.answer = 401
    files = f"client_cert = {identity.cert}\nclient_key = {identity.key}\n"
    configure(team, files, general="outbox_max_mb = 1\n")
    for number in range(1, 40):
        filled.put_event(outbox, an_event(number, data={"data": "x" * 20_000}))
    service = run("--metrics", "127.0.0.1:0")
    server = prometheus(url_of(service).partition("//")[2].partition("/")[0])
    at_once = {"SfwebhooksEndpointUnhealthy", "SfwebhooksDeliveriesLate", "SfwebhooksClientCertificateExpires"}
    expected = {(name, "team") for name in at_once} | {("SfwebhooksOutboxNearlyFull", "")}
    until(lambda: server.firing() >= expected)
    assert server.firing() == expected
    (depth,) = server.ask("query?query=sfwebhooks_queue_depth")["result"]
    assert (depth["metric"]["endpoint"], int(depth["value"][1]) >= 39) == ("team", True)

    filled.put(outbox, 100, endpoint="siem")
    filled.send(outbox, State.DEAD, "refused: http_400", endpoint="siem")
    sql(outbox, "INSERT INTO withheld VALUES ('scan', 'team', 'outbox_full', 1)")
    expected |= {("SfwebhooksDeadLetters", "siem"), ("SfwebhooksEventsRefused", "team")}
    filled.put(outbox, 101, endpoint="siem")  # its counters are in a scrape before they grow
    until(lambda: ("SfwebhooksEventsRefused", "team") in server.firing())
    filled.send(outbox, State.DEAD, "refused: http_400", endpoint="siem")
    until(lambda: server.firing() >= expected)

    assert service.end(signal.SIGTERM) == 0
    until(lambda: ("SfwebhooksNotScraped", "") in server.firing())
