from __future__ import annotations

import re

import pytest

from sfwebhooks.catalogue import EVENT_TYPES, EventType, type_named
from sfwebhooks.endpoints import ALIASES, DEFAULT_EVENTS, EVENT_NAMES, RISK_NAMES, matches
from sfwebhooks.scan.lifecycle import END_OF_STATUS, SEVERITY_OF_END
from sfwebhooks.severity import SEVERITY_OF_TYPE, special_of
from tests.rows import in_one

NAMES = [entry.name for entry in EVENT_TYPES]
#: "Available Events" of the product's guide
GUIDE = """
scan_started scan_completed scan_failed scan_progress
high_risk_event medium_risk_event vulnerability_found malware_detected
correlation_completed cti_report_generated workspace_created multi_scan_completed
system_alert resource_warning module_error
"""

EVERY = in_one("entry", EVENT_TYPES)


@pytest.mark.parametrize("name", [*GUIDE.split(), "correlation_found", "scan_aborted"])
def test_every_name_of_the_guide_can_be_subscribed_to(name: str) -> None:
    assert name in NAMES


def test_no_name_is_there_twice() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_no_word_means_two_things() -> None:
    words = [word for entry in EVENT_TYPES for word in {entry.name, entry.alias}]
    assert len(set(words)) == len(words)


@EVERY
def test_an_alias_is_a_dotted_word(entry: EventType) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", entry.alias)


@EVERY
def test_a_summary_is_one_sentence(entry: EventType) -> None:
    assert re.fullmatch(r"[A-Z][^.]*\.", entry.summary)


@EVERY
def test_an_entry_is_found_by_its_name_and_by_its_alias(entry: EventType) -> None:
    assert type_named(entry.name) is type_named(entry.alias) is entry


def test_a_word_that_nobody_knows_finds_nothing() -> None:
    assert type_named("scan_complete") is None


def test_everything_that_is_sent_has_an_entry() -> None:
    names = {*RISK_NAMES.values(), *END_OF_STATUS.values(), *SEVERITY_OF_END, "scan_started"}
    names |= {special for host_type in SEVERITY_OF_TYPE if (special := special_of(host_type))}
    assert names <= set(NAMES)


def test_the_words_for_subscriptions_are_the_catalogues() -> None:
    assert {*NAMES, *ALIASES.values()} == EVENT_NAMES


@pytest.mark.parametrize("word", DEFAULT_EVENTS)
def test_each_default_subscription_can_match_something(word: str) -> None:
    assert any(matches(word, name) for name in NAMES)
