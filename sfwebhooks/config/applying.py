"""Applying an Edit: a settings file and what is to be changed in it come in; the file is checked and written.

Commands print it and the API answers with it. Nothing is written that `sfwebhooks check` would find a new mistake in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sfwebhooks.config.draft import MISTAKES_MAX, Mistake
from sfwebhooks.config.editing import Edit, as_read, edited, refused_mistakes
from sfwebhooks.config.endpoint import NAME, NAME_RULE
from sfwebhooks.config.exposure import exposed
from sfwebhooks.config.rewriting import rewrite
from sfwebhooks.config.secret_file import write_secret
from sfwebhooks.config.settings import Settings, load_text
from sfwebhooks.config.warnings import open_to_others
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, NotEditableError
from sfwebhooks.events import printable
from sfwebhooks.files import is_deleted
from sfwebhooks.network.tls import tls_problem
from sfwebhooks.signing_keys import new_whsec

#: the value of `secret` for one that is generated
NEW = "new"


class MistakesError(ConfigError):
    """An edit is refused because the settings would have mistakes, which are in `mistakes`."""

    def __init__(self, name: str, mistakes: list[Mistake]) -> None:
        words = "; ".join(map(str, mistakes))
        super().__init__(f"nothing was changed, because check would find this mistake: {words}")
        #: of the endpoint
        self.name = name
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True)
class Applied:
    """An edit that was made."""

    edit: Edit
    #: the text of the file with it
    text: str = field(repr=False)
    #: the settings before and after it
    before: Settings
    after: Settings
    #: the previous version of the file; None: it has these settings already
    backup: Path | None = None
    #: the file of a secret that was generated
    generated: Path | None = None
    #: the keys of the edit whose secrets are now in the file in clear
    clear: tuple[str, ...] = ()
    #: the mistakes that it leaves because they are values to be filled in
    unfilled: tuple[Mistake, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """The warnings about the settings that are new, and the values that are yet to be filled in."""
        unfilled = [f"{one.key}: {one.problem}" for one in self.unfilled]
        return [*unfilled, *(warning for warning in self.after.warnings if warning not in self.before.warnings)]


def apply_edit(path: Path, edit_of: Callable[[str], Edit], may_be_unfilled: bool = False) -> Applied:
    """Write an edit to a settings file.

    Args:
        edit_of: returns the edit for the present text of the file, which nobody changes meanwhile, or raises.
        may_be_unfilled: whether a value may be one that is yet to be filled in: its endpoint is then sent nothing.

    Raises:
        NotEditableError: the file cannot be edited; it is as it was.
        ConfigError: the edit is refused; likewise.
    """
    made: list[Applied] = []
    generated: list[Path] = []

    def changed(text: str) -> str:
        edit = edit_of(text)
        clear = tuple(key for key, value in edit.values.items() if value and value != NEW and exposed(key, value))
        if clear:
            demand_private(path)
        if edit.values.get("secret") == NEW:
            generated.append(_new_secret(path, edit.name))
            edit = replace(edit, values={**edit.values, "secret": f"file:{generated[0].name}"})
        result = edited(text, edit, path)
        before, after = (load_text(path, as_read(one)) for one in (text, result))
        found = refused_mistakes(before, after, edit)
        unfilled = tuple(one for one in found if may_be_unfilled and one.is_unfilled)
        _demand_valid(before, after, edit.name, [one for one in found if one not in unfilled])
        made.append(Applied(edit, result, before, after, None, next(iter(generated), None), clear, unfilled))
        return result

    try:
        backup = rewrite(path, changed)
    except BaseException:
        for file in generated:
            file.unlink()
        raise
    return replace(made[0], backup=backup)


def demand_private(path: Path) -> None:
    """Check that a file may get a secret.

    Raises:
        NotEditableError: others can read or change it.
    """
    problem = open_to_others(path, is_secret=True)
    if problem:
        raise NotEditableError(problem)


def secret_file(path: Path, name: str) -> Path:
    """Return the file of an endpoint's generated secret, next to the settings."""
    return path.absolute().with_name(f"{name}.secret")


def _new_secret(path: Path, name: str) -> Path:
    """Generate a secret in a file next to the settings; return its path."""
    if not NAME.fullmatch(name):
        raise ConfigError(NAME_RULE)
    file = secret_file(path, name)
    if not is_deleted(file):
        raise ConfigError(f"{file} exists: --secret file:{file.name} uses it")
    write_secret(file, new_whsec())
    return file


def _demand_valid(before: Settings, after: Settings, name: str, mistakes: list[Mistake]) -> None:
    """Check that `sfwebhooks check` would find no new mistake in an endpoint, nor these.

    Raises:
        MistakesError: it would.
    """
    if len(before.mistakes) >= MISTAKES_MAX:
        raise NotEditableError(
            f"the file has {MISTAKES_MAX} mistakes or more: correct them in an editor, see sfwebhooks check"
        )
    now, then = _endpoint(after, name), _endpoint(before, name)
    if now and not mistakes:
        problem = tls_problem(now)
        if problem and not (then and tls_problem(then)):
            mistakes = [Mistake(printable(str(after.file)), f"webhooks.{name}", "", "", problem)]
    if mistakes:
        raise MistakesError(name, mistakes)


def _endpoint(found: Settings, name: str) -> Endpoint | None:
    return next((one for one in found.known if one.name == name and not one.mistake), None)
