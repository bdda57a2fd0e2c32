"""What is built from a checkout: the same bytes everywhere, with all that users need and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import sfwebhooks

ROOT = Path(__file__).parent.parent
PACKAGE = Path(sfwebhooks.__file__).parent
#: not part of a checkout
IGNORED = shutil.ignore_patterns(".git", ".venv*", "*cache*", "build", "dist", "*.egg-info", ".hypothesis")
SBOM = f"sfwebhooks-{sfwebhooks.__version__}.dist-info/sboms/sfwebhooks.cdx.json"
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("build") or not find_spec("hatchling"), reason="the tools are not installed"),
    pytest.mark.skipif(sys.version_info < (3, 10), reason="the builder for Python 3.9 knows no bill of materials"),
]


def built(folder: Path, umask: int, at: float) -> dict[str, bytes]:
    """Return what is built from a copy of the checkout: name -> content."""
    shutil.copytree(ROOT, folder, ignore=IGNORED)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~umask)
            os.utime(path, (at, at))
    command = [sys.executable, "-m", "build", "--no-isolation", str(folder)]
    done = subprocess.run(command, umask=umask, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (folder / "dist").iterdir()}


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("builds")
    return built(folder / "one", 0o022, 1.7e9), built(folder / "two" / "elsewhere", 0o077, 1.4e9)


@pytest.fixture(scope="module")
def wheel(twice: tuple[dict[str, bytes], dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    (content,) = (content for name, content in twice[0].items() if name.endswith(".whl"))
    path = tmp_path_factory.mktemp("wheel") / "built.whl"
    path.write_bytes(content)
    return ZipFile(path)


def test_two_builds_of_a_commit_are_equal(twice: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    one, other = twice
    assert (
        sorted(one)
        == sorted(other)
        == [f"sfwebhooks-{sfwebhooks.__version__}{end}" for end in ("-py3-none-any.whl", ".tar.gz")]
    )
    assert one == other


def test_the_wheel_has_the_package_and_nothing_else(wheel: ZipFile) -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    assert {"sfwebhooks/py.typed", "sfwebhooks/host/shim.py"} <= expected
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


def test_the_metadata_say_what_a_reader_looks_for(wheel: ZipFile) -> None:
    metadata = wheel.read(f"{SBOM.partition('/')[0]}/METADATA").decode()
    assert "\nLicense-Expression: MIT\n" in metadata and "\nLicense-File: LICENSE\n" in metadata
    assert "\nRequires-Python: >=3.9\n" in metadata
    assert "\nClassifier: License ::" not in metadata  # PEP 639: not together with an expression
    for version in range(9, 14):
        assert f"\nClassifier: Programming Language :: Python :: 3.{version}\n" in metadata


def test_the_source_can_be_tested_where_it_is_unpacked(
    twice: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path
) -> None:
    (content,) = (content for name, content in twice[0].items() if name.endswith(".tar.gz"))
    (tmp_path / "source.tar.gz").write_bytes(content)
    with tarfile.open(tmp_path / "source.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "docs/deployment/Dockerfile", "hatch_build.py", "tests/conftest.py", ".ci/run"} <= names


def test_the_bill_of_materials_is_valid_and_has_every_dependency(wheel: ZipFile) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    text = wheel.read(SBOM).decode()
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", PROJECT, re.S | re.M)
    assert needed
    declared = {str(Requirement(line.strip().strip('",'))).lower() for line in needed[1].splitlines()}
    required = [one for one in bill["components"] if one["scope"] == "required"]
    assert {str(Requirement(each["value"])).lower() for one in required for each in one["properties"]} == declared
    assert bill["metadata"]["component"]["version"] == sfwebhooks.__version__
