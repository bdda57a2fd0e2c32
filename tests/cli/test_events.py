"""`sfwebhooks events`: what a person sees of the catalogue."""

from __future__ import annotations

import io
import json
import re
from subprocess import PIPE

import pytest
from rich.console import Console

from sfwebhooks.catalogue import EVENT_TYPES, EventType, type_named
from sfwebhooks.cli import main
from sfwebhooks.cli.events import pretty, print_type, print_types
from sfwebhooks.examples import ENDPOINT, example
from sfwebhooks.formats import generic
from tests.processes import Process
from tests.rows import in_one

WORDS = sorted({word for entry in EVENT_TYPES for word in (entry.name, entry.alias)})
each_type = in_one("entry", EVENT_TYPES)
each_width = pytest.mark.parametrize("width", [80, 140])


def screen(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def lines(out: Console) -> list[str]:
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def shown(entry: EventType, width: int = 140) -> list[str]:
    out = screen(width)
    print_type(entry, entry.name, out)
    return lines(out)


def message(text: str) -> dict[str, object]:
    """Return the JSON at the end of a page."""
    return dict(json.loads(text[text.index("\n{") :]))


def test_the_table_has_a_line_for_each_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events"]) == 0
    rows = {row[0]: row for line in capsys.readouterr().out.splitlines() if len(row := line.split()) > 4}
    for entry in EVENT_TYPES:
        assert rows[entry.name][1] == entry.alias


@each_width
def test_the_table_breaks_no_name(width: int) -> None:
    out = screen(width)
    print_types(out)
    words = {word for line in lines(out) for word in line.split()}
    assert set(WORDS) <= words
    assert max(map(len, lines(out))) <= width


@each_type
def test_the_table_says_who_sends_it(entry: EventType) -> None:
    out = screen(140)
    print_types(out)
    row = next(line for line in lines(out) if line.startswith(entry.name + " "))
    assert row.endswith(("  the scan", "  sfwebhooks", "  sfwebhooks emit", "  sfwebhooks run, and drain"))


@each_type
@each_width
def test_a_page_names_all_fields_with_their_types(entry: EventType, width: int) -> None:
    rows = {line.split()[0]: line for line in shown(entry, width) if re.match(r"(  )?\S", line)}  # not the words below
    for field in entry.fields:
        assert rows[field.name].split()[1] == field.type
        for part in field.parts:
            assert f".{part.name}" in rows


@each_type
def test_a_page_says_when_a_field_is_there_that_is_not_always(entry: EventType) -> None:
    page = shown(entry)
    rows = page[page.index(next(line for line in page if line.startswith("field "))) :]
    for field in entry.fields:
        row = next(line for line in rows if line.startswith(field.name + " "))
        note = next((line for line in rows if line.endswith(f") only if {field.when}")), "yes")
        assert note.split()[0] in row.split()
        assert (note == "yes") == field.required


@each_type
def test_a_page_shows_the_fields_of_other_tools_if_they_differ(entry: EventType) -> None:
    page = shown(entry)
    begin = "Fields of data if another tool reports it, with sfwebhooks emit:"
    assert (begin in page) == (entry.by_others not in ((), entry.fields))
    if begin in page:
        rows = [line.split()[0] for line in page[page.index(begin) :] if line.strip()]
        assert [field.name for field in entry.by_others] == [row for row in rows if row in dict(known(entry))]


def known(entry: EventType) -> list[tuple[str, str]]:
    return [(field.name, field.type) for field in entry.by_others]


@each_type
def test_a_page_fits_into_80_columns_up_to_the_example(entry: EventType) -> None:
    page = shown(entry, 80)
    assert max(map(len, page[: page.index("{")])) <= 80


@in_one("word", WORDS)
def test_the_example_is_the_message_that_the_generic_format_renders(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = type_named(word)
    assert entry is not None
    assert main(["events", word]) == 0
    text = capsys.readouterr().out
    assert text.endswith("\n" + pretty(entry, word) + "\n")
    assert message(text) == json.loads(generic.render(example(entry, word), ENDPOINT).body)
    assert message(text)["event_type"] == word
    assert message(text)["data"] == entry.example


def test_a_finding_happened_when_its_data_says() -> None:
    entry = type_named("finding.critical")
    assert entry is not None
    sent = json.loads(pretty(entry, entry.name))
    assert sent["metadata"]["time"] == sent["data"]["generated"]
    assert sent["metadata"]["severity"] == sent["data"]["severity"] == "critical"


def test_an_example_is_the_same_each_time() -> None:
    assert [pretty(entry, entry.name) for entry in EVENT_TYPES] == [pretty(entry, entry.name) for entry in EVENT_TYPES]


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("scan_compelted", "scan_completed"), ("SCAN.FAILED", "scan.failed"), ("highrisk_event", "high_risk_event")],
)
def test_an_unknown_type_is_an_error_that_names_the_nearest(
    typo: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["events", typo]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert typo in said.err
    assert f'Did you mean "{meant}"?' in said.err


def test_an_unknown_type_that_resembles_nothing_is_an_error_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "\x1b[31m?"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_who_reads_only_the_beginning_gets_no_traceback() -> None:
    process = Process(["events", "--schema"], stdout=PIPE, stderr=PIPE)
    assert process.stdout and process.stderr
    process.stdout.read(1)
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (1, "")
    process.stderr.close()
