"""`sfwebhooks service`: a file that lets systemd, Compose or cron deliver what scans leave, for this installation.

The files are templates in `sfwebhooks/service_files`; the places of this installation are filled in here.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from sfwebhooks.errors import ConfigError
from sfwebhooks.events import printable
from sfwebhooks.outbox.file import FILE
from sfwebhooks.system import user_name
from sfwebhooks.terminal.arguments import add_config, folder, settings

#: a word that a unit file needs no quotation marks for
BARE = re.compile(r"[\w./@:+,=-]+", re.ASCII)
HINTS = {
    "systemd": "Save it as /etc/systemd/system/sfwebhooks.service, then run:"
    " systemctl daemon-reload && systemctl enable --now sfwebhooks",
    "compose": "Add it to your compose.yaml, set the image, then run: docker compose up -d sfwebhooks",
    "cron": "Add the line to the crontab of {user}: crontab -u {user} -e",
}


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "service",
        help="print a systemd unit, a Compose service or a cron line that keeps delivering",
        description="Print a file that keeps delivering when no scan is running, with the places of this installation:"
        " Python, settings, data folder, and the folder's owner as its user. Where to put it is printed on standard"
        " error.",
        epilog="examples:\n  sfwebhooks service --systemd > sfwebhooks.service\n  sfwebhooks service --cron",
    )
    kinds = command.add_mutually_exclusive_group(required=True)
    kinds.add_argument(
        "--systemd", action="store_const", dest="kind", const="systemd", help="a unit file with hardening for run"
    )
    kinds.add_argument("--compose", action="store_const", dest="kind", const="compose", help="a container for run")
    kinds.add_argument("--cron", action="store_const", dest="kind", const="cron", help="a crontab line for drain")
    command.add_argument("--image", default="sfwebhooks", metavar="NAME", help="the image for --compose (sfwebhooks)")
    add_config(command)
    command.set_defaults(run=_service)


def _service(given: argparse.Namespace) -> int:
    known, data = settings(given), folder(given).absolute()
    if not known.endpoints or known.file is None:
        raise ConfigError("there is no usable endpoint: sfwebhooks check shows why")
    found = known.file
    if any(printable(str(path)) != str(path) for path in (found, data)):
        raise ConfigError(f"a service file cannot name {found} and {data}: a character in it is not printable")
    if not data.is_dir():
        raise ConfigError(f"there is no data folder {data}: SpiderFoot creates it; --folder names another one")
    fill = {"systemd": _unit, "compose": _compose, "cron": _crontab}[given.kind]
    print(fill(found, data, given.image), end="")
    if not given.quiet:
        print(HINTS[given.kind].format(user=user_name(data.stat().st_uid)), file=sys.stderr)
    return 0


def _template(name: str) -> Template:
    return Template((files("sfwebhooks") / "service_files" / name).read_text(encoding="utf-8"))


def _places(found: Path, data: Path) -> list[str]:
    return ["--config", str(found), "--folder", str(data)]


def _unit(found: Path, data: Path, _: str) -> str:
    command = [sys.executable, "-m", "sfwebhooks", "run", *_places(found, data)]
    writable = dict.fromkeys([data, (data / FILE).resolve().parent])  # the outbox may be a symbolic link
    return _template("systemd.service").substitute(
        user=user_name(data.stat().st_uid),
        folder=str(data).replace("%", "%%"),
        command=" ".join(_in_unit(word).replace("$", "$$") for word in command),
        writable=" ".join(_in_unit(str(path)) for path in writable),
        private_tmp="no" if any(Path("/tmp") in path.parents for path in writable) else "yes",  # noqa: S108
    )


def _in_unit(word: str) -> str:
    """Return a word as a unit file has it ("Quoting" in systemd.syntax(7), specifiers in systemd.unit(5))."""
    word = word.replace("%", "%%")
    if BARE.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _compose(found: Path, data: Path, image: str) -> str:
    owner = data.stat()
    mounts: list[dict[str, object]] = [{"type": "bind", "source": str(data), "target": str(data)}]
    if data not in found.parents:
        mounts.append({"type": "bind", "source": str(found.parent), "target": str(found.parent), "read_only": True})
    return _template("compose.yaml").substitute(
        image=_in_yaml(image),
        command=_in_yaml(["run", *_places(found, data)]),
        user=f"{owner.st_uid}:{owner.st_gid}",
        volumes="\n".join(f"      - {_in_yaml(mount)}" for mount in mounts),
    )


def _in_yaml(value: Any) -> str:
    """Return a value as JSON, which is YAML, without variables for Compose."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def _crontab(found: Path, data: Path, _: str) -> str:
    command = [sys.executable, "-m", "sfwebhooks", "drain", "--quiet", *_places(found, data)]
    return _template("crontab").substitute(command=shlex.join(command).replace("%", "\\%"))
