"""`sfwebhooks demo`: the whole product on a real scan of a fictional company, in one command."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.demo import run
from sfwebhooks.demo.slack_text import slack_message
from sfwebhooks.demo.teams import Team
from sfwebhooks.terminal.delivery_table import states
from sfwebhooks.terminal.output import console, plain, table
from sfwebhooks.terminal.stop_signal import end_at_signals

SLACK_MESSAGES = 4
WIDTH = 100


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "demo",
        help="scan a fictional company with the real scanner, and show what is sent",
        description="Scan a fictional company on this machine with the real scanner, and show what three teams"
        " receive. It takes half a minute and needs no internet.",
        epilog="example:\n  sfwebhooks demo --keep",
    )
    command.add_argument(
        "--keep", action="store_true", help="keep the folder with the settings, databases and certificates"
    )
    command.add_argument("--compare", action="store_true", help="also scan without webhooks, and compare the durations")
    command.set_defaults(run=_demo)


def _demo(given: argparse.Namespace) -> int:
    out = console()
    run.demand_scanner()
    end_at_signals()
    out.print(
        plain(f"The real SpiderFoot scans {run.TARGET}, a fictional company on this machine; three teams listen.")
    )
    with watching(out) as watch:
        result = run.run(watch, given.keep, given.compare)
    for show in (_slack, _siem, _teams):
        show(result, out)
    _scan(result, out)
    if given.keep:
        out.print(plain(f"Kept: {result.folder}"))
        out.print(plain(f"Look at it: sfwebhooks web --read-only --folder {result.data}"), soft_wrap=True)
    out.print(
        plain("Every accepted delivery was received and verified.", "bold green")
        if result.complete
        else plain("Not every accepted delivery was received and verified: see the table.", "bold red")
    )
    return 0 if result.complete else 1


@contextmanager
def watching(out: Console) -> Iterator[run.Watch]:
    """Show a status line, or in a pipe a line every five seconds."""
    begin = time.monotonic()
    last = [begin - 5]

    def line(status: str, findings: int, teams: list[Team]) -> str:
        counts = ", ".join(f"{team.name} {len(team.got)}" for team in teams)
        return f"{time.monotonic() - begin:3.0f} s  {status}: {findings} findings; received: {counts}"

    if not out.is_terminal:

        def say(status: str, findings: int, teams: list[Team]) -> None:
            if time.monotonic() - last[0] >= 5:
                last[0] = time.monotonic()
                out.print(plain(line(status, findings, teams)))

        yield say
        return
    with out.status("starting") as spinner:
        yield lambda status, findings, teams: spinner.update(plain(line(status, findings, teams)))


def _slack(result: run.DemoResult, out: Console) -> None:
    """Show some Slack messages, one of each kind."""
    messages = [received.message for team in result.teams if team.name == "slack_alerts" for received in team.got]
    kinds = {message["blocks"][0]["text"]["text"]: message for message in messages}
    shown = [*list(kinds.values())[: SLACK_MESSAGES - 1], messages[-1]] if messages else []
    _heading(f"In the Slack channel: {len(shown)} of {len(messages)} messages", out)
    for message in shown:
        for line in slack_message(message, min(out.width, WIDTH)):
            out.print(line)
        out.print()


def _siem(result: run.DemoResult, out: Console) -> None:
    """Show the most severe event that the SIEM got."""
    events = [received.message for team in result.teams if team.name == "siem_system" for received in team.got]
    worst = max(events, key=lambda event: int(event["severity_level"]), default=None)
    _heading(f"In the SIEM: 1 of {len(events)} events", out)
    out.print(plain_json(worst))


def _heading(text: str, out: Console) -> None:
    out.print(plain(f"── {text} ".ljust(min(out.width, WIDTH), "─"), "bold"))


def plain_json(value: object) -> Text:
    """Return a value as indented JSON."""
    return Text("\n").join(plain(line) for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines())


def _teams(result: run.DemoResult, out: Console) -> None:
    rows = table("team", "protected by", "accepted", "verified", "requests")
    for team in result.teams:
        accepted, verified = result.accepted(team), result.verified(team)
        rows.add_row(
            plain(team.name, "bold"),
            team.protection,
            str(accepted),
            plain(str(verified), "green" if verified == accepted else "red"),
            str(len(team.got)),
        )
    _heading("Deliveries", out)
    out.print(rows)
    for account in (team.account for team in result.teams):
        if account:
            out.print(plain(f"{str(account)[:1].upper()}{str(account)[1:]}."))
    for problem in sorted({problem for team in result.teams for problem in team.refused}):
        out.print(plain(problem, "red"))


def _scan(result: run.DemoResult, out: Console) -> None:
    out.print(plain(f"Outbox: {states({'': Counter(one.state.value for one in result.outbox)})}."))
    without = "" if result.seconds_without is None else f"; without webhooks {result.seconds_without:.1f} s"
    out.print(plain(f"The scan made {result.findings} findings in {result.seconds:.1f} s{without}."))
