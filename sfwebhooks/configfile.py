"""Read what was written: a file or a mapping comes in, a Draft goes out: each key with its text and its place.

`config` gives the texts their meaning. A line that is wrong is a Mistake, and the rest is still read; sections of
other programs, and what is wrong in them, are not looked at.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfwebhooks import files
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import printable
from sfwebhooks.masking import MASK, shown
from sfwebhooks.options import ENDPOINT_OPTIONS, GENERAL_OPTIONS, OPEN_OPTIONS, option_for
from sfwebhooks.values import nearest

SECTION = "webhooks"
NAMELESS = f"{SECTION}."
#: a section's name begins its line; ours are found indented too
HEADER = re.compile(r"(?:\s*(?=\[webhooks[\].]))?\[([^\]]+)\]")
#: what somebody wrote who meant our section
NEARLY = re.compile(r"(?i)\s*web[-_ ]?hooks?\b[\W_]*")
#: what begins a dotted key: an endpoint's name
STEM = re.compile(r"(?!whsec_|whsk_)[\w-]{1,64}")
#: the section as which one is read, so that no line in it is taken for the next one
ONLY_SECTION = re.compile(r"\[(?P<header>\0)\]")
#: what ends a key
KEY_END = re.compile("[=:]")
#: what may be a key, as a whole, and what surely is no secret though nobody knows it
SHOWN_KEY = re.compile(r"(?!whsec_|whsk_)[\w-]{0,32}(\.[\w-]{1,64})*")
PLAIN_KEY = re.compile(r"[a-z_]*")
#: what a section may be called, nearly
SHOWN_SECTION = re.compile(r"[\w-]{1,32}(\.(?!whsec_|whsk_)[\w-]{1,64})?")
#: characters of a wrong value that are shown
VALUE_MAX = 80
#: mistakes that are named; a file with more is not one of settings
MISTAKES_MAX = 200


@dataclass(frozen=True)
class Mistake:
    """Something wrong in the configuration, and what would be right."""

    file: str
    section: str
    key: str
    #: the text as written, or "***" if it may be a secret
    value: str
    problem: str

    def __str__(self) -> str:
        section = f" [{self.section}]" if self.section else ""
        key = f" {self.key}" if self.key else ""
        value = f' = "{self.value}"' if self.value else ""
        return f"{self.file}{':' if section or key else ''}{section}{key}{value}: {self.problem}"


@dataclass(frozen=True)
class Entry:
    """A key as it was written."""

    section: str
    key: str
    text: str = field(repr=False)

    @property
    def place(self) -> tuple[str, str]:
        """The endpoint that section or dotted key name ("" for [webhooks] itself), and the key there."""
        _, named, name = self.section.partition(".")
        stem, dotted, rest = self.key.partition(".")
        if not named and self.key == "default_url":
            return "default", "url"
        if not named and dotted and STEM.fullmatch(stem) and f"{stem}." not in OPEN_OPTIONS:
            return stem, rest
        return name, self.key

    @property
    def shown_key(self) -> str:
        """The key, or its beginning: a line without its "=" can make a secret look like a key."""
        key = self.place[1]
        known = option_for(key) or nearest(key, [*ENDPOINT_OPTIONS, *GENERAL_OPTIONS]) or PLAIN_KEY.fullmatch(key)
        return self.key if known and SHOWN_KEY.fullmatch(self.key) else f"{self.key[:3]}{MASK}"

    @property
    def shown_section(self) -> str:
        """The section, without what can be no endpoint's name: it may be its URL."""
        return self.section if SHOWN_SECTION.fullmatch(self.section) else shown(self.section)


@dataclass
class Draft:
    """The configuration while it is being read."""

    file: str
    #: folder that relative file names start from
    folder: Path
    general: dict[str, Entry] = field(default_factory=dict)
    #: endpoint name -> key -> entry
    endpoints: dict[str, dict[str, Entry]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    #: endpoint name, or "" for [webhooks] itself -> keys with a mistake, "" for the whole section
    broken: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: section -> where it stands, which finds it if its name may not be shown
    where: dict[str, str] = field(default_factory=dict)

    def wrong(self, entry: Entry, problem: str, show: bool = False) -> None:
        """Note a mistake; the value is shown only where it cannot be a secret."""
        name, key = entry.place
        self.broken[name].add(key)
        if len(self.mistakes) >= MISTAKES_MAX:
            return
        value = shown(entry.text.partition("\n")[0])[:VALUE_MAX] if show else MASK if entry.text else ""
        words = (self.section_of(entry), entry.shown_key, value, problem)
        self.mistakes.append(Mistake(self.file, *map(printable, words)))

    def section_of(self, entry: Entry) -> str:
        """Return an entry's section as it may be shown; instead of a name that may not be, where it stands."""
        shown_section = entry.shown_section
        where = self.where.get(entry.section)
        return f"{MASK}, {where}" if shown_section == MASK and where else shown_section

    def open(self, section: str, where: str) -> None:
        """Note that a section is there, even if there is nothing in it, and where."""
        name, _ = Entry(section, "", "").place
        self.where.setdefault(section, where)
        if name:
            self.endpoints.setdefault(name, {})

    def add(self, entry: Entry) -> None:
        """Put an entry to the endpoint that its section, or its dotted key, names."""
        name, key = entry.place
        keys = self.endpoints.setdefault(name, {}) if name else self.general
        if key in keys:
            self.wrong(entry, f"given twice, see also {keys[key].shown_key} in [{self.section_of(keys[key])}]")
        else:
            keys[key] = entry


def read(path: Path, draft: Draft) -> None:
    """Read a file into the draft.

    Raises:
        ConfigError: nothing of it can be used.
    """
    try:
        text = files.text(path, files.SETTINGS_MAX)
        if path.suffix == ".json":
            read_mapping(json.loads(text, object_pairs_hook=_unique), draft)
            return
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not a text in UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not JSON: {error}") from error
    seen: set[str] = set()
    for section, begin, lines in _sections(text, draft):
        if section == NAMELESS:
            right = f"[{SECTION}.NAME], or [{SECTION}] for what all endpoints inherit"
            draft.wrong(Entry(section, "", ""), f"the endpoint's name is missing in line {begin}: {right}")
            continue
        if section in seen:
            draft.wrong(Entry(section, "", ""), f"given twice, the second time in line {begin}")
        seen.add(section)
        draft.open(section, f"line {begin}")
        for entry in _entries(section, begin, lines, draft):
            draft.add(entry)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f'"{shown(name)}" is given twice')
        made[name] = value
    return made


def _sections(text: str, draft: Draft) -> list[tuple[str, int, list[str]]]:
    """Return our sections: name, number of the line that it stands in, lines after it."""
    found: list[tuple[str, int, list[str]]] = [("", 0, [])]
    for number, line in enumerate(text.split("\n"), 1):
        header = HEADER.match(line)
        if header:
            found.append((header[1], number, []))
        else:
            found[-1][2].append(line)
    for number, line in enumerate(found[0][2], 1):
        if line.strip() and line.strip()[0] not in "#;":
            raise ConfigError(f"line {number} stands before the first [section]; is this an INI file?")
    for section, number, _ in found:
        if NEARLY.match(section) and not _ours(section):
            entry = Entry(section, "", "")
            name = NEARLY.sub(".", section, count=1).rstrip(".") if entry.shown_section == section else ".NAME"
            draft.wrong(entry, f'line {number} is not read. Did you mean "[{SECTION}{name}]"?')
    return [block for block in found if _ours(block[0])]


def _ours(section: str) -> bool:
    return section == SECTION or section.startswith(f"{SECTION}.")


def _entries(section: str, begin: int, lines: list[str], draft: Draft) -> Iterator[Entry]:
    """Yield the entries of a section; a line that is wrong is a mistake, and the rest is still read."""
    if not any(map(str.strip, lines)):
        return
    for number, key in _repeated(lines):
        draft.wrong(Entry(section, key, ""), f"given twice, the second time in line {begin + number + 1}")
        lines[number] = re.sub(r"\S.*", f"\0{number} =", lines[number])  # out of the way
    parser = configparser.ConfigParser(interpolation=None, default_section="\0none", strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    parser.SECTCRE = ONLY_SECTION
    try:
        parser.read_string("\n".join(["[\0]", *lines]))
    except configparser.ParsingError as error:
        for number, _ in error.errors:
            draft.wrong(Entry(section, "", ""), f'line {begin + number - 1} is not "key = value"')
    for key, text in parser["\0"].items():
        if not key.startswith("\0"):
            yield _without_swallowed(Entry(section, key, text), draft)


def _repeated(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the places of lines with a key that came before, as configparser reads them, which names one at a time."""
    seen: set[str] = set()
    indent = sys.maxsize
    for number, line in enumerate(lines):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        depth = len(line) - len(line.lstrip())
        if depth > indent and seen:  # it goes on with the value before
            continue
        indent, end = depth, KEY_END.search(text)
        key = text[: end.start()].rstrip() if end else ""
        if key in seen:
            yield number, key
        seen.update([key] if end else [])


def _without_swallowed(entry: Entry, draft: Draft) -> Entry:
    """Note a key that stands indented, and so became a part of the value before it; return that value without it."""
    lines = entry.text.split("\n")
    for number, line in enumerate(lines[1:], 1):
        match = re.match(r"([^\s=:]+)\s*[=:]", line)
        key = Entry(entry.section, match[1], "").place[1] if match else ""
        if match and (key in GENERAL_OPTIONS or option_for(key)):
            draft.wrong(entry, f'the line "{match[1]} = ..." below it is indented and so a part of its value')
            return Entry(entry.section, entry.key, "\n".join(lines[:number]))
    return entry


def read_mapping(mapping: object, draft: Draft) -> None:
    """Read a mapping (endpoint name -> its keys, beside the keys of [webhooks]) into the draft."""
    if isinstance(mapping, Mapping) and set(mapping) == {SECTION}:
        mapping = mapping[SECTION]
    if not isinstance(mapping, Mapping):
        raise ConfigError("is not a mapping of endpoint names to their keys")
    for number, (key, value) in enumerate(mapping.items(), 1):
        section = f"{SECTION}.{key}" if isinstance(value, Mapping) else SECTION
        if section == NAMELESS:
            draft.wrong(Entry(section, "", ""), f"the endpoint's name is missing: key {number} is empty")
            continue
        draft.open(section, f"key {number}")
        for name, inner in _flat(value) if isinstance(value, Mapping) else [(str(key), value)]:
            text = _text(inner)
            if text is None:
                draft.wrong(Entry(section, name, ""), "accepted: a text, a number, true, false, or a list of these")
            else:
                draft.add(Entry(section, name, text))


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
