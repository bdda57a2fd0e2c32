"""Edits of random INI files, through the commands: only the meant lines change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfwebhooks.cli import main
from sfwebhooks.config.editing import Edit, as_read, edited
from sfwebhooks.config.rewriting import PREVIOUS
from sfwebhooks.config.settings import Settings, load, load_text
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError

URL = "http://127.0.0.1:9/hook"
#: characters of comments and values: all but control characters, line separators and lone surrogates
LETTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
TEXT = st.text(LETTERS, max_size=20)
#: a value that is neither empty nor a comment
VALUE = TEXT.map(lambda text: f"v{text}".rstrip())
INDENTS = st.sampled_from(["", " ", "\t", "    "])


@dataclass
class Piece:
    """Lines of a section: a key with all lines of its value, or comments and blank lines."""

    lines: list[str]
    key: str = ""


@dataclass
class Part:
    """A section."""

    header: str
    name: str
    pieces: list[Piece] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Place behind the last key."""
        return max((at for at, piece in enumerate(self.pieces, 1) if piece.key), default=0)

    def lines(self) -> Iterator[str]:
        yield self.header
        for piece in self.pieces:
            yield from piece.lines


@st.composite
def pieces(draw: Any, keys: list[str]) -> list[Piece]:
    """Keys in any order and spacing, with comments and blank lines between them."""
    indent, made = draw(INDENTS), []
    for key in draw(st.permutations(keys)):
        made += draw(st.lists(gaps(), max_size=2))
        space = draw(st.sampled_from(["=", " = ", "=  ", ": ", " : ", "\t=\t"]))
        value = URL if key.endswith("url") else draw(VALUE)
        more = [] if key.endswith("url") else draw(st.lists(VALUE, max_size=2))
        lines = [f"{indent}{key}{space}{value}"]
        for line in more:
            lines += [""] * draw(st.integers(0, 1))
            lines.append(f"{indent}   {line}")
        made.append(Piece(lines, key))
    return [*made, *draw(st.lists(gaps(), max_size=3))]


@st.composite
def gaps(draw: Any) -> Piece:
    comment = st.tuples(st.sampled_from("#;"), TEXT).map("".join)
    return Piece([draw(st.one_of(st.sampled_from(["", "  "]), comment))])


@st.composite
def files(draw: Any) -> list[Part]:
    """A file that we share with another program: its sections between ours, in any order."""
    dotted = ["dotted.url", "dotted.description"] * draw(st.booleans())
    made = [
        Part("[webhooks]", "", draw(pieces(["ui_url", *dotted]))),
        Part(
            draw(st.sampled_from(["[webhooks.team]", "  [webhooks.team]", "[webhooks.team]  # ours"])),
            "team",
            draw(pieces(["url", "description", *draw(st.sets(st.sampled_from(["metadata.a", "metadata.B"])))])),
        ),
        Part("[webhooks.other]", "other", draw(pieces(["url", "description"]))),
        Part("[spiderfoot]", "", draw(pieces(["key", "url", "team.url"]))),
    ]
    order: list[Part] = draw(st.permutations(made))
    return order


def text_of(parts: list[Part], end: str, is_ended: bool) -> str:
    return end.join(line for part in parts for line in part.lines()) + (end if is_ended else "")


@dataclass
class Folder:
    """The folder of a random file, which is as old as if nobody had just written it."""

    path: Path

    def write(self, text: str, mark: bytes) -> bytes:
        data = mark + text.encode()
        self.path.write_bytes(data)
        self.path.chmod(0o600)
        os.utime(self.path, (1, 1))
        return data

    def run(self, *arguments: str) -> int:
        os.utime(self.path, (1, 1))
        return main([*arguments, "--config", str(self.path)])

    def lines(self) -> list[str]:
        return self.path.read_bytes().decode("utf-8-sig").split("\n")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "spiderfoot.conf")


ENDS = st.sampled_from(["\n", "\r\n"])
MARKS = st.sampled_from([b"", b"\xef\xbb\xbf"])
many = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(parts=files(), end=ENDS, mark=MARKS, is_ended=st.booleans())
def test_create_adds_a_section_and_changes_no_other_line(
    folder: Folder, parts: list[Part], end: str, mark: bytes, is_ended: bool
) -> None:
    before = folder.write(text_of(parts, end, is_ended), mark)
    assert folder.run("create", "new", "--url", URL, "--events", "all", "scan_*", "--no-test") == 0
    after = folder.path.read_bytes()
    assert after.startswith(before)
    added = after[len(before) :].decode()
    assert added.strip() == f"[webhooks.new]{end}url = {URL}{end}events = all, scan_*"
    assert added.replace(end, "").isprintable()
    assert folder.path.with_name(folder.path.name + PREVIOUS).read_bytes() == before


@many
@given(
    parts=files(), end=ENDS, mark=MARKS, is_ended=st.booleans(), name=st.sampled_from(["team", "dotted"]), value=VALUE
)
def test_update_changes_the_lines_of_one_key(
    folder: Folder, parts: list[Part], end: str, mark: bytes, is_ended: bool, name: str, value: str
) -> None:
    written = "description" if name == "team" else "dotted.description"
    part = next(one for one in parts if one.name == ("team" if name == "team" else "") and "webhooks" in one.header)
    piece = next((one for one in part.pieces if one.key == written), None)
    folder.write(text_of(parts, end, is_ended), mark)
    code = folder.run("update", name, "--set", f"description={value}")
    if piece is None:  # there is no such endpoint
        assert code == 1
        return
    assert code == 0
    first = piece.lines[0]
    indent, rest = first[: len(first) - len(first.lstrip())], first.lstrip()[len(written) :]
    sign = rest.strip()[0]
    comments = [line for line in piece.lines[1:] if line.strip()[:1] in ("#", ";")]
    piece.lines = [f"{indent}{written} {sign} {value}", *comments]
    assert folder.lines() == text_of(parts, end, is_ended).split("\n")


@many
@given(parts=files(), end=ENDS, mark=MARKS, is_ended=st.booleans(), value=VALUE)
def test_a_new_key_is_put_below_the_last_one(
    folder: Folder, parts: list[Part], end: str, mark: bytes, is_ended: bool, value: str
) -> None:
    folder.write(text_of(parts, end, is_ended), mark)
    assert folder.run("update", "team", "--set", f"metadata.new={value}") == 0
    part = next(one for one in parts if one.name == "team")
    part.pieces.insert(part.last, Piece([f"metadata.new = {value}"], "metadata.new"))
    assert folder.lines() == text_of(parts, end, is_ended).split("\n")


@many
@given(parts=files(), end=ENDS, mark=MARKS, is_ended=st.booleans())
def test_delete_removes_the_section_up_to_its_last_key(
    folder: Folder, parts: list[Part], end: str, mark: bytes, is_ended: bool
) -> None:
    folder.write(text_of(parts, end, is_ended), mark)
    assert folder.run("delete", "team", "--yes") == 0
    part = next(one for one in parts if one.name == "team")
    rest = Part("", "", part.pieces[part.last :])
    above = [line for one in parts[: parts.index(part)] for line in one.lines()]
    below = [*rest.lines()][1:] + [line for one in parts[parts.index(part) + 1 :] for line in one.lines()]
    found = [line.rstrip("\r") for line in folder.lines()]
    while below and not below[0].strip():
        del below[0]
    if not below:
        while above and not above[-1].strip():
            del above[-1]
    assert found in (above + below, [*above, *below, ""])


@many
@given(parts=files(), end=ENDS, mark=MARKS, name=st.sampled_from(["team", "other"]))
def test_an_endpoint_that_is_created_and_deleted_again_leaves_the_file_as_it_was(
    folder: Folder, parts: list[Part], end: str, mark: bytes, name: str
) -> None:
    while parts[-1].pieces and not parts[-1].pieces[-1].lines[0].strip():
        del parts[-1].pieces[-1]
    before = folder.write(text_of(parts, end, is_ended=True), mark)
    assert folder.run("create", "new", "--url", URL, "--no-test") == 0
    assert folder.run("delete", "new", "--yes") == 0
    assert folder.path.read_bytes() == before


RUBBISH = [
    *("[webhooks]", "[webhooks.team]", "[webhooks.team", "[webhook.team]", "[a]", "url = http://x/", "  url=1", "x"),
    *("team.url = http://y/", "# c", "   # c", ";", "", "  ", "\t=", "= 1", ": 2", "a b = c", "[", "[]", "  []"),
    *("default_url = http://z/", "default.url : 3", "events = all", "  more", "events", "\u2028", "\x0b= 1", "\x00"),
]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(
        st.sampled_from(RUBBISH),
        max_size=12,
    ),
    edit=st.sampled_from(
        [
            Edit("new", {"url": URL}, is_new=True),
            Edit("team", {"url": URL}),
            Edit("team", {"events": "all", "url": None}),
            Edit("team", {"description": "#\nx"}),
            Edit("team", is_removed=True),
            Edit("default", {"events": "a\nb"}),
            Edit("default", is_removed=True),
        ]
    ),
    end=ENDS,
)
def test_rubbish_is_edited_as_meant_or_refused(lines: list[str], edit: Edit, end: str) -> None:
    text = end.join(lines)
    try:
        made = edited(text, edit, Path("webhooks.ini"))
    except ConfigError:
        return
    old, new = (load_text(Path("webhooks.ini"), as_read(one)) for one in (text, made))
    assert [others(found, edit.name) for found in (old, new)] == [others(old, edit.name)] * 2
    if not edit.is_removed:
        assert [line for line in lines if line[:1] in ("#", ";")] == [
            line for line in made.replace("\r\n", "\n").split("\n") if line[:1] in ("#", ";")
        ]


def others(found: Settings, name: str) -> dict[str, Endpoint]:
    """Return the endpoints but one; mistakes may name lines, and other endpoints."""
    return {one.name: replace(one, mistake="") for one in (*found.endpoints, *found.off) if one.name != name}


def put(folder: Path, text: str, name: str = "webhooks.ini") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    path.chmod(0o600)
    os.utime(path, (1, 1))
    return path


TEAM = f"[webhooks.team]\nurl = {URL}\n"


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("[webhooks.team]\nurl = x\n" * 2, "update team --events all", "given twice, in lines 1 and 3"),
        (f"[webhook.team]\nurl = {URL}\n", "update team --events all", "wrong name"),
        (TEAM + "nonsense\n", "update team --events all", 'line 3 is not "key = value"'),
        (TEAM + "format = siem\nformat = siem\n", "update team --events all", "repeats a key"),
        (TEAM.replace("\n", "\r"), "update team --events all", "carriage returns"),
        (TEAM + "a = \0\n", "update team --events all", "zeros"),
        (TEAM, "update nobody --events all", 'there is no endpoint "nobody"; there are: team'),
        (TEAM, "update taem --events all", 'Did you mean "team"?'),
        (TEAM, f"create team --url {URL} --no-test", "sfwebhooks update team changes it"),
        (TEAM, f"create a.b --url {URL} --no-test", "an endpoint's name has"),
        (TEAM, "update team --events nothing", '"nothing" is not an event'),
        (TEAM, "update team --format slak", 'Did you mean "slack"?'),
        (TEAM, "update team --set timeout=soon", "expected a duration"),
        (TEAM, "update team --set batch_size=5 --format slack", "batch_size requires one of the formats"),
        (TEAM, "update team --unset url", "this endpoint has no url"),
        (TEAM, "update team --set fallback=nobody", "fallback must be the name of another endpoint"),
        (TEAM, "update team --secret env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"),
        (TEAM, "update team --set client_cert=/none.pem --url https://127.0.0.1/", "client_cert /none.pem"),
        (TEAM + f"[webhooks.other]\nurl = {URL}\nfallback = team\n", "delete team --yes", "fallback must be"),
        ("x = 1\n" + TEAM, "update team --events all", "line 1 is before the first [section]"),
    ],
)
def test_an_edit_is_refused_with_the_reason_and_the_file_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, arguments: str, words: str
) -> None:
    path = put(tmp_path, text)
    before = path.read_bytes()
    assert main([*arguments.split(), "--config", str(path)]) == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert (words in printed, printed) == (True, printed)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_json_is_left_to_an_editor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, '{"team": {"url": "http://127.0.0.1:9/"}}', "webhooks.json")
    assert main(["update", "team", "--events", "all", "--config", str(path)]) == 1
    assert "is JSON, and commands edit INI files only: change it in an editor" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    ["timeout = soon\n", "nonsense\n", "url = http://127.0.0.1:9/\n", "events = nothing\n", "secret = changeme\n"],
)
def test_an_older_mistake_elsewhere_prevents_no_edit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    path = put(tmp_path, f"[webhooks.other]\nurl = {URL}\n{wrong}{TEAM}")
    assert main(["update", "team", "--events", "scan_*", "--config", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "The file has 1 older mistake: sfwebhooks check" in printed
    (team,) = (one for one in load(path).endpoints if one.name == "team")
    assert team.events == ("scan_*",)


def test_of_two_mistakes_one_can_be_corrected_before_the_other(tmp_path: Path) -> None:
    path = put(tmp_path, TEAM + "timeout = soon\nrate = fast\n")
    assert main(["update", "team", "--set", "timeout=5s", "--config", str(path)]) == 0
    assert [mistake.key for mistake in load(path).mistakes] == ["rate"]
    assert main(["update", "team", "--set", "rate=slow", "--config", str(path)]) == 1
    assert main(["update", "team", "--unset", "rate", "--config", str(path)]) == 0
    assert load(path).mistakes == ()


def test_the_default_endpoint_is_edited_where_it_is(tmp_path: Path) -> None:
    path = put(tmp_path, f"[webhooks]\ndefault_url = {URL}\nevents = all\n")
    assert main(["update", "default", "--url", "http://127.0.0.1:8/", "--format", "siem", "--config", str(path)]) == 0
    assert path.read_text() == "[webhooks]\ndefault_url = http://127.0.0.1:8/\nevents = all\ndefault.format = siem\n"
    assert main(["delete", "default", "--yes", "--config", str(path)]) == 0
    assert path.read_text() == "[webhooks]\nevents = all\n"


def test_keys_of_one_endpoint_in_two_places_are_both_edited(tmp_path: Path) -> None:
    path = put(tmp_path, f"[webhooks]\nteam.events = all\n# between\n{TEAM}timeout = 5s\n")
    assert main(["update", "team", "--events", "scan_*", "--set", "timeout=6s", "--config", str(path)]) == 0
    expected = f"[webhooks]\nteam.events = scan_*\n# between\n{TEAM}timeout = 6s\n"
    assert path.read_text() == expected
    assert main(["delete", "team", "--yes", "--config", str(path)]) == 0
    assert path.read_text() == "[webhooks]\n# between\n"


def test_several_secrets_and_templates_are_values_of_several_lines(tmp_path: Path) -> None:
    path = put(tmp_path, TEAM)
    template = '{\n"a": 1,\n\n"b": 2\n}'
    arguments = ["--format", "template", "--set", f"template={template}", "--set", "metadata.x="]
    assert main(["update", "team", *arguments, "--config", str(path)]) == 0
    assert load(path).mistakes == ()
    assert load(path).endpoints[0].key("template") == template


def test_a_value_that_would_be_read_as_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, TEAM)
    assert main(["update", "team", "--set", "description=a\n# b", "--config", str(path)]) == 1
    assert "would be read differently ([webhooks.team] description)" in capsys.readouterr().err
    assert path.read_text() == TEAM


@pytest.mark.parametrize("end", [*"\0\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"])
@pytest.mark.parametrize("key", ["description", "metadata.a"])
def test_a_value_cannot_begin_another_section(tmp_path: Path, end: str, key: str) -> None:
    path = put(tmp_path, TEAM)
    value = end.join(["x", "[webhooks.evil]", f"url = {URL}", "secret = abcdefghijklmnopqrstuv"])
    with pytest.raises(ConfigError, match=r"expected text without control characters"):
        edited(TEAM, Edit("team", {key: value}), path)
    if end != "\0":  # in an argument, the command line refuses it
        assert main(["update", "team", "--set", f"{key}={value}", "--config", str(path)]) == 1
        assert main(["create", "new", "--url", URL, "--set", f"{key}={value}", "--config", str(path)]) == 1
    assert path.read_text() == TEAM


@pytest.mark.parametrize("end", [*"\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"])
def test_a_key_cannot_begin_another_section(tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str) -> None:
    path = put(tmp_path, TEAM)
    key = end.join(["metadata.a", "[webhooks.evil]", "url"])
    assert main(["update", "team", "--set", f"{key}={URL}", "--config", str(path)]) == 1
    assert "[webhooks.team] met***: expected text without control" in " ".join(capsys.readouterr().err.split())
    assert path.read_text() == TEAM


def test_a_comment_within_a_value_survives(tmp_path: Path) -> None:
    path = put(tmp_path, f"[webhooks.team]\nurl = {URL}\nevents = all\n   # not yet:\n   !info_event\ntimeout = 5s\n")
    assert main(["update", "team", "--events", "scan_*", "--config", str(path)]) == 0
    assert path.read_text() == f"[webhooks.team]\nurl = {URL}\nevents = scan_*\n   # not yet:\ntimeout = 5s\n"


def test_a_comment_below_a_removed_key_survives(tmp_path: Path) -> None:
    comment = "  # the receiver is slow\n"
    path = put(tmp_path, f"{TEAM}events = all\n    !info_event\n{comment}timeout = 50s\n")
    assert main(["update", "team", "--unset", "events", "--config", str(path)]) == 0
    assert path.read_text() == f"{TEAM}{comment}timeout = 50s\n"


def test_a_section_of_very_many_lines_is_left_to_an_editor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, TEAM + "".join(f"metadata.m{number} = 1\n" for number in range(10_000)))
    assert main(["update", "team", "--events", "all", "--config", str(path)]) == 1
    assert "more than 2,000 lines" in capsys.readouterr().err
