"""`sfwebhooks verify`: check the signatures of captured requests and explain failures."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from sfwebhooks.errors import CaptureError, ConfigError
from sfwebhooks.inspection.choosing import parsed_time
from sfwebhooks.receive.capture import Captured, from_file, from_parts
from sfwebhooks.receive.diagnosis import Diagnosis, diagnose
from sfwebhooks.receive.inflating import BODY_MAX
from sfwebhooks.terminal.arguments import (
    add_config,
    add_json,
    add_secret,
    endpoint_named,
    known_secrets,
    named_content,
    named_secrets,
    said,
    without_mistake,
)
from sfwebhooks.terminal.output import as_json, console, plain

#: largest file in bytes: as much as `receive` accepts in one request
CAPTURE_MAX = BODY_MAX
COLOURS = {True: "green", False: "red", None: ""}


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "verify",
        help="check the signature of a captured request and explain a failure",
        description="Check the signatures of captured requests. Exit code 0 only if all of them are verified.",
        epilog="example:\n  sfwebhooks verify requests.jsonl --endpoint siem_system --line -1",
    )
    add_config(command)
    command.add_argument(
        "file", nargs="?", metavar="FILE", help="from `receive --save`, or a raw HTTP request; - is standard input"
    )
    command.add_argument(
        "--line", type=said(line_number), metavar="N", help="only this line of the file (-1: the last)"
    )
    command.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="instead of FILE")
    command.add_argument("--body", metavar="FILE", help="the body for --header; - is standard input")
    add_secret(command)
    command.add_argument("--endpoint", metavar="NAME", help="verify with the secrets of this endpoint")
    command.add_argument(
        "--now",
        type=said(parsed_time),
        metavar="TIME",
        help="time of receipt (epoch seconds or ISO 8601), if it is not now",
    )
    add_json(command, "print one JSON object per request")
    command.set_defaults(run=_verify)


def line_number(text: str) -> int:
    """Read a line number, or -1 for the last line."""
    if not re.fullmatch(r"-1|[1-9]\d{0,8}", text, re.ASCII):
        raise ValueError("expected a line number, or -1 for the last line")
    return int(text)


def _verify(given: argparse.Namespace) -> int:
    messages, named = _messages(given), named_secrets(given.secret)
    secrets = known_secrets(named)
    if given.endpoint:
        secrets += [secret.reveal() for secret in without_mistake(endpoint_named(given, given.endpoint)).secrets]
    if not secrets:
        lacking = f'endpoint "{given.endpoint}" has no secret' if given.endpoint else "--secret or --endpoint is needed"
        raise ConfigError(f"{lacking}: nothing to verify with")
    now, out = time.time() if given.now is None else given.now, console()
    done = [(message, diagnose(message, secrets, now)) for message in messages]
    verified = sum(diagnosis.verified for _, diagnosis in done)
    code = 0 if verified == len(done) else 1
    if given.json:
        for message, diagnosis in done:
            out.print(plain(as_json(_fields(message, diagnosis))), soft_wrap=True)
        return code
    for message, diagnosis in done:
        if not (given.quiet and diagnosis.verified):
            _print(message, diagnosis, len(done) > 1, out)
    if given.now is not None and any(message.at is not None for message in messages):
        out.print("--now has no effect on requests from receive --save, which recorded their time of receipt.")
    for number, text in enumerate(named, 1):
        if text != text.strip():
            cut = f"--secret {number}: the newline or space around it was removed"
            out.print(plain(f"{cut}; a receiver that keeps it cannot verify anything"), soft_wrap=True)
    if len(done) > 1 and not (given.quiet and code == 0):
        out.print(plain(f"{verified} of {len(done)} verified.", COLOURS[verified == len(done)]))
    return code


def _fields(message: Captured, diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the result about a request for --json."""
    findings = [{"about": one.place, "finding": one.words, "good": one.good} for one in diagnosis.findings]
    size = len(message.body)
    return {"request": message.name, "bytes": size, "verified": diagnosis.verified, "findings": findings}


def _messages(given: argparse.Namespace) -> list[Captured]:
    """Return the requests that the arguments name.

    Raises:
        ConfigError: the arguments do not go together.
        CaptureError: a file cannot be read or holds something else.
    """
    parts = bool(given.header) + (given.body is not None)
    if given.file is None and parts == 2:
        with _of("--header"):
            return [from_parts(given.header, _content(given.body))]
    if given.file is None or parts:
        raise ConfigError("give a FILE, or --header and --body instead")
    with _of(given.file):
        messages = from_file(_content(given.file))
    if given.line is None:
        return messages
    wanted = messages[-1].name if given.line == -1 else f"line {given.line}"
    chosen = [message for message in messages if message.name == wanted]
    if not chosen:
        raise CaptureError(f"{given.file}: there is no request in line {given.line}")
    return chosen


@contextmanager
def _of(place: str) -> Iterator[None]:
    """Prefix the error text with the place."""
    try:
        yield
    except CaptureError as error:
        raise CaptureError(f"{place}: {error}") from error


def _content(name: str) -> bytes:
    try:
        return named_content(name, CAPTURE_MAX)
    except (OSError, ValueError) as error:
        raise CaptureError(f"cannot be read: {getattr(error, 'strerror', None) or 'invalid file name'}") from error


def _print(message: Captured, diagnosis: Diagnosis, brief: bool, out: Console) -> None:
    """Print the diagnosis; in one line for a verified request among several."""
    verdict = "verified" if diagnosis.verified else "NOT VERIFIED"
    lines = [(f"{finding.place}: {finding.words}", finding.good) for finding in diagnosis.findings]
    head = f"{message.name}: {len(message.body)} bytes, {verdict}"
    if brief and diagnosis.verified:
        head, lines = f"{head}; " + "; ".join(words for words, good in lines if good), []
    out.print(plain(head, COLOURS[diagnosis.verified]), soft_wrap=True)
    for words, good in lines:
        out.print(plain(f"  {words}", COLOURS[good]), soft_wrap=True)
