"""The JSON Schema that the command prints: every message that we can make is valid, and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.catalogue import EVENT_TYPES, EventType, type_named
from sfwebhooks.catalogue.json_schema import document
from sfwebhooks.cli import main
from sfwebhooks.emitted_event import Emission, event_of
from sfwebhooks.endpoints import EVENT_NAMES, names_of
from sfwebhooks.events import Delivery, WebhookEvent
from sfwebhooks.examples import ENDPOINT, example
from sfwebhooks.formats import generic, security_audit
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_delivery, an_endpoint
from tests.catalogue.test_check import example_of
from tests.catalogue.test_fields import ENDS, all_findings, events_sent, system_alerts, warnings_of_resources
from tests.rows import in_one

WORDS = sorted(EVENT_NAMES)
#: types that another tool can tell otherwise than the scanner does
IN_TWO_FORMS = [entry for entry in EVENT_TYPES if entry.by_others not in ((), entry.fields)]


def printed(*arguments: str) -> Draft202012Validator:
    """Return a validator with the schema that the command prints."""
    with redirect_stdout(io.StringIO()) as out:
        assert main(["events", "--schema", *arguments]) == 0
    schema = json.loads(out.getvalue())
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def all_types() -> Draft202012Validator:
    return printed()


def message(word: str) -> dict[str, Any]:
    """Return the example of a type as it is sent to an endpoint that subscribed to that word."""
    entry = type_named(word)
    assert entry
    return dict(json.loads(generic.render(example(entry, word), ENDPOINT).body))


def sent(event: WebhookEvent, name: str) -> Any:
    endpoint = an_endpoint(metadata={"workspace_id": "ws_1", "user": "admin"})
    return json.loads(generic.render(a_delivery(event, name=name), endpoint).body)


def check(validator: Draft202012Validator, body: Any) -> None:
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)] == []


@in_one("word", WORDS)
def test_each_example_is_valid_under_its_name_and_its_alias(word: str, all_types: Draft202012Validator) -> None:
    check(all_types, message(word))
    check(printed(word), message(word))


def by_the_other_guide(delivery: Delivery) -> Any:
    return json.loads(security_audit.render(delivery, replace(ENDPOINT, format="security-audit")).body)


@in_one("word", WORDS)
def test_each_example_is_valid_by_the_security_audit_guide_too(word: str, all_types: Draft202012Validator) -> None:
    entry = type_named(word)
    assert entry
    for severity in entry.severities or Severity:
        delivery = example(entry, word)
        check(all_types, by_the_other_guide(replace(delivery, event=replace(delivery.event, severity=severity))))


@in_one("entry", [entry for entry in EVENT_TYPES if entry.by_others])
def test_an_event_of_another_tool_is_valid_by_the_security_audit_guide_too(
    entry: EventType, all_types: Draft202012Validator
) -> None:
    event = event_of(Emission(entry.name, example_of(entry.by_others)), NOW)
    check(all_types, by_the_other_guide(a_delivery(event)))


#: keyword -> the types that it is about
ABOUT = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "pattern": "string",
    "minLength": "string",
    "minimum": "integer",
}
#: keywords of any type
GENERAL = {"$schema", "title", "description", "type", "const", "enum", "allOf", "if", "then", "else"}


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas in it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("allOf", ())]
    inner += [schema[key] for key in ("items", "additionalProperties", "if", "then", "else") if key in schema]
    for each in inner:
        yield from parts_of(each)


def test_a_validator_in_strict_mode_compiles_it() -> None:
    """The rules of https://ajv.js.org/strict-mode.html, with strictTypes and strictRequired."""
    for part in parts_of(document(EVENT_TYPES)):
        assert part.keys() <= ABOUT.keys() | GENERAL, "no unknown keyword"
        types = [part["type"]] if isinstance(part.get("type"), str) else part.get("type", [])
        assert len(set(types) - {"null"}) <= 1, "no union of types but with null"
        assert {ABOUT[key] for key in part.keys() & ABOUT.keys()} <= set(types), "a keyword goes with its type"
        assert set(part.get("required", ())) <= part.get("properties", {}).keys(), "what is required is defined"
        assert ("if" in part) == bool({"then", "else"} & part.keys()), "no if without then or else"


@in_one("entry", IN_TWO_FORMS)
def test_an_event_of_another_tool_is_valid_too_and_is_known_by_its_version(
    entry: EventType, all_types: Draft202012Validator
) -> None:
    body = {**message(entry.name), "data": example_of(entry.by_others), "version": ""}
    check(all_types, body)
    assert not all_types.is_valid({**body, "version": "4.0.0"})
    assert not all_types.is_valid({**message(entry.name), "version": "", "data": {}})


@pytest.mark.parametrize("name", ["scan_started", *ENDS])
def test_lifecycle_events_are_valid(name: str, all_types: Draft202012Validator, tmp_path: Path) -> None:
    for event in events_sent(name, tmp_path):
        check(all_types, sent(event, name))


@pytest.mark.parametrize("made", [system_alerts, warnings_of_resources])
def test_events_about_ourselves_are_valid(
    made: Callable[[], list[WebhookEvent]], all_types: Draft202012Validator
) -> None:
    for event in made():
        check(all_types, sent(event, event.type))


def test_each_kind_of_finding_is_valid_under_each_of_its_names(all_types: Draft202012Validator) -> None:
    seen: set[tuple[object, ...]] = set()
    for event in all_findings():
        shape = (event.type, event.special, event.severity, *event.data)
        for name in names_of(event.type, event.severity, event.special) if shape not in seen else ():
            check(all_types, sent(event, name))
        seen.add(shape)
    assert len(seen) > 20


@in_one("word", WORDS)
@pytest.mark.parametrize("place", ["", "data", "metadata"])
def test_what_is_always_there_is_asked_for_and_what_is_new_is_allowed(
    place: str, word: str, all_types: Draft202012Validator
) -> None:
    body = message(word)
    part = body[place] if place else body
    part["later"] = {"of": "a later version"}
    check(all_types, body)
    entry = type_named(word)
    assert entry
    required = {"data": {field.name for field in entry.fields if field.required}}.get(place, set(part))
    for key in required - {"later", "scan_name"}:
        lacking = {name: value for name, value in part.items() if name != key}
        assert not all_types.is_valid({**body, place: lacking} if place else lacking), key


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "scan_exploded"},
        {"event_type": "batch"},
        {"event_type": None},
        {"timestamp": "2026-11-20 09:40:00"},
        {"timestamp": 1795255200},
        {"source": "elsewhere"},
        {"version": None},
        {"data": []},
        {"data": None},
        {"metadata": {}},
    ],
)
def test_a_broken_envelope_is_not_valid(change: dict[str, Any], all_types: Draft202012Validator) -> None:
    assert not all_types.is_valid({**message("scan_completed"), **change})


@pytest.mark.parametrize(
    "change",
    [{"schema": 0}, {"event_id": "7"}, {"delivery_id": ""}, {"endpoint": ""}, {"series": ""}, {"series": 1},
     {"sequence": 0}, {"sequence": "1"}, {"severity": "urgent"}],
)  # fmt: skip
def test_broken_metadata_are_not_valid(change: dict[str, Any], all_types: Draft202012Validator) -> None:
    body = message("high_risk_event")
    assert not all_types.is_valid({**body, "metadata": {**body["metadata"], **change}})


@pytest.mark.parametrize("word", ["finding.critical", "scan_completed", "medium_risk_event", "scan.failed"])
def test_a_severity_that_the_type_never_has_is_not_valid(word: str, all_types: Draft202012Validator) -> None:
    body = message(word)
    assert not all_types.is_valid({**body, "metadata": {**body["metadata"], "severity": "low"}})


def test_the_schema_of_one_type_takes_no_other() -> None:
    only = printed("scan.completed")
    assert [word for word in WORDS if only.is_valid(message(word))] == ["scan.completed", "scan_completed"]


def test_a_list_of_messages_is_not_a_message(all_types: Draft202012Validator) -> None:
    assert not all_types.is_valid([message("scan_completed")])


def test_an_unknown_type_has_no_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--schema", "scan_compelted"]) == 1
    said = capsys.readouterr()
    assert (said.out, "Did you mean" in said.err) == ("", True)
