"""Read what was written: a file or a mapping comes in, a Draft goes out: each key with its text and its place.

`config` gives the texts their meaning. A line that is wrong is a Mistake, and the rest is still read.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfwebhooks.errors import ConfigError
from sfwebhooks.options import OPEN_OPTIONS

SECTION = "webhooks"


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
        return f"{self.file}:{section}{key}{value}: {self.problem}"


@dataclass(frozen=True)
class Entry:
    """A key as it was written."""

    section: str
    key: str
    text: str


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

    def wrong(self, entry: Entry, problem: str, show: bool = False) -> None:
        """Note a mistake; the value is shown only where it cannot be a secret."""
        value = entry.text if show else "***" if entry.text else ""
        self.mistakes.append(Mistake(self.file, entry.section, entry.key, value, problem))

    def add(self, entry: Entry) -> None:
        """Put an entry to the endpoint that its section, or its dotted key, names."""
        name, _, key = entry.section.partition(".")[2], "", entry.key
        if not name and "." in key and key.partition(".")[0] + "." not in OPEN_OPTIONS:
            name, _, key = key.partition(".")
        if not name:
            self.general[key] = entry
        elif key in self.endpoints.setdefault(name, {}):
            self.wrong(entry, f"given twice, see also [{self.endpoints[name][key].section}]")
        elif key:
            self.endpoints[name][key] = entry


def read(path: Path, draft: Draft) -> None:
    """Read a file into the draft.

    Raises:
        ConfigError: nothing of it can be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            read_mapping(json.loads(text), draft)
            return
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not a text in UTF-8 (byte {error.start})") from error
    except ValueError as error:
        raise ConfigError(f"is not JSON: {error}") from error
    for section, keys in _parse_ini(text, draft).items():
        for key, value in keys.items():
            draft.add(Entry(section, key, value))


def _parse_ini(text: str, draft: Draft) -> dict[str, dict[str, str]]:
    """Return our sections; a line that is wrong is a mistake, and the rest is still read."""
    for strict in (True, False):
        parser = configparser.ConfigParser(interpolation=None, strict=strict, default_section="\0none")
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
        try:
            parser.read_string(text)
        except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as error:
            key = getattr(error, "option", "")
            if error.section.partition(".")[0] == SECTION:
                draft.wrong(Entry(error.section, key, ""), f"given twice, the second time in line {error.lineno}")
            continue
        except configparser.MissingSectionHeaderError as error:
            raise ConfigError(f"line {error.lineno} stands before the first [section]; is this an INI file?") from error
        except configparser.ParsingError as error:
            for line, _ in error.errors:
                draft.mistakes.append(Mistake(draft.file, "", "", "", f'line {line} is not "key = value"'))
        break
    ours = [name for name in parser.sections() if name == SECTION or name.startswith(SECTION + ".")]
    return {name: dict(parser[name]) for name in ours}


def read_mapping(mapping: object, draft: Draft) -> None:
    """Read a mapping (endpoint name -> its keys, beside the keys of [webhooks]) into the draft."""
    if not isinstance(mapping, Mapping):
        raise ConfigError("is not a mapping of endpoint names to their keys")
    inner = mapping.get(SECTION) if set(mapping) == {SECTION} else mapping
    for key, value in (inner if isinstance(inner, Mapping) else {}).items():
        if isinstance(value, Mapping):
            for inner_key, text in _flat(value):
                draft.add(Entry(f"{SECTION}.{key}", inner_key, text))
        else:
            draft.add(Entry(SECTION, str(key), _text(value)))


def _flat(mapping: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", _text(text)) for inner, text in value.items())
        else:
            yield str(key), _text(value)


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "\n".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
