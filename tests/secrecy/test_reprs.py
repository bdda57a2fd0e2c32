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
from sfwebhooks.config.applying import Applied
from sfwebhooks.config.draft import Draft
from sfwebhooks.config.editing import Edit
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
from sfwebhooks.formats.github_issue import TRACKER
from sfwebhooks.formats.stix import Making
from sfwebhooks.formats.whole_scan import outline
from sfwebhooks.inspection.delivery import Detail
from sfwebhooks.inspection.requests import shown_request
from sfwebhooks.inspection.status import full_status
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
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_rows import ScanRow
from sfwebhooks.scan.isolation import SparingScreen
from sfwebhooks.scan.run import ScanRun
from sfwebhooks.scan.terms import terms_of
from sfwebhooks.screening import Screen
from sfwebhooks.sending import SendingState
from sfwebhooks.service import Service
from sfwebhooks.signing import Request, sign
from sfwebhooks.terminal.output import console
from sfwebhooks.terminal.stop_signal import StopSignal
from sfwebhooks.web.idempotency import MadeAnswer
from sfwebhooks.web.logins import Access, Logins
from sfwebhooks.web.registered import Registered
from sfwebhooks.web.site import Site
from sfwebhooks.web.webhook_edit import NewWebhook
from tests.builders import NOW, a_delivery, a_scan
from tests.leaks import leaks
from tests.secrecy.planted import PATH, SECRETS, proxy_at
from tests.secrecy.witness import Witness

ONE_STORE = "it is about objects"

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


def shown_webhooks(found: Settings) -> list[MadeAnswer]:
    assert found.file
    known = Registered.at(found.file)
    assert known.names
    return [MadeAnswer(201, known.fields(name), {"ETag": known.tag(name)}) for name in known.names]


def installation(found: Settings, folder: Path) -> Installation:
    made = Installation(folder, lambda: found)
    assert made.settings is found and made.live
    return made


def site(found: Settings, folder: Path) -> Site:
    tokens = {Access.OPERATOR: SECRETS[0]}
    made = Site(folder, folder / FILE, lambda: found, found.file, Logins(tokens), ("127.0.0.1", 8900))
    assert made.settings() is found
    return made


#: class -> makes one from settings full of secrets, or from what a receiver got
HOLDERS: dict[str, Callable[[Settings, Path], Any]] = {
    "Settings": lambda found, folder: found,
    "Endpoint": lambda found, folder: [dataclasses.replace(one, name="other") for one in found.endpoints],
    "Screen": lambda found, folder: Screen(found.endpoints),
    "SparingScreen": lambda found, folder: SparingScreen(found.endpoints),
    "Draft": draft,
    "Applied": lambda found, folder: Applied(Edit("team", {"secret": ALL}), ALL, found, found),
    "NewWebhook": lambda found, folder: NewWebhook.model_validate(
        {"url": f"https://a.test/{ALL}", "secret": ALL, "settings": {"api_key": ALL}}
    ),
    "MadeAnswer": lambda found, folder: shown_webhooks(found),
    "Entry": lambda found, folder: draft(found, folder)[1],
    "Content": lambda found, folder: [render(BATCH, one) for one in found.endpoints],
    "Making": lambda found, folder: [Making(outline(BATCH), one) for one in found.endpoints],
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
    "Tracker": lambda found, folder: TRACKER,
    "Checks": lambda found, folder: Checks(SECRETS, SECRETS[0]),
    "Received": lambda found, folder: Received(NOW, PATH, request(found).headers, ALL.encode(), (), ""),
    "Rules": lambda found, folder: [redaction_of(one) for one in found.endpoints],
    "ShownRequest": lambda found, folder: [shown_request(BATCH, one, None) for one in found.endpoints],
    "Detail": lambda found, folder: [Detail(cast(Any, None), (), BATCH.deliveries[0], one) for one in found.endpoints],
    "Site": lambda found, folder: site(found, folder),
    "FullStatus": lambda found, folder: full_status(found, folder / FILE),
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
