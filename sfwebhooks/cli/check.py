"""`sfwebhooks check`: the configuration as it is understood, and every mistake in it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.cli.common import add_config, console, folder, plain, settings, stacked, table
from sfwebhooks.config import Settings, disabled
from sfwebhooks.database import FILE
from sfwebhooks.dependencies import outdated
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import CertificateError, InstallError, OutboxError
from sfwebhooks.hostdb import MODULE, is_deleted, saved_options
from sfwebhooks.install import SHIM, modules_folder
from sfwebhooks.keys import WHPK, WHPK_HINT, WHSEC, WHSK, receiver_form
from sfwebhooks.locks import url_lock
from sfwebhooks.outbox import Outbox
from sfwebhooks.owners import checked, doubts, obstacle, refused
from sfwebhooks.tls import context_for, expiring
from sfwebhooks.waiting import CONFIG_MISTAKE, paused

#: columns of a terminal from which on all of these stand side by side
WIDE = 130
COLUMNS = ("endpoint", "to", "format", "events", "signed", "TLS", "state")


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("check", help="show the endpoints, and every mistake in the configuration")
    add_config(command)
    command.add_argument(
        "--show-secrets", action="store_true", help="also print what the receivers need: whsec_ secrets, whpk_ keys"
    )
    command.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> int:
    found, out = settings(given), console()
    sent_to = [endpoint for endpoint in found.endpoints if not endpoint.mistake]
    broken = {endpoint.name: problem for endpoint in sent_to if (problem := _tls_problem(endpoint))}
    mistakes = [str(mistake) for mistake in found.mistakes]
    mistakes += [f"{found.file}: [webhooks.{name}] {problem}" for name, problem in broken.items()]
    if not (found.endpoints or mistakes):
        mistakes.append(f"{found.file}: there is no endpoint that can be used")
    out.print(plain(f"{found.file}: {_switch(found, saved_options(folder(given)))}"))
    module = _module()
    if module and module.exists():
        out.print(plain(f"The module is in SpiderFoot: {module}"), soft_wrap=True)
    unusable = list(_unusable(found, folder(given) / FILE))
    mistakes += unusable
    _print_endpoints(found, _states(found, broken, None if unusable else folder(given) / FILE), out)
    if given.show_secrets:
        _print_secrets(found, out)
    missing = ["the module is not in SpiderFoot: sfwebhooks install"] if module and not module.exists() else []
    ends = [f"{one.name}: {expiry.words}" for one in found.endpoints for expiry in expiring(one, time.time())]
    for warning in [*missing, *outdated(), *found.warnings, *ends, *doubts(folder(given) / FILE)]:
        out.print(plain(f"warning: {warning}", "yellow"))
    for mistake in mistakes:
        out.print(plain(f"mistake: {mistake}", "red"))
    out.print(f"{len(mistakes)} mistake{'' if len(mistakes) == 1 else 's'}." if mistakes else "No mistakes.")
    return 1 if mistakes else 0


def _switch(found: Settings, saved: dict[str, str]) -> str:
    """Return in words in which scans webhooks are."""
    if disabled():
        return "webhooks are off (SFWEBHOOKS_DISABLED is set)"
    if saved.get("enabled") == "0":
        return "webhooks are off (by the module's option on SpiderFoot's settings page)"
    if found.enabled is None:
        return f"webhooks are in scans that choose the module {MODULE}"
    return "webhooks are in every scan" if found.enabled else "webhooks are off (enabled = false)"


def _unusable(found: Settings, path: Path) -> Iterator[str]:
    """Yield why the outbox, or the lock of who sends to an endpoint, cannot be used by this user."""
    try:
        if is_deleted(path):
            trouble = None if is_deleted(path.parent) else obstacle(checked(path))  # SpiderFoot makes its folder
            if trouble:
                yield f"outbox {path} cannot be made: {trouble}"
            return
        with closing(Outbox(path, listing=True)) as outbox:
            outbox.check()
        for endpoint in found.endpoints:
            url_lock(path, endpoint.url_id).check()
    except OutboxError as error:
        yield str(error)
    except OSError as error:
        yield str(refused(f"outbox {path}", path, error))


def _states(found: Settings, broken: dict[str, str], path: Path | None) -> dict[str, Text]:
    """Return for each endpoint whether it can be sent to: by its files, and by what its receiver said last."""
    states = {endpoint.name: plain("ready", "green") for endpoint in found.endpoints}
    if path is None:
        states = {name: plain("held: see below", "red") for name in states}
    elif not is_deleted(path):
        outbox = Outbox(path, listing=True)
        for endpoint in found.endpoints:
            health = outbox.health(endpoint.name)
            if not health.healthy and health.fingerprint == endpoint.fingerprint:
                states[endpoint.name] = plain(f"{health.condition.value}: {health.reason}", "red")
            orders = outbox.orders(endpoint.name)
            if orders.paused_until > time.time():
                states[endpoint.name] = plain(paused(orders), "yellow")
        outbox.close()
    states |= {name: plain(f"{CONFIG_MISTAKE}: see below", "red") for name in found.held}
    return states | {name: plain("held: see below", "red") for name in broken}


def _print_endpoints(found: Settings, states: dict[str, Text], out: Console) -> None:
    wide = out.width >= WIDE
    rows = table(*COLUMNS) if wide else table("endpoint / to", "format", "events", "state")
    for endpoint in found.endpoints:
        name, to = plain(endpoint.name, "bold"), plain(endpoint.place)
        events, state = plain(", ".join(endpoint.events)), states[endpoint.name]
        form = endpoint.format if endpoint.naming == Endpoint.naming else f"{endpoint.format}, {endpoint.naming}"
        signed, tls = _signed(endpoint), _tls(endpoint)
        if wide:
            rows.add_row(name, to, form, events, signed, tls, state)
        else:
            how = stacked(plain(form), plain(f"signed: {signed}"), plain(f"TLS: {tls}"))
            rows.add_row(stacked(name, to), how, events, state)
    if found.endpoints:
        out.print(rows)


def _signed(endpoint: Endpoint) -> str:
    texts = [secret.reveal() for secret in endpoint.secrets]
    kinds = [next((kind for kind in (WHSEC, WHSK) if text.startswith(kind)), "text") for text in texts]
    return ", ".join(kinds) if kinds else "no"


def _tls(endpoint: Endpoint) -> str:
    if endpoint.place.startswith("http://"):
        return "none"
    trust = "own CA" if endpoint.ca_bundle else "public CAs"
    verified = f"verified, {trust}" if endpoint.verify_tls else "NOT VERIFIED"
    return f"{verified}, mTLS" if endpoint.client_cert else verified


def _tls_problem(endpoint: Endpoint) -> str:
    """Return what is wrong with the endpoint's certificate files, or nothing."""
    try:
        context_for(endpoint)
    except CertificateError as error:
        return str(error)
    return ""


def _module() -> Path | None:
    """Return where the module is, or should be, in SpiderFoot."""
    try:
        return modules_folder() / SHIM
    except InstallError:
        return None  # a SpiderFoot that is not installed with pip; nobody said where it is


def _print_secrets(found: Settings, out: Console) -> None:
    rows = table("endpoint", "for its receiver (whsec_: for any library of Standard Webhooks)")
    forms = [
        (endpoint.name, receiver_form(secret.reveal())) for endpoint in found.endpoints for secret in endpoint.secrets
    ]
    for name, form in forms:
        rows.add_row(plain(name, "bold"), form)
    out.print(rows)
    if any(form.startswith(WHPK) for _, form in forms):
        out.print(plain(WHPK_HINT), soft_wrap=True)
