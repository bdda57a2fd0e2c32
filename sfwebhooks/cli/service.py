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

from sfwebhooks.cli.web import DEFAULT_ADDRESS, TOKEN
from sfwebhooks.config.draft import Draft, Entry
from sfwebhooks.config.file import read_settings
from sfwebhooks.config.options import GENERAL_OPTIONS, Option, option_for
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import printable
from sfwebhooks.outbox.file import FILE
from sfwebhooks.own_secrets import shown_name
from sfwebhooks.system import user_name
from sfwebhooks.terminal.arguments import add_config, folder, settings
from sfwebhooks.terminal.output import note

#: a word that a unit file needs no quotation marks for
BARE = re.compile(r"[\w./@:+,=-]+", re.ASCII)
#: folders that PrivateTmp= hides (systemd.exec(5))
PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108
#: port of the web service in its container
PORT = DEFAULT_ADDRESS.rpartition(":")[2]
HINTS = {
    "systemd": "Save it as /etc/systemd/system/sfwebhooks.service, then run:"
    " systemctl daemon-reload && systemctl enable --now sfwebhooks",
    "compose": "Add it to your compose.yaml, set the image, then run: docker compose up -d sfwebhooks",
    "cron": "Add the line to the crontab of {user}: crontab -u {user} -e",
}
#: where a service gets environment variables
VARIABLES = {
    "systemd": "/etc/sfwebhooks.env, the file of EnvironmentFile=",
    "compose": "sfwebhooks.env, the file of env_file",
    "cron": "lines NAME=VALUE above it in the crontab",
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
    command.add_argument("--web", action="store_true", help="run web, with its page and API, instead of run")
    command.add_argument("--image", default="sfwebhooks", metavar="NAME", help="the image for --compose (sfwebhooks)")
    add_config(command)
    command.set_defaults(run=_service)


def _service(given: argparse.Namespace) -> int:
    known, data = settings(given), folder(given).absolute()
    if not (known.endpoints or given.web) or known.file is None:
        raise ConfigError("there is no usable endpoint: sfwebhooks check shows why")
    found = known.file
    if any(printable(str(path)) != str(path) for path in (found, data)):
        raise ConfigError(f"a service file cannot name {found} and {data}: a character in it is not printable")
    if not data.is_dir():
        raise ConfigError(f"there is no data folder {data}: SpiderFoot creates it; --folder names another one")
    if given.web and given.kind == "cron":
        given.command.error("--web serves until it is stopped, which cron is not for: use --systemd or --compose")
    fill = {"systemd": _unit, "compose": _compose, "cron": _crontab}[given.kind]
    print(fill(found, data, given), end="")
    variables = ", ".join(map(shown_name, [*_variables(found), *([TOKEN] if given.web else [])]))
    if variables:
        note(
            f"{found} names environment variables that the service does not have yet ({variables}): set them in"
            f" {VARIABLES[given.kind]}"
            if variables != TOKEN
            else f"the service needs the environment variable {TOKEN}: set it in {VARIABLES[given.kind]}"
        )
    if not given.quiet:
        print(HINTS[given.kind].format(user=user_name(data.stat().st_uid)), file=sys.stderr)
    return 0


def _template(name: str) -> Template:
    return Template((files("sfwebhooks") / "service_files" / name).read_text(encoding="utf-8"))


def _places(found: Path, data: Path) -> list[str]:
    return ["--config", str(found), "--folder", str(data)]


def _variables(found: Path) -> list[str]:
    """Return the environment variables that the settings name."""
    draft = Draft(str(found), found.parent)
    read_settings(found, draft)
    entries = [*draft.general.values(), *(entry for keys in draft.endpoints.values() for entry in keys.values())]
    texts = [entry.text.strip() for entry in entries if _may_name(_option_of(entry))]
    return sorted({text[len("env:") :].strip() for text in texts if text.startswith("env:")})


def _option_of(entry: Entry) -> Option | None:
    key = entry.place[1]
    return GENERAL_OPTIONS.get(key) or option_for(key)


def _may_name(option: Option | None) -> bool:
    """Return whether the value of an option may be env:NAME."""
    return option is not None and (option.secret or option.sourced)


def _writable(found: Path, data: Path, serves: bool) -> list[Path]:
    """Return the folders that the service writes to: the outbox may be a symbolic link, and so may the settings, which
    the web service changes."""
    settings_folders = [found.parent, found.resolve().parent] if serves else []
    return [*dict.fromkeys([data, (data / FILE).resolve().parent, *settings_folders])]


def _words(found: Path, data: Path, given: argparse.Namespace) -> list[str]:
    """Return the command of the service."""
    listen = ["--listen", f"0.0.0.0:{PORT}"] if given.kind == "compose" else []  # of the container only
    return [*(["web", *listen] if given.web else ["run"]), *_places(found, data)]


def _unit(found: Path, data: Path, given: argparse.Namespace) -> str:
    command = [_in_unit(word) for word in (sys.executable, "-m", "sfwebhooks", *_words(found, data, given))]
    writable = _writable(found, data, given.web)
    used = [*writable, found, found.resolve(), Path(sys.executable)]
    return _template(
        "systemd.service"
    ).substitute(
        user=user_name(data.stat().st_uid),
        folder=str(data).replace("%", "%%"),
        # variables are not replaced in the first word ("Command lines" in systemd.service(5))
        variables="" if given.web else "#",  # the token
        command=" ".join([command[0], *(word.replace("$", "$$") for word in command[1:])]),
        writable=" ".join(_in_unit(str(path)) for path in writable),
        private_tmp="no" if any(map(_is_private, used)) else "yes",
    )


def _is_private(path: Path) -> bool:
    """Return whether a service with PrivateTmp= would not find a path."""
    return any(folder in (path, *path.parents) for folder in PRIVATE)


def _in_unit(word: str) -> str:
    """Return a word as a unit file has it ("Quoting" in systemd.syntax(7), specifiers in systemd.unit(5))."""
    word = word.replace("%", "%%")
    if BARE.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _compose(found: Path, data: Path, given: argparse.Namespace) -> str:
    owner, writable = data.stat(), _writable(found, data, given.web)
    mounts: list[dict[str, object]] = [_mount(place) for place in writable]
    for place in dict.fromkeys([found.parent, found.resolve().parent]):  # the settings may be a link too
        if not any(folder in (place, *place.parents) for folder in writable):
            mounts.append({**_mount(place), "read_only": True})
    return _template("compose.yaml").substitute(
        image=_in_yaml(given.image),
        command=_in_yaml(_words(found, data, given)),
        ports=f'    ports: ["{DEFAULT_ADDRESS}:{PORT}"]\n' if given.web else "",
        variables="" if given.web else "#",  # the token
        user=f"{owner.st_uid}:{owner.st_gid}",
        volumes="\n".join(f"      - {_in_yaml(mount)}" for mount in mounts),
    )


def _mount(place: Path) -> dict[str, object]:
    return {"type": "bind", "source": str(place), "target": str(place)}


def _in_yaml(value: Any) -> str:
    """Return a value as JSON, which is YAML, without variables for Compose."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def _crontab(found: Path, data: Path, _: argparse.Namespace) -> str:
    command = [sys.executable, "-m", "sfwebhooks", "drain", "--quiet", *_places(found, data)]
    return _template("crontab").substitute(command=shlex.join(command).replace("%", "\\%"))
