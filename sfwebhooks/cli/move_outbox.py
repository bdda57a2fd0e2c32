"""`sfwebhooks move-outbox`: move the outbox file to PostgreSQL."""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from sfwebhooks.config.endpoint import secret_text
from sfwebhooks.config.exposure import is_source
from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import outbox_address
from sfwebhooks.delivery.ownership import owner_of
from sfwebhooks.delivery.standstill import Standstill
from sfwebhooks.errors import ConfigError, OutboxBusyError, OutboxError
from sfwebhooks.files import is_deleted
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.outbox.file import FILE, SPOOL_FILE, Storage
from sfwebhooks.outbox.locks import FileLocks, Lock
from sfwebhooks.outbox.moved import Mark
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.transfer.retiring import demand_no_scans, retire
from sfwebhooks.outbox.transfer.source import SourceFile
from sfwebhooks.terminal.arguments import add_config, add_json, folder, known_settings
from sfwebhooks.terminal.output import beside, console, plain, show_result
from sfwebhooks.terminal.progress_bar import Bar
from sfwebhooks.text import amount

if TYPE_CHECKING:
    from sfwebhooks.outbox.postgres.server import Server
    from sfwebhooks.outbox.transfer.target import Target, TransferState

HELP = f"""
Move everything in the outbox file ({FILE}) to an outbox on PostgreSQL: deliveries in any state with their ids, numbers
and attempts, scans, sightings, mutes, tickets, statistics. Several files can be moved to one database. While scans run,
or another process sends from the file, nothing is moved. From its begin on the file is neither sent from nor added to;
if the command is stopped or fails, run it again: it goes on where it was. The file is kept. Then set outbox in
[webhooks].
"""
EXAMPLE = (
    "example:\n  sfwebhooks move-outbox env:OUTBOX_DATABASE --dry-run\n  sfwebhooks move-outbox env:OUTBOX_DATABASE"
)
#: tables that are named in the result, and one of their rows
NOUNS = {
    "delivery": "delivery",
    "event": "event",
    "delivery_attempt": "attempt",
    "scan": "scan",
    "sighting": "sighting",
    "mute": "mute",
    "handle": "message or ticket at receivers",
}
PLURALS = {"delivery": "deliveries", "handle": "messages or tickets at receivers"}


class Destination(NamedTuple):
    """The server that gets the outbox."""

    #: env:NAME or file:PATH, as it can stand in the settings
    reference: str
    dsn: Dsn


def add(commands: Any) -> None:
    """Add the command."""
    words = "move the outbox file to PostgreSQL"
    command = commands.add_parser("move-outbox", help=words, description=HELP, epilog=EXAMPLE)
    command.add_argument(
        "target", nargs="?", default="", metavar="TARGET", help="where its address is: env:NAME or file:PATH"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only count what would be moved, and name what prevents it"
    )
    command.add_argument(
        "--undo",
        action="store_true",
        help="use the file again: what was sent from the server since then is sent again, with the same ids",
    )
    add_config(command)
    add_json(command)
    command.set_defaults(
        run=_move_outbox, stopped="what was moved is kept; the file is not used until the same command has completed"
    )


def _move_outbox(given: argparse.Namespace) -> int:
    path = folder(given).absolute() / FILE
    if is_deleted(path):
        has_spool = not is_deleted(path.with_name(SPOOL_FILE))
        spool = f"; {SPOOL_FILE} is a spool: sfwebhooks drain forwards its events" if has_spool else ""
        raise OutboxError(f"there is no outbox {path}, so there is nothing to move{spool}")
    if given.undo:
        return _undo(given, path)
    there = _destination(given.target, path.parent)
    if given.dry_run:
        return _say_what_would_move(given, path, there)
    from sfwebhooks.outbox.postgres.server import Server  # needs psycopg

    with _alone(path), closing(Server(there.dsn, Storage())) as server:
        return _report(given, _moved(given, path, there, server), path, there)


def _destination(text: str, data: Path) -> Destination:
    """Return the server that the command line names.

    Raises:
        ConfigError: it names none, or the address itself.
    """
    if not text:
        raise ConfigError("TARGET is required: where the address of the database is, as env:NAME or file:PATH")
    if not is_source(text):
        raise ConfigError("TARGET: other users can see the arguments of a command: use env:NAME or file:PATH")
    kind, _, name = text.strip().partition(":")
    reference = text.strip() if kind == "env" else f"file:{Path(name.strip()).expanduser().absolute()}"
    try:
        return Destination(reference, Dsn(outbox_address(secret_text(reference, Path())).reveal(), data))
    except ValueError as error:
        raise ConfigError(f"{reference}: {error}") from None


def _moved(given: argparse.Namespace, path: Path, there: Destination, server: Server) -> TransferState:
    """Move what is not moved yet; return what was.

    Raises:
        OutboxError: nothing was changed; or the move has begun, and goes on with the next call.
    """
    from sfwebhooks.outbox.transfer.target import Target  # they need psycopg
    from sfwebhooks.outbox.transfer.transfer import Transfer

    found, target = known_settings(given), Target(server)
    target.check()
    with closing(SourceFile(path)) as source:
        mark = source.mark
    state = target.state(mark.id) if mark else _begun(path, there, target, found)
    if state is None:
        raise OutboxError(f"outbox {path} goes to {mark.target if mark else ''}, and not to {there.dsn}")
    with closing(SourceFile(path)) as source, Bar(_bars(given), source.count("event"), "moved") as bar:
        transfer = Transfer(source, target, _notes(path, found), lambda done, total: bar.show(total - done))
        try:
            state = transfer.run(state)
        except OutboxError as error:
            first = f"{error.cure}, then " if isinstance(error, OutboxBusyError) and error.cure else ""
            words = f"{first}run the same command again: it goes on where it was"
            raise OutboxError(f"{error}; the move has begun: {words}") from error
        source.finish()
    return state


def _bars(given: argparse.Namespace) -> Console:
    return console(given.quiet or given.json)


def _begun(path: Path, there: Destination, target: Target, found: Settings | None) -> TransferState:
    """Take the file out of use, once nobody sends from it or adds to it; return the state of the transfer."""
    endpoints = found.known if found else ()
    with closing(Outbox(path)) as outbox, outbox.database.sparing(), Standstill(outbox, endpoints):
        demand_no_scans(outbox.database)
        state = target.register(secrets.token_hex(8))
        retire(outbox.database, Mark(state.id, there.reference, str(there.dsn), None))
    return state


def _notes(path: Path, found: Settings | None) -> Mapping[str, str]:
    """Return name of a lock -> note of its last holder, such as when its pace allows the next message."""
    ids = {endpoint.url_id for endpoint in found.known if not endpoint.mistake} if found else set()
    notes = {f"url-{id}": FileLocks(path).url(id).noted() for id in ids}
    return {name: note for name, note in notes.items() if note}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from moving the same file.

    Raises:
        OutboxBusyError: one does.
    """
    lock = Lock(path, "move")
    if not lock.take():
        raise OutboxBusyError(f"another process is moving outbox {path}")
    try:
        yield
    finally:
        lock.release()


def _report(given: argparse.Namespace, state: TransferState, path: Path, there: Destination) -> int:
    damage = dict(state.damage)
    found = known_settings(given)
    is_set = found is not None and found.outbox is not None and found.outbox.reveal() == there.dsn.text
    order = (
        "The settings name it already."
        if is_set
        else f"Now set outbox = {there.reference} and spool = sqlite or none in [webhooks]: until then nothing is sent."
    )
    lines = [f"{path} was moved to {there.dsn}:", *_lines(state.moved), order]
    if state.is_again:
        lines.append(
            "It, or a file of which it is a copy, was moved there before: its statistics were not added again."
        )
    show_result(given, console(), {"moved": dict(state.moved), "damaged": damage, "set": order}, *lines)
    for what, number in damage.items():
        words = f"damaged: {what}" + (f": {amount(number, 'row')}" if number else "")
        beside(console(), given.json).print(plain(words, "yellow"))
    return ATTENTION if damage else 0


def _lines(counts: Mapping[str, int]) -> Iterator[str]:
    for table, noun in NOUNS.items():
        if counts.get(table):
            yield f"  {amount(counts[table], noun, PLURALS.get(table, ''))}"


def _say_what_would_move(given: argparse.Namespace, path: Path, there: Destination) -> int:
    """Print what would be moved, and what prevents it; nothing is changed."""
    with closing(SourceFile(path)) as source:
        counts, states, is_begun = {table: source.count(table) for table in NOUNS}, source.states(), bool(source.mark)
    with closing(Outbox(there.dsn, listing=True)) as outbox:
        outbox.database.generation()
    obstacles = [] if is_begun else [*_obstacles(path, known_settings(given))]
    fields = {"rows": counts, "deliveries": states, "is_begun": is_begun, "obstacles": obstacles}
    its = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items(), reverse=True))
    lines = [f"From {path} to {there.dsn} would be moved:", *_lines(counts), *([f"Deliveries: {its}."] if its else [])]
    show_result(given, console(), fields, *lines, *(f"Not now: {words}." for words in obstacles))
    return ATTENTION if obstacles else 0


def _obstacles(path: Path, found: Settings | None) -> Iterator[str]:
    """Yield what prevents the move just now."""
    with closing(Outbox(path, listing=True)) as outbox:
        try:
            demand_no_scans(outbox.database)
        except OutboxBusyError as error:
            yield str(error)
        urls = {endpoint.name: endpoint.url_id for endpoint in (found.known if found else ()) if not endpoint.mistake}
        for name in sorted({*urls, *outbox.listing.endpoints()}):
            owner = owner_of(outbox.locks, name, urls.get(name, ""), time.time())
            if owner:
                yield f"process {owner.name} sends to {name}"


def _undo(given: argparse.Namespace, path: Path) -> int:
    with _alone(path), closing(SourceFile(path)) as source:
        if source.mark is None:
            raise OutboxError(f"outbox {path} was not moved")
        target = source.mark.target
        source.reinstate()
    words = (
        f"{path} is used again, with a new series of numbers. Let nothing send from {target} any more: its rows stay."
    )
    show_result(given, console(), {"used": str(path), "was_moved_to": target}, words)
    return 0
