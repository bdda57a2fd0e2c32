"""What a debugger, a log line or a failed assertion shows of an object: never a secret that it holds."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

import sfwebhooks
from sfwebhooks.attempts import Reply
from sfwebhooks.cli.backfill import Work
from sfwebhooks.cli.connect import Connecting
from sfwebhooks.config.draft import Draft
from sfwebhooks.config.file import read_settings
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.maintenance import Maintenance
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.demo.teams import Teams
from sfwebhooks.doctor.installation import Installation
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS, redaction_of, render
from sfwebhooks.network.http_reader import Head
from sfwebhooks.network.proxy import Proxy
from sfwebhooks.network.route import Route
from sfwebhooks.network.sender import Adapter, Sender
from sfwebhooks.network.tokens import Token
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import Failure
from sfwebhooks.receive.capture import from_file
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.received import Received
from sfwebhooks.scan.backfill import Past
from sfwebhooks.scan.host_database import HostDatabase, ScanRow
from sfwebhooks.scan.run import ScanRun
from sfwebhooks.scan.terms import terms_of
from sfwebhooks.screening import Screen
from sfwebhooks.sending import SendingState
from sfwebhooks.service import Service
from sfwebhooks.signing import Request, sign
from sfwebhooks.terminal.output import console
from sfwebhooks.terminal.stop_signal import StopSignal
from tests.builders import NOW, a_delivery, a_scan
from tests.leaks import leaks
from tests.secrecy.planted import PATH, SECRETS, proxy_at
from tests.secrecy.witness import Witness

ALL = " ".join(SECRETS)
BATCH = Batch((a_delivery(),))


def request(found: Settings) -> Request:
    return sign(render(BATCH, found.endpoints[0]), BATCH, found.endpoints[0], NOW)


def state(found: Settings) -> SendingState:
    return SendingState(found.endpoints[0])


def draft(found: Settings, folder: Path) -> Any:
    assert found.file
    made = Draft(str(found.file), found.file.parent)
    read_settings(found.file, made)
    return made, [list(keys.values()) for keys in made.endpoints.values()]


def work(found: Settings, folder: Path) -> Work:
    past = Past(a_scan(), ScanRow("", "", 0, 0, ""), HostDatabase(""), None)
    outbox, stop = folder / FILE, cast(StopSignal, Event())
    return Work(found.endpoints[0], found, past, Dispatcher(found.endpoints, outbox), Outbox(outbox), stop)


def installation(found: Settings, folder: Path) -> Installation:
    made = Installation(folder, lambda: found)
    assert made.settings is found and made.live
    return made


#: class -> makes one from settings full of secrets, or from what a receiver got
HOLDERS: dict[str, Callable[[Settings, Path], Any]] = {
    "Settings": lambda found, folder: found,
    "Endpoint": lambda found, folder: [dataclasses.replace(one, name="other") for one in found.endpoints],
    "Screen": lambda found, folder: Screen(found.endpoints),
    "Draft": draft,
    "Entry": lambda found, folder: draft(found, folder)[1],
    "Content": lambda found, folder: [render(BATCH, one) for one in found.endpoints],
    "Request": lambda found, folder: request(found),
    "Proxy": lambda found, folder: Proxy.of(Secret(proxy_at("http://127.0.0.1:1"))),
    "Route": lambda found, folder: [Route.to(dataclasses.replace(found.endpoints[0], proxy=proxy))
                                    for proxy in (None, Secret(proxy_at("http://127.0.0.1:1")))],
    "Adapter": lambda found, folder: Adapter(found.endpoints[0], NOW, lambda: NOW),
    "Sender": lambda found, folder: Sender(found.endpoints[0]),
    "SendingState": lambda found, folder: state(found),
    "SendQueue": lambda found, folder: SendQueue(found.endpoints[:1], Outbox(folder / FILE), lambda: NOW).states,
    "Dispatcher": lambda found, folder: Dispatcher(found.endpoints, folder / FILE).queues,
    "Service": lambda found, folder: Service(lambda: found, folder / FILE),
    "Work": lambda found, folder: work(found, folder),
    "Installation": installation,
    "Maintenance": lambda found, folder: Maintenance(found, folder / FILE),
    "ScanRun": lambda found, folder: ScanRun(a_scan(), found, folder),
    "Terms": lambda found, folder: terms_of(found, a_scan()),
    "Connecting": lambda found, folder: Connecting(argparse.Namespace(), found.endpoints[0], found, True, folder,
                                                   console(), NOW, {}),
    "Reply": lambda found, folder: [Reply(400, headers={"X-Echo": ALL}, body=ALL.encode()),
                                    Reply(failure=Failure.PROXY, detail=ALL)],
    "Token": lambda found, folder: Token(Secret(ALL), NOW),
    "Head": lambda found, folder: Head.read(f"HTTP/1.1 400 {ALL}\r\nX-Echo: {ALL}\r\n"),
    "Format": lambda found, folder: FORMATS,
    "Handshake": lambda found, folder: FORMATS["cloudevents"].handshake,
    "Checks": lambda found, folder: Checks(SECRETS, SECRETS[0]),
    "Received": lambda found, folder: Received(NOW, PATH, request(found).headers, ALL.encode(), (), ""),
    "Rules": lambda found, folder: [redaction_of(one) for one in found.endpoints],
    "Captured": lambda found, folder: from_file(f"POST {PATH} HTTP/1.1\nX-Token: {ALL}\n\n{ALL}".encode()),
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_no_repr_shows_a_secret(
    witness: Witness, plant: Callable[..., Settings], tmp_path: Path, holder: str, scheme: str
) -> None:
    found = plant(f"{scheme}://127.0.0.1:1", proxy=proxy_at("http://127.0.0.1:1"))
    thing = HOLDERS[holder](found, tmp_path)
    witness.see(holder, thing, f"{thing}", [thing])


def test_each_dataclass_that_holds_secrets_is_looked_at() -> None:
    modules = [found.name for found in pkgutil.walk_packages(sfwebhooks.__path__, "sfwebhooks.")]
    needs_host = (
        "sfwebhooks.host.plugin",
        "sfwebhooks.host.around_scan",
        "sfwebhooks.host.risks",
        "sfwebhooks.host.shim",
    )
    skipped = ("sfwebhooks.__main__", "sfwebhooks.demo", *needs_host)
    loaded = [importlib.import_module(name) for name in modules if not name.startswith(skipped)]
    classes = {one for module in loaded for one in vars(module).values() if isinstance(one, type)}
    holding = re.compile(r"\b(Secret|Endpoint|Settings|Entry|SendingState|Request)\b|secrets|headers|api_key|password")
    fields = [
        (one.__name__, field) for one in classes if dataclasses.is_dataclass(one) for field in dataclasses.fields(one)
    ]
    assert {name for name, field in fields if holding.search(f"{field.name}: {field.type}")} <= HOLDERS.keys()


def test_a_team_of_the_demo_shows_no_settings(tmp_path: Path) -> None:
    for team in Teams(tmp_path).all:
        team.receiver.server_close()
        assert (
            leaks(repr(team), *(team.settings[key] for key in ("secret", "api_key", "url") if key in team.settings))
            == []
        )
