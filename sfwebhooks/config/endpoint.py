"""Building an endpoint: its own keys and inherited ones come in; an Endpoint, perhaps with a mistake, goes out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfwebhooks import files
from sfwebhooks.authentication import USED
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.config.contradictions import COUNTED_RETRIES, ONLY_WITH, auth_of, contradictions
from sfwebhooks.config.draft import Draft, Entry
from sfwebhooks.config.lists import WrongWordsError, words
from sfwebhooks.config.options import (
    ENDPOINT_OPTIONS,
    OPEN_OPTIONS,
    Option,
    all_options,
    name_problem,
    option_for,
)
from sfwebhooks.config.samples import TO_GO_WITHOUT, UnfilledError, is_nothing, unfilled
from sfwebhooks.config.sections import SECTION, SEVERITY
from sfwebhooks.config.values import alike, comment_in, nearest, quotes_in
from sfwebhooks.config.values import path as file_name
from sfwebhooks.config.warnings import value_warnings
from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.endpoints import FINDINGS, SPECIALS, Endpoint, Secret, subscribed_name, takes_findings
from sfwebhooks.events import clean_text
from sfwebhooks.formats import FORMATS
from sfwebhooks.own_secrets import shown, shown_name
from sfwebhooks.screening import CORRELATION
from sfwebhooks.severity import Severity
from sfwebhooks.text_file import decoded_text, settled, state_of
from sfwebhooks.ticketing import FINDING

#: an endpoint's name; a command would take one that begins with - for an option
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
NAME_RULE = (
    "an endpoint's name has up to 64 of A-Z, a-z, 0-9, _ and -, does not begin with -, and is not header or metadata"
)
#: the advice for an endpoint that accepts nothing because its events are not known
BACKFILL = "once this is corrected, sfwebhooks backfill sends it the findings that it missed"
INHERITED = [*OPEN_OPTIONS, *(name for name, option in ENDPOINT_OPTIONS.items() if option.inherited)]
#: the events that no ticket can be about: they say nothing of a finding
WITHOUT_TICKET = tuple(
    entry.name
    for entry in EVENT_TYPES
    if entry.name not in (*FINDINGS, *SPECIALS, "finding.critical", "finding.high", CORRELATION)
)
#: `timeout` of formats that send whole scans: some receivers answer only when all of it is stored
SCAN_SECONDS = 300.0
STEMS = {name.rstrip(".") for name in INHERITED}


def value(option: Option, key: str, entry: Entry, draft: Draft) -> dict[str, Any]:
    """Return {key: value}, or nothing and a mistake."""
    problem, text = name_problem(key), entry.text
    try:
        if option.secret or option.sourced:
            # their states from before they are read
            draft.files.update({path: state_of(path) for path in source_files(entry.text, draft.folder)})
        if option.sourced:
            draft.plain.update(source_files(entry.text, draft.folder))
            text = sourced(entry.text, draft.folder)
        elif option.secret:
            text = secret_text(entry.text, draft.folder)
            blank = unfilled(key, text)
            if blank and not problem:
                raise UnfilledError(blank)
        elif option.parse is file_name and is_nothing(text):
            problem = f"expected the name of a file; {TO_GO_WITHOUT}"
        if clean_text(text) != text:
            problem = "expected valid UTF-8 text"
        if problem:
            raise ValueError(problem)
        value = option.parse(text)
    except ValueError as error:
        quotes = quotes_in([text, *words(text)])
        without = TO_GO_WITHOUT if option.inherited and is_nothing(text) and TO_GO_WITHOUT not in str(error) else ""
        if option.inherited and not text.strip():
            without = f"an empty value only removes one of [{SECTION}]: remove the key (sfwebhooks update --unset)"
        said = filter(None, (quotes, re.sub(r"(?<!\.)\.$", "", str(error)), comment_in(text), without))
        if isinstance(error, WrongWordsError):
            entry = replace(entry, text=", ".join(error.words))
        is_shown, is_unfilled = not (option.secret or option.sourced), isinstance(error, UnfilledError)
        draft.wrong(entry, "; ".join(said), show=is_shown, is_unfilled=is_unfilled)
        return {}
    for warning in value_warnings(option, key, text):
        draft.doubt(entry, warning)
    return {key: draft.folder / value if isinstance(value, Path) else value}


def secret_text(text: str, folder: Path, pipes: bool = False) -> str:
    """Return the secret that env:NAME or file:PATH stands for, or the text itself, without white space around it;
    for the arguments and errors see `sourced`."""
    return sourced(text, folder, pipes).strip()


def sourced(text: str, folder: Path, pipes: bool = False) -> str:
    """Return the text that env:NAME or file:PATH stands for, unchanged, or the text itself.

    Args:
        pipes: whether the file may be a pipe, as on a command line.

    Raises:
        ValueError: the variable is not set, or the file cannot be read.
    """
    kind, _, name = text.strip().partition(":")
    name = name.strip()
    if kind == "env" and name:
        found = os.environ.get(name, "")
        if not found.strip():
            raise ValueError(f"the environment variable {shown_name(name)} is not set")
        return found
    for path in source_files(text, folder):
        try:
            return decoded_text(files.content(path, files.SETTINGS_MAX, pipes) if pipes else settled(path))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"{folder / file_name(shown_name(name))} cannot be read: {why}") from error
    return text


def source_files(text: str, folder: Path) -> list[Path]:
    """Return the file that file:PATH names, or none."""
    kind, _, name = text.strip().partition(":")
    return [folder / file_name(name.strip())] if kind == "file" and name.strip() else []


def take_strays(draft: Draft) -> None:
    """Let dotted keys and sections without a url hold the endpoint whose name was probably meant.

    A name that has only dotted keys, and resembles that of another endpoint or of a key, is not an endpoint.
    """
    complete = {name for name, keys in draft.endpoints.items() if "url" in keys or "url" in draft.broken[name]}
    for name, keys in list(draft.endpoints.items()):
        if name in complete or any(alike(key, ["url"]) for key in keys):
            continue
        dotted = all(entry.place[1] != entry.key for entry in keys.values()) and f"{SECTION}.{name}" not in draft.where
        near = sorted({*alike(name, complete), *(complete & keys.keys())})
        for other in near:
            if dotted or keys.keys() - draft.endpoints[other].keys():
                draft.wrong(
                    _place(other), f"the keys under the name {shown(name)}, which has no url, may be meant for it"
                )
        stems = [] if near else alike(name, STEMS)
        for stem in stems if dotted else ():
            draft.broken[""].setdefault(f"{stem}.", f"{shown(name)} may be meant to be {stem}")
        if dotted and (near or stems):
            draft.note(_place(name), _no_url(name, draft))
            del draft.endpoints[name]


def endpoint_of(name: str, own: Mapping[str, Entry], inherited: Mapping[str, Any], draft: Draft) -> Endpoint | None:
    """Return the endpoint, or None if its name or its events are not known.

    One with a mistake, its own or an inherited one, accepts its events and is held (`Endpoint.mistake`).
    """
    is_named = bool(NAME.fullmatch(name)) and f"{name}." not in OPEN_OPTIONS
    if not is_named:
        draft.wrong(_place(name), NAME_RULE)
    if "url" not in own:
        draft.wrong(_place(name), _no_url(name, draft))
    values = _values(name, own, inherited, draft)
    for problem in contradictions(name, values, draft):
        draft.wrong(_place(name), problem)
    reasons = [*draft.broken[name].values(), *_inherited_reasons(name, own, draft)]
    if not is_named or not _are_events_known(name, own, draft):
        if is_named and _doubtful_events(name, draft):
            draft.doubt(Entry(f"{SECTION}.{name}", "events", ""), f"not known, so it accepts nothing: {BACKFILL}")
        draft.incomplete |= values.get("enabled", True)
        return None
    if draft.misrated and takes_findings(values.get("events", Endpoint.events)):
        draft.note(_place(name), f"held because of the mistake in [{SEVERITY}]")
        reasons.append(draft.misrated)
    made = _made(name, values, reasons[0] if reasons else "")
    return made if reasons else _tried(made, own, draft)


def _tried(endpoint: Endpoint, own: Mapping[str, Entry], draft: Draft) -> Endpoint:
    """Return an endpoint without a mistake so far, with the one that only trying out its settings shows."""
    trial = FORMATS[endpoint.format].trial
    found = trial(endpoint) if trial else None
    if not found:
        return endpoint
    entry = replace(own.get(found.key, _place(endpoint.name)), text="")
    if not found.holds:
        draft.doubt(entry, found.problem)
        return endpoint
    draft.wrong(entry, found.problem)
    return replace(endpoint, mistake=draft.broken[endpoint.name][entry.place[1]])


def _place(name: str) -> Entry:
    """Return the place of a mistake about an endpoint as a whole."""
    return Entry(f"{SECTION}.{name}", "", "")


def _no_url(name: str, draft: Draft) -> str:
    others = [*(other for other in draft.endpoints if other != name), "header", "metadata"]
    return f"this endpoint has no url.{nearest(name, others)}"


def _values(name: str, own: Mapping[str, Entry], inherited: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    """Return the valid values of an endpoint's own and inherited keys, and those that follow from them; the others are
    noted as mistakes.

    An empty value removes an inherited one.
    """
    removed = {key for key, entry in own.items() if not entry.text.strip() and _is_inherited(key, draft)}
    own = {key: entry for key, entry in own.items() if key not in removed}
    values = {
        key: value
        for key, value in inherited.items()
        if key not in removed and not _is_overruled(key, value, name, own)
    }
    for key, entry in own.items():
        option = option_for(key)
        if option:
            values.update(value(option, key, entry, draft))
        else:
            draft.wrong(entry, f"there is no such key.{_hint(key, draft)}")
    implied = FORMATS[values.get("format", "generic")].implied
    values = {**(implied(values) if implied else {}), **values}
    for key, has_effect in ONLY_WITH.items():
        if key not in own and not has_effect(FORMATS[values.get("format", "generic")]):
            values.pop(key, None)  # it is meant for other endpoints
    if "api_key" not in own and "api_key" not in USED[auth_of(values)]:
        values.pop("api_key", None)  # likewise
    return values


def _is_inherited(key: str, draft: Draft) -> bool:
    option = option_for(key)
    return bool(option and option.inherited) and key in draft.general


def _inherited_reasons(name: str, own: Mapping[str, Entry], draft: Draft) -> Iterator[str]:
    """Yield the mistakes in [webhooks] that an endpoint would inherit."""
    for key, reason in sorted({**draft.doubtful, **draft.broken[""]}.items()):
        if key in ("", "enabled") or (key not in own and key.partition(".")[0] in STEMS):
            shown_key = Entry(SECTION, key, "").shown_key
            state = f"accepts nothing ({BACKFILL})" if key == "events" else "held"
            draft.note(_place(name), f"{state} because {shown_key or 'a key'} in [{SECTION}] is wrong")
            yield reason


def _are_events_known(name: str, own: Mapping[str, Entry], draft: Draft) -> bool:
    """Return whether no mistake concerns the events of an endpoint."""
    return not _doubtful_events(name, draft) and ("events" in own or "events" not in draft.broken[""])


def _doubtful_events(name: str, draft: Draft) -> bool:
    """Return whether one of an endpoint's own keys with a mistake is `events`, or may be meant to be."""
    return any(key == "events" or (not option_for(key) and nearest(key, ["events"])) for key in draft.broken[name])


def _hint(key: str, draft: Draft) -> str:
    stem, dot, _ = key.partition(".")
    known = [*all_options(), *OPEN_OPTIONS]
    return (draft.nearest(stem + dot, OPEN_OPTIONS) if dot else "") or draft.nearest(key, known)


def _is_overruled(key: str, value: object, name: str, own: Mapping[str, Entry]) -> bool:
    """Return whether an endpoint does not inherit a value because its own keys replace it."""
    if key == "retry_schedule":
        return bool(own.keys() & COUNTED_RETRIES)
    return (key in COUNTED_RETRIES and "retry_schedule" in own) or (key == "fallback" and value == name)


def _made(name: str, values: dict[str, Any], mistake: str) -> Endpoint:
    """Return the endpoint with valid values: key -> value, including header.NAME and metadata.NAME."""
    fields: dict[str, Any] = {
        "name": name,
        "url": Secret(""),
        "headers": {},
        "metadata": {},
        "own": {},
        "mistake": mistake,
    }
    chosen = FORMATS[values.get("format", "generic")]
    fields["interval"] = chosen.interval
    if chosen.is_chat:
        fields |= {"concurrency": 1, "digest": Digesting(Rhythm.AUTO)}
    if chosen.bundle:
        fields |= {"concurrency": 1, "digest": Digesting(Rhythm.BUNDLE), "timeout": SCAN_SECONDS}
    fields["retry_schedule"] = _schedule(values.pop("retry_delay", None), values.pop("max_retries", None))
    for key, value in values.items():
        option = option_for(key)
        if option and option.name in OPEN_OPTIONS:
            fields[option.field][key.partition(".")[2]] = value
        elif option and option.field == "own":
            fields["own"][key] = value
        elif option:
            fields[option.field or option.name] = value
    if chosen.converse:
        fields = {"ticket_per": FINDING, **fields}
        fields["events"] = _ticketed(fields.get("events", Endpoint.events))
    return Endpoint(**fields)


def _ticketed(events: tuple[str, ...]) -> tuple[str, ...]:
    """Return the subscriptions of a tracker without what no ticket can be about."""
    useful = (
        word.startswith("!") or takes_findings((word,)) or subscribed_name((word,), CORRELATION, Severity.HIGH, None)
        for word in events
    )
    kept = tuple(word for word, is_useful in zip(events, useful) if is_useful)
    if all(word.startswith("!") for word in kept) and kept != events:  # else it would be sent all others
        kept = events
    others = (name for name in WITHOUT_TICKET if subscribed_name(kept, name, Severity.INFO, None))
    return (*kept, *(f"!{name}" for name in others))


def _schedule(delay: float | None, retries: int | None) -> tuple[float, ...]:
    """Return the waits before each retry: the default schedule, or `retries` ones that double from `delay` on."""
    default = Endpoint.retry_schedule
    if delay is None:
        return default if retries is None else (default + (default[-1],) * retries)[:retries]
    return tuple(min(delay * 2**step, 86400.0) for step in range(len(default) if retries is None else retries))
