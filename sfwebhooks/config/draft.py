"""A Draft of the settings, while they are read: entries, and what is wrong with them, come in; endpoints with their
entries, and mistakes with their places, go out, without what may be a secret.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sfwebhooks.config.options import GENERAL_OPTIONS, OPEN_OPTIONS, all_options, option_for
from sfwebhooks.config.sections import is_nearly_ours, is_ours
from sfwebhooks.config.values import nearest
from sfwebhooks.events import printable
from sfwebhooks.own_secrets import MASK, shown
from sfwebhooks.text_file import FileState

#: the start of a dotted key: an endpoint's name
STEM = re.compile(r"(?!whsec_|whsk_)[\w-]{1,64}")
#: a possible key as a whole, and an unknown one that is surely not a secret
SHOWN_KEY = re.compile(r"(?!whsec_|whsk_)[\w-]{0,32}(\.[\w-]{1,64})*")
PLAIN_KEY = re.compile(r"[a-z_]*")
#: a possible name of a section
SHOWN_SECTION = re.compile(r"[\w-]{1,32}(\.(?!whsec_|whsk_)[\w-]{1,64})?")
#: most characters of a wrong value that are shown
VALUE_MAX = 80
#: most mistakes that are reported; a file with more is not a settings file
MISTAKES_MAX = 200


@dataclass(frozen=True)
class Mistake:
    """A mistake in the configuration: its place, and what is expected."""

    file: str
    section: str
    key: str
    #: the text as written, or "***" if it may be a secret
    value: str
    problem: str
    #: whether the value is one that was never filled in (`samples`)
    is_unfilled: bool = False

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
    #: the section's intended name; empty: its own
    meant: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """The endpoint that section or dotted key name ("" for [webhooks] itself), and the key there."""
        _, named, name = (self.meant or self.section).partition(".")
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
        known = option_for(key) or nearest(key, [*all_options(), *GENERAL_OPTIONS]) or PLAIN_KEY.fullmatch(key)
        return self.key if known and SHOWN_KEY.fullmatch(self.key) else f"{self.key[:3]}{MASK}"

    @property
    def is_showable(self) -> bool:
        """Whether the section's name is surely not a secret."""
        return self.shown_section == self.section

    @property
    def shown_section(self) -> str:
        """The section's name as it may be shown: it may be a URL, or a secret in brackets."""
        known = SHOWN_SECTION.fullmatch(self.section) and (is_ours(self.section) or is_nearly_ours(self.section))
        return self.section if known else shown(self.section)


@dataclass(frozen=True)
class Block:
    """A section of a file."""

    section: str
    #: number of the line with its name, and the lines after it
    line: int
    lines: list[str] = field(repr=False)
    #: the section's intended name; empty: its own
    meant: str = ""

    def entry(self, key: str = "", text: str = "") -> Entry:
        """Return an entry of the section; without a key it is about the section itself."""
        return Entry(self.section, key, text, self.meant)


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
    #: endpoint name, or "" for [webhooks] itself -> key with a mistake ("" for the whole section) -> what is wrong
    broken: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    #: key of [webhooks] that was read from a section with a wrong name -> the problem with that name
    doubtful: dict[str, str] = field(default_factory=dict)
    #: section -> its place in the file, which is shown if its name may not be
    where: dict[str, str] = field(default_factory=dict)
    #: the lines of [webhooks-expect], each with its number in the file
    expected: list[tuple[int, str]] = field(default_factory=list)
    #: the entries of [webhooks-severity], and a mistake there
    severities: list[Entry] = field(default_factory=list)
    misrated: str = ""
    #: whether there may be an endpoint whose name or events are not known
    incomplete: bool = False
    #: warnings about valid settings
    doubts: list[str] = field(default_factory=list)
    #: states of the files that were read, also for values (file:PATH), from before reading; also of missing ones
    files: dict[Path, FileState] = field(default_factory=dict)
    #: those of them that hold no secret
    plain: set[Path] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        """Whether no more mistakes are noted. A file that is not a settings file has thousands, each of which would be
        compared with all keys."""
        return len(self.mistakes) >= MISTAKES_MAX

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """Return the suggestion of `values.nearest` for a word, unless no more mistakes are noted."""
        return "" if self.is_full else nearest(word, known)

    def wrong(self, entry: Entry, problem: str, show: bool = False, is_unfilled: bool = False) -> None:
        """Note a mistake of an endpoint, or of all; the value is shown only where it cannot be a secret."""
        name, key = entry.place
        words = f"{MASK if self.is_full else entry.shown_key}: {problem}" if key else problem
        self.note(entry, problem, show, is_unfilled)
        self.broken[name].setdefault(key, printable(f"{words} ([{self.section_of(entry)}])" if not name else words))

    def note(self, entry: Entry, problem: str, show: bool = False, is_unfilled: bool = False) -> None:
        """Note a mistake without holding an endpoint for it."""
        if self.is_full:
            return
        value = shown(entry.text.partition("\n")[0])[:VALUE_MAX] if show else MASK if entry.text else ""
        section, key, value, words = map(printable, (self.section_of(entry), entry.shown_key, value, problem))
        self.mistakes.append(Mistake(self.file, section, key, value, words, is_unfilled))

    def doubt(self, entry: Entry, words: str) -> None:
        """Note a warning about a valid value."""
        self.doubts.append(printable(f"[{self.section_of(entry)}] {entry.shown_key}: {words}"))

    def section_of(self, entry: Entry) -> str:
        """Return an entry's section as it may be shown, with its place in the file if its name may not be."""
        shown_section = entry.shown_section
        where = self.where.get(entry.section)
        return f"{MASK}, {where}" if shown_section == MASK and where else shown_section

    def open(self, section: str, where: str) -> None:
        """Note a section, even an empty one, and its place."""
        name, _ = Entry(section, "", "").place
        self.where.setdefault(section, where)
        if name:
            self.endpoints.setdefault(name, {})

    def add(self, entry: Entry) -> None:
        """Add an entry to the endpoint that its section, or its dotted key, names."""
        name, key = entry.place
        keys = self.endpoints.setdefault(name, {}) if name else self.general
        if key in keys:
            self.wrong(entry, f"given twice, see also {keys[key].shown_key} in [{self.section_of(keys[key])}]")
        else:
            keys[key] = entry
