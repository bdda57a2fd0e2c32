"""SpiderFoot installations that have our module: their data folders, what an unsupported one lacks, and the record from
which commands know them.

`install` writes the record into its user's home folder, where commands find it even if $SPIDERFOOT_DATA has changed.
The SpiderFoot of the current process is the subject of `scan/own_host`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from sfwebhooks.errors import ConfigError
from sfwebhooks.files import SETTINGS_MAX, content
from sfwebhooks.outbox.permissions import make
from sfwebhooks.scan.host_address import NO_DRIVER, VARIABLE, has_driver
from sfwebhooks.scan.host_database import MODULE
from sfwebhooks.scan.own_host import FUNCTION, STARTERS, data_folder

RECORD = Path(".spiderfoot") / "webhooks.hosts"
#: text by which a SpiderFoot says that it supports PostgreSQL only, and the file that has it
ONLY_SERVER = "Only PostgreSQL is supported"
STORE = Path("spiderfoot") / "db" / "db_core.py"
#: the line of a SpiderFoot's code that has its version
VERSION = re.compile(r"^VERSION *= *\(([\d, ]{1,40})\)", re.M)
#: the start of scans, in the code
START = f"def {FUNCTION}"


def lacks(spiderfoot: Path) -> str:
    """Return what webhooks need and a SpiderFoot lacks, or nothing."""
    if starter_of(spiderfoot):
        return ""
    return f"{FUNCTION}, which starts scans, in {' or '.join(map(_file_of, STARTERS))}"


def starter_of(spiderfoot: Path) -> str:
    """Return the module that starts scans in a SpiderFoot, or nothing."""
    usual, *others = STARTERS
    if (spiderfoot / _file_of(usual)).is_file():
        return usual
    return next((name for name in others if START in _code(spiderfoot / _file_of(name))), "")


def limits_of_host(spiderfoot: Path) -> list[str]:
    """Return what has to be known of webhooks in a SpiderFoot that is not as the usual one."""
    starter, lines = starter_of(spiderfoot), []
    if starter != STARTERS[0]:
        lines.append(
            f"This SpiderFoot starts scans in {_file_of(starter)}. Scans that select the module are reported, those of"
            " its API and those of its Celery workers. enabled = true adds the module to the others only in a process"
            f" that has loaded it: start workers with --include modules.{MODULE}."
        )
    if ONLY_SERVER in _code(spiderfoot / STORE):
        lines.append(
            f"Its database is on PostgreSQL. Scans use the one that SpiderFoot was given; commands use ${VARIABLE}, or"
            " host_database in the settings."
        )
        lines += [] if has_driver() else [f"{NO_DRIVER}."]
    return lines


def _file_of(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def version_of(spiderfoot: Path) -> str:
    """Return the version of a SpiderFoot, or nothing if it cannot be read."""
    found = VERSION.search(_code(spiderfoot / "spiderfoot" / "__version__.py"))
    return ".".join(re.findall(r"\d+", found[1])) if found else ""


def data_folder_of(spiderfoot: Path) -> Path:
    """Return the data folder of a SpiderFoot; some have their own and ignore $SPIDERFOOT_DATA.

    Raises:
        ConfigError: it would be in the home folder, and this user has none.
    """
    return _own_data(spiderfoot) or data_folder()


def used_folder() -> Path:
    """Return the data folder of the SpiderFoot that has our module, if one is recorded; else the usual one.

    Raises:
        ConfigError: there are several; or none is recorded, and this user has no home folder.
    """
    used = {}
    for spiderfoot, then in remembered().items():
        if (spiderfoot / "modules").is_dir():
            named = os.environ.get("SPIDERFOOT_DATA")
            used[spiderfoot] = _own_data(spiderfoot) or (Path(named) if named else then)
    folders = set(used.values())
    if len(folders) > 1:
        several = "; ".join(f"{folder} is that of {spiderfoot}" for spiderfoot, folder in used.items())
        raise ConfigError(
            f"the module is installed in several SpiderFoots, so name a data folder with --folder: {several}"
        )
    return folders.pop() if folders else data_folder()


def remembered() -> dict[Path, Path]:
    """Return the SpiderFoots into which this user installed the module -> the data folder of each at that time.

    Raises:
        ConfigError: the record is damaged.
    """
    try:
        path = Path.home() / RECORD
        record = json.loads(content(path, SETTINGS_MAX))
        return {Path(spiderfoot): Path(data) for spiderfoot, data in record.items()}
    except (FileNotFoundError, NotADirectoryError, PermissionError, RuntimeError, KeyError):  # no record, or no home
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged: delete it, and run sfwebhooks install again") from error


def remember(spiderfoot: Path) -> None:
    """Record that a SpiderFoot has our module.

    Raises:
        ConfigError: it has no data folder, or the record is damaged.
        OSError: the record cannot be written.
    """
    _write_record({**remembered(), spiderfoot.resolve(): data_folder_of(spiderfoot).absolute()})


def forget(spiderfoot: Path) -> bool:
    """Remove a SpiderFoot from the record; return whether it was there.

    Raises:
        ConfigError: the record is damaged.
        OSError: the record cannot be written.
    """
    known = remembered()
    was_known = known.pop(Path(os.path.realpath(spiderfoot)), None) is not None  # `resolve` raises for a loop of links
    if was_known:
        _write_record(known)
    return was_known


def write(path: Path, text: str) -> None:
    """Write a file that others can read, replacing an older one.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(make(draft, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _write_record(hosts: dict[Path, Path]) -> None:
    path = Path.home() / RECORD
    if hosts:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps({str(spiderfoot): str(data) for spiderfoot, data in hosts.items()}, indent=2) + "\n")
    else:
        path.unlink(missing_ok=True)


def _own_data(spiderfoot: Path) -> Path | None:
    helpers = _code(spiderfoot / "spiderfoot" / "helpers.py")
    return spiderfoot / "data" if "def dataPath" in helpers and "SPIDERFOOT_DATA" not in helpers else None


def _code(path: Path) -> str:
    try:
        return content(path, SETTINGS_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
