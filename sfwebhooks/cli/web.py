"""`sfwebhooks web`: a page and an API for what is delivered, in a process that also delivers."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import signal
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sfwebhooks.delivery.process import Role
from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.permissions import permission_warnings
from sfwebhooks.outbox.postgres.dsn import local_path
from sfwebhooks.service import Service
from sfwebhooks.terminal.arguments import (
    add_config,
    demand_sending,
    folder,
    parsed_address,
    said,
    settings,
    settings_file,
)
from sfwebhooks.terminal.stop_signal import StopSignal

if TYPE_CHECKING:
    from sfwebhooks.web.logins import Access

log = logging.getLogger("spiderfoot.webhooks")
DEFAULT_ADDRESS = "127.0.0.1:8900"
#: environment variables with the tokens of an operator and of a viewer
TOKEN, VIEWER_TOKEN = "SFWEBHOOKS_WEB_TOKEN", "SFWEBHOOKS_WEB_VIEWER_TOKEN"
#: packages of the extra
PACKAGES = ("fastapi", "uvicorn")


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "web",
        help="serve a page and an API, and deliver like run",
        description="Serve a page and an API at an address, and keep delivering from the outbox like `sfwebhooks run`,"
        f" until SIGTERM or Ctrl-C. ${TOKEN} has the token of an operator; without it, a link is printed that signs in"
        " once.",
        epilog="examples:\n  sfwebhooks web\n  sfwebhooks web --listen 0.0.0.0:8900 --allow-host hooks.example.com",
    )
    add_config(command)
    command.add_argument(
        "--listen",
        type=said(parsed_address),
        default=DEFAULT_ADDRESS,
        metavar="ADDRESS:PORT",
        help=f"IP address and port; default: {DEFAULT_ADDRESS}",
    )
    command.add_argument(
        "--allow-host",
        action="append",
        default=[],
        type=said(_host_name),
        metavar="NAME",
        help="a further name of this server in URLs, such as that of a reverse proxy; can be repeated",
    )
    command.add_argument(
        "--behind-tls",
        action="store_true",
        help="a reverse proxy in front ends TLS and adds X-Forwarded-For: cookies are only sent by https",
    )
    command.add_argument("--read-only", action="store_true", help="change nothing, and deliver nothing")
    command.add_argument("--no-deliver", action="store_true", help="deliver nothing: another process does")
    command.set_defaults(run=_web, log_level=logging.INFO, log_form="%(asctime)s %(message)s")


def _host_name(text: str) -> str:
    """Return a host's name, with a port or not, as it is in a Host header."""
    if not text or not text.isascii() or any(one in text for one in "/@*, \t"):
        raise ValueError(f"{text!r}: expected the name of a host as in a URL, such as hooks.example.com")
    return text.lower()


def _web(given: argparse.Namespace) -> int:
    if any(find_spec(package) is None for package in PACKAGES):
        raise ConfigError("web requires other packages: pip install 'sfwebhooks[web]'")
    from sfwebhooks.web.app import guarded
    from sfwebhooks.web.logins import Access, Logins
    from sfwebhooks.web.server import listening, serving, shown_address
    from sfwebhooks.web.site import Site

    delivers = not (given.read_only or given.no_deliver)
    if delivers:
        demand_sending()
    tokens = _tokens()
    if Access.OPERATOR not in tokens and not ipaddress.ip_address(given.listen[0]).is_loopback:
        shown = shown_address(*given.listen)
        raise ConfigError(
            f"--listen {shown}: other machines could reach it, so it needs a token: set {TOKEN} to the output of"
            " sfwebhooks keygen, or listen on 127.0.0.1"
        )
    stop, reload = StopSignal(), threading.Event()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reload.set())
    found, logins = settings(given), Logins(tokens)
    place = found.place(folder(given))
    for text in (*found.mistakes, *found.warnings, *permission_warnings(local_path(place))):
        log.warning("webhooks: %s", text)
    with listening(given.listen) as listener:
        address: tuple[str, int] = listener.getsockname()[:2]
        site = Site(
            folder=folder(given),
            place=place,
            load=lambda: settings(given),
            file=settings_file(given),
            logins=logins,
            listen=address,
            names=tuple(given.allow_host),
            read_only=given.read_only,
            delivers=delivers,
            behind_tls=given.behind_tls,
        )
        service = Service(lambda: settings(given), place, Role.WEB) if delivers else None
        with serving(guarded(site), site, listener):
            url = f"http://{shown_address(*address)}/"
            print(url if Access.OPERATOR in tokens else f"{url}login#link={logins.make_link()}", flush=True)
            if service:
                return 0 if service.run(stop, reload) else 1
            stop.wait()
            return 0


def _tokens() -> dict[Access, str]:
    """Return the tokens that the environment has.

    Raises:
        ConfigError: one is too short, or both are the same.
    """
    from sfwebhooks.web.logins import TOKEN_MIN, Access

    found = {Access.OPERATOR: os.environ.get(TOKEN, ""), Access.VIEWER: os.environ.get(VIEWER_TOKEN, "")}
    for access, name in ((Access.OPERATOR, TOKEN), (Access.VIEWER, VIEWER_TOKEN)):
        if found[access] and len(found[access]) < TOKEN_MIN:
            raise ConfigError(
                f"{name}: expected at least {TOKEN_MIN} characters, such as the output of sfwebhooks keygen"
            )
    if found[Access.OPERATOR] and found[Access.OPERATOR] == found[Access.VIEWER]:
        raise ConfigError(f"{TOKEN} and {VIEWER_TOKEN} are the same: a viewer would be an operator")
    return {access: token for access, token in found.items() if token}
