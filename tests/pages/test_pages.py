"""The pages that are made from the code are those that it makes now, and the pictures show commands that exist."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from difflib import unified_diff
from importlib import import_module
from pkgutil import iter_modules

import pytest

import sfwebhooks.cli
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.cli import parser
from sfwebhooks.formats import FORMATS
from sfwebhooks.reasons import DeadReason, Failure, WaitingReason, Withheld
from tests.pages import DOCS, ROOT
from tests.pages.all import PAGES
from tests.pages.commands import INTRODUCTION, arguments, commands, shown
from tests.pages.pictures import CAPTURES, CHATS, FOLDER
from tests.pages.web_pictures import WEB

#: bytes of all pictures
PICTURES_MAX = 500_000


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_a_page_is_what_the_code_makes(name: str, page: Callable[[], str]) -> None:
    before, now = (DOCS / name).read_text(encoding="utf-8"), page()
    lines = unified_diff(before.splitlines(), now.splitlines(), f"docs/{name}", "now", n=1)
    assert before == now, "\n".join([*lines, "write the pages again with: python -m tests.pages"])


def test_the_page_of_commands_has_every_command_with_every_argument() -> None:
    page = PAGES["commands.md"]()
    for name, command in commands():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert [one for one in map(shown, arguments(command)) if f"`{one}`" not in section.replace("\\|", "|")] == []


def test_the_page_of_commands_has_every_exit_code_and_no_other() -> None:
    returned = {2, 130}  # by argparse, and by main after Ctrl-C
    for found in iter_modules(sfwebhooks.cli.__path__):
        module = import_module(f"sfwebhooks.cli.{found.name}")
        for function in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(function, ast.FunctionDef) and getattr(function.returns, "id", "") == "int":
                ends = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
                returned |= {code for end in ends for code in _codes(end, vars(module))}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", INTRODUCTION, re.M)} == returned


def _codes(value: ast.expr, names: Mapping[str, object]) -> set[int]:
    """Return the numbers that a returned expression can be, as far as it names them itself."""
    if isinstance(value, ast.IfExp):
        return _codes(value.body, names) | _codes(value.orelse, names)
    found = names.get(value.id) if isinstance(value, ast.Name) else getattr(value, "value", None)
    return {found} if type(found) is int else set()


def test_every_event_type_format_and_reason_has_a_place() -> None:
    places = {
        "event-types.md": [f"## {entry.name}\n" for entry in EVENT_TYPES],
        "messages.md": [f"## {name}\n" for name in FORMATS],
        "reasons.md": [
            f"\n| `{one.value}` | {one.meaning} |" for one in (*WaitingReason, *DeadReason, *Withheld, *Failure)
        ],
    }
    for name, texts in places.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        assert [text for text in texts if text not in page] == []


@pytest.mark.parametrize(("name", "command"), CAPTURES.items())
def test_a_capture_shows_a_command_that_exists(name: str, command: str) -> None:
    parser().parse_args(command.split())
    picture = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert f"sfwebhooks&#160;{command.split()[0]}" in picture or f"sfwebhooks {command.split()[0]}" in picture
    assert set(re.findall(r"https?://[\w.]+", picture)) <= {"http://www.w3.org", "https://www.textualize.io"} | {
        f"http://{host}" for host in re.findall(r"http://([\w.]+)", picture) if host.startswith("127.")
    }


def test_the_pictures_are_small_and_each_is_in_a_page() -> None:
    names = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(names) == {*(f"{name}.svg" for name in CAPTURES), *(f"{name}.png" for name in (*CHATS, *WEB))}
    assert sum(names.values()) < PICTURES_MAX
    pages = "".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *DOCS.glob("*.md")])
    assert {name for name in names if f"pictures/{name})" not in pages} == set()
