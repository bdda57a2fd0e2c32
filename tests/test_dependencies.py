from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from sfwebhooks.dependencies import HOLES, outdated

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def installed(**versions: str) -> dict[str, str]:
    return {"requests": "9.0", "urllib3": "9.0", **versions}


@pytest.mark.parametrize(
    ("package", "version", "python", "said"),
    [
        ("requests", "2.31.0", (3, 11), "requests 2.31.0 has a known vulnerability (CVE-2026-25645)"),
        ("requests", "2.32.5", (3, 9), ""),
        ("requests", "2.32.3", (3, 9), "requests 2.32.3 has a known vulnerability (CVE-2024-47081)"),
        ("requests", "2.33.0", (3, 11), ""),
        ("urllib3", "1.26.20", (3, 13), "urllib3 1.26.20 has a known vulnerability"),
        ("urllib3", "2.10.0", (3, 13), ""),
    ],
)
def test_a_package_with_a_known_hole_is_named_where_a_newer_one_is_to_be_had(
    package: str, version: str, python: tuple[int, int], said: str
) -> None:
    warnings = outdated(installed(**{package: version}).__getitem__, python)
    assert len(warnings) == bool(said)
    assert "".join(warnings).startswith(said)


def test_the_warning_says_what_helps() -> None:
    (warning,) = outdated(installed(requests="2.31.0").__getitem__, (3, 11))
    assert warning.endswith("pip install --upgrade 'requests>=2.33.0'")


def test_a_package_that_is_not_installed_is_not_named() -> None:
    def nothing(package: str) -> str:
        raise PackageNotFoundError(package)

    assert outdated(nothing, (3, 11)) == []


def test_what_is_installed_here_has_no_known_hole() -> None:
    assert outdated() == []


@pytest.mark.parametrize("hole", HOLES)
def test_what_pip_installs_has_no_known_hole(hole: tuple[str, str, tuple[int, int], str]) -> None:
    package, fixed, python, _ = hole
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", PROJECT.read_text(encoding="utf-8"), re.S | re.M)
    assert needed
    lines = [line for line in needed[1].splitlines() if line.strip().startswith(f'"{package}>')]
    newest = [line for line in lines if f">={fixed}" in line]
    assert newest
    if len(lines) > 1:
        assert f"python_version {'>=' if python > (3, 9) else '<'} '3.10'" in newest[0]
