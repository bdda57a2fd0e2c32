"""The processes that the manifests for Kubernetes start, with the settings and probes of these: a rolling restart, as
Kubernetes makes it, loses nothing and repeats nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Gate, Team, put
from tests.deployment.manifests import COMPOSE, DATA, SECRETS, environment_of, object_of, pod_of, settings_of_compose
from tests.processes import Process, run
from tests.servers import free_port
from tests.threads import until
from tests.tiers import slow

pytestmark = slow
#: finds so much at each line of its input, and ends with it
SCANNING = """
import sys
from pathlib import Path
from tests.scanning import Scanning
scan = Scanning(Path(sys.argv[1]))
scan.begin()
print("begun", flush=True)
for line in sys.stdin:
    scan.find(int(line))
    print("found", flush=True)
scan.finish()
"""
STEP = 40


def in_folder(text: str, folder: Path) -> str:
    """Return a path or a command of a container as one of this machine."""
    return text.replace("/etc/sfwebhooks", str(folder / "settings")).replace(DATA, str(folder / "volume"))


class Pods:
    """The pods of the senders, each with a folder of its own, and what they have in common."""

    def __init__(self, folder: Path, dsn: str, team: Team) -> None:
        self.folder, self.pod, self.started = folder, pod_of("sender"), list[Sender]()
        self.secrets = {**SECRETS, "siem_url": team.url}
        self.dsn = dsn

    @property
    def grace(self) -> float:
        return float(self.pod["terminationGracePeriodSeconds"])

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables of a container whose volumes are in a folder, and write its settings there."""
        (container,) = self.pod["containers"]
        found = {name: in_folder(text, folder) for name, text in environment_of(container, self.secrets).items()}
        settings = Path(found["SFWEBHOOKS_CONFIG"])
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(object_of("ConfigMap", "sfwebhooks")["data"]["webhooks.ini"])
        return {**found, "OUTBOX_DATABASE": self.dsn, "HOME": str(folder), "PATH": "/usr/bin:/bin"}

    def start(self) -> Sender:
        """Start a pod, and wait until it is ready."""
        self.started.append(Sender(self, self.folder / f"pod-{len(self.started)}"))
        until(lambda: self.started[-1].asks("readinessProbe") == 200)
        return self.started[-1]


class Sender:
    """A pod of the senders: its container's process."""

    def __init__(self, pods: Pods, folder: Path) -> None:
        (container,), (first,) = pods.pod["containers"], pods.pod["initContainers"]
        volume = folder / "volume"
        volume.mkdir(parents=True)
        volume.chmod(0o2777)  # as an emptyDir is
        subprocess.run([in_folder(word, folder) for word in first["command"]], check=True)
        self._container, self.port = container, free_port()
        command = [word.replace("0.0.0.0:9464", f"127.0.0.1:{self.port}") for word in container["command"]]
        assert command[0] == "sfwebhooks"
        self.process = Process(command[1:], env=pods.environment(folder), stderr=PIPE, stdout=PIPE)

    def asks(self, probe: str) -> int:
        """Return the status of a probe's answer, as kubelet gets it; 0 if there is none."""
        path, limit = self._container[probe]["httpGet"]["path"], self._container[probe]["timeoutSeconds"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=limit) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@pytest.fixture
def siem(receive: Callable[..., Team]) -> Team:
    return receive([SECRETS["webhook_secret"]])


@pytest.fixture
def pods(tmp_path: Path, postgres_dsn: str, siem: Team) -> Iterator[Pods]:
    made = Pods(tmp_path, postgres_dsn, siem)
    yield made
    for one in made.started:
        one.process.kill()
        one.process.wait(PATIENCE)


def ids(team: Team) -> Counter[str]:
    """Return how often each event came."""
    return Counter(one["event_id"] for received in team.got for one in received.messages)


def test_a_rolling_restart_during_a_scan_loses_nothing_and_repeats_nothing(
    pods: Pods, siem: Team, tmp_path: Path
) -> None:
    for _ in range(2):
        pods.start()
    folder = tmp_path / "scan"
    folder.mkdir()
    environment = pods.environment(folder)
    (folder / "webhooks.ini").write_text(Path(environment["SFWEBHOOKS_CONFIG"]).read_text())
    scan = Process([folder], SCANNING, env={**environment, "SPIDERFOOT_DATA": str(folder)}, stdin=PIPE, stdout=PIPE)
    assert scan.stdin and scan.stdout
    assert scan.stdout.readline() == "begun\n"

    def find() -> None:
        assert scan.stdin and scan.stdout
        scan.stdin.write(f"{STEP}\n")
        scan.stdin.flush()
        assert scan.stdout.readline() == "found\n"

    codes = []
    for old in [*pods.started]:
        find()
        pods.start()
        old.process.send_signal(signal.SIGTERM)
        find()
        codes.append(old.process.wait(pods.grace))
    scan.stdin.close()
    assert scan.wait(pods.grace) == 0
    assert codes == [0, 0]
    with closing(Outbox(Dsn(pods.dsn, tmp_path))) as outbox:
        until(lambda: outbox.scans.tallies()["waiting"] == 0)
        assert outbox.scans.number_found("5C4A0001") == 4 * STEP
    assert [received.problems for received in siem.got if received.problems] == []
    kinds = Counter(one["event_type"] for received in siem.got for one in received.messages)
    assert (kinds["high_risk_event"], kinds["scan_started"], kinds["scan_completed"]) == (4 * STEP, 1, 1)
    assert {*ids(siem).values()} == {1}


def test_a_pod_that_is_stopped_ends_the_attempt_in_flight_and_leaves_the_rest_to_the_other_one(
    pods: Pods, siem: Team, tmp_path: Path
) -> None:
    gate = siem.answer = Gate()
    one = pods.start()
    with closing(Outbox(Dsn(pods.dsn, tmp_path))) as outbox:
        put(outbox, an_endpoint("siem_system", url=siem.url, format="siem", events=("all",)))
        siem.wait_for(1)
        pods.start()
        one.process.send_signal(signal.SIGTERM)
        put(outbox, an_endpoint("siem_system", url=siem.url, format="siem", events=("all",)), events=5, start=2)
        gate.open()
        assert one.process.wait(pods.grace) == 0
        until(lambda: outbox.scans.tallies()["waiting"] == 0)
    assert sorted(ids(siem).values()) == [1] * 6


def test_a_pod_whose_receiver_does_not_answer_still_ends_in_time(pods: Pods, siem: Team, tmp_path: Path) -> None:
    gate = siem.answer = Gate()
    one = pods.start()
    with closing(Outbox(Dsn(pods.dsn, tmp_path))) as outbox:
        put(outbox, an_endpoint("siem_system", url=siem.url, format="siem", events=("all",)))
        siem.wait_for(1)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(pods.grace) in (0, 1)
        gate.open()
        assert outbox.scans.tallies()["waiting"] == 1


def test_the_health_check_of_compose_is_that_of_a_sender(pods: Pods) -> None:
    kind, program, *words = COMPOSE["services"]["sender"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")

    def code(sender: Sender) -> int:
        command = [sys.executable, *(word.replace("9464", str(sender.port)) for word in words)]
        return subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode

    one = pods.start()
    assert code(one) == 0
    one.process.send_signal(signal.SIGTERM)
    one.process.wait(pods.grace)
    assert code(one) == 1


def test_the_probes_say_when_the_database_is_away(tmp_path: Path, own_server: Any, siem: Team) -> None:
    pods = Pods(tmp_path, own_server.dsn("hooks"), siem)
    one = pods.start()
    try:
        own_server.stop()
        until(lambda: one.asks("readinessProbe") == 503)
        assert one.asks("livenessProbe") == 200
        own_server.start()
        until(lambda: one.asks("readinessProbe") == 200)
    finally:
        one.process.kill()
        one.process.wait(PATIENCE)


def test_check_finds_the_settings_right(pods: Pods, tmp_path: Path) -> None:
    folder = tmp_path / "pod"
    (folder / "volume" / "data").mkdir(parents=True)
    done = run(["check"], env=pods.environment(folder), timeout=PATIENCE)
    assert (done.returncode, "siem_system" in done.stdout) == (0, True), done.stdout + done.stderr


def test_check_finds_the_settings_of_compose_right(tmp_path: Path, postgres_dsn: str, siem: Team) -> None:
    values = {**SECRETS, "outbox_database": postgres_dsn, "siem_url": siem.url}
    path = settings_of_compose(tmp_path, values)
    done = run(["check", "--config", path, "--folder", tmp_path], timeout=PATIENCE)
    assert (done.returncode, "siem_system" in done.stdout) == (0, True), done.stdout + done.stderr
