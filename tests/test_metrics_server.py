"""`sfwebhooks run --metrics`: what Prometheus gets, and what clients cannot do to the process that delivers."""

from __future__ import annotations

import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import ConfigError
from sfwebhooks.metrics_server import CONNECTIONS_MAX, MetricsServer, exposed_metrics
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.service import Service
from tests import filled
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Result, Team, put
from tests.stores import BOTH
from tests.test_metrics import configure as configure
from tests.test_metrics import samples, value
from tests.test_service import Run
from tests.test_service import run as run
from tests.threads import until
from tests.tiers import slow

STORES = BOTH

LOCAL = ("127.0.0.1", 0)
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def scrape(url: str, accept: str = "") -> tuple[str, str]:
    """Return the content type and the text."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        return reply.headers["Content-Type"], reply.read().decode()


def status_of(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        scrape(url)
    return caught.value.code


def place_of(server: MetricsServer) -> tuple[str, int]:
    return str(server.server_address[0]), int(server.server_address[1])


def url_of(run: Run) -> str:
    """Return where a service says that its metrics are."""
    run.wait_for("webhooks: metrics at http://")
    return next(line.split()[-1] for line in run.said if "metrics at" in line)


@pytest.fixture
def server(outbox: Outbox) -> Iterator[MetricsServer]:
    filled.put(outbox, 1)
    endpoint = an_endpoint()
    with exposed_metrics(LOCAL, outbox.place, lambda: Settings((endpoint,))) as server:
        yield server


def test_a_service_serves_its_metrics_while_it_delivers(
    run: Callable[..., Run], configure: Callable[..., None], team: Team, outbox: Outbox
) -> None:
    configure(team)
    service = run("--metrics", "127.0.0.1:0")
    url = url_of(service)
    assert value(scrape(url)[1], "deliveries_total", endpoint="team", outcome="delivered", reason="") == 0
    put(outbox, an_endpoint(events=("all",)), events=3)
    team.wait_for(3)
    until(lambda: value(scrape(url)[1], "deliveries_total", endpoint="team", outcome="delivered", reason="") == 3)
    assert value(scrape(url)[1], "queue_depth", endpoint="team") == 0
    assert service.end(signal.SIGTERM) == 0


@slow
def test_its_metrics_follow_the_settings(
    run: Callable[..., Run], configure: Callable[..., None], team: Team, tmp_path: Path
) -> None:
    configure(team)
    service = run("--metrics", "127.0.0.1:0")
    url = url_of(service)
    configure(team, general="outbox_max_mb = 77")
    service.wait_for("configuration reloaded")
    assert value(scrape(url)[1], "outbox_limit_bytes") == 77e6


def test_attempts_of_other_processes_are_counted_into_the_file(
    server: MetricsServer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.totals.COUNT_LEAST", 1)
    filled.send(outbox)
    for _ in range(2):
        text = scrape(server.url)[1]
        assert value(text, "deliveries_total", endpoint="team", outcome="delivered", reason="") == 1
    with outbox.database.reading() as sql:
        assert sql.execute("SELECT counted, (SELECT sum(number) FROM tally) FROM file").fetchone() == (1, 1)


def test_the_format_is_the_one_that_prometheus_asks_for(server: MetricsServer) -> None:
    kind, text = scrape(server.url)
    assert kind.startswith("text/plain") and "# EOF" not in text
    kind, text = scrape(server.url, OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text")
    types = {family.name: family.type for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    assert types["sfwebhooks_endpoint_state"] == "stateset"
    assert (types["sfwebhooks_deliveries"], types["sfwebhooks_build"]) == ("counter", "info")


@pytest.mark.parametrize("answer", [True, False])
def test_a_probe_is_answered_without_a_look_at_the_outbox(answer: bool, tmp_path: Path) -> None:
    probes = {"/ready": lambda: answer}
    missing = tmp_path / "nowhere" / "outbox"
    with exposed_metrics(LOCAL, missing, lambda: Settings(()), probes) as server:
        url = server.url.replace("/metrics", "/ready")
        assert scrape(url)[1] == "yes\n" if answer else status_of(url) == 503
        assert status_of(server.url.replace("/metrics", "/live")) == 404


def test_a_service_is_live_and_ready_while_it_delivers(
    run: Callable[..., Run], configure: Callable[..., None], team: Team
) -> None:
    configure(team)
    url = url_of(run("--metrics", "127.0.0.1:0"))
    assert scrape(url.replace("/metrics", "/live"))[1] == "yes\n"

    def is_ready() -> bool:
        """Ask as a probe does, again and again: the first time may be before it sends."""
        with suppress(urllib.error.HTTPError):
            return scrape(url.replace("/metrics", "/ready"))[1] == "yes\n"
        return False

    until(is_ready)


def test_a_service_whose_loop_does_not_turn_is_neither_live_nor_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(lambda: Settings((an_endpoint(),)), tmp_path / FILE)
    assert (service.is_turning, service.is_ready) == (True, False), "it has not begun to send"
    monkeypatch.setattr("sfwebhooks.service.STUCK_SECONDS", 0.0)
    assert not service.is_turning
    stop, ready = threading.Event(), []
    monkeypatch.setattr("sfwebhooks.service.STUCK_SECONDS", 300.0)
    running = threading.Thread(target=lambda: ready.append(service.run(stop, threading.Event())))
    running.start()
    until(lambda: service.is_ready)
    stop.set()
    running.join(PATIENCE)
    assert (service.is_ready, ready) == (False, [True])


def test_another_path_has_no_metrics(server: MetricsServer) -> None:
    assert status_of(server.url.replace("/metrics", "/")) == 404


@pytest.mark.parametrize("version", ["x", "0.0.1", "99", "", ";;=,"])
def test_a_format_of_an_unknown_version_is_sent_in_ours(
    server: MetricsServer, version: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("text/plain", "application/openmetrics-text"):
        found, text = scrape(server.url, f"{kind};version={version}")
        assert (found.startswith(kind), value(text, "queue_depth", endpoint="team")) == (True, 1)
    assert (capfd.readouterr().err, caplog.text) == ("", "")


@pytest.mark.parametrize("query", ["?name[]=sfwebhooks_queue_depth", "?collect[]=x", "?"])
def test_a_query_changes_nothing(server: MetricsServer, query: str) -> None:
    assert samples(scrape(server.url + query)[1]).keys() == samples(scrape(server.url)[1]).keys()


def asked(server: MetricsServer, line: str) -> tuple[bytes, bytes, bytes]:
    """Return the status line, the headers and the body of the answer to a request line."""
    with socket.create_connection(place_of(server), timeout=PATIENCE) as client, client.makefile("rb") as reply:
        client.sendall(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = reply.read().partition(b"\r\n\r\n")
        status, _, headers = head.partition(b"\r\n")
        return status.partition(b" ")[2], headers, body


def test_an_absolute_url_has_the_metrics_too(server: MetricsServer) -> None:
    for url in (server.url, "HTTP://monitoring.test:9464/metrics?x"):
        status, _, body = asked(server, f"GET {url}")
        assert (status, b"sfwebhooks_queue_depth" in body) == (b"200 OK", True)
    assert asked(server, "GET http://x/other")[0] == asked(server, "GET http://x")[0] == b"404 Not Found"


def test_head_has_the_headers_of_get(server: MetricsServer) -> None:
    status, headers, body = asked(server, "HEAD /metrics")
    assert (status, body, b"Content-Type: text/plain; version=" in headers) == (b"200 OK", b"", True)
    assert b"Content-Length: 0" not in headers
    assert asked(server, "POST /metrics")[0] == b"405 Method Not Allowed"


def test_a_bug_is_logged_once_and_no_traceback_is_printed(
    outbox: Outbox, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def settings() -> Settings:
        raise ZeroDivisionError("a bug")

    with exposed_metrics(LOCAL, outbox.place, settings) as server:
        assert [status_of(server.url) for _ in range(2)] == [500, 500]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["webhooks: metrics: ZeroDivisionError: a bug"]
    assert "Traceback" not in capfd.readouterr().err + caplog.text


def test_an_outbox_that_cannot_be_read_is_a_failed_scrape(
    server: MetricsServer, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with outbox.database.writing() as sql:
        sql.execute("DROP TABLE tally")
    assert [status_of(server.url) for _ in range(2)] == [503, 503]
    assert [record.levelname for record in caplog.records if "tally" in record.getMessage()] == ["WARNING"]


def test_a_busy_port_is_an_error_at_the_start(
    cli: Callable[..., Result], configure: Callable[..., None], team: Team, server: MetricsServer, own_signals: None
) -> None:
    configure(team)
    result = cli("run", "--metrics", f"127.0.0.1:{server.server_port}")
    assert result.code == 1
    assert f"--metrics 127.0.0.1:{server.server_port}: Address already in use; expected a free port" in result.err


@pytest.mark.parametrize("text", ["9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "example.test:1", ":1"])
def test_an_address_that_is_none_is_wrong_usage(
    text: str, cli: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli("run", "--metrics", text)
    assert caught.value.code == 2
    assert "expected an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464" in capsys.readouterr().err


def test_a_delivery_process_has_no_metrics(cli: Callable[..., Result], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli("run", "--metrics", "127.0.0.1:0", "--while-needed")
    assert "not allowed with argument" in capsys.readouterr().err


def test_an_address_of_another_machine_cannot_be_listened_to(outbox: Outbox) -> None:
    with (
        pytest.raises(ConfigError, match=r"--metrics 192\.0\.2\.1:9464: "),
        exposed_metrics(("192.0.2.1", 9464), outbox.place, Settings),
    ):
        pass


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_an_address_that_others_reach_is_said_in_the_log(
    host: str, warned: bool, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with exposed_metrics((host, 0), outbox.place, Settings) as server:
        assert value(scrape(server.url.replace("0.0.0.0", "127.0.0.1"))[1], "outbox_limit_bytes") == 512e6
    assert ("anyone who can reach this address can read" in caplog.text) is warned


# --- hostile clients


def dribbling(server: MetricsServer, text: bytes = b"GET /met") -> socket.socket:
    """Begin a request that is never ended."""
    client = socket.create_connection(place_of(server), timeout=PATIENCE)
    client.sendall(text)
    return client


def test_more_slow_clients_than_there_is_room_for_are_turned_away_until_the_first_ones_have_ended(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        dribblers = [stack.enter_context(dribbling(server)) for _ in range(CONNECTIONS_MAX)]
        extra = stack.enter_context(dribbling(server))
        assert extra.recv(1) == b""
        monkeypatch.setattr("sfwebhooks.metrics_server.CONNECTION_SECONDS", 0.0)
        assert [client.recv(1) for client in dribblers] == [b""] * CONNECTIONS_MAX
        monkeypatch.setattr("sfwebhooks.metrics_server.CONNECTION_SECONDS", PATIENCE)
        assert until(lambda: answered(server))


def answered(server: MetricsServer) -> bool:
    """Return whether a scrape is answered: a connection that has just ended may still take its place."""
    try:
        return bool(scrape(server.url)[1])
    except OSError:
        return False


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\0" * 200_000,
        b"GET " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /metrics?name[]=\xff%00 HTTP/1.1\r\nAccept: \xff\r\n\r\n",
        b"",
    ],
    ids=range(8),
)
def test_garbage_gets_no_further(garbage: bytes, server: MetricsServer, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(place_of(server), timeout=PATIENCE) as client:
        try:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except OSError:  # it closes the connection as soon as it has seen enough
            pass
    assert value(scrape(server.url)[1], "queue_depth", endpoint="team") == 1
    assert capfd.readouterr().err == ""


def test_a_client_that_sends_no_more_does_not_hinder_the_end(outbox: Outbox) -> None:
    with exposed_metrics(LOCAL, outbox.place, Settings) as server:
        before = {*threading.enumerate()}
        with dribbling(server):
            serving = until(lambda: {*threading.enumerate()} - before)
            server.stop()
            for thread in serving:
                thread.join(PATIENCE)
            assert not any(thread.is_alive() for thread in serving)


@slow
def test_a_service_with_slow_clients_delivers_and_ends(
    run: Callable[..., Run], configure: Callable[..., None], team: Team, outbox: Outbox
) -> None:
    configure(team)
    service = run("--metrics", "127.0.0.1:0")
    port = int(url_of(service).rpartition(":")[2].partition("/")[0])
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        put(outbox, an_endpoint(events=("all",)), events=3)
        team.wait_for(3)
        assert service.end(signal.SIGTERM) == 0
