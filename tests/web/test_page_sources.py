"""The page's files: small, without inline code, and nothing in them that turns text into HTML."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from sfwebhooks.web.page_files import FOLDER
from tests.rows import in_one

FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
#: bytes of all files together, as browsers get them
SIZE_MAX = 150_000


def test_all_files_together_are_small() -> None:
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) < SIZE_MAX


@in_one("path", SCRIPTS)
def test_a_script_turns_no_text_into_html_or_code(path: Path) -> None:
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b|new Function|setHTML",
        path.read_text(encoding="utf-8"),
    )
    assert found == []


def test_the_document_has_no_inline_code_or_style() -> None:
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text) == []


@in_one("path", FILES)
def test_a_file_loads_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:src|href|url\(|import|from)\s*[=(]?\s*[\"']?https?:", text) == []


@in_one("path", SCRIPTS)
def test_an_import_is_of_a_file_that_is_there(path: Path) -> None:
    names = re.findall(r"(?:from|import) \"\./([\w.]+)\"", path.read_text(encoding="utf-8"))
    assert [name for name in names if not (FOLDER / name).is_file()] == []


def test_no_class_means_two_things() -> None:
    """A style stays loaded when another page is opened."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        if path.suffix == ".css" and path.name != "app.css":
            rules = re.findall(
                r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            )
            own = {name for rule in rules for name in re.findall(r"(?:^|,)\s*\.([\w-]+)", rule)}
            for name in own:
                found.setdefault(name, set()).add(path.name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
