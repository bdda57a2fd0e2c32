"""`sfwebhooks check`: the configuration as it is understood, and every mistake in it."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from sfwebhooks.cli.common import add_config, console, plain, settings, table
from sfwebhooks.config import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import CertificateError
from sfwebhooks.signing import WHSEC, whsec_form
from sfwebhooks.tls import context_for


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("check", help="show the endpoints, and every mistake in the configuration")
    add_config(command)
    command.add_argument(
        "--show-secrets", action="store_true", help="also print each secret in the whsec_ form, for the receivers"
    )
    command.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> int:
    found, out = settings(given), console()
    broken = {endpoint.name: problem for endpoint in found.endpoints if (problem := _tls_problem(endpoint))}
    out.print(plain(f"{found.file}: {_switch(found)}"))
    _print_endpoints(found, broken, out)
    if given.show_secrets:
        _print_secrets(found, out)
    for warning in (*found.warnings, *(text for endpoint in found.endpoints for text in _warnings(endpoint))):
        out.print(plain(f"warning: {warning}", "yellow"))
    for mistake in found.mistakes:
        out.print(plain(f"mistake: {mistake}", "red"))
    for name, problem in broken.items():
        out.print(plain(f"mistake: [webhooks.{name}] {problem}", "red"))
    count = len(found.mistakes) + len(broken)
    out.print(f"{count} mistake{'' if count == 1 else 's'}." if count else "No mistakes.")
    return 1 if count else 0


def _switch(found: Settings) -> str:
    if found.enabled is None:
        return "webhooks are in scans that choose the module sfp__stor_webhooks"
    return "webhooks are in every scan" if found.enabled else "webhooks are off (enabled = false)"


def _print_endpoints(found: Settings, broken: dict[str, str], out: Console) -> None:
    rows = table("endpoint", "to", "format", "events", "signed", "TLS", "")
    for endpoint in found.endpoints:
        state = plain("held: see below", "red") if endpoint.name in broken else plain("ready", "green")
        rows.add_row(
            plain(endpoint.name, "bold"),
            plain(endpoint.place),
            endpoint.format,
            plain(", ".join(endpoint.events)),
            _signed(endpoint),
            _tls(endpoint),
            state,
        )
    out.print(rows if found.endpoints else "No endpoint can be used.")


def _signed(endpoint: Endpoint) -> str:
    kinds = ["whsec_" if secret.reveal().startswith(WHSEC) else "text" for secret in endpoint.secrets]
    return ", ".join(kinds) if kinds else "no"


def _tls(endpoint: Endpoint) -> str:
    if endpoint.place.startswith("http://"):
        return "none"
    trust = "own CA" if endpoint.ca_bundle else "public CAs"
    return ("verified, " + trust if endpoint.verify_tls else "NOT VERIFIED") + (
        ", mTLS" if endpoint.client_cert else ""
    )


def _tls_problem(endpoint: Endpoint) -> str:
    """Return what is wrong with the endpoint's certificate files, or nothing."""
    try:
        context_for(endpoint)
    except CertificateError as error:
        return str(error)
    return ""


def _warnings(endpoint: Endpoint) -> list[str]:
    found = []
    if not endpoint.secrets:
        found.append(f"{endpoint.name} has no secret: its receiver cannot tell who sent a message")
    if not endpoint.verify_tls:
        found.append(f"{endpoint.name} has verify_tls = false: anybody on the way can read and change its messages")
    return found


def _print_secrets(found: Settings, out: Console) -> None:
    rows = table("endpoint", "for a Standard Webhooks receiver")
    for endpoint in found.endpoints:
        for secret in endpoint.secrets:
            rows.add_row(plain(endpoint.name, "bold"), whsec_form(secret.reveal()))
    out.print(rows)
