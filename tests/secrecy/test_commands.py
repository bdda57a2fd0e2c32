"""What the commands print, given what is right and what is wrong, and what their processes have as arguments."""

from __future__ import annotations

import json
import shlex
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Secret
from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.spool import TO_FORWARD, Spool
from sfwebhooks.signing import Request
from tests.builders import NOW, an_event
from tests.cli.test_cli import Listening, exchange
from tests.conftest import put, sql
from tests.hostile import Hostile
from tests.processes import python
from tests.secrecy.planted import API_KEY, OWN, PATH, SECRETS, SIGNING, WHSEC, echoing
from tests.secrecy.witness import Witness
from tests.test_docs import COMMANDS
from tests.test_service import Run
from tests.test_signing import WHPK
from tests.tiers import quick_first

ONE_STORE = "test_outbox_on_postgres.py has the secret of a server"

#: command -> arguments, right and wrong ones; {folder} is that of the settings, {id} the id of a dead letter
ARGUMENTS = {
    "backfill": ["5C4A0001 --endpoint nobody", "5C4A0001 --endpoint team", "5C4A0001 --endpoint team --rate x"],
    "check": ["", "--config {folder}/none", "--config {folder}/token", "--config {folder}/wrong.ini"],
    "completion": ["bash"],
    "connect": ["team", "nobody --yes", "team --yes --no-test", "team --yes --no-backfill"],
    "create": ["team --url env:NOTHING", "new --url file:{folder}/token", "--from file:{folder}/token",
               "new --url http://127.0.0.1:1/ --secret file:{folder}/token --no-test", "new --secret x",
               "new --set proxy=x --url"],
    "dead": ["list", "list --json", "show {id}", "replay --dry-run --all", "replay {id}", "drop --all"],
    "delete": ["team", "team --yes", "nobody --yes"],
    "deliveries": ["", "--json", "--state dead", "--endpoint nobody"],
    "doctor": ["", "--json", "--config {folder}/none", "--config {folder}/wrong.ini", "--full --spiderfoot {folder}"],
    "demo": [],  # a test of its own, in tests/host
    "disable": ["team", "nobody"],
    "drain": ["--timeout 0.1s", "--timeout x"],
    "drop": ["--state dead --all --dry-run", "--state waiting --endpoint team", "--state dead {id}"],
    "emit": ["workspace_created --data {folder}/saved", "workspace_created --data {folder}/token",
             "workspace_created --data {folder}/none", "nothing --data -", "module_error --data {folder}/saved"],
    "enable": ["team", "nobody"],
    "events": ["", "scan_failed", "nothing"],
    "explain": ["{id}", "{id} --json", "nothing", "{id} --scan 5C4A0001", "{id} --endpoint nobody",
                "{id} --config {folder}/wrong.ini"],
    "help": ["", "dead"],
    "init": ["", "--config {folder}/none/x.json"],
    "install": ["--spiderfoot {folder}"],
    "keygen": ["--file {folder}/token", "--file {folder}/none/x"],
    "list": ["", "--json", "--config {folder}/wrong.ini"],
    "metrics": ["", "--textfile {folder}/x.prom", "--textfile {folder}/none/x.prom", "--config {folder}/wrong.ini"],
    "man": [""],
    "move": ["--endpoint team --to watcher", "--endpoint team --to nobody", "--all --to team"],
    "move-outbox": ["file:{folder}/token", "env:NOTHING", "", "--undo", "file:{folder}/saved --dry-run"],
    "mute": ["", "--json", "{id}", "{id} --endpoint team --for 1d --json", "nothing", "--endpoint nobody {id}"],
    "pause": ["team --for 1s", "nobody"],
    "preview": ["team", "watcher --event scan_completed", "team --delivery {id}", "team --scan x", "nobody"],
    "purge": ["--all --dry-run", "--endpoint nobody --yes", "--all", "--scan 5C4A0001 --yes", "--all --waiting --yes"],
    "receive": ["--endpoint nobody", "--secret whsec_bad", "--secret env:NOTHING", "--api-key file:{folder}/none",
                "--cert {folder}/token", "--save {folder}/none/x", "--log {folder}/token", "--key {folder}/token",
                "--endpoint team --respond x", "--endpoint team --host 192.0.2.1", "--allow x"],
    "replay": ["--dry-run --all", "{id}", "--state dead --all --rate 1/s"],
    "resume": ["team", "nobody"],
    "route": ["", "--json", "high_risk_event", "EMAILADDR --json", "nothing", "--scan 5C4A0001", "--endpoint nobody",
              "--config {folder}/wrong.ini"],
    "run": ["--config {folder}/none --folder {folder}/token", "--metrics 192.0.2.1:1"],
    "service": ["--systemd", "--compose", "--cron", "--systemd --config {folder}/wrong.ini"],
    "show": ["{id}", "--json {id}", "abcdef", "a"],
    "sightings": ["", "--json", "acme.example", "nobody --json"],
    "spool": ["list", "list --json", "retry", "retry --all", "retry nothing", "drop --all"],
    "test": ["", "team", "nobody", "team --event high_risk_event", "--json", "team --json --event nothing"],
    "tickets": ["", "--json", "--endpoint nobody", "--forget", "--endpoint team --forget"],
    "status": ["", "--json", "--config {folder}/none", "--config {folder}/wrong.ini"],
    "stats": ["", "--json", "--since x", "--endpoint nobody", "--since 365d"],
    "web": ["--listen x", "--listen 0.0.0.0:8900", "--listen 192.0.2.1:1",
            "--config {folder}/none --listen 192.0.2.1:1"],
    "unmute": ["{id}", "{id} --json", "nothing"],
    "uninstall": ["--spiderfoot {folder}"],
    "update": ["team --set timeout=x", "team --secret file:{folder}/token", "watcher --url file:{folder}/token",
               "team --events all", "team --unset url", "team --set header.X-Token=x", "nobody --events all",
               "team --config {folder}/wrong.ini --events all", "team --config {folder}/token --events all"],
    "verify-scan": ["{folder}/saved --key {folder}", "{folder}/saved --key file:{folder}/token",
                    "{folder}/raw --key " + WHPK, "{folder}/token --key " + WHPK, "{folder} --key " + WHPK,
                    "{folder}/none --key " + WHPK, "{folder}/saved --json --key " + WHPK + " --after x"],
    "verify": ["{folder}/saved --endpoint team", "{folder}/saved --secret file:{folder}/token",
               "{folder}/raw --secret x", "{folder}/token --endpoint team", "{folder}/none --secret x",
               "{folder}/webhooks.ini --endpoint team",
               "--header 'no header' --body {folder}/token --endpoint team", "{folder}/saved --secret whsec_bad",
               "{folder}/saved --secret env:NOTHING", "{folder}/saved --endpoint watcher", "{folder}/saved --line 7"],
}  # fmt: skip


def test_each_command_is_looked_at() -> None:
    assert ARGUMENTS.keys() == set(COMMANDS)


@pytest.fixture
def filled(
    plant: Callable[..., Settings],
    hostile: Callable[..., Hostile],
    attempt: Callable[..., None],
    settings_folder: Path,
    outbox: Outbox,
) -> dict[str, str]:
    """A dead letter, and files in which somebody kept a request; returns what arguments may name."""
    found = plant(hostile(echoing(400)).place)
    attempt(found)
    with closing(sqlite3.connect(outbox.path)) as connection, connection:
        connection.execute("UPDATE delivery SET state = 'dead', settled_at = ?", (NOW,))
    with closing(Spool(settings_folder / SPOOL_FILE)) as spool:
        spool.outbox.accept([(an_event(1), TO_FORWARD)], NOW)
        spool.set_aside(an_event(1), "a reason", NOW)
    headers = {
        "X-Token": " ".join(OWN),
        "webhook-id": WHSEC,
        "webhook-timestamp": API_KEY,
        "webhook-signature": SIGNING,
    }
    saved = {"at": 1.0, "path": PATH, "headers": headers, "body": " ".join(OWN)}
    (settings_folder / "saved").write_text(json.dumps(saved), encoding="utf-8")
    lines = "\r\n".join(f"{name}: {value}" for name, value in headers.items())
    (settings_folder / "raw").write_text(f"POST {PATH} HTTP/1.1\r\n{lines}\r\n\r\n{SECRETS}", encoding="utf-8")
    (settings_folder / "wrong.ini").write_text("\n".join(SECRETS), encoding="utf-8")
    return {"folder": str(settings_folder), "id": sql(outbox, "SELECT id FROM delivery WHERE state = 'dead'")[0][0]}


@pytest.mark.parametrize("command", quick_first(ARGUMENTS, 8))
def test_a_command_prints_no_secret(filled: dict[str, str], witness: Witness, command: str) -> None:
    for arguments in ARGUMENTS[command]:
        witness.run(command, *shlex.split(arguments.format(**filled)))


def test_what_receive_shows(plant: Callable[..., Settings], settings_folder: Path, witness: Witness) -> None:
    endpoint = plant("http://127.0.0.1:1").endpoints[0]
    saved = settings_folder / "saved"
    listening = Listening("--port", "0", "--endpoint", "team", "--save", str(saved), start=python)
    bodies = (b'{"data":{"target":"acme.example"}}', b"[]", b"rubbish", b" ")
    replies = [listening.send(body, secrets=[SIGNING]) for body in bodies]
    headers = {name: value.reveal() for name, value in endpoint.headers.items()}
    for url in (endpoint.url.reveal(), f"http://127.0.0.1:1{PATH}"):
        there = replace(endpoint, url=Secret(url.replace("http://127.0.0.1:1", listening.url)))
        replies.append(exchange(there, Request(there.url, headers, b"{}")))
    witness.see("arguments", arguments_of(listening.process.pid))
    witness.see("receive", listening.first, *listening.end())
    assert [reply.status for reply in replies] == [401] * 6
    for line in range(1, 7):
        witness.run("verify", str(saved), "--endpoint", "team", "--line", str(line))


def test_what_a_service_says(
    plant: Callable[..., Settings], hostile: Callable[..., Hostile], outbox: Outbox, witness: Witness, tmp_path: Path
) -> None:
    endpoint = plant(hostile(echoing(503)).place, retry_schedule="1s").endpoints[0]
    put(outbox, endpoint, events=2)
    run = Run(tmp_path, python)
    run.wait_for("http_503")
    witness.see("arguments", arguments_of(run.process.pid))
    assert run.end(signal.SIGTERM) == 0
    witness.see("service", run.said)


def arguments_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
