"""Editing by command: the text of an INI file and an Edit of one endpoint come in, the changed text goes out.

Sections are found as our reader (`file`) finds them, and ConfigUpdater edits the lines of one of them: all other lines
stay as they are. The result is read back, and an edit by which anything but the meant keys would differ is refused. So
a file that the two read differently is never changed. `rewriting` writes the file.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from configparser import Error
from dataclasses import dataclass, field
from pathlib import Path

from configupdater import ConfigUpdater, Option

from sfwebhooks.config.draft import Block, Draft, Entry, Mistake
from sfwebhooks.config.file import JSON, blocks_of, read_text
from sfwebhooks.config.sections import NAMELESS, SECTION
from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import nearest
from sfwebhooks.errors import ConfigError, NotEditableError
from sfwebhooks.events import printable
from sfwebhooks.text_file import decoded_text

#: the advice for a file that is not edited
BY_HAND = "change it in an editor, then run sfwebhooks check"
#: indentation of the further lines of a value
INDENT = "    "
#: most lines of an edited section: ConfigUpdater's time grows with the square of their number
SECTION_MAX = 2000
#: the first characters of a comment
COMMENT = ("#", ";")
#: control characters and line separators but tab and newline: a reader may end a line at one of them
CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
#: number of a line in the text of a mistake: an edit moves lines
LINE = re.compile(r"line \d+")


@dataclass(frozen=True)
class Edit:
    """A change of the settings of one endpoint."""

    name: str
    #: key -> its new text, or None to remove its lines
    values: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    #: whether the endpoint is new
    is_new: bool = False
    #: whether it is removed
    is_removed: bool = False


class _Lines(ConfigUpdater):
    """The lines of one section; the names of keys are case-sensitive."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def as_read(text: str) -> str:
    """Return a text as it is read from the file to which it is written (`text_file`)."""
    return decoded_text(BOM_UTF8 + text.encode())


def draft_of(text: str, path: Path) -> Draft:
    """Return the draft of a file with a text.

    Raises:
        NotEditableError: nothing of it can be used.
    """
    draft = Draft(str(path), path.parent)
    try:
        read_text(as_read(text), path, draft)
    except ConfigError as error:
        raise NotEditableError(f"{path} {error}") from error
    return draft


def edited(text: str, edit: Edit, path: Path) -> str:
    """Return the text of an INI file with a edit.

    Args:
        path: of the file, for errors; its name says whether other programs have sections in it.

    Raises:
        NotEditableError: a command cannot edit this file.
        ConfigError: there is no such endpoint, or already one; or the text with this edit would be read differently.
    """
    if path.suffix == JSON:
        raise NotEditableError(f"{path} is JSON, and commands edit INI files only: {BY_HAND}")
    if re.search(r"\r(?!\n)|\0", text):
        raise NotEditableError(f"{path} has carriage returns or zeros within its lines: {BY_HAND}")
    _demand_lines(edit)
    before = draft_of(text, path)
    _demand_endpoint(before, edit, path)
    if edit.is_new:
        made = _with_section(text, edit)
    else:
        missing = "" if text.endswith("\n") else _end_of(text)  # the end of the last line
        made = "\n".join(_with_values((text + missing).split("\n"), before, edit, path))
        made = made[: len(made) - len(missing)]
    _demand_only(before, draft_of(made, path), edit, path)
    return made


def refused_mistakes(before: Settings, after: Settings, edit: Edit) -> list[Mistake]:
    """Return the mistakes for which an edit is refused: those in the keys that it sets, new ones in its endpoint, and
    places elsewhere that have more of them than before. Older mistakes do not keep anybody from editing."""
    old, places = Counter(map(_moved, before.mistakes)), Counter(map(_place_of, before.mistakes))
    found = []
    for mistake in after.mistakes:
        name, key = Entry(mistake.section, mistake.key, "").place
        places[_place_of(mistake)] -= 1
        old[_moved(mistake)] -= 1
        is_new = old[_moved(mistake)] < 0 if name == edit.name else places[_place_of(mistake)] < 0
        if is_new or (name == edit.name and edit.values.get(key) is not None):
            found.append(mistake)
    return found


def _moved(mistake: Mistake) -> str:
    return LINE.sub("line", str(mistake))


def _place_of(mistake: Mistake) -> tuple[str, str]:
    return LINE.sub("line", mistake.section), mistake.key


def _demand_lines(edit: Edit) -> None:
    """Check that no key or value of an edit has characters at which a reader may end a line.

    Raises:
        ConfigError: one has.
    """
    for key, value in edit.values.items():
        if CONTROL.search(key) or "\n" in key or CONTROL.search((value or "").replace("\r\n", "\n")):
            (place,) = _shown_places([(edit.name, key)])
            raise ConfigError(f"{place}: expected text without control characters; a value may have tabs and newlines")


def _demand_endpoint(before: Draft, edit: Edit, path: Path) -> None:
    name, names = edit.name, before.endpoints
    if edit.is_new and name in names:
        raise ConfigError(f'there is already an endpoint "{name}": sfwebhooks update {name} changes it')
    if not edit.is_new and name not in names:
        there_are = ", ".join(map(printable, names)) or "none"
        raise ConfigError(f'there is no endpoint "{printable(name)}"; there are: {there_are}.{nearest(name, names)}')
    strange = next((entry for entry in names.get(name, {}).values() if entry.meant), None)
    if strange:
        where = before.section_of(strange)
        raise NotEditableError(f"{path}: the section [{where}] has a wrong name: {BY_HAND}")


# --- the edit itself


def _end_of(text: str) -> str:
    """Return how the lines of a text end."""
    return "\r\n" if "\r\n" in text else "\n"


def _with_section(text: str, edit: Edit) -> str:
    """Return the text with a new section at its end."""
    end = _end_of(text)
    gap = "" if not text.strip() else end if text.endswith("\n") else 2 * end
    gap = "" if text.endswith(2 * end) else gap
    lines = [f"[{NAMELESS}{edit.name}]"]
    lines += [f"{key} = {_written(value, end)}".rstrip(" ") for key, value in edit.values.items() if value is not None]
    return f"{text}{gap}{end.join(lines)}{end}"


def _with_values(lines: list[str], before: Draft, edit: Edit, path: Path) -> list[str]:
    """Return the lines with the changed keys of an endpoint, wherever they are."""
    known, own = before.endpoints[edit.name], f"{NAMELESS}{edit.name}"
    values: dict[str, str | None] = dict.fromkeys(known) if edit.is_removed else dict(edit.values)
    by_section: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
    for key, value in values.items():
        if key in known:
            by_section[known[key].section][known[key].key] = value
        elif value is not None:
            is_dotted = own not in before.where
            by_section[SECTION if is_dotted else own][f"{edit.name}.{key}" if is_dotted else key] = value
    for section, changed in by_section.items():
        if not (edit.is_removed and section == own):
            lines = _with_keys(lines, _only_block(lines, section, path), changed, path)
    if edit.is_removed and own in before.where:
        lines = _without(lines, _only_block(lines, own, path), path)
    return lines


def _only_block(lines: list[str], section: str, path: Path) -> Block:
    """Return the section of this name.

    Raises:
        NotEditableError: there is none, or several, or it is too long.
    """
    found = [block for block in blocks_of("\n".join(lines)) if block.section == section]
    if not found:
        raise NotEditableError(f"{path}: a section has a wrong name, sfwebhooks check shows which: {BY_HAND}")
    if len(found) > 1:
        places = " and ".join(str(block.line) for block in found)
        raise NotEditableError(f"{path}: the section [{section}] is given twice, in lines {places}: {BY_HAND}")
    if len(found[0].lines) > SECTION_MAX:
        raise NotEditableError(f"{path}: the section [{section}] has more than {SECTION_MAX:,} lines: {BY_HAND}")
    return found[0]


def _parsed(block: Block, path: Path) -> _Lines:
    """Return the lines of a section for editing, under a header of its own.

    Raises:
        NotEditableError: ConfigUpdater cannot read them.
    """
    made = _Lines()
    try:
        made.read_string("".join(f"{line}\n" for line in (f"[{SECTION}]", *block.lines)))
    except (Error, AttributeError, KeyError, IndexError) as error:  # of its parser, which does not expect every text
        number = getattr(error, "lineno", 0) or next((line for line, _ in getattr(error, "errors", ())), 0)
        where = f"line {block.line + number - 1}" if number else f"a line after line {block.line}"
        problem = f'{where} is not "key = value", or repeats a key'
        raise NotEditableError(f"{path}: [{block.section}] cannot be edited by command, {problem}: {BY_HAND}") from None
    return made


def _with_keys(lines: list[str], block: Block, values: Mapping[str, str | None], path: Path) -> list[str]:
    """Return the lines with changed keys in a section; a new one is put after the last one."""
    made = _parsed(block, path)
    section, end = made[SECTION], "\r\n" if lines[block.line - 1].endswith("\r") else "\n"
    for key, value in values.items():
        if value is None:
            continue
        text, comments = _written(value, end) + end[:-1], []
        if key in section:
            first, comments = section[key].lines[0], _comments(section[key])
            indent = first[: len(first) - len(first.lstrip())]  # without it, indented lines below would continue it
        else:
            options, indent = section.option_blocks(), ""
            (options[-1].add_after if options else section.insert_at(0)).option(key, "")
        option = section[key]
        option.set_values(["\n".join([text, *comments])], prepend_newline=False)
        option.key = indent + key
    changed: list[str] = []
    for part in section.structure:
        if isinstance(part, Option) and part.key in values and values[part.key] is None:
            changed += _comments(part)
        else:
            changed += str(part).split("\n")[:-1]
    return [*lines[: block.line], *changed, *lines[block.line + len(block.lines) :]]


def _comments(option: Option) -> list[str]:
    """Return the comments within and below a value, which may be about the next key."""
    return [line[:-1] for line in option.lines[1:] if line.strip()[:1] in COMMENT]


def _without(lines: list[str], block: Block, path: Path) -> list[str]:
    """Return the lines without a section: from its header to its last key, and the blank lines below. Comments after
    the last key stay: they may be about the next section."""
    structure, taken = _parsed(block, path)[SECTION].structure, 0
    last = max((at for at, part in enumerate(structure) if isinstance(part, Option)), default=-1)
    taken = sum(len(part.lines) for part in structure[: last + 1])
    above, below = lines[: block.line - 1], lines[block.line + taken :]
    while below and not below[0].strip():
        del below[0]
    if not below:  # it was the last one
        while above and not above[-1].strip():
            del above[-1]
        below = [""] if above else []
    return above + below


def _written(value: str, end: str) -> str:
    """Return a value as it is written in an INI file, further lines indented."""
    return f"{end}{INDENT}".join(lines_of(value))


def lines_of(value: str) -> list[str]:
    """Return the lines of a value as they are read back."""
    return [line.strip() for line in value.strip().replace("\r\n", "\n").split("\n")]


# --- the look back


def _demand_only(before: Draft, after: Draft, edit: Edit, path: Path) -> None:
    """Check that an edit changed what was meant and nothing else.

    Raises:
        ConfigError: something else differs as well.
    """
    expected, found = dict(_entries_of(before)), dict(_entries_of(after))
    if edit.is_removed:
        expected = {place: text for place, text in expected.items() if place[0] != edit.name}
    if edit.is_new:
        expected[(edit.name, "")] = ""
    for key, value in edit.values.items():
        expected.pop((edit.name, key), None)
        if value is not None:
            expected[(edit.name, key)] = "\n".join(lines_of(value))
    wrong = sorted({place for place in expected.keys() | found.keys() if expected.get(place) != found.get(place)})
    sections = before.where.keys() ^ after.where.keys()
    meant = {f"{NAMELESS}{edit.name}"} if edit.is_new or edit.is_removed else set()
    if wrong or not sections <= meant:
        places = ", ".join(dict.fromkeys(_shown_places(wrong))) or "a section"
        raise ConfigError(
            f"{path}: a command cannot make this edit, because its lines would be read differently ({places});"
            f" {BY_HAND}. A value with lines that begin with # or ; can be written as file:PATH"
        )


def _entries_of(draft: Draft) -> Iterator[tuple[tuple[str, str], str]]:
    for name, keys in (("", draft.general), *draft.endpoints.items()):
        yield (name, ""), ""
        yield from (((name, key), entry.text) for key, entry in keys.items())


def _shown_places(places: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, key in places:
        section = f"{NAMELESS}{name}" if name else SECTION
        entry = Entry(section, key, "")
        yield printable(f"[{entry.shown_section}] {entry.shown_key}".rstrip())
