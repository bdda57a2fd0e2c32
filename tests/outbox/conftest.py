"""The outbox, opened once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from sfwebhooks.outbox.outbox import Outbox


@pytest.fixture
def records(outbox: Outbox) -> Iterator[Outbox]:
    with closing(Outbox(outbox.place)) as records:
        yield records
