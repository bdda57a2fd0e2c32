from __future__ import annotations

from spiderfoot import SpiderFootDb

from sfwebhooks.screening import RAW, is_chosen
from sfwebhooks.severity import SEVERITY_OF_TYPE

HOST_TYPES = {row[0] for row in SpiderFootDb.eventDetails}


def test_every_type_of_the_host_is_in_the_table() -> None:
    assert HOST_TYPES - SEVERITY_OF_TYPE.keys() == set()


def test_the_table_has_no_type_that_the_host_does_not_know() -> None:
    assert SEVERITY_OF_TYPE.keys() - HOST_TYPES == set()


def test_raw_types_are_those_that_the_host_marks_as_raw() -> None:
    raw = {row[0] for row in SpiderFootDb.eventDetails if row[2]} - {"ROOT"}
    assert {name for name in HOST_TYPES if is_chosen(RAW, name)} == raw
