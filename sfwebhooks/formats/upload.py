"""How a whole scan reaches its receiver: the pieces of a file come in, the request that uploads it goes out.

POST or PUT with the file as the body, or multipart/form-data (RFC 7578) with the file in a field of a form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Callable

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.whole_scan import in_pieces

METHOD = Key("method", "POST, PUT or PATCH (POST)", r"POST|PUT|PATCH", "POST, PUT or PATCH")
MULTIPART = Key(
    "multipart",
    "the field of a form (multipart/form-data) in which the file is sent; absent: the file is the body",
    r"[A-Za-z0-9_.\[\]-]{1,64}",
    "up to 64 of A-Z, a-z, 0-9, _, ., -, [ and ]",
)
UPLOAD = (METHOD, MULTIPART)
#: what is not kept of an id in the name of a file
UNSAFE = re.compile(r"[^A-Za-z0-9-]")
#: characters of the part of the name that is of the scan
NAME_MAX = 64


@dataclass(frozen=True)
class FileKind:
    """A kind of file."""

    media_type: str
    #: of its name, without a dot
    extension: str


def uploaded(pieces: Callable[[], Iterable[str | bytes]], kind: FileKind, batch: Batch, endpoint: Endpoint) -> Content:
    """Return the request that uploads a file.

    A PUT without a secret has no headers of ours: it is meant for a presigned URL of an object store, which may accept
    only what was signed with it.

    Args:
        pieces: returns the file; the same bytes each time.
    """
    method, form = endpoint.key(METHOD.name) or "POST", endpoint.key(MULTIPART.name)
    if form:
        return in_form(pieces, kind, form, {}, batch)
    is_bare = method == "PUT" and not endpoint.secrets
    return Content(in_pieces(pieces()), {"Content-Type": kind.media_type}, method, is_bare=is_bare)


def goes_in_parts(endpoint: Endpoint) -> bool:
    """Return whether a file may be sent in parts: a second PUT would replace the first one."""
    return endpoint.key(METHOD.name) != "PUT"


def in_form(
    pieces: Callable[[], Iterable[str | bytes]], kind: FileKind, name: str, fields: Mapping[str, str], batch: Batch
) -> Content:
    """Return the POST of a form with a file and other fields.

    Args:
        pieces: returns the file; called again if the boundary between the fields is part of it.
        name: of the field with the file.
        fields: name -> value of the others, which come first. Names are ours, values are texts in UTF-8.
    """
    for number in range(len(batch.deliveries) + 2):  # what the file has of boundaries is foreign
        boundary = f"sfwebhooks-{batch.id}-{number}"
        body = in_pieces(_form(pieces(), kind, name, fields, (batch, boundary)))
        if body.count(boundary.encode()) == len(fields) + 2:
            break
    return Content(body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def _form(
    pieces: Iterable[str | bytes], kind: FileKind, name: str, fields: Mapping[str, str], of: tuple[Batch, str]
) -> Iterator[str | bytes]:
    batch, boundary = of
    for key, value in fields.items():
        yield f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name(batch, kind)}"\r\n'
        f"Content-Type: {kind.media_type}\r\n\r\n"
    )
    yield from chain([head], pieces, [f"\r\n--{boundary}--\r\n"])


def file_name(batch: Batch, kind: FileKind) -> str:
    """Return the name of a scan's file."""
    scan_id = UNSAFE.sub("-", batch.deliveries[0].event.scan_id)[:NAME_MAX] or "event"
    return f"spiderfoot-{scan_id}.{kind.extension}"
