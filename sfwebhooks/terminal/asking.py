"""Questions at a terminal: a question comes in, a valid answer goes out. Secrets are not echoed."""

from __future__ import annotations

import getpass
import sys
from typing import Callable

from sfwebhooks.errors import ConfigError
from sfwebhooks.terminal.output import console, plain

#: wrong answers until a question is given up
TRIES = 5
YES, NO = ("y", "yes"), ("n", "no")


def can_ask() -> bool:
    """Return whether there is a person at a terminal."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout.isatty())


def typed_answer(question: str, default: str = "", parse: Callable[[str], object] = str) -> str:
    """Return an answer that can be parsed; an empty one is the default.

    Raises:
        ConfigError: there is none.
    """
    shown = f"{question} [{default}]: " if default else f"{question}: "
    return _answer(lambda: input(shown).strip() or default, parse)


def secret_answer(question: str, parse: Callable[[str], object] = str) -> str:
    """Return an answer that is not echoed.

    Raises:
        ConfigError: there is none.
    """
    return _answer(lambda: getpass.getpass(f"{question} (not shown): ").strip(), parse)


def confirmed(question: str, default: bool) -> bool:
    """Return whether the answer is yes.

    Raises:
        ConfigError: there is none.
    """
    shown = "Y/n" if default else "y/N"
    given = typed_answer(question, shown, _demand_decision)
    return default if given == shown else given.lower() in YES


def _demand_decision(text: str) -> None:
    if text.lower() not in (*YES, *NO, "y/n"):
        raise ValueError("answer yes or no")


def _answer(get: Callable[[], str], parse: Callable[[str], object]) -> str:
    for _ in range(TRIES):
        try:
            given = get()
            if not given:
                raise ValueError("an answer is needed; Ctrl-C stops")
            parse(given)
        except EOFError:
            break
        except ValueError as error:  # also of a character that is not UTF-8
            console().print(plain(f"  {error}", "red"))
        else:
            return given
    raise ConfigError("no answer; nothing was changed")
