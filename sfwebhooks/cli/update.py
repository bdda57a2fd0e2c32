"""`sfwebhooks update`, `delete`, `disable` and `enable`: change the settings of an endpoint."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from sfwebhooks.config.applying import secret_file
from sfwebhooks.config.editing import Edit
from sfwebhooks.doctor.installation import module_warnings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, OutboxError
from sfwebhooks.events import clean_text
from sfwebhooks.files import is_deleted
from sfwebhooks.inspection.fields import counted_deliveries
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.reasons import DeadReason
from sfwebhooks.terminal.arguments import add_config, outbox_place, settings, settings_file
from sfwebhooks.terminal.asking import can_ask, confirmed
from sfwebhooks.terminal.editing import add_values, given_values, write_edit
from sfwebhooks.terminal.output import console, note, plain
from sfwebhooks.text import duration


def add(commands: Any) -> None:
    """Add the commands."""
    update = commands.add_parser(
        "update",
        help="change the settings of an endpoint",
        epilog="example:\n  sfwebhooks update siem --events high_risk_event --set timeout=30s",
    )
    delete = commands.add_parser(
        "delete", help="remove an endpoint from the settings", epilog="example:\n  sfwebhooks delete siem"
    )
    disable = commands.add_parser(
        "disable",
        help="send nothing to an endpoint any more, until enable",
        epilog="example:\n  sfwebhooks disable siem",
    )
    enable = commands.add_parser(
        "enable",
        help="use an endpoint again that is disabled, by the settings or because it answered 410",
        description="Use an endpoint again: undo enabled = false in its settings, and send to it again, as resume does,"
        " also if it was disabled because it answered 410.",
        epilog="example:\n  sfwebhooks enable siem",
    )
    for command, run in ((update, _update), (delete, _delete), (disable, _disable), (enable, _enable)):
        command.add_argument("name", type=clean_text, metavar="NAME", help="the endpoint")
        command.set_defaults(run=run, error=command.error)
    add_values(update)
    update.add_argument(
        "--unset", action="append", default=[], metavar="KEY", help="remove a key, so that its default applies"
    )
    delete.add_argument("--yes", action="store_true", help="do not ask")
    for command in (update, delete, disable, enable):
        add_config(command)
    enable.set_defaults(resume=commands.choices["resume"])


def _update(given: argparse.Namespace) -> int:
    values: dict[str, str | None] = {**given_values(given)}
    for key in given.unset:
        if key in values:
            given.error(f"--unset {key}: it is given a value as well")
        values[key] = None
    if not values:
        given.error("nothing to change: name a value, such as --events, or --set KEY=VALUE")
    out = console(given.quiet)
    after = write_edit(given, Edit(given.name, values), out, "Updated")
    if values.get("modules"):
        for warning in module_warnings(one for one in after.known if one.name == given.name):
            console().print(plain(f"warning: {warning}", "yellow"))
    out.print(plain(f"Test it with: sfwebhooks test {given.name}"))
    return 0


def _delete(given: argparse.Namespace) -> int:
    out, waiting = console(given.quiet and given.yes), _waiting(given)
    if waiting:
        enable = f"sfwebhooks enable {given.name}, then " if _is_off(given) else ""
        out.print(
            plain(
                f"Deliveries waiting for {given.name}: {waiting:,}. Without the endpoint they are not sent, and become"
                f" dead letters ({DeadReason.REMOVED.value}) after {duration(Endpoint.max_age)}. To send them first:"
                f" {enable}sfwebhooks drain; or to another endpoint: sfwebhooks move --endpoint {given.name} --to NAME"
            )
        )
    if not given.yes:
        if not can_ask():
            raise ConfigError(f"{given.name} was not deleted: there is no terminal to ask, --yes deletes it")
        if not confirmed(f"Delete {given.name} from the settings?", default=False):
            out.print("Nothing was changed.")
            return 1
    write_edit(given, Edit(given.name, is_removed=True), out, "Deleted")
    file = secret_file(settings_file(given), given.name)
    if not is_deleted(file):
        out.print(plain(f"{file} stays: delete it if nothing else uses it."))
    return 0


def _disable(given: argparse.Namespace) -> int:
    out = console(given.quiet)
    if _is_off(given):
        out.print(plain(f"{given.name} is already disabled."))
        return 0
    write_edit(given, Edit(given.name, {"enabled": "false"}), out, "Disabled")
    waiting = _waiting(given)
    if waiting:
        out.print(plain(f"{counted_deliveries(waiting)} waiting: kept until sfwebhooks enable {given.name}."))
    return 0


def _enable(given: argparse.Namespace) -> int:
    was_off = _is_off(given)
    if was_off:
        write_edit(given, Edit(given.name, {"enabled": "true"}), console(given.quiet), "Enabled")
    places = [*(["--config", given.config] if given.config else [])]
    places += ["--folder", str(given.folder)] if given.folder else []
    places += ["--quiet"] if given.quiet else []
    resuming = given.resume.parse_args([given.name, *places])
    try:
        return int(resuming.run(resuming))
    except OutboxError as error:
        if not was_off:
            raise
        note(f"{error}; {given.name} was not resumed: sfwebhooks resume {given.name} does that later")
        return ATTENTION


def _is_off(given: argparse.Namespace) -> bool:
    return any(endpoint.name == given.name for endpoint in settings(given).off)


def _waiting(given: argparse.Namespace) -> int:
    """Return the number of deliveries that wait for an endpoint; 0 also if it is not known."""
    place = outbox_place(given)
    if is_missing(place):
        return 0
    try:
        with closing(Outbox(place, listing=True)) as outbox:
            return outbox.listing.backlog(given.name).waiting
    except OutboxError as error:
        note(f"{error}; how many deliveries are waiting for {given.name} is not known")
        return 0
