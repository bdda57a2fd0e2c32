"""A change of a webhook: the body of a request comes in; the Edit of the settings that it asks for goes out, or what is
wrong with it.

The API writes what a command writes, but for four things. It makes no value refer to a variable or a file of this
machine. It sets no template, which is a program that takes as much of this machine as it likes. It sends no credential
where it did not go before: who may change a URL could read it there. And it allows no private address where [webhooks]
refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from itertools import count
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sfwebhooks.config.applying import NEW
from sfwebhooks.config.draft import Entry, Mistake
from sfwebhooks.config.editing import CONTROL, Edit, lines_of
from sfwebhooks.config.endpoint import NAME, NAME_RULE
from sfwebhooks.config.exposure import formats_at, is_source
from sfwebhooks.config.lists import words
from sfwebhooks.config.options import OPEN_OPTIONS, Option, all_options, option_for
from sfwebhooks.config.values import boolean, nearest
from sfwebhooks.config.values import path as file_name
from sfwebhooks.events import printable
from sfwebhooks.own_secrets import MASK, shown_name
from sfwebhooks.web.problems import Problem
from sfwebhooks.web.registered import OWN_FIELDS, Registered

Text = Annotated[str, Field(max_length=100_000)]
Word = Annotated[str, Field(max_length=200)]
#: what GET shows besides, and a change may repeat
SHOWN_ONLY = {"secret_set", "mistake", "status", "warnings"}
#: secrets that a receiver is not sent, or which are its place
KEPT = {"url", "secret", "redact_key", "proof", "client_key_password", "token_url", "proxy"}
#: a body of a request that registers one
REGISTRATION: dict[str, Any] = {
    "url": "https://siem.example.com/security-webhook",
    "events": ["scan.completed", "finding.critical"],
    "description": "Production security notifications",
}
#: the key that allows private addresses
PRIVATE = "allow_private"
#: most keys that one request changes
SETTINGS_MAX = 200


class WebhookChange(BaseModel):
    """What is to be changed; null removes a value, so that its default applies."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Word | None = Field(None, description="its name, which is not changed")
    url: Text | None = Field(None, repr=False, description="where to send; as GET shows it: unchanged")
    events: list[Word] | None = Field(
        None, max_length=1000, min_length=1, description="event names, * patterns, all, !name"
    )
    secret: Text | None = Field(None, repr=False, description="signs messages; several while rotating, one per line")
    description: Text | None = Field(None, description="a comment for people")
    active: bool | None = Field(None, description="false: it is sent nothing")
    format: Word | None = Field(None, description="how messages are written; see GET /v1/formats")
    settings: dict[Word, Text | None] = Field(
        default_factory=dict,
        max_length=SETTINGS_MAX,
        repr=False,
        description='its other keys with their texts, see GET /v1/options; "***": unchanged',
    )

    @model_validator(mode="before")
    @classmethod
    def _without_shown(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if key not in SHOWN_ONLY}


class NewWebhook(WebhookChange):
    """A webhook to be registered."""

    model_config = ConfigDict(json_schema_extra={"examples": [REGISTRATION]})

    id: Word | None = Field(None, description="its name; by default one that follows from the host of its url")
    url: Text = Field(repr=False, description="where to send")


def edit_for_new(given: NewWebhook, present: Registered) -> Edit:
    """Return the edit that registers a webhook.

    Raises:
        Problem: its name cannot be used, or a value is wrong.
    """
    name = given.id or _free_name(given.url, present)
    if not NAME.fullmatch(name) or f"{name}." in OPEN_OPTIONS:
        raise wrong_values({"id": NAME_RULE})
    if name in present.taken:
        raise Problem(HTTPStatus.CONFLICT, f'there is already a webhook "{name}": PATCH changes it')
    values = {key: text for key, text in _values(given, name, present).items() if text is not None}
    _demand_policy(values, present)
    found = formats_at(values.get("url", ""))
    if "format" not in values and len(found) == 1:
        values["format"] = found[0]
    if values.get("enabled") == "true":
        del values["enabled"]
    _demand_no_credentials(name, values, present)
    return Edit(name, values, is_new=True)


def edit_for_change(name: str, given: WebhookChange, present: Registered) -> Edit:
    """Return the edit that changes a webhook.

    Raises:
        Problem: a value is wrong.
    """
    if given.id not in (None, name):
        raise wrong_values({"id": "the name of a webhook cannot be changed"})
    values = _values(given, name, present)
    _demand_policy(values, present)
    if values.get("enabled") == "true" and "enabled" not in present.entries(name):
        del values["enabled"]
    _demand_no_credentials(name, values, present)
    return Edit(name, values)


def wrong_values(found: Mapping[str, str]) -> Problem:
    """Return the problem with the values of a body: place in it -> what is wrong."""
    errors = [{"where": f"body.{place}", "message": printable(words)} for place, words in found.items()]
    detail = "; ".join(f"{place}: {words}" for place, words in [*found.items()][:5])
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def wrong_settings(mistakes: tuple[Mistake, ...], name: str) -> Problem:
    """Return the problem with settings that would have mistakes."""
    found: dict[str, str] = {}
    for mistake in mistakes:
        its, key = Entry(mistake.section, mistake.key, "").place
        place = _place_of(key) if its == name else "settings"
        found.setdefault(place, mistake.problem if its == name else str(mistake))
    return wrong_values(found)


def _place_of(key: str) -> str:
    """Return the place of a key in the body; without a key, that of all."""
    fields = {own: field for field, own in OWN_FIELDS.items()}
    shown = key if option_for(key) else shown_name(key)
    return fields.get(key) or (f"settings.{shown}" if key else "settings")


def _values(given: WebhookChange, name: str, present: Registered) -> dict[str, str | None]:
    """Return key -> text, or None to remove it, for what a body changes.

    Raises:
        Problem: a value is wrong in itself; the settings' own check finds the rest.
    """
    shown = present.fields(name) if name in present.taken else {}
    values = {field: getattr(given, field) for field in OWN_FIELDS if field in given.model_fields_set}
    asked = {
        OWN_FIELDS[field]: _as_text(value)
        for field, value in values.items()
        if value is None or value != shown.get(field)
    }
    misplaced = given.settings.keys() & OWN_FIELDS.values()
    wrong = {f"settings.{key}": f"it is a field of its own, {_place_of(key)}" for key in misplaced}
    asked.update({key: text for key, text in given.settings.items() if key not in OWN_FIELDS.values()})
    changed: dict[str, str | None] = {}
    for key, text in asked.items():
        entry = present.entries(name).get(key)
        before = entry.text if entry else None
        if text is None or (key == "description" and not text.strip()):
            changed[key] = None
        elif before is not None and (_is_masked(key, text) or "\n".join(lines_of(text)) == before):
            continue
        else:
            problem = _problem(key, text)
            if problem:
                wrong[_place_of(key)] = problem
            changed[key] = text
    if wrong:
        raise wrong_values(wrong)
    return changed


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(words("\n".join(value))) if isinstance(value, list) else value


def _is_masked(key: str, text: str) -> bool:
    """Return whether a value is what GET shows in place of a secret."""
    option = option_for(key)
    return text == MASK and bool(option and option.secret)


def _problem(key: str, text: str) -> str:
    """Return why the API does not set a key to a text, or nothing."""
    option = option_for(key)
    if option is None:
        return f"there is no such key.{nearest(key, [*all_options(), *OPEN_OPTIONS])}"
    if CONTROL.search(text.replace("\r\n", "\n")):
        return "expected text without control characters; a value may have tabs and newlines"
    if option.secret and text.strip() == MASK:
        return f"{MASK} stands for a value that is already set: give the value itself"
    if key == "secret" and text.strip() == NEW:
        return "expected the secret itself; only sfwebhooks create and update generate one"
    if not text.strip() and key in ("url", "events"):
        return "expected a value"
    return _reference_problem(option, text)


def _reference_problem(option: Option, text: str) -> str:
    """Return why a value may not come from outside: it would read a variable or file of this machine, or is a template:
    one that takes all memory is easily written, and its limits are for mistakes."""
    if option.parse is file_name and text.strip():
        return "it names a file of this machine, which only sfwebhooks update sets"
    if option.secret and is_source(text):
        return "env:NAME and file:PATH read a variable or a file of this machine: only sfwebhooks update sets them"
    if option.sourced:
        return "it is a program that this machine runs, which only sfwebhooks update sets"
    return ""


def _demand_policy(values: Mapping[str, str | None], present: Registered) -> None:
    """Check that a change of values allows no private address if [webhooks] refuses them: a token of the API would then
    reach whatever this machine does.

    Raises:
        Problem: it would.
    """
    general, text = present.inherited.get(PRIVATE), values.get(PRIVATE)
    if general and text is not None and _is_false(general.text) and not _is_false(text):
        words = "[webhooks] refuses private addresses; only sfwebhooks update allows them to an endpoint"
        raise wrong_values({_place_of(PRIVATE): words})


def _is_false(text: str) -> bool:
    with suppress(ValueError):
        return not boolean(text)
    return False


def _demand_no_credentials(name: str, values: Mapping[str, str | None], present: Registered) -> None:
    """Check that a change of values sends no present credential where it was not sent before.

    Raises:
        Problem: it would.
    """
    own, inherited, before = present.entries(name).keys(), present.inherited.keys(), present.endpoint(name)
    url, is_open = values.get("url"), values.get("verify_tls") not in (None, "true") or bool(values.get("proxy"))
    is_moved = "token_url" in values or (url is not None and not (before and _place(url) == before.place))
    going = {key for key, text in values.items() if text is None and key in inherited and (is_moved or key in own)}
    if is_open or is_moved:
        going |= (own | inherited) - values.keys()
    going -= KEPT - ({"url", "token_url"} if is_open else set())
    sent = [key for key in sorted(going) if (option := option_for(key)) and option.secret]
    if sent:
        words = "the receiver or the way to it changes, so this has to be given again, or "
        ways = {key: "left empty" if key in inherited else "removed by null" for key in sent}
        raise wrong_values({_place_of(key): words + way for key, way in ways.items()})


def _place(url: str) -> str:
    """Return scheme and host of a URL, as `Endpoint.place` does."""
    try:
        parts = urlsplit(url)
    except ValueError:  # the parser of the option reports it
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _free_name(url: str, present: Registered) -> str:
    """Return a name that follows from the host of a URL, and that no endpoint has."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    stem = re.sub(r"[^A-Za-z0-9]+", "_", host).strip("_")[:50] or "webhook"
    return next(one for one in _numbered(stem) if one not in present.taken and f"{one}." not in OPEN_OPTIONS)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{number}" for number in count(2))
