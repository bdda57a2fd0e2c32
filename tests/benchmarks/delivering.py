"""Deliveries per second, durable and signed, against a bare loop of `requests` to the same receiver."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.file import FILE, Storage
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen
from sfwebhooks.signing_keys import new_whsk
from tests.benchmarks import looping
from tests.benchmarks.accepting import event_of
from tests.benchmarks.looping import BARE, BATCH, SECURED, URLLIB3
from tests.benchmarks.measure import Measure, Row, whole, with_null_row
from tests.benchmarks.receiving import certificates, receiver, secured_receiver
from tests.builders import NOW

#: seconds after which a sample is given up
SECONDS_MAX = 300
#: of an outbox that is never too full
ROOMY = Storage(max_bytes=100_000_000_000)


def engine(endpoints: int = 1, **keys: object) -> Callable[[int], Measure]:
    """Return a row: what waits in an outbox is claimed, rendered, signed, sent and settled."""

    def row(events: int) -> Measure:
        with receiver() as url:
            return delivered(events, [f"{url}/{number}" for number in range(endpoints)], keys)

    return row


def secured(events: int) -> Measure:
    """Deliver to a receiver that demands a client certificate."""
    with certificates() as tls, secured_receiver(tls) as url:
        keys = {"ca_bundle": tls.ca, "client_cert": tls.client.cert, "client_key": tls.client.key}
        return delivered(events, [url], keys)


def delivered(number: int, urls: Sequence[str], keys: Mapping[str, object]) -> Measure:
    """Measure so many deliveries, spread evenly over URLs."""
    with tempfile.TemporaryDirectory() as folder:
        team = {"events": "all", "secret": "s" * 32, **{key: str(value) for key, value in keys.items()}}
        endpoints = load_mapping({f"team{at}": {"url": url, **team} for at, url in enumerate(urls)}).endpoints
        dispatcher = Dispatcher(endpoints, Path(folder) / FILE, storage=ROOMY)
        events = [event_of(at) for at in range(math.ceil(number / len(urls)))]
        accept(events, Screen(endpoints), dispatcher.outbox, NOW)

        def run() -> None:
            dispatcher.wake()
            dispatcher.linger(time.monotonic() + SECONDS_MAX)

        number = len(events) * len(urls)
        measure = whole(number, run)
        assert dispatcher.outbox.scans.tallies()["delivered"] == number
        dispatcher.stop(5)
    return measure


PLAIN, PROVEN = "deliver: one by one, without proof", "deliver: one by one, with proof"
DEFAULTS, TEN = "deliver: durable, signed, default settings", "deliver: durable, signed, ten endpoints"
ROWS = {
    **looping.ROWS,
    DEFAULTS: Row(engine(), BARE),
    "deliver: durable, signed, one thread": Row(engine(concurrency=1), BARE),
    "deliver: durable, signed, four threads": Row(engine(concurrency=4), BARE),
    TEN: Row(engine(10), BARE),
    f"{DEFAULTS}, against urllib3": Row(engine(), URLLIB3),
    f"{TEN}, against urllib3": Row(engine(10), URLLIB3),
    "deliver: durable, signed, mTLS": Row(secured, SECURED),
    f"deliver: durable, signed, batches of {BATCH}": Row(
        engine(concurrency=1, batch_size=BATCH, batch_wait="1s"), BARE
    ),
    **with_null_row(PLAIN, engine(concurrency=1)),
    PROVEN: Row(engine(concurrency=1, proof=new_whsk()), PLAIN),
    **{
        f"deliver: durable, signed, batches of {BATCH}, {name}, default settings": Row(
            engine(batch_size=BATCH, format=name), BARE
        )
        for name, one in FORMATS.items()
        if one.join and not one.read  # the others want answers that our receivers do not give
    },
}
