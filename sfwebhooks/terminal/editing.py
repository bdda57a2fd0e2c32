"""Settings that commands change: arguments come in, an Edit is checked and written, and what happened is printed."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from sfwebhooks.config.draft import MISTAKES_MAX
from sfwebhooks.config.editing import Edit, as_read, edited, refused_mistakes
from sfwebhooks.config.endpoint import NAME, NAME_RULE, secret_text
from sfwebhooks.config.exposure import exposed, is_source
from sfwebhooks.config.options import OPEN_OPTIONS, all_options, option_for
from sfwebhooks.config.rewriting import rewrite
from sfwebhooks.config.settings import Settings, load_text
from sfwebhooks.config.values import nearest, secrets, url, words
from sfwebhooks.config.warnings import open_to_others
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import clean_text, printable
from sfwebhooks.files import is_deleted
from sfwebhooks.network.tls import tls_problem
from sfwebhooks.own_secrets import shown_name
from sfwebhooks.signing_keys import new_whsec
from sfwebhooks.terminal.arguments import settings_file
from sfwebhooks.terminal.asking import can_ask, secret_answer
from sfwebhooks.terminal.output import console, plain
from sfwebhooks.terminal.secret_file import write_secret
from sfwebhooks.text import amount

#: the value of --secret for one that is generated
NEW = "new"


def add_values(command: argparse.ArgumentParser) -> None:
    """Add the options for the values of an endpoint."""
    command.add_argument(
        "--url", nargs="?", const="", help="where to send: a URL without a secret, env:NAME or file:PATH; alone: ask"
    )
    command.add_argument("--events", nargs="+", metavar="EVENT", help="event names, * patterns, all, !name")
    command.add_argument("--format", help="how messages are written (generic)")
    command.add_argument(
        "--secret",
        nargs="?",
        const="",
        help="signs messages: env:NAME, file:PATH, or new, which generates one; alone: ask",
    )
    command.add_argument("--description", metavar="TEXT", help="a comment for people")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="others",
        metavar="KEY=VALUE",
        help="another key of the endpoint; secrets as env:NAME or file:PATH; may be repeated",
    )


def given_values(given: argparse.Namespace) -> dict[str, str]:
    """Return key -> text of the options of `add_values`.

    Raises:
        ConfigError: a value is a secret, or is not a key of endpoints.
    """
    named = {"url": given.url, "format": given.format, "description": given.description}
    pairs = [(key, text, f"--{key}") for key, text in named.items() if text is not None]
    pairs += [("events", ", ".join(words("\n".join(given.events))), "--events")] if given.events else []
    pairs += [("secret", given.secret, "--secret")] if given.secret is not None else []
    pairs += [_pair(text) for text in given.others]
    made: dict[str, str] = {}
    for key, text, option in pairs:
        if key in made:
            raise ConfigError(f"{option}: {key} is given twice")
        made[key] = _checked(given, key, text, option)
    return made


def _pair(text: str) -> tuple[str, str, str]:
    key, equals, value = text.partition("=")
    key = key.strip()
    known = [*all_options(), *OPEN_OPTIONS]
    if not equals or not key:
        raise ConfigError("--set: expected KEY=VALUE")
    if not option_for(key):
        raise ConfigError(f"--set {printable(shown_name(key))}: there is no such key.{nearest(key, known)}")
    return key, value.strip(), f"--set {key}"


def _checked(given: argparse.Namespace, key: str, text: str, option: str) -> str:
    """Return a value; one that is asked for is not in the arguments."""
    asks = option in ("--url", "--secret")
    if asks and not text:
        if not can_ask():
            raise ConfigError(f"{option}: a value is needed where there is no terminal: env:NAME or file:PATH")
        if key == "secret":
            return secret_answer("Secret", secrets)
        folder = settings_file(given).parent
        return secret_answer("URL", lambda answer: demand_url(answer, folder))
    if clean_text(text) != text or "\0" in text:
        raise ConfigError(f"{option}: expected valid UTF-8 text")
    why = "" if (key, text) == ("secret", NEW) else exposed(key, text)
    if why:
        prompt = f", or {option} alone, which asks for it" if asks else ""
        new = ", new to generate one" if key == "secret" else ""
        raise ConfigError(
            f"{option}: {why}, and other users can see the arguments of a command: use env:NAME, file:PATH{new}{prompt}"
        )
    return text


def demand_url(text: str, folder: Path) -> None:
    """Check an answer that is to be a URL, or the place of one.

    Raises:
        ValueError: it is neither.
    """
    url(secret_text(text, folder) if is_source(text) else text)


def demand_private(path: Path) -> None:
    """Check that a file may get a secret.

    Raises:
        ConfigError: others can read or change it.
    """
    problem = open_to_others(path, is_secret=True)
    if problem:
        raise ConfigError(problem)


def write_edit(given: argparse.Namespace, edit: Edit, out: Console, words: str) -> Settings:
    """Write an edit to the configuration file that the command line names, and print that it was written.

    Args:
        words: what was done to the endpoint, such as Created.

    Raises:
        ConfigError: it is refused; the file is as it was.
    """
    path = settings_file(given)
    seen: list[Settings] = []
    values = dict(edit.values)
    typed = [key for key, text in values.items() if text and text != NEW and exposed(key, text)]
    if typed:
        demand_private(path)
    made = _new_secret(path, edit, values)
    edit = Edit(edit.name, values, edit.is_new, edit.is_removed)

    def changed(text: str) -> str:
        result = edited(text, edit, path)
        before, after = (load_text(path, as_read(one)) for one in (text, result))
        _demand_valid(before, after, edit)
        seen[:] = [before, after]
        return result

    try:
        backup = rewrite(path, changed)
    except BaseException:
        if made:
            made.unlink()
        raise
    before, after = seen
    if made:
        out.print(plain(f"Generated {made}: the receiver needs this secret as well."))
    if backup is None:
        out.print(plain(f"{'Else nothing' if made else 'Nothing'} was changed: {path} has these settings already."))
        return after
    where = backup.name if backup.parent == path.absolute().parent else backup
    out.print(plain(f"{words} {edit.name} in {path}; the previous version is {where}."))
    if typed:
        keys = " and ".join(typed)
        out.print(plain(f"It has {keys} in clear; file:PATH as the value keeps a secret in its own file."))
    out.print("Running senders and scans use the new settings within seconds.")
    problems = console()
    for warning in after.warnings:
        if warning not in before.warnings:
            problems.print(plain(f"warning: {warning}", "yellow"))
    if after.mistakes:
        out.print(plain(f"The file has {amount(len(after.mistakes), 'older mistake')}: sfwebhooks check", "yellow"))
    return after


def secret_file(path: Path, name: str) -> Path:
    """Return the file of an endpoint's generated secret, next to the settings."""
    return path.absolute().with_name(f"{name}.secret")


def _new_secret(path: Path, edit: Edit, values: dict[str, str | None]) -> Path | None:
    """Generate the secret that an edit asks for, in a file next to the settings; return its path."""
    if values.get("secret") != NEW:
        return None
    if not NAME.fullmatch(edit.name):
        raise ConfigError(NAME_RULE)
    file = secret_file(path, edit.name)
    if not is_deleted(file):
        raise ConfigError(f"{file} exists: --secret file:{file.name} uses it")
    write_secret(file, new_whsec())
    values["secret"] = f"file:{file.name}"
    return file


def _demand_valid(before: Settings, after: Settings, edit: Edit) -> None:
    """Check that `sfwebhooks check` would find no new mistake.

    Raises:
        ConfigError: it would.
    """
    if len(before.mistakes) >= MISTAKES_MAX:
        raise ConfigError(
            f"the file has {MISTAKES_MAX} mistakes or more: correct them in an editor, see sfwebhooks check"
        )
    mistakes = list(map(str, refused_mistakes(before, after, edit)))
    now, then = _endpoint(after, edit.name), _endpoint(before, edit.name)
    if now and not mistakes:
        problem = tls_problem(now)
        if problem and not (then and tls_problem(then)):
            mistakes.append(f"[webhooks.{edit.name}] {problem}")
    if mistakes:
        raise ConfigError(f"nothing was changed, because check would find this mistake: {'; '.join(mistakes)}")


def _endpoint(found: Settings, name: str) -> Endpoint | None:
    return next((one for one in found.known if one.name == name and not one.mistake), None)


def known_url(text: str, folder: Path) -> str:
    """Return the URL that a value is or names.

    Raises:
        ConfigError: the place that it names cannot be read.
    """
    try:
        return secret_text(text, folder) if is_source(text) else text
    except ValueError as error:
        raise ConfigError(f"the URL: {error}; nothing was changed") from error
