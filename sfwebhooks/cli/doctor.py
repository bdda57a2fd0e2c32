"""`sfwebhooks doctor`: what is wrong with the settings, the outbox, SpiderFoot and this machine, and what helps."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from sfwebhooks.doctor.examination import CHECK_SECONDS, examine, in_time
from sfwebhooks.doctor.installation import Installation, Level, Report, modules_of
from sfwebhooks.errors import ConfigError
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.terminal.arguments import add_config, add_json, folder, settings
from sfwebhooks.terminal.output import as_json, console, plain, table

#: characters of the longest level
WIDTH = max(len(level.value) for level in Level)
COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "doctor",
        help="look at everything, and show what is wrong and what helps",
        description="Look at SpiderFoot and the module, the settings, the data folder and its disk, the outbox, the"
        " endpoints, certificates, the last scan, the sending processes, the clock and limits. Show one line for each,"
        " and below it what helps. Exit code: 0 all is well; 3 something needs attention; 1 there is an error, which"
        " means that nothing is accepted or nothing is sent while it lasts.",
        epilog="example:\n  sfwebhooks doctor --full",
    )
    add_json(command, "print one JSON object per line: name, state, words, cure")
    command.add_argument("--full", action="store_true", help="read all of the outbox, however long that takes")
    command.add_argument("--spiderfoot", type=Path, metavar="DIR", help="look at this SpiderFoot")
    add_config(command)
    command.set_defaults(run=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    out, reports = console(), []
    try:
        place = in_time(CHECK_SECONDS, partial(folder, given))
        in_time(CHECK_SECONDS, partial(modules_of, given.spiderfoot))  # the argument may be wrong
    except TimeoutError as error:
        text = f"the folders of SpiderFoot and its data do not answer within {CHECK_SECONDS:.0f} s"
        raise ConfigError(text) from error
    for report in examine(Installation(place, partial(settings, given), given.spiderfoot, given.full)):
        _print(report, given.json, out)
        reports.append(report)
    bad = [report.name for report in reports if report.level is not Level.OK]
    if not given.json:
        names = ", ".join(dict.fromkeys(bad))
        out.print(plain(f"These need attention: {names}." if bad else "All is well."))
    if any(report.level is Level.ERROR for report in reports):
        return 1
    return ATTENTION if bad else 0


def _print(report: Report, wants_json: bool, out: Console) -> None:
    """Print a report as soon as it is there: a later check may take long."""
    if wants_json:
        fields = {"name": report.name, "state": report.level.value, "words": report.words, "cure": report.cure}
        out.print(plain(as_json(fields)), soft_wrap=True)
        return
    rows = table("", "")
    rows.show_header = False
    lines = [(report.level.value, f"{report.name}: {report.words}")]
    lines += [("", f"what to do: {report.cure}")] if report.cure else []
    for state, words in lines:
        if out.is_terminal:
            rows.add_row(plain(state.ljust(WIDTH), COLOURS[report.level]), plain(words))
        else:
            out.print(plain(f"{state:{WIDTH}}  {words}"))
    if out.is_terminal:
        out.print(rows)
