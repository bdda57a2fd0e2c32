"""Any data at all, in any format: the same bytes each time, and what their content type says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.severity import Severity
from tests.builders import a_delivery, a_scan, an_event
from tests.formats.test_formats import WAYS, check, render
from tests.tiers import slow

#: texts that mean something to one receiver or another, among any others, lone surrogates too
PIECES = (
    *("<!channel>", "@everyone", "@", "[x](https://e.example)", "](", "```", "`", "*", "_", "|", "~", "\\", "{{7*7}}"),
    *("\0", "\r\n", "\u2028", "\u202e", "\ud83d\ude00", "\ud800", "&amp;", "<b>", "</", "=", "CEF:0|", "\t"),
)
CHARACTERS = some.text(some.characters(exclude_categories=()))
TEXT = some.lists(some.sampled_from(PIECES) | CHARACTERS, max_size=8).map("".join)
KEYS = some.sampled_from(
    ("event_type", "data", "description", "module", "sources", "evidence", "title", "severity", "events_by_severity",
     "top_findings", "receipt", "finding_id", "target", "duration", "error", "confidence", "hash", "generated",
     "known_exploited", "kev_due_date", "epss_score", "epss_percentile"),
) | TEXT  # fmt: skip
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
EVENTS = some.builds(
    lambda kind, severity, data, scan: an_event(type=kind, severity=severity, data=data, scan=scan),
    some.sampled_from([entry.name for entry in EVENT_TYPES]),
    some.sampled_from(Severity),
    some.dictionaries(KEYS, VALUES, max_size=8),
    some.none() | some.builds(lambda text: a_scan(name=text, target=text, target_type=text, version=text), TEXT),
)
ANY = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def hold(name: str, event: Any, backfilled: bool) -> None:
    delivery = a_delivery(event, backfilled=backfilled)
    check(name, delivery)
    assert render(name, delivery) == render(name, delivery)


@pytest.mark.parametrize("name", WAYS)
@settings(ANY, max_examples=15)
@given(event=EVENTS, backfilled=some.booleans())
def test_any_data_is_written(name: str, event: Any, backfilled: bool) -> None:
    hold(name, event, backfilled)


@slow
@pytest.mark.parametrize("name", WAYS)
@settings(ANY, max_examples=150)
@given(event=EVENTS, backfilled=some.booleans())
def test_a_lot_of_any_data_is_written(name: str, event: Any, backfilled: bool) -> None:
    hold(name, event, backfilled)
