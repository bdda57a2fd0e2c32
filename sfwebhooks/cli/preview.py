"""`sfwebhooks preview NAME`: the request that an endpoint would be sent, byte for byte, without sending it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError, OutboxError, SelectionError, WebhooksError, is_shortage
from sfwebhooks.events import Batch, Delivery, clean_text, printable
from sfwebhooks.examples import examples_for, readdressed
from sfwebhooks.files import demand_regular
from sfwebhooks.formats import FORMATS, redaction_of, render
from sfwebhooks.inspection.chosen_example import named_example
from sfwebhooks.inspection.drawing import draw, page
from sfwebhooks.inspection.requests import masked_body, shown_request
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.listing import Listing
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.own_secrets import MASK, Mask
from sfwebhooks.reasons import Unsent
from sfwebhooks.redaction import explained
from sfwebhooks.screening import withheld_by
from sfwebhooks.sending import limits_of
from sfwebhooks.terminal.arguments import add_config, endpoint_named, outbox_place, settings, without_mistake
from sfwebhooks.terminal.output import note
from sfwebhooks.text import amount

T = TypeVar("T")
#: the id of a message, and what returns its delivery
Source = tuple[str, Callable[[], T]]
#: the event that is shown by default, if the endpoint subscribes to it
EXAMPLE = "high_risk_event"
#: most messages of a scan
MESSAGES_MAX = 100


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "preview",
        help="show the request that an endpoint would be sent, without sending it",
        description="Show the request that an endpoint would be sent, without sending it: with the example of an event"
        " type, or with what the outbox has. Only time and signature differ from what is sent, and a body with"
        f" compress = gzip is shown before its compression. Secrets are replaced by {MASK}. Exit code: 1 if a message"
        " cannot be built, such as one whose row in the outbox is damaged; it is named, and the others are shown.",
        epilog="examples:\n  sfwebhooks preview siem_system --event scan_completed\n"
        "  sfwebhooks preview slack_alerts --event PASSWORD_COMPROMISED\n"
        "  sfwebhooks preview slack_alerts --digest --html messages.html",
    )
    command.add_argument("name", metavar="NAME", help="name of the endpoint")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--event",
        metavar="TYPE",
        help=f"the example of this event type ({EXAMPLE} if subscribed), or of a finding of this type of SpiderFoot",
    )
    which.add_argument(
        "--delivery", type=clean_text, metavar="ID", help="id of a delivery or of its event, or the start of one"
    )
    which.add_argument(
        "--scan", type=clean_text, metavar="ID", help=f"the last {MESSAGES_MAX} messages of this scan to the endpoint"
    )
    command.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="instead, write a page that shows the messages about as the chat draws them; without --event, --delivery"
        " and --scan with the examples of all that the endpoint subscribes to",
    )
    command.add_argument(
        "--digest",
        action="store_true",
        help="show findings as a digest has them; without --event, --delivery and --scan the examples of all that the"
        " endpoint subscribes to",
    )
    command.add_argument("--show-secrets", action="store_true", help=f"show secrets instead of {MASK}")
    add_config(command)
    command.set_defaults(run=_preview)


def _preview(given: argparse.Namespace) -> int:
    endpoint = without_mistake(endpoint_named(given, given.name))
    if given.digest and not FORMATS[endpoint.format].is_chat:
        raise SelectionError(f"--digest: {endpoint.name} has format = {endpoint.format}; only chats have digests")
    mask, failed = None if given.show_secrets else Mask.of_keys(endpoint), list[str]()
    applied: dict[str, None] = {}

    def request(batch: Batch) -> bytes:
        applied.update(dict.fromkeys(_applied(batch, endpoint)))
        return shown_request(batch, endpoint, mask).raw

    def drawn(batch: Batch) -> tuple[str, str]:
        applied.update(dict.fromkeys(_applied(batch, endpoint)))
        return batch.name, draw(endpoint.format, masked_body(render(batch, endpoint).body, mask).decode())

    with _sources(given, endpoint) as sources:
        if given.html:
            _write_page(given.html, endpoint, list(_requests(sources, endpoint, drawn, failed, given.digest)))
        else:
            for one in _requests(sources, endpoint, request, failed, given.digest):
                _show(one)
    if applied and not given.quiet:
        print(f"sfwebhooks: redacted for {endpoint.name}: {', '.join(applied)}", file=sys.stderr)
    return 1 if failed else 0


def _applied(batch: Batch, endpoint: Endpoint) -> Iterator[str]:
    """Yield the rules that change what an endpoint gets of some deliveries."""
    for delivery in batch.deliveries:
        yield from explained(delivery, redaction_of(endpoint))[1]


def _requests(
    sources: Iterable[Source[Delivery]],
    endpoint: Endpoint,
    build: Callable[[Batch], T],
    failed: list[str],
    together: bool,
) -> Iterator[T]:
    """Yield what is built of each request: deliveries that come late go together to people, all others alone.

    Args:
        together: whether live findings go together as well.
    """
    limits = limits_of(endpoint)
    its = limits.late or limits

    def kind(one: Delivery) -> int:
        return 1 if one.is_late and limits.late else 2 if together and not one.goes_alone else 0

    for is_digest, found in groupby(_built(sources, failed), kind):
        for members in _digests(found, its) if is_digest else ((one,) for one in found):
            batch = Batch(members)
            yield from _built([(batch.id, partial(build, batch))], failed)


def _digests(found: Iterable[Delivery], limits: Limits) -> Iterator[tuple[Delivery, ...]]:
    """Yield the members of each digest."""
    members: list[Delivery] = []
    named = 0
    for one in found:
        named += one.event.is_named
        if len(members) == limits.size or named > limits.named_max:
            yield tuple(members)
            members, named = [], int(one.event.is_named)
        members.append(one)
    yield tuple(members)


def _built(sources: Iterable[Source[T]], failed: list[str]) -> Iterator[T]:
    """Yield what can be built; a message of which nothing can be is named.

    Args:
        failed: to which the ids of these are added.
    """
    for name, build in sources:
        try:
            built = build()
        except Exception as error:  # of any kind, from garbage in a row; it would hide the messages after it
            if isinstance(error, OutboxBusyError) or is_shortage(error):
                raise
            words = str(error) if isinstance(error, WebhooksError) else f"{type(error).__name__}: {error}"
            print(f"sfwebhooks: message {name} cannot be built: {printable(words)}", file=sys.stderr)
            failed.append(name)
            continue
        yield built


def _write_page(path: Path, endpoint: Endpoint, messages: list[tuple[str, str]]) -> None:
    """Write the page of --html."""
    try:
        path.touch(0o600)
        demand_regular(path)  # a pipe without a reader would wait for one
        path.write_text(page(f"{endpoint.name}: {endpoint.format}", messages), encoding="utf-8")
    except OSError as error:
        raise SelectionError(f"--html {path}: {error.strerror}") from error
    print(f"{path}: {amount(len(messages), 'message')}")


def _show(request: bytes) -> None:
    """Print a request: its bytes into a pipe or a file, only visible characters on a terminal."""
    if sys.stdout.isatty():
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [*head.decode("latin-1").split("\r\n"), "", *body.decode("utf-8", "replace").split("\n"), ""]
        print("\n".join(map(printable, lines)))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(request + b"\n")


@contextmanager
def _sources(given: argparse.Namespace, endpoint: Endpoint) -> Iterator[list[Source[Delivery]]]:
    """Enter with the messages that the command line asks for, in their order."""
    if given.delivery or given.scan:
        place = outbox_place(given)
        if is_missing(place):
            raise SelectionError(f"there is no outbox {place}: no scan has had webhooks yet")
        with closing(Outbox(place, listing=True)) as outbox:
            yield [(one, partial(_stored, one, endpoint, outbox.listing)) for one in _ids(given, outbox.listing)]
    elif not given.event and (found := list(examples_for(endpoint))):
        usual = [one for one in reversed(found) if one.event.type == EXAMPLE]  # the least severe first
        yield [
            (one.id, partial(readdressed, one, endpoint))
            for one in (found if given.html or given.digest else (usual or found)[:1])
        ]
    else:
        made = named_example(given.event or EXAMPLE, endpoint, settings(given).severities)
        if given.event and not given.quiet and (why := _unsent(made, endpoint)):
            note(f"a scan would not send it to {endpoint.name}: {why}")
        yield [(made.id, lambda: made)]


def _unsent(made: Delivery, endpoint: Endpoint) -> str:
    """Return why a scan would not send an event like that of a delivery to an endpoint, in words; empty: it would."""
    if endpoint.name_for(made.event) is None:
        return Unsent.NOT_SUBSCRIBED.meaning
    reason = withheld_by(endpoint, made.event)
    return reason.meaning if reason else ""


def _ids(given: argparse.Namespace, listing: Listing) -> list[str]:
    """Return the ids of the deliveries of the outbox that the command line asks for."""
    if given.delivery:
        return [listing.find(given.delivery).id]
    ids = listing.ids(Selection(endpoint=given.name, scan=given.scan), MESSAGES_MAX)
    if not ids:
        raise SelectionError(f'the outbox has no deliveries to "{given.name}" of a scan "{given.scan}"')
    return ids[::-1]


def _stored(id: str, endpoint: Endpoint, listing: Listing) -> Delivery:
    """Return a delivery of the outbox; one to another endpoint is shown as this endpoint would get it.

    Raises:
        OutboxError: it cannot be read.
    """
    delivery = listing.delivery(id)
    if not delivery:
        raise OutboxError("its row in the outbox is damaged, or was removed just now")
    return readdressed(delivery, endpoint)
