"""Contradictions between the keys of an endpoint: their valid values come in, what is wrong about them together goes
out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from sfwebhooks.authentication import NEEDED, USED, Auth
from sfwebhooks.config.draft import Draft
from sfwebhooks.config.options import formats_with, option_for
from sfwebhooks.config.samples import TO_GO_WITHOUT, is_nothing
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.format import Format
from sfwebhooks.network.addresses import literal, refusal
from sfwebhooks.redaction import rules_with
from sfwebhooks.ticketing import FINDING

#: key -> returns whether it has an effect in a format
ONLY_WITH: dict[str, Callable[[Format], bool]] = {
    "batch_size": lambda form: form.join is not None,
    "batch_max_bytes": lambda form: form.join is not None,
    "max_body": lambda form: form.join is not None or form.is_sized,
    "digest": lambda form: form.is_chat,
    "proof": lambda form: form.is_whole,
    "proof_after": lambda form: form.is_whole,
    "comment_every": lambda form: form.converse is not None,
    **dict.fromkeys(("ticket_per", "close_after"), lambda form: form.converse is not None or form.resolves),
}
#: the alternative to retry_schedule
COUNTED_RETRIES = {"max_retries", "retry_delay"}
#: least max_body with which a statement has space for its modules and for some messages
PROOF_BODY_LEAST = 32_000
#: the keys that only some values of `auth` need
AUTH_KEYS = {key for keys in USED.values() for key in keys}


def contradictions(name: str, values: Mapping[str, Any], draft: Draft) -> Iterator[str]:
    """Yield what is wrong about an endpoint's valid values together."""
    if "retry_schedule" in values and COUNTED_RETRIES & values.keys():
        yield "retry_schedule already sets the retries: remove max_retries and retry_delay"
    chosen = FORMATS[values.get("format", "generic")]
    if values.get("batch_size", 1) > 1 and not ONLY_WITH["batch_size"](chosen):
        yield f"batch_size requires one of the formats {', '.join(formats_for('batch_size'))}"
    if "digest" in values and not chosen.is_chat:
        yield f"digest requires one of the formats {', '.join(formats_for('digest'))}; the others have batch_size"
    for key in ("max_body", "batch_max_bytes"):
        if key in values and not ONLY_WITH[key](chosen):
            yield f"{key} requires one of the formats {', '.join(formats_for(key))}; the others have their own limits"
    if "proof" in values and not ONLY_WITH["proof"](chosen):
        yield f"proof requires one of the formats {', '.join(formats_for('proof'))}, which can carry its statement"
    if "proof" in values and values.get("max_body", PROOF_BODY_LEAST) < PROOF_BODY_LEAST:
        yield f"proof requires a max_body of at least {PROOF_BODY_LEAST // 1000}kB, for its statement"
    for key in ("ticket_per", "comment_every", "close_after"):
        if key in values and not ONLY_WITH[key](chosen):
            yield f"{key} requires one of the formats {', '.join(formats_for(key))}"
    if chosen.resolves and values.get("ticket_per", FINDING) != FINDING:
        yield f"format = {values['format']} has an alert for each finding: ticket_per = {FINDING}, or none"
    yield from _own_keys(values, draft.broken[name])
    yield from _authentication(values)
    rules = rules_with(values.get("redact", ()), values.get("redact_key"), is_chat=False)
    if rules.hashes and not rules.key:
        yield (
            "redact has a rule with hash, which requires redact_key = file:PATH, a key that stays on this machine:"
            " sfwebhooks keygen --redact --file PATH generates one"
        )
    fallback = values.get("fallback")
    if fallback and (fallback == name or fallback not in draft.endpoints):
        others = [other for other in draft.endpoints if other != name]
        without = f"; {TO_GO_WITHOUT}" if is_nothing(fallback) else ""
        yield f"fallback must be the name of another endpoint: {', '.join(others) or 'there is none'}{without}"
    its = draft.endpoints.get(fallback or "", {}).get("format")
    if its and its.text in FORMATS and FORMATS[its.text].bundle:
        yield f"fallback must get alerts, but {fallback} has format = {its.text}, which sends whole scans"
    if values.get("client_key") and not values.get("client_cert"):
        yield "client_key requires client_cert"
    if values.get("client_cert") and "url" in values and values["url"].reveal()[:5].lower() == "http:":
        yield "client_cert requires an https:// url: http:// has no certificates"
    refused = _refused(values)
    if refused:
        yield refused


def formats_for(key: str) -> list[str]:
    """Return the formats in which a key has an effect."""
    return [name for name, one in FORMATS.items() if ONLY_WITH[key](one)]


def _own_keys(values: Mapping[str, Any], broken: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong about the keys that only a format has, apart from those whose values are wrong."""
    chosen = values.get("format", "generic")
    for key in values:
        option = option_for(key)
        if option and option.field == "own" and chosen not in formats_with(key):
            yield f"{key} requires format = {' or '.join(formats_with(key))}"
    for needed in FORMATS[chosen].keys:
        if needed.needed and needed.name not in values and needed.name not in broken:
            yield f"format = {chosen} requires {needed.name}: {needed.meaning}"
    wrong_path = FORMATS[chosen].wrong_path
    wrong = wrong_path(urlsplit(values["url"].reveal()).path) if wrong_path and "url" in values else ""
    if wrong:
        yield f"format = {chosen}: url {wrong}"


def _revealed(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value or "")


def auth_of(values: Mapping[str, Any]) -> Auth:
    """Return how an endpoint authenticates."""
    return Auth(values.get("auth", Endpoint.auth))


def _authentication(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong about the keys of `auth`."""
    auth, chosen = auth_of(values), values.get("format", "generic")
    if FORMATS[chosen].auth not in ("", auth.value):
        yield f"format = {chosen} requires auth = {FORMATS[chosen].auth}"
        return
    missing = [key for key in NEEDED[auth] if not _revealed(values.get(key)).strip()]
    if missing:
        yield f"auth = {auth.value} requires {' and '.join(missing)}"
    for key in AUTH_KEYS & values.keys():
        if key not in USED[auth]:
            fitting = [one.value for one in Auth if key in USED[one]]
            yield f"{key} requires auth = {' or '.join(fitting)}"
    if ":" in values.get("username", ""):
        yield "username has a colon, which ends the user name in HTTP Basic (RFC 7617)"
    names = [key.lower() for key in values if key.startswith("header.")]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is given twice, in different cases"
    if auth in (Auth.BASIC, Auth.OAUTH2) and "header.authorization" in names:
        yield f"auth = {auth.value} sets the header Authorization: remove header.Authorization"
    if auth is Auth.OAUTH2 and find_spec("oauthlib") is None:
        yield "auth = oauth2 requires another package: pip install 'sfwebhooks[oauth2]'"


def _refused(values: Mapping[str, Any]) -> str:
    """Return why the address policy forbids the URL's address, or nothing (`network/route` checks names)."""
    address = literal(urlsplit(values["url"].reveal()).hostname or "") if "url" in values else ""
    return refusal(address, values.get("allow_private", Endpoint.allow_private)) if address else ""
