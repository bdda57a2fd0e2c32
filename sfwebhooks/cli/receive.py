"""`sfwebhooks receive`: a local receiver that verifies and shows deliveries."""

from __future__ import annotations

import argparse
import base64
import html
import io
import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from sfwebhooks.config.endpoint import secret_text
from sfwebhooks.config.values import whole_number as whole_number
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.files import demand_regular, open_to_append
from sfwebhooks.naming import naming_of
from sfwebhooks.receive.completeness import Account, CompletenessCheck
from sfwebhooks.receive.server import Checks, Received, Receiver, server_context
from sfwebhooks.terminal.arguments import (
    add_config,
    endpoint_named,
    known_secrets,
    named_secrets,
    said,
    without_mistake,
)
from sfwebhooks.terminal.output import console, plain
from sfwebhooks.terminal.stop_signal import StopSignal
from sfwebhooks.text import in_line

#: characters of a value in a line
WORD = 200
#: messages of a request that are shown: as many as a batch can have
MESSAGES_MAX = 1000


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("receive", help="receive deliveries here, verify them, show them")
    add_config(command)
    command.add_argument("--endpoint", metavar="NAME", help="use the port, secret and api_key of this endpoint")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    command.add_argument(
        "--port", type=said(whole_number(0, 65535)), help="port to listen on (8080, or the endpoint's; 0: any free one)"
    )
    command.add_argument(
        "--secret", action="append", default=[], help="verify with it: text, whpk_ key, env:NAME, file:PATH"
    )
    command.add_argument("--api-key", default="", help="require this bearer token: text, env:NAME or file:PATH")
    command.add_argument("--cert", type=Path, help="serve https with this certificate (PEM)")
    command.add_argument("--key", type=Path, help="its key, if not in the same file")
    command.add_argument("--client-ca", type=Path, help="require a client certificate from this CA")
    command.add_argument(
        "--status", default="200", help="answer with this status; several (500,500,200) in turn, then always the last"
    )
    command.add_argument("--full", action="store_true", help="show the whole message")
    command.add_argument("--save", type=Path, metavar="FILE", help="append each request, one JSON object per line")
    command.set_defaults(run=_receive)


def _receive(given: argparse.Namespace) -> int:
    out, done, check = console(), StopSignal(), CompletenessCheck()
    receiver = _receiver(given, check, out)
    receiver.start()
    place = receiver.url.rpartition("/")[0]  # the endpoint's path may be a secret
    out.print(plain(f"Listening on {place}, any path; stop with Ctrl-C."))
    done.wait()
    receiver.stop()
    for account in check.open:
        out.print(_account(account))
    if check.forgotten:
        out.print(f"{check.forgotten:,} more unfinished scans: too many at once to check for completeness.")
    out.print("Stopped.")
    return 0


def _receiver(given: argparse.Namespace, check: CompletenessCheck, out: Console) -> Receiver:
    checks, port = _expected(given)
    tls = _tls(given)
    statuses, lock = _statuses(given.status), threading.Lock()

    def status(received: Received) -> int:
        with lock:
            return next(statuses)

    def show(received: Received) -> None:
        with lock:
            _print(received, given.full, out)
            out.print(_verdict(received, bool(checks.secrets)))
            for message in received.messages if received.taken else ():
                account = check.enter(message)
                if account:
                    out.print(_account(account))
            if saved:
                _save(received, saved, out)

    def refuse(reason: str) -> None:
        out.print(plain(f"{_now()}  refused in the TLS handshake: {reason}", "red"))

    saved = _saved(given.save) if given.save else None
    try:
        return Receiver(checks, (given.host, port), tls, status, show, refuse)
    except OSError as error:
        raise ConfigError(f"cannot listen on {given.host}:{port}: {error}") from error


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
        raise ConfigError(f"these files cannot be used for https: {files}: {error}") from error


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
    return Checks(known, api_key), 8080 if port is None else port


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


def _statuses(text: str) -> Iterator[int]:
    words = text.split(",")
    if not all(word.isdigit() and 200 <= int(word) <= 599 for word in words):
        raise ConfigError(f'--status "{text}": expected numbers from 200 to 599, separated by commas')
    return itertools.chain(map(int, words), itertools.repeat(int(words[-1])))


def _print(received: Received, full: bool, out: Console) -> None:
    """Show a request from its body: the headers that repeat it are not signed."""
    naming, messages = naming_of(received.headers), received.messages
    again = f"  ({naming.replay}, not signed: sent again)" if naming.replay in received.headers else ""
    if len(messages) != 1:
        out.print(plain(f"{_now()}  {len(messages)} messages{again}", "bold"))
    if received.is_crowded:
        out.print("  It has too many values to be shown.")
    for message in messages[:MESSAGES_MAX]:
        only = len(messages) == 1
        name = _word(message.get("event_type", "a message"))
        _print_message(message, f"{_now()}  {name}" if only else f"  {name}", again if only else "", full, out)


def _print_message(message: dict[str, Any], head: str, tail: str, full: bool, out: Console) -> None:
    data = message.get("raw_data", message.get("data"))
    data, metadata = (part if isinstance(part, dict) else {} for part in (data, message.get("metadata")))
    number = metadata.get("sequence", message.get("sequence"))
    severity = metadata.get("severity", message.get("severity_exact"))
    out.print(plain(head + (f" #{number}" if number else "") + f"  {_word(data.get('target', ''))}{tail}", "bold"))
    if full:
        for line in json.dumps(message, indent=2, ensure_ascii=False).split("\n"):
            out.print(plain(line), soft_wrap=True)
    elif "data" in data:
        words = [_word(value) for value in (severity, data.get("event_type"), data["data"]) if value not in (None, "")]
        out.print(plain(f"  {': '.join(words)}"))
    elif isinstance(message.get("text"), str):  # of a chat
        out.print(plain("  " + html.unescape(message["text"]).strip().partition("\n")[0]))
    elif data:
        shown = {key: value for key, value in data.items() if isinstance(value, (int, float, str)) and key != "target"}
        out.print(plain("  " + ", ".join(f"{key} {_word(value)}" for key, value in shown.items())))


def _word(value: Any) -> str:
    """Return a value as JSON, a text without its quotation marks, in one line."""
    return in_line(value if isinstance(value, str) else json.dumps(value), WORD)


def _verdict(received: Received, checked: bool) -> Any:
    client = f", client certificate of {received.client}" if received.client else ""
    guide = naming_of(received.headers).signature
    if received.problems:
        return plain("  NOT VERIFIED: " + "; ".join(received.problems) + client, "red")
    signed = any(name in received.headers for name in ("webhook-signature", guide))
    unknown = "signed, not verified: no secret given" if signed else "not signed"
    timeless = "" if "webhook-signature" in received.headers else f" by {guide} alone, which does not cover the time"
    answer = "" if received.taken else f", answered {received.answer} as asked"
    words = f"verified{timeless}" if checked else unknown
    return plain(f"  {words}{client}, {len(received.body)} bytes{answer}", "green")


def _account(account: Account) -> Any:
    return plain(f"  {account}", "bold green" if account.complete else "bold yellow")


def _saved(path: Path) -> io.FileIO:
    """Open the file for requests; if new, only its owner can read it: tokens and paths in requests may be secrets.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        return io.FileIO(open_to_append(path), "a")
    except OSError as error:
        raise ConfigError(f"--save {path} cannot be written: {error.strerror}") from error


def _save(received: Received, file: io.FileIO, out: Console) -> None:
    """Append a request to a file, in the form that `receive/capture` reads.

    Raises:
        OSError: it cannot be written (shown first); the sender gets no answer and sends the request again.
    """
    line: dict[str, Any] = {
        "at": received.at,
        "path": received.path,
        "headers": dict(received.headers.items()),
        "body": received.body.decode("utf-8", "replace"),
        "problems": received.problems,
    }
    if line["body"].encode() != received.body:  # not UTF-8: the text alone could not be verified again
        line["body_base64"] = base64.b64encode(received.body).decode()
    try:
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        out.print(plain(f"  not saved: {error.strerror}", "red"))
        raise


def _now() -> str:
    return time.strftime("%H:%M:%S")
