"""The parsers of the commands: a command line comes in; its arguments, or what is wrong and what was meant, go out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from sfwebhooks.config.values import nearest
from sfwebhooks.events import printable
from sfwebhooks.text import in_line

#: most characters of a wrong word that are shown
WORD_MAX = 60


class HelpText(argparse.HelpFormatter):
    """Wraps paragraphs; one with an indented line, such as an example, is shown as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            one if "\n  " in one else super(HelpText, self)._fill_text(one, width, indent) for one in paragraphs
        )


class CommandParser(argparse.ArgumentParser):
    """A parser of a command; its errors suggest the nearest command or option."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": HelpText, **options})

    def error(self, message: str) -> NoReturn:
        """End the program with code 2 and an error."""
        self.exit(2, f"{self.prog}: {printable(message)}\n{self.prog} --help shows the usage and an example.\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End the program with an error about arguments that no option or command has taken."""
        word = next((one for one in unknown if one.startswith("-")), "").partition("=")[0]
        if not word:
            self.error(f'there is one argument too many: "{in_line(unknown[0], WORD_MAX)}"')
        self.error(f"there is no option {in_line(word, WORD_MAX)}.{nearest(word, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            word = in_line(value, WORD_MAX)
            raise argparse.ArgumentError(None, f'there is no command "{word}".{nearest(value, action.choices)}')
        super()._check_value(action, value)
