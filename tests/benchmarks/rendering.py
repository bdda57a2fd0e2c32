"""What a message costs in each format, from the stored event to the body, against `json.dumps` of the same data."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch, lifecycle_id
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.jsontext import Stored, kept
from tests.benchmarks.accepting import SIZE, event_of
from tests.benchmarks.measure import Measure, Row, whole, with_null_row
from tests.builders import a_delivery, a_scan, an_endpoint, an_event

T = TypeVar("T")
BARE = "render: json.dumps of the data"
#: what a format needs in the settings of its endpoint
OWN = {"template": {"template": Secret('{"event": {{ event_type | tojson }}, "data": {{ data | tojson }}}')}}


def dumping(events: int) -> Measure:
    """Write the data of events as JSON."""
    return of_all([dict(event_of(number).data) for number in range(events)], json.dumps)


def rendering(name: str) -> Callable[[int], Measure]:
    """Return a row: the bodies of events as they come from the outbox, which has their data as text."""

    def row(events: int) -> Measure:
        data = [Stored(kept(event_of(number).data)) for number in range(events)]
        batches = [Batch((a_delivery(an_event(number, data=one)),)) for number, one in enumerate(data)]
        endpoint = an_endpoint(format=name, secrets=["s" * 32], own=OWN.get(name, {}))
        return of_all(batches, lambda batch: render(batch, endpoint))

    return row


def bundling(name: str) -> Callable[[int], Measure]:
    """Return a row: the body of a whole scan, as it comes from the outbox."""

    def row(events: int) -> Measure:
        # of equal findings these formats show one
        all_data = ({**event_of(at).data, "data": f"{at:08d}".ljust(SIZE, "x")} for at in range(events))
        found = [an_event(number, data=Stored(kept(data))) for number, data in enumerate(all_data)]
        end = an_event(events, id=lifecycle_id(a_scan().id, "ended"), type="scan_completed", data=Stored("{}"))
        batch = Batch(tuple(map(a_delivery, [*found, end])))
        endpoint = an_endpoint(format=name)
        return whole(events, lambda: render(batch, endpoint))

    return row


def of_all(items: list[T], call: Callable[[T], object]) -> Measure:
    """Measure the calls together: one is too short for the clock."""

    def run() -> None:
        for item in items:
            call(item)

    return whole(len(items), run)


ROWS = {
    **with_null_row(BARE, dumping),
    **{f"render: {name}": Row(rendering(name), BARE) for name, one in FORMATS.items() if not one.bundle},
    **{f"render: {name}, whole scans": Row(bundling(name), BARE) for name, one in FORMATS.items() if one.bundle},
}
