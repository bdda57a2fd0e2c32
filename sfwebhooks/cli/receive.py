"""`sfwebhooks receive`: a local receiver that verifies, shows and stores deliveries."""

from __future__ import annotations

import argparse
import errno
import io
import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from sfwebhooks.config.endpoint import secret_text
from sfwebhooks.config.values import path as file_name
from sfwebhooks.config.values import seconds, whole_number
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, NotStoredError
from sfwebhooks.files import demand_regular, open_to_append
from sfwebhooks.network.addresses import Network
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.completeness import Account, CompletenessCheck
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.repeats import AcceptedIds
from sfwebhooks.receive.request_log import RequestLog
from sfwebhooks.receive.responses import Response, responses
from sfwebhooks.receive.server import FORBIDDEN, NOT_STORED, Receiver, server_context
from sfwebhooks.receive.verification import TOLERANCE_SECONDS
from sfwebhooks.terminal.arguments import (
    add_config,
    add_secret,
    endpoint_named,
    known_secrets,
    named_secrets,
    said,
    without_mistake,
)
from sfwebhooks.terminal.output import as_json, console, plain
from sfwebhooks.terminal.received import as_object, body_of, print_request, time_of_day, verdict_of
from sfwebhooks.terminal.stop_signal import StopSignal
from sfwebhooks.text import amount, moment

NOT_ALLOWED = "--allow does not name its address"


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "receive",
        help="receive deliveries here, verify them, show them",
        epilog="examples:\n  sfwebhooks receive --endpoint siem_system\n"
        "  sfwebhooks receive --port 9000 --respond 500*2,200",
    )
    add_config(command)
    command.add_argument("--endpoint", metavar="NAME", help="use the port, secret and api_key of this endpoint")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    command.add_argument(
        "--port", type=said(whole_number(0, 65535)), help="port to listen on (8080, or the endpoint's; 0: any free one)"
    )
    _add_checks(command)
    command.add_argument("--cert", type=Path, help="serve https with this certificate (PEM)")
    command.add_argument("--key", type=Path, help="its key, if not in the same file")
    command.add_argument("--client-ca", type=Path, help="require a client certificate from this CA")
    command.add_argument(
        "--respond",
        type=said(responses),
        default="200",
        metavar="ANSWERS",
        help="statuses for verified deliveries, in turn, then always the last: 500*3,200 or 429:30 (with Retry-After)",
    )
    command.add_argument("--slow", type=said(seconds), metavar="TIME", help="wait before each answer, such as 5s")
    shown = command.add_mutually_exclusive_group()
    shown.add_argument("--full", action="store_true", help="show the whole message")
    shown.add_argument("--json", action="store_true", help="print each request as one line of JSON, for programs")
    command.add_argument("--save", type=Path, metavar="FILE", help="append each request, one JSON object per line")
    command.add_argument(
        "--log", type=said(file_name), metavar="FILE", help="add each request to the table webhook_logs (SQLite)"
    )
    command.set_defaults(run=_receive)


def _add_checks(command: argparse.ArgumentParser) -> None:
    add_secret(command)
    command.add_argument("--api-key", default="", help="require this bearer token: text, env:NAME or file:PATH")
    command.add_argument(
        "--tolerance",
        type=said(seconds),
        metavar="TIME",
        help="refuse a webhook-timestamp that is further off (5m); if given, also one that is not signed",
    )
    command.add_argument(
        "--allow",
        type=said(network),
        action="append",
        default=[],
        metavar="ADDRESS",
        help="refuse connections from others than this address or network, before TLS; can be repeated",
    )


def network(text: str) -> Network:
    """Read an address or a network."""
    try:
        return ip_network(text.strip())
    except ValueError as error:
        expected = "expected an address or a network such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
        raise ValueError(f"{expected}{_meant(text)}") from error


def _meant(text: str) -> str:
    """Return the network of an address with a prefix length, which is ambiguous."""
    try:
        return f"; did you mean {ip_network(text.strip(), strict=False)}?"
    except ValueError:
        return ""


def _receive(given: argparse.Namespace) -> int:
    done = StopSignal()
    checks, port = _expected(given)
    desk = Desk(given, bool(checks.secrets), done)
    receiver = _receiver(given, (checks, port), desk)
    receiver.start()
    place = receiver.url.rpartition("/")[0]  # the endpoint's path may be a secret
    desk.note(plain(f"Listening on {place}, any path; stop with Ctrl-C."))
    done.wait()
    receiver.stop()
    desk.close()
    return 0


class Desk:
    """All that is done with a request between its verification and its answer. Thread-safe.

    Args:
        checked: whether a secret is known.
        done: set once nobody reads what is printed.
    """

    def __init__(self, given: argparse.Namespace, checked: bool, done: StopSignal) -> None:
        self._full, self._json, self._checked, self._done = given.full, given.json, checked, done
        self._out = console()
        self._notes = Console(stderr=True, highlight=False, soft_wrap=True) if given.json else self._out
        self._accepted, self._check, self._forbidden = AcceptedIds(), CompletenessCheck(), 0
        self._responses: Iterator[Response] = given.respond
        self._saved = _saved(given.save) if given.save else None
        self._log = _log(given.log) if given.log else None
        self._lock = threading.Lock()

    def respond(self, received: Received) -> Response:
        """Return the next response."""
        with self._lock:
            return next(self._responses)

    def take(self, received: Received) -> None:
        """Store a request, then show it.

        Raises:
            NotStoredError: it could not be stored.
        """
        try:
            with self._lock:
                self._take(received)
        except (BrokenPipeError, SystemExit):  # the latter is how rich reports it
            self._done.set()
            raise

    def _take(self, received: Received) -> None:
        repeat_of = self._accepted.first_at(received.id) if received.taken else None
        try:
            self._store(received, repeat_of)
        except NotStoredError as error:
            self._show(received, repeat_of, (), str(error))
            raise
        if received.taken:
            self._accepted.add(received.id, received.at)
        entered = map(self._check.enter, received.messages if received.taken else ())
        self._show(received, repeat_of, [account for account in entered if account], "")

    def _store(self, received: Received, repeat_of: float | None) -> None:
        if self._saved:
            _save(received, self._saved)
        if self._log:
            answer = "" if received.taken else f"answered {received.answer} as asked"
            repeat = "" if repeat_of is None else f"repeat: accepted at {moment(repeat_of)}"
            self._log.add(received, "; ".join(received.problems) or answer or repeat)

    def _show(self, received: Received, repeat_of: float | None, accounts: Sequence[Account], failure: str) -> None:
        if self._json:
            found = as_object(received, self._checked, repeat_of, accounts)
            if failure:
                found.update(status=NOT_STORED[0], problems=[*found["problems"], f"not stored: {failure}"])
            self._out.print(plain(as_json(found)), soft_wrap=True)
            return
        print_request(received, self._full, self._out)
        self._out.print(verdict_of(received, self._checked, repeat_of))
        if failure:
            self._out.print(plain(f"  not stored: {failure}; answered {NOT_STORED[0]}, to be sent again", "red"))
        for account in accounts:
            self._out.print(_line(account))

    def forbid(self, address: str) -> None:
        """Count and show a connection from an address that is not allowed."""
        with self._lock:
            self._forbidden += 1
            if self._json:
                found = {"at": time.time(), "source_ip": address, "status": FORBIDDEN, "problems": [NOT_ALLOWED]}
                self._out.print(plain(as_json(found)), soft_wrap=True)
            else:
                self._out.print(plain(f"{time_of_day(time.time())}  refused {address}: {NOT_ALLOWED}", "red"))

    def refuse(self, reason: str) -> None:
        """Show why a TLS handshake failed."""
        with self._lock:
            self.note(plain(f"{time_of_day(time.time())}  refused in the TLS handshake: {reason}", "red"))

    def note(self, text: Text) -> None:
        """Print a line that is not about a request."""
        self._notes.print(text)

    def close(self) -> None:
        """Show what is incomplete, and close the files."""
        with self._lock:
            for account in self._check.open:
                self.note(_line(account))
            if self._check.forgotten:
                more = f"{self._check.forgotten:,} more unfinished scans"
                self.note(Text(f"{more}: too many at once to check for completeness."))
            if self._forbidden:
                self.note(Text(f"{amount(self._forbidden, 'connection')} from addresses that are not allowed."))
            if self._log:
                self._log.close()
            self.note(Text("Stopped."))


def _receiver(given: argparse.Namespace, expected: tuple[Checks, int], desk: Desk) -> Receiver:
    checks, port = expected
    tls = _tls(given)
    try:
        made = Receiver(checks, (given.host, port), tls, desk.respond, desk.take)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        cure = "; --port chooses another one" if getattr(error, "errno", 0) == errno.EADDRINUSE else ""
        raise ConfigError(f"cannot listen on {given.host}:{port}: {error}{cure}") from error
    made.on_refuse, made.on_forbid, made.slow_seconds = desk.refuse, desk.forbid, given.slow or 0.0
    return made


def _tls(given: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the TLS context that the arguments ask for, or None for plain http."""
    if not given.cert:
        if given.key or given.client_ca:
            raise ConfigError("--key and --client-ca need --cert: without it this is plain http")
        return None
    try:
        for path in filter(None, (given.cert, given.key, given.client_ca)):
            demand_regular(path)
        return server_context(given.cert, given.key or given.cert, given.client_ca)
    except OSError as error:
        files = ", ".join(str(path) for path in (given.cert, given.key, given.client_ca) if path)
        cure = "" if given.key else "; if the certificate's file has no private key, name the file that has it: --key"
        raise ConfigError(f"these files cannot be used for https: {files}: {error}{cure}") from error


def _expected(given: argparse.Namespace) -> tuple[Checks, int]:
    """Return the checks and the port, from the arguments or the endpoint."""
    known, port = known_secrets(named_secrets(given.secret)), given.port
    try:
        api_key = secret_text(given.api_key, Path(), pipes=True)
    except ValueError as error:
        raise ConfigError(f"--api-key: {error}") from error
    if given.endpoint:
        endpoint = without_mistake(endpoint_named(given, given.endpoint))
        _demand_tls(endpoint, given.cert)
        known += [secret.reveal() for secret in endpoint.secrets]
        api_key = api_key or (endpoint.api_key.reveal() if endpoint.api_key else "")
        port = urlsplit(endpoint.url.reveal()).port if port is None else port
    tolerance, timeless = given.tolerance or TOLERANCE_SECONDS, given.tolerance is None
    return Checks(known, api_key, tolerance, timeless, tuple(given.allow)), 8080 if port is None else port


def _demand_tls(endpoint: Endpoint, cert: Path | None) -> None:
    """Check that an https endpoint is not received over plain http.

    Raises:
        ConfigError: it would be.
    """
    if endpoint.place.startswith("https:") and not cert:
        raise ConfigError(
            f'the url of endpoint "{endpoint.name}" is https ({endpoint.place}): give --cert, and --client-ca for'
            " mutual TLS; without them this is plain http"
        )


def _line(account: Account) -> Text:
    return plain(f"  {account}", "bold green" if account.complete else "bold yellow")


def _log(path: Path) -> RequestLog:
    """Open the log.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        return RequestLog(path)
    except NotStoredError as error:
        raise ConfigError(f"--log {path} cannot be written: {error}") from error


def _saved(path: Path) -> io.FileIO:
    """Open the file for requests; if new, only its owner can read it: tokens and paths in requests may be secrets.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        return io.FileIO(open_to_append(path), "a")
    except OSError as error:
        raise ConfigError(f"--save {path} cannot be written: {error.strerror}") from error


def _save(received: Received, file: io.FileIO) -> None:
    """Append a request to a file, in the form that `receive/capture` reads.

    Raises:
        NotStoredError: it cannot be written.
    """
    line: dict[str, Any] = {
        "at": received.at,
        "path": received.path,
        "headers": dict(received.headers.items()),
        **body_of(received),
        "problems": received.problems,
    }
    try:
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        raise NotStoredError(error.strerror) from error
