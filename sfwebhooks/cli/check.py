"""`sfwebhooks check`: the configuration in effect, and every mistake in it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.config.filter_warnings import unknown_modules
from sfwebhooks.config.settings import Settings
from sfwebhooks.dependencies import outdated
from sfwebhooks.doctor.configuration import data_files, switch_words
from sfwebhooks.doctor.expected import never_scanned
from sfwebhooks.doctor.installation import Level, module_names_in, modules_of
from sfwebhooks.doctor.storage import outbox_problems
from sfwebhooks.endpoints import SEND, Endpoint
from sfwebhooks.errors import ConfigError, OutboxError
from sfwebhooks.expectations import LOCAL
from sfwebhooks.host.install import trouble
from sfwebhooks.inspection.filter_words import profile_of
from sfwebhooks.inspection.live_state import ATTENTION, UNKNOWN, Look, live_state
from sfwebhooks.inspection.watched import ExpectedScans, expected_in
from sfwebhooks.network.tls import expiring, tls_problem
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import permission_warnings
from sfwebhooks.outbox.postgres.dsn import Place, is_missing, local_path
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.scan.own_host import saved_options
from sfwebhooks.scan.watch_events import local_time
from sfwebhooks.signing_keys import WHPK, WHPK_HINT, WHSEC, WHSK, receiver_form
from sfwebhooks.terminal.arguments import add_config, add_json, folder, settings
from sfwebhooks.terminal.output import as_json, console, plain, print_hanging, stacked, table
from sfwebhooks.terminal.profiles import print_profiles
from sfwebhooks.text import amount

#: terminal width from which the table has all of these columns
WIDE = 130
COLUMNS = ("endpoint", "to", "format", "events", "signed", "TLS", "state")
#: the same below that width
NARROW = ("endpoint / to / state", "format", "events")
#: characters for format, signature and TLS there
FORMAT = 18
NO_SCANNER = "No SpiderFoot is installed for this Python; --spiderfoot DIR looks for the module in a checkout."


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "check",
        help="show the endpoints with their state, and every mistake in the configuration",
        description="Show the endpoints with their settings in effect and their state, and every mistake in the"
        " configuration. Exit code: 0 all is well; 1 there is a mistake or the outbox cannot be used; 3 neither, but an"
        " endpoint is failing, held or disabled, its deliveries have been waiting too long, kev_file or epss_file"
        " cannot be used, or the module is missing or outdated in a SpiderFoot into which it was installed or in that"
        " of --spiderfoot.",
        epilog="example:\n  sfwebhooks check --config /etc/spiderfoot/webhooks.ini",
    )
    add_config(command)
    command.add_argument("--spiderfoot", type=Path, metavar="DIR", help="also look for the module in this SpiderFoot")
    command.add_argument(
        "--show-secrets", action="store_true", help="also print the receivers' whsec_ secrets and whpk_ keys"
    )
    add_json(command)
    command.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> int:
    found, out = settings(given), console()
    place = None if found.outbox_mistake else found.place(folder(given))
    sent_to = [endpoint for endpoint in found.endpoints if not endpoint.mistake]
    broken = {endpoint.name: problem for endpoint in sent_to if (problem := tls_problem(endpoint))}
    mistakes = [str(mistake) for mistake in found.mistakes]
    mistakes += [f"{found.file}: [webhooks.{name}] {problem}" for name, problem in broken.items()]
    if not (found.endpoints or found.off or mistakes):
        mistakes.append(f"{found.file}: there is no usable endpoint")
    modules = modules_of(given.spiderfoot)
    wrong = {module: ": ".join(filter(None, words)) for module in modules if (words := trouble(module))[0]}
    looks, problems = _looks(found, place, broken)
    mistakes += [*problems, *_spool_mistakes(found, folder(given))]
    lists = [*data_files(found.enrichment)]
    read, unread = ([one for one in lists if (one.level is Level.OK) is well] for well in (True, False))
    doubts = [report.cure for report in read if report.cure]
    doubts += [f"{report.name} {report.words}" for report in unread]
    ends = [f"{one.name}: {expiry.words}" for one in found.endpoints for expiry in expiring(one, time.time())]
    warnings = [
        *wrong.values(),
        *outdated(),
        *found.warnings,
        *doubts,
        *ends,
        *permission_warnings(local_path(place or folder(given) / FILE)),
    ]
    warnings += [*never_scanned(found, folder(given)), *unknown_modules(found.endpoints, module_names_in(modules))]
    troubled = [name for name, one in looks.items() if one.is_trouble]
    troubled += ["the module"] if any(modules[module] for module in wrong) else []
    result = CheckResult(
        switch=switch_words(found, saved_options(folder(given)))[0],
        modules=[module for module in modules if module not in wrong],
        looks=looks,
        expected=expected_in(found, time.time()),
        data=[*(f"{report.name} {report.words}" for report in read), *_baselines(found, place)],
        warnings=list(map(str, warnings)),
        mistakes=mistakes,
        troubled=troubled + [report.name for report in unread],
    )
    if given.json:
        out.print(plain(as_json(_fields(found, result))), soft_wrap=True)
    else:
        _print(found, result, given.show_secrets, out, "" if modules or given.quiet else NO_SCANNER)
    return 1 if mistakes else ATTENTION if result.troubled else 0


def _spool_mistakes(found: Settings, data_folder: Path) -> list[str]:
    try:
        found.spool_in(data_folder)
    except ConfigError as error:
        return [str(error)]
    return []


@dataclass(frozen=True)
class CheckResult:
    """The result of a check, besides the settings."""

    #: in which scans webhooks are on, in words
    switch: str
    #: the files of ours in SpiderFoots that are current
    modules: list[Path]
    #: endpoint -> its state
    looks: dict[str, Look]
    #: the scans that [webhooks-expect] expects
    expected: tuple[ExpectedScans, ...]
    #: what kev_file and epss_file have, and which targets have a baseline for only_new
    data: list[str]
    warnings: list[str]
    mistakes: list[str]
    #: what needs attention though there is no mistake
    troubled: list[str]


def _print(found: Settings, result: CheckResult, show_secrets: bool, out: Console, hint: str) -> None:
    out.print(plain(f"{found.file}: {result.switch}"))
    if hint:
        out.print(hint)
    for module in result.modules:
        out.print(plain(f"The module is in SpiderFoot: {module}"), soft_wrap=True)
    _print_endpoints(found, result.looks, out)
    for one in result.looks.values():
        for line in one.lines:
            out.print(plain(line))
    for line in result.data:
        print_hanging("", plain(line), out)
    _print_expected(result.expected, out)
    if show_secrets:
        _print_secrets(found, out)
    for warning in result.warnings:
        out.print(plain(f"warning: {warning}", "yellow"))
    for mistake in result.mistakes:
        out.print(plain(f"mistake: {mistake}", "red"))
    if result.mistakes:
        out.print(f"{amount(len(result.mistakes), 'mistake')}.")
    elif result.troubled:
        out.print(plain(f"No mistakes, but these need attention: {', '.join(result.troubled)}."))
    else:
        out.print("No mistakes.")


def _fields(found: Settings, result: CheckResult) -> dict[str, Any]:
    """Return the result for --json."""
    return {
        "file": str(found.file),
        "webhooks": result.switch,
        "modules": list(map(str, result.modules)),
        "endpoints": [
            {
                "endpoint": endpoint.name,
                "to": endpoint.place,
                "format": endpoint.format,
                "events": endpoint.events,
                **{label: profile_of(endpoint)[label] for label in ("filters", "messages", "redacted")},
                "signed": _signed(endpoint),
                "tls": _tls(endpoint),
                "state": result.looks[endpoint.name].words,
                "details": result.looks[endpoint.name].lines,
            }
            for endpoint in found.known
        ],
        "others": {name: one.lines for name, one in result.looks.items() if name not in _names(found)},
        "data": result.data,
        "expected": [one.fields for one in result.expected],
        "warnings": result.warnings,
        "mistakes": result.mistakes,
        "attention": result.troubled,
    }


def _names(found: Settings) -> set[str]:
    return {endpoint.name for endpoint in found.known}


def _looks(found: Settings, place: Place | None, broken: dict[str, str]) -> tuple[dict[str, Look], list[str]]:
    """Return each endpoint's state, from its files and its receiver's last answer, and the problems of the outbox."""
    problems, looks = [*outbox_problems(found, place)] if place else [], {}
    if place and not problems:
        try:
            looks = {**live_state(found, place).looks}
        except OutboxError as error:
            problems = [str(error)]
    if problems or not place:
        looks = {endpoint.name: UNKNOWN for endpoint in found.known}
    wrong = dict.fromkeys(found.held, f"{WaitingReason.MISTAKE.value}: see below") | dict.fromkeys(
        broken, "held: see below"
    )
    return looks | {name: replace(looks[name], words=words, colour="red") for name, words in wrong.items()}, problems


def _baselines(found: Settings, place: Place | None) -> Iterator[str]:
    """Yield what each endpoint with only_new is sent, which depends on what has been scanned."""
    asking, known = [one for one in found.endpoints if one.only_new], 0
    with suppress(OutboxError):  # which is reported elsewhere
        if asking and place and not is_missing(place):
            with closing(Outbox(place, listing=True)) as outbox:
                known = sum(one.complete > 0 for one in outbox.sighting_list.targets())
    for one in asking:
        first = "all findings" if one.baseline == SEND else "no findings"
        yield (
            f"{one.name} is sent what earlier scans of a target have not found (only_new)."
            f" {amount(known, 'target')} {'has' if known == 1 else 'have'} such a scan, which finished."
            f" Of the first scan of any other target, {first} are sent (baseline = {one.baseline})."
        )


def _print_endpoints(found: Settings, looks: dict[str, Look], out: Console) -> None:
    wide = out.width >= WIDE
    rows = table(*(COLUMNS if wide else NARROW))
    rows.columns[1].width = None if wide else FORMAT
    for endpoint in found.known:
        name, to = plain(endpoint.name, "bold"), plain(endpoint.place)
        look = looks[endpoint.name]
        events, state = (
            plain(", ".join(endpoint.events)) if wide else Text("\n").join(map(plain, endpoint.events)),
            plain(look.words, look.colour),
        )
        form, signed, tls = _format(endpoint), _signed(endpoint), _tls(endpoint)
        if wide:
            rows.add_row(name, to, form, events, signed, tls, state)
        else:
            how = stacked(plain(form), plain(f"signed: {signed}"), plain(f"TLS: {tls}"))
            rows.add_row(stacked(name, to, state), how, events)
    if found.endpoints or found.off:
        out.print(rows)
        print_profiles(found.known, out)


def _print_expected(expected: tuple[ExpectedScans, ...], out: Console) -> None:
    if not expected:
        return
    rows = table("expected", "schedule", "scans of", "next, local time")
    for one in expected:
        times = Text("\n").join(plain(local_time(at, LOCAL)) for at in one.next_at)
        rows.add_row(plain(one.name, "bold"), plain(one.cron), plain(one.shown), times)
    out.print(rows)


def _format(endpoint: Endpoint) -> str:
    size = endpoint.batch_size
    return f"{endpoint.format}, up to {size} messages at once" if size > 1 else endpoint.format


def _signed(endpoint: Endpoint) -> str:
    texts = [secret.reveal() for secret in endpoint.secrets]
    kinds = [next((kind for kind in (WHSEC, WHSK) if text.startswith(kind)), "text") for text in texts]
    return ", ".join(kinds) if kinds else "no"


def _tls(endpoint: Endpoint) -> str:
    if endpoint.place.startswith("http://"):
        return "none"
    trust = "own CA" if endpoint.ca_bundle else "public CAs"
    verified = f"verified, {trust}" if endpoint.verify_tls else "NOT VERIFIED"
    return f"{verified}, mTLS" if endpoint.client_cert else verified


def _print_secrets(found: Settings, out: Console) -> None:
    rows = table("endpoint", "for its receiver (whsec_: for any Standard Webhooks library)")
    forms = [
        (endpoint.name, receiver_form(secret.reveal())) for endpoint in found.endpoints for secret in endpoint.secrets
    ]
    for name, form in forms:
        rows.add_row(plain(name, "bold"), form)
    out.print(rows)
    if any(form.startswith(WHPK) for _, form in forms):
        out.print(plain(WHPK_HINT), soft_wrap=True)
