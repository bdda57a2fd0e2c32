"""Reading the settings: a file or a mapping comes in, a Draft with each key, its text and its place goes out.

`settings` gives the texts their meaning. A wrong line is a Mistake, and the rest is still read. A section with a wrong
name is read as the one that was meant (`sections`), so that the endpoints that it concerns are known.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfwebhooks.config.draft import Block, Draft, Entry
from sfwebhooks.config.options import GENERAL_OPTIONS, option_for
from sfwebhooks.config.sections import (
    EXPECT,
    NAMELESS,
    SECTION,
    SEVERITY,
    is_default,
    is_nearly_expect,
    is_nearly_ours,
    is_nearly_severity,
    is_ours,
    is_shared,
    meant,
)
from sfwebhooks.errors import ConfigError
from sfwebhooks.own_secrets import shown
from sfwebhooks.text_file import decoded_text, settled, state_of

#: suffix of a file whose settings are JSON
JSON = ".json"
#: a section's name begins its line; ours are found indented too
HEADER = re.compile(r"(?:\s*(?=\[webhooks[\].]))?\[([^\]]+)\]")
#: the header under which a section is parsed, so that no line in it is taken for another header
ONLY_SECTION = re.compile(r"\[(?P<header>\0)\]")
#: the end of a key
KEY_END = re.compile("[=:]")
#: the possible key of a line, valid or not
KEY = re.compile(r"\s*([^\s=:#;\[]+)")
#: most lines of an INI file: configparser becomes slower with each wrong one
LINES_MAX = 20_000


def read_settings(path: Path, draft: Draft) -> None:
    """Read a file into the draft.

    Raises:
        ConfigError: nothing of it can be used.
    """
    draft.files[path] = state_of(path)
    try:
        text = decoded_text(settled(path))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"cannot be read: {error}") from error
    read_text(text, path, draft)


def read_text(text: str, path: Path, draft: Draft) -> None:
    """Read the text of a file, whose lines end with newlines, into the draft.

    Raises:
        ConfigError: nothing of it can be used.
    """
    if path.suffix == JSON:
        try:
            mapping = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"is not JSON: {error}") from error
        read_mapping(mapping, draft)
        return
    blocks = blocks_of(text)
    for block in blocks:
        if is_ours(block.section):
            _read_ours(block, draft)
    for block in blocks:
        if block.section == EXPECT:
            draft.expected += enumerate(block.lines, block.line + 1)
        elif is_nearly_expect(block.section):
            draft.note(block.entry(), f'the section in line {block.line} is not known. Did you mean "[{EXPECT}]"?')
        elif block.section == SEVERITY:
            _read_severities(block, draft)
        elif is_nearly_severity(block.section):
            draft.misrated = f'the section in line {block.line} is not known. Did you mean "[{SEVERITY}]"?'
            draft.note(block.entry(), draft.misrated)
        elif not is_ours(block.section):
            _read_strange(block, is_shared(path), draft)


def _read_ours(block: Block, draft: Draft) -> None:
    if block.section in draft.where:
        draft.wrong(block.entry(), f"given twice, the second time in line {block.line}")
    draft.open(block.section, f"line {block.line}")
    for entry in _entries(block, draft):
        draft.add(entry)


def _read_severities(block: Block, draft: Draft) -> None:
    before = len(draft.mistakes)
    if any(entry.section == block.section for entry in draft.severities):
        draft.note(block.entry(), f"given twice, the second time in line {block.line}")
    draft.severities += _entries(block, draft)
    if len(draft.mistakes) > before:
        draft.misrated = str(draft.mistakes[before])


def _read_strange(block: Block, shared: bool, draft: Draft) -> None:
    """Read a section with another name as the one that was meant, to hold the endpoints that it concerns."""
    keys = [match[1] for line in block.lines if (match := KEY.match(line))]
    block = replace(block, meant=meant(block.section, keys, shared, draft.endpoints))
    if not block.meant:
        return
    if block.entry().place[0] not in draft.endpoints and not block.entry().is_showable:
        block = replace(block, meant=NAMELESS if "." in block.meant else SECTION)  # its name may be a secret
    draft.where.setdefault(block.section, f"line {block.line}")
    problem = _hint(block)
    draft.note(block.entry(), problem)
    if block.meant == NAMELESS:
        draft.incomplete = True
        return
    name, _ = block.entry().place
    if name:
        draft.endpoints.setdefault(name, {})
        draft.broken[name].setdefault("", problem)
    for entry in _entries(block, draft):
        if shared and is_default(block.section) and not option_for(entry.key):
            continue  # another program's
        draft.add(entry)
        place, key = entry.place
        if place:
            draft.broken[place].setdefault("", problem)
        else:
            draft.doubtful.setdefault(key, problem)


def _hint(block: Block) -> str:
    """Return the problem with a section's name, and what is expected."""
    where = f"in line {block.line}"
    if block.section == NAMELESS:
        return (
            f"the endpoint's name is missing {where}; expected [{SECTION}.NAME], or [{SECTION}] for what all endpoints"
            " inherit"
        )
    if block.meant == SECTION and not is_nearly_ours(block.section) and not is_default(block.section):
        return f"the section {where} is not known; expected [{SECTION}] or [{SECTION}.NAME]"
    right = f"{NAMELESS}NAME" if block.meant == NAMELESS or not block.entry().is_showable else block.meant
    return f'the section {where} is not known. Did you mean "[{right}]"?'


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f'"{shown(name)}" is given twice')
        made[name] = value
    return made


def blocks_of(text: str) -> list[Block]:
    """Return all sections of a file.

    Raises:
        ConfigError: there is text before the first one, or the file has too many lines.
    """
    found, lines = [Block("", 0, [])], text.split("\n")
    if len(lines) > LINES_MAX:
        raise ConfigError(f"has {len(lines):,} lines, expected at most {LINES_MAX:,}; is this an INI file?")
    for number, line in enumerate(lines, 1):
        header = HEADER.match(line)
        if header:
            found.append(Block(header[1], number, []))
        else:
            found[-1].lines.append(line)
    for number, line in enumerate(found[0].lines, 1):
        if line.strip() and line.strip()[0] not in "#;":
            raise ConfigError(f"line {number} is before the first [section]; is this an INI file?")
    return found[1:]


def _entries(block: Block, draft: Draft) -> Iterator[Entry]:
    """Yield the entries of a section; a line that is wrong is a mistake, and the rest is still read."""
    lines = list(block.lines)
    if not any(map(str.strip, lines)):
        return
    for number, key in _repeated(lines):
        draft.wrong(block.entry(key), f"given twice, the second time in line {block.line + number + 1}")
        lines[number] = re.sub(r"\S.*", f"\0{number} =", lines[number])  # out of the way
    parser = configparser.ConfigParser(interpolation=None, default_section="\0none", strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    parser.SECTCRE = ONLY_SECTION
    try:
        parser.read_string("\n".join(["[\0]", *lines]))
    except configparser.ParsingError as error:
        for number, _ in error.errors:
            draft.wrong(_begun(block, lines[number - 2]), f'line {block.line + number - 1} is not "key = value"')
    for key, text in parser["\0"].items():
        if not key.startswith("\0"):
            yield _without_swallowed(block.entry(key, text), draft)


def _begun(block: Block, line: str) -> Entry:
    """Return the entry that a line was meant to be, if its first word is a key, else one that is about the section."""
    match = KEY.match(line)
    entry = block.entry(match[1] if match else "")
    return entry if _is_key(entry) else block.entry()


def _is_key(entry: Entry) -> bool:
    key = entry.place[1]
    return key in GENERAL_OPTIONS or option_for(key) is not None


def _repeated(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield number and key of each line that repeats a key, read as configparser does, which reports one at a time."""
    seen: set[str] = set()
    indent = sys.maxsize
    for number, line in enumerate(lines):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        depth = len(line) - len(line.lstrip())
        if depth > indent and seen:  # it continues the previous value
            continue
        indent, end = depth, KEY_END.search(text)
        key = text[: end.start()].rstrip() if end else ""
        if key in seen:
            yield number, key
        seen.update([key] if end else [])


def _without_swallowed(entry: Entry, draft: Draft) -> Entry:
    """Note a key whose line is indented, and so is part of the previous value; return that value without it."""
    lines = entry.text.split("\n")
    for number, line in enumerate(lines[1:], 1):
        match = re.match(r"([^\s=:]+)\s*[=:]", line)
        swallowed = replace(entry, key=match[1], text="") if match else None
        if swallowed and _is_key(swallowed):
            problem = f'the line "{swallowed.key} = ..." below it is indented and so is part of its value'
            draft.wrong(entry, problem)
            name, key = swallowed.place
            draft.broken[name].setdefault(key, problem)
            return replace(entry, text="\n".join(lines[:number]))
    return entry


def read_mapping(mapping: object, draft: Draft) -> None:
    """Read a mapping (endpoint name -> its keys, and the keys of [webhooks]) into the draft."""
    if isinstance(mapping, Mapping) and set(mapping) == {SECTION}:
        mapping = mapping[SECTION]
    if not isinstance(mapping, Mapping):
        raise ConfigError("is not a mapping of endpoint names to their keys")
    if EXPECT in mapping:
        _read_expected(mapping[EXPECT], draft)
        mapping = {key: value for key, value in mapping.items() if key != EXPECT}
    if SEVERITY in mapping:
        _read_rated(mapping[SEVERITY], draft)
        mapping = {key: value for key, value in mapping.items() if key != SEVERITY}
    for number, (key, value) in enumerate(mapping.items(), 1):
        section = f"{SECTION}.{key}" if isinstance(value, Mapping) else SECTION
        if section == NAMELESS:
            draft.note(Entry(section, "", ""), f"the endpoint's name is missing: key {number} is empty")
            draft.incomplete = True
            continue
        draft.open(section, f"key {number}")
        for name, inner in _flat(value) if isinstance(value, Mapping) else [(str(key), value)]:
            text = _text(inner)
            if text is None:
                draft.wrong(Entry(section, name, ""), "expected a text, a number, true, false, or a list of these")
            else:
                draft.add(Entry(section, name, text))


def _read_expected(value: object, draft: Draft) -> None:
    """Read the expected scans of a mapping as the lines that they would be in an INI file."""
    pairs = value.items() if isinstance(value, Mapping) else [("", None)]
    for name, inner in pairs:
        text = _text(inner)
        if text is None:
            draft.note(Entry(EXPECT, str(name), ""), "expected a text, or a list of texts")
        else:
            first, *more = text.split("\n")
            draft.expected += [(0, f"{name} = {first}"), *((0, f"  {line}") for line in more)]


def _read_rated(value: object, draft: Draft) -> None:
    """Read the severities of a mapping."""
    for label, inner in value.items() if isinstance(value, Mapping) else [("", None)]:
        text = _text(inner)
        if text is None:
            draft.misrated = f"[{SEVERITY}] expected severities with a text, or a list of texts"
            draft.note(Entry(SEVERITY, str(label), ""), "expected a text, or a list of texts")
        else:
            draft.severities.append(Entry(SEVERITY, str(label), text))


def _flat(mapping: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            yield str(key), value


def _text(value: object) -> str | None:
    """Return how a value is written in an INI file; None for one that cannot be."""
    if isinstance(value, (list, tuple)):
        texts = [text for text in map(_text, value) if text is not None]
        return "\n".join(texts) if len(texts) == len(value) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float, os.PathLike)) else None
