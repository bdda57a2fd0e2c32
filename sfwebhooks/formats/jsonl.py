"""The jsonl format: a whole scan as JSON Lines, one message of the generic format in each line (https://jsonlines.org).

It has all events of the scan that its endpoint subscribes to, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats import generic
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.upload import UPLOAD, FileKind, goes_in_parts, uploaded
from sfwebhooks.formats.whole_scan import whole_scan_format

KIND = FileKind("application/x-ndjson", "jsonl")


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the upload of a scan."""

    def lines() -> Iterator[bytes]:
        for delivery in batch.deliveries:
            yield generic.render(delivery, endpoint).body
            yield b"\n"

    return uploaded(lines, KIND, batch, endpoint)


FORMAT = whole_scan_format(bundle, keys=UPLOAD, splits=goes_in_parts)
