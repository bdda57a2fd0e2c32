"""`sfwebhooks verify-scan`: check captured messages against the signed statements about their scans, offline."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfwebhooks.config.endpoint import secret_text
from sfwebhooks.errors import CaptureError, ConfigError
from sfwebhooks.files import open_regular, read_at_most
from sfwebhooks.receive.capture import Captured, from_file, from_lines
from sfwebhooks.receive.inflating import BODY_MAX
from sfwebhooks.receive.proof import MILD, Claim, Examination, Fault, Flaw
from sfwebhooks.signing_keys import WHPK, problem
from sfwebhooks.terminal.arguments import add_json, said
from sfwebhooks.terminal.output import as_json, console, plain
from sfwebhooks.text import amount

#: most bytes of a line: a body as JSON, perhaps with its base64
LINE_MAX = 4 * BODY_MAX
HASH = re.compile(r"[0-9a-f]{64}")


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "verify-scan",
        help="check what a receiver has of a scan against its signed statement",
        description="Check captured messages against the statements that sfwebhooks has signed about their scans (proof"
        " in the settings of the endpoint), and name what is missing, altered, added, out of chain or signed with"
        " another key. Needs no settings, no outbox and no network. Exit code 0: all is proven; 1: something is wrong;"
        " 3: nothing is wrong, and some messages are in no statement.",
        epilog="example:\n  sfwebhooks verify-scan captured/ --key file:archive.whpk",
    )
    command.add_argument(
        "place", type=Path, metavar="FILE|FOLDER", help="from `receive --save`, raw HTTP requests, or a folder of those"
    )
    command.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="WHPK",
        help="the sender's public key, or file:PATH; several if it was replaced",
    )
    command.add_argument(
        "--after",
        type=said(statement_hash),
        action="append",
        default=[],
        metavar="SHA256",
        help="a statement that need not be there: the last one of an earlier check",
    )
    add_json(command, "print one JSON object per flaw and per scan")
    command.set_defaults(run=_verify_scan)


def public_key(text: str) -> str:
    """Return the whpk_ key that --key names.

    Raises:
        ConfigError: it is another kind of key, or cannot be read.
    """
    try:
        key = secret_text(text, Path(), pipes=True)
        if not key.startswith(WHPK):
            raise ValueError("expected the public whpk_... key; the sender's whsk_ stays with the sender")
        if problem(key, signs=False):
            raise ValueError(problem(key, signs=False))
    except ValueError as error:
        raise ConfigError(f"--key: {error}") from error
    return key


def statement_hash(text: str) -> str:
    """Read the SHA-256 of a statement."""
    if not HASH.fullmatch(text.lower()):
        raise ValueError("expected the 64 hexadecimal digits of a statement's SHA-256")
    return text.lower()


def _verify_scan(given: argparse.Namespace) -> int:
    out, found = console(), Examination(map(public_key, given.key), given.after)
    for captured in _captured(given.place):
        found.add(captured)
    problems = [*dict.fromkeys(found.problems())]  # a message that was captured several times is named once
    scans = [_scan_fields(scan, claims) for scan, claims in sorted(_by_scan(found).items())]
    for one in problems:
        if given.json:
            out.print(plain(as_json({"flaw": one.flaw.value, "id": one.id, "words": one.words})), soft_wrap=True)
        else:
            out.print(plain(f"{one.flaw.value}: {one.id}: {one.words}", _colour(one)), soft_wrap=True)
    for fields in scans:
        if given.json:
            out.print(plain(as_json(fields)), soft_wrap=True)
        elif not given.quiet:
            out.print(plain(_scan_line(fields)), soft_wrap=True)
    grave = [one for one in problems if one.flaw not in MILD and one.flaw is not Flaw.ORDER]
    lacking = any(fields["stated"] < fields["delivered"] for fields in scans)
    if not found.claims and not given.json:
        out.print(plain("There is no statement that one of these keys has signed.", "red"))
    if grave or not found.claims:
        return 1
    return 3 if lacking or any(one.flaw in MILD for one in problems) else 0


def _captured(place: Path) -> Iterator[Captured]:
    """Yield the requests in a file, or in all files of a folder.

    Raises:
        CaptureError: a file cannot be read or holds something else, or there is none.
    """
    path = None
    for path in _files(place) if place.is_dir() else [place]:
        try:
            yield from _requests(path, path.name if place.is_dir() else "")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "invalid file name"
            raise CaptureError(f"{path} cannot be read: {why}") from error
        except CaptureError as error:
            raise CaptureError(f"{path}: {error}") from error
    if path is None:
        raise CaptureError(f"{place}: there are no files in this folder")


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in those in it, one after the other: there may be a million."""
    for inner, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(inner, name)).is_file())


def _requests(path: Path, name: str) -> Iterator[Captured]:
    with os.fdopen(open_regular(path, os.O_RDONLY, pipes=True), "rb") as file:
        if file.peek(100).lstrip()[:1] in (b"{", b"["):
            yield from from_lines(iter(lambda: file.readline(LINE_MAX), b""), name)
            return
        captured = from_file(read_at_most(file, BODY_MAX))
    for one in captured:
        yield Captured(name or one.name, one.headers, one.body, one.at)


def _by_scan(found: Examination) -> dict[tuple[str, str], list[Claim]]:
    scans: dict[tuple[str, str], list[Claim]] = {}
    for claim in found.claims.values():
        scans.setdefault(claim.scan, []).append(claim)
    return scans


def _scan_fields(scan: tuple[str, str], claims: list[Claim]) -> dict[str, Any]:
    """Return what the statements about a scan say, for --json."""
    last = max(claims, key=lambda claim: claim.link[1])
    delivered = 0
    for claim in claims:
        with suppress(TypeError, ValueError):
            delivered = max(delivered, int(claim.predicate.get("delivered", 0)))
    return {
        "endpoint": scan[0],
        "scan_id": scan[1],
        "statements": len(claims),
        "stated": sum(claim.messages for claim in claims),
        "delivered": delivered,
        "pending": sum(len(claim.listed("pending")) for claim in claims),
        "dead": sum(len(claim.listed("dead")) for claim in claims),
        "last_statement": last.sha256,
    }


def _scan_line(fields: dict[str, Any]) -> str:
    left = ", ".join(f"{fields[name]:,} {name}" for name in ("pending", "dead") if fields[name])
    lacking = fields["delivered"] - fields["stated"]
    more = f"; {amount(lacking, 'message')} delivered before proof was set" if lacking > 0 else ""
    return (
        f"scan {fields['scan_id']} for {fields['endpoint']}: {amount(fields['stated'], 'message')} in"
        f" {amount(fields['statements'], 'statement')}{f', {left}' if left else ''}{more}; the last one's SHA-256 is"
        f" {fields['last_statement']}"
    )


def _colour(one: Fault) -> str:
    return "yellow" if one.flaw in MILD or one.flaw is Flaw.ORDER else "red"
