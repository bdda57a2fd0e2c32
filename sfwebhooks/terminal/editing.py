"""Settings that commands change: arguments come in, an Edit is checked and written, and what happened is printed."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from sfwebhooks.config.applying import NEW, apply_edit
from sfwebhooks.config.editing import Edit
from sfwebhooks.config.endpoint import secret_text
from sfwebhooks.config.exposure import exposed, is_source
from sfwebhooks.config.lists import words
from sfwebhooks.config.options import OPEN_OPTIONS, all_options, option_for
from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import nearest, secrets, url
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import clean_text, printable
from sfwebhooks.own_secrets import shown_name
from sfwebhooks.terminal.arguments import settings_file
from sfwebhooks.terminal.asking import can_ask, secret_answer
from sfwebhooks.terminal.output import console, plain
from sfwebhooks.text import amount


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


def write_edit(given: argparse.Namespace, edit: Edit, out: Console, words: str) -> Settings:
    """Write an edit to the configuration file that the command line names, and print that it was written.

    Args:
        words: what was done to the endpoint, such as Created.

    Raises:
        ConfigError: it is refused; the file is as it was.
    """
    path = settings_file(given)
    done = apply_edit(path, lambda _: edit)
    if done.generated:
        out.print(plain(f"Generated {done.generated}: the receiver needs this secret as well."))
    if done.backup is None:
        nothing = "Else nothing" if done.generated else "Nothing"
        out.print(plain(f"{nothing} was changed: {path} has these settings already."))
        return done.after
    where = done.backup.name if done.backup.parent == path.absolute().parent else done.backup
    out.print(plain(f"{words} {edit.name} in {path}; the previous version is {where}."))
    if done.clear:
        keys = " and ".join(done.clear)
        out.print(plain(f"It has {keys} in clear; file:PATH as the value keeps a secret in its own file."))
    out.print("Running senders and scans use the new settings within seconds.")
    problems = console()
    for warning in done.warnings:
        problems.print(plain(f"warning: {warning}", "yellow"))
    if done.after.mistakes:
        older = amount(len(done.after.mistakes), "older mistake")
        out.print(plain(f"The file has {older}: sfwebhooks check", "yellow"))
    return done.after


def known_url(text: str, folder: Path) -> str:
    """Return the URL that a value is or names.

    Raises:
        ConfigError: the place that it names cannot be read.
    """
    try:
        return secret_text(text, folder) if is_source(text) else text
    except ValueError as error:
        raise ConfigError(f"the URL: {error}; nothing was changed") from error
