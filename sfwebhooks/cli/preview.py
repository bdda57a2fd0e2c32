"""`sfwebhooks preview NAME`: the request that an endpoint would be sent, byte for byte, without sending it."""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from sfwebhooks.authentication import credentials
from sfwebhooks.catalogue import type_named
from sfwebhooks.cli.drawing import draw, page
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import EVENT_NAMES, Endpoint
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Batch, Delivery, clean_text, printable
from sfwebhooks.examples import example, examples_for, readdressed
from sfwebhooks.files import is_deleted
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.formats.digest import DIGEST_MAX
from sfwebhooks.masking import MASK, Mask
from sfwebhooks.network.sender import as_sent
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.listing import Listing
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.signing import sign
from sfwebhooks.terminal.arguments import add_config, endpoint_named, folder, without_mistake
from sfwebhooks.text import amount

#: the event that is shown unless another one is asked for
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
        f" compress = gzip is shown before its compression. Secrets are replaced by {MASK}.",
    )
    command.add_argument("name", metavar="NAME", help="name of the endpoint")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--event", metavar="TYPE", help=f"the example of this event type ({EXAMPLE})")
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
    command.add_argument("--show-secrets", action="store_true", help=f"show secrets instead of {MASK}")
    add_config(command)
    command.set_defaults(run=_preview)


def _preview(given: argparse.Namespace) -> int:
    endpoint = without_mistake(endpoint_named(given, given.name))
    mask = None if given.show_secrets else Mask.of_keys(endpoint)
    if given.html:
        return _write_page(given, endpoint, mask)
    for batch in _requests(_deliveries(given, endpoint), endpoint):
        _show(shown_request(batch, endpoint, mask))
    return 0


def _requests(deliveries: Iterable[Delivery], endpoint: Endpoint) -> Iterator[Batch]:
    """Yield the deliveries of each request: those that come late go together to people, all others are shown alone."""
    together = FORMATS[endpoint.format].digest is not None
    for is_digest, found in groupby(deliveries, lambda one: one.is_late and together):
        size = DIGEST_MAX if is_digest else 1
        while members := tuple(islice(found, size)):
            yield Batch(members)


def _write_page(given: argparse.Namespace, endpoint: Endpoint, mask: Mask | None) -> int:
    """Write the page of --html."""
    chosen = given.event or given.delivery or given.scan
    deliveries = _deliveries(given, endpoint) if chosen else examples_for(endpoint)
    bodies = ((one.name, render(one, endpoint).body) for one in _requests(deliveries, endpoint))
    drawn = [(name, draw(endpoint.format, masked_body(body, mask).decode())) for name, body in bodies]
    try:
        given.html.touch(0o600)
        given.html.write_text(page(f"{endpoint.name}: {endpoint.format}", drawn), encoding="utf-8")
    except OSError as error:
        raise SelectionError(f"--html {given.html}: {error.strerror}") from error
    print(f"{given.html}: {amount(len(drawn), 'message')}")
    return 0


def shown_request(batch: Batch, endpoint: Endpoint, mask: Mask | None) -> bytes:
    """Return the request for a delivery, or for several.

    Args:
        mask: masks the secrets in it; None: nothing is masked.
    """
    request = sign(render(batch, endpoint), batch, endpoint, time.time())
    if endpoint.token_url:  # a token is fetched only to send something
        request = replace(request, headers={**request.headers, "Authorization": f"Bearer {MASK}"})
    head, end, body = as_sent(request, endpoint).partition(b"\r\n\r\n")
    body = gzip.decompress(body) if endpoint.compress else body
    if mask is None:
        return head + end + body
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, version = first.split(" ")
    headers = [line.partition(": ") for line in lines]
    form = FORMATS[endpoint.format]
    secret = {name.lower() for name in (*endpoint.headers, *credentials(endpoint, form.key_header, form.scheme))}
    secret |= {"authorization"}
    shown = [f"{name}: {MASK if name.lower() in secret else value}" for name, _, value in headers]
    # the path and the query of a URL may be a credential
    return "\r\n".join((f"{method} /{MASK} {version}", *shown)).encode("latin-1") + end + masked_body(body, mask)


def masked_body(body: bytes, mask: Mask | None) -> bytes:
    """Return a body without the secrets that its format puts into it."""
    text = body.decode()
    return mask.over(text, (1 + len(MASK)) * len(text)).encode() if mask else body


def _show(request: bytes) -> None:
    """Print a request: its bytes into a pipe or a file, only visible characters on a terminal."""
    if sys.stdout.isatty():
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [*head.decode("latin-1").split("\r\n"), "", *body.decode("utf-8", "replace").split("\n"), ""]
        print("\n".join(map(printable, lines)))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(request + b"\n")


def _deliveries(given: argparse.Namespace, endpoint: Endpoint) -> Iterator[Delivery]:
    """Yield what the command line asks for."""
    if given.delivery or given.scan:
        with _listing(given) as listing:
            yield from _stored(given, endpoint, listing)
        return
    word = given.event or EXAMPLE
    entry = type_named(word)
    if not entry:
        raise SelectionError(f"no event type is called {word!r}.{nearest(word.lower(), EVENT_NAMES)}")
    made = example(entry, word)
    yield replace(readdressed(made, endpoint), name=endpoint.name_for(made.event) or made.name)


@contextmanager
def _listing(given: argparse.Namespace) -> Iterator[Listing]:
    path = folder(given) / FILE
    if is_deleted(path):
        raise SelectionError(f"there is no outbox {path}: no scan has had webhooks yet")
    with closing(Outbox(path, listing=True)) as outbox:
        yield outbox.listing


def _stored(given: argparse.Namespace, endpoint: Endpoint, listing: Listing) -> Iterator[Delivery]:
    """Yield the deliveries of the outbox that the command line asks for, in their order; one to another endpoint is
    shown as this endpoint would get it."""
    if given.delivery:
        ids = [listing.find(given.delivery).id]
    else:
        chosen = Selection(endpoint=endpoint.name, scan=given.scan)
        ids = [record.id for record in reversed(listing.deliveries(chosen, MESSAGES_MAX))]
        if not ids:
            raise SelectionError(f'the outbox has no deliveries to "{endpoint.name}" of a scan "{given.scan}"')
    for delivery in filter(None, map(listing.delivery, ids)):
        yield readdressed(delivery, endpoint)
