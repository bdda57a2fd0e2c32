"""Every key of the configuration in one table: its name, how its text is read (`values`), what it means.

`settings` reads files by this table; `check`, the reference in the README and the example file are tested against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Callable

from sfwebhooks.authentication import Auth
from sfwebhooks.config.lists import (
    event_words,
    expressions,
    finding_types,
    module_names,
    redact_rules,
    schedule,
    targets,
)
from sfwebhooks.config.values import (
    any_text,
    at_most,
    base_url,
    boolean,
    byte_size,
    digest,
    durability,
    long_seconds,
    one_of,
    outbox_address,
    own_address,
    password,
    path,
    proof_key,
    rate,
    seconds,
    seconds_or_never,
    secret,
    secrets,
    server_address,
    severity,
    spool,
    url,
    whole_number,
)
from sfwebhooks.endpoints import BASELINES, Secret
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.format import Key
from sfwebhooks.network.proxy import proxy_url
from sfwebhooks.ticketing import UNITS

AUTHS = [one.value for one in Auth]
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
RESERVED_HEADERS = re.compile(
    r"(?i)x-spiderfoot-.*|x-security-.*|webhook-.*|content-length|content-type|content-encoding|host"
    # headers for the next hop (RFC 9110 section 7.6.1)
    r"|transfer-encoding|connection|expect|keep-alive|proxy-.*|te|trailer|upgrade"
)
#: keys that `formats.generic` itself sets in the metadata of a message
RESERVED_METADATA = (
    *("schema", "event_id", "delivery_id", "endpoint", "scan_name", "series", "sequence", "severity"),
    *("time", "backfilled"),
)


@dataclass(frozen=True)
class Option:
    """One key of the configuration."""

    name: str
    parse: Callable[[str], Any]
    #: what it means, for people
    meaning: str
    #: its value is never shown, and may be written env:NAME or file:PATH
    secret: bool = False
    #: field of Endpoint (or of Settings) that it sets
    field: str = ""
    #: may be set in [webhooks] for all endpoints
    inherited: bool = True
    #: may be written env:NAME or file:PATH although it is not a secret
    sourced: bool = False


def header_name(text: str) -> str:
    """Read the name of a header that sfwebhooks does not set itself."""
    if _header_problem(text):
        raise ValueError(_header_problem(text))
    return text


def _header_problem(name: str) -> str:
    if not TOKEN.fullmatch(name):
        return "a header's name may contain only A-Z, a-z, 0-9 and -_.!#$%&'*+^`|~"
    if RESERVED_HEADERS.fullmatch(name):
        return "this header is set by sfwebhooks itself and cannot be replaced"
    return ""


def _parser(key: Key) -> Callable[[str], Secret]:
    """Return the parser of a key that only a format has."""

    def parse(text: str) -> Secret:
        if not re.fullmatch(key.pattern, text):
            raise ValueError(f"expected {key.expected}")
        return Secret(text)

    return parse


#: keys of an endpoint, whatever its format
ENDPOINT_OPTIONS = {
    option.name: option
    for option in (
        Option("url", url, "where to send, https:// or http://", secret=True, inherited=False),
        Option("description", any_text, "a comment for people", inherited=False),
        Option("enabled", boolean, "false: this endpoint receives nothing", inherited=False),
        Option(
            "events",
            event_words,
            'event names, aliases, * patterns, "all", "!name" (scan_*, high_risk_event, correlation_found)',
        ),
        Option("only_if_changed", boolean, "true: surface_changed only if something is new or gone (false)"),
        Option("finding_types", finding_types, "which findings: SpiderFoot's event types, * patterns, !TYPE (all)"),
        Option(
            "min_severity",
            severity,
            "least severity of findings and correlations: info, low, medium, high, critical (info)",
        ),
        Option("min_confidence", whole_number(0, 100), "least confidence of a finding, 0 to 100 (0)"),
        Option("modules", module_names, "findings of which modules: names, * patterns, !NAME (all)"),
        Option(
            "targets", targets, "scans of which targets: names, * patterns, networks such as 10.0.0.0/8, !NAME (all)"
        ),
        Option("data_match", expressions, "regular expressions, one per line: one must match a finding's data"),
        Option("data_not_match", expressions, "regular expressions, one per line: none may match a finding's data"),
        Option("include_raw", boolean, "false: no findings that are whole pages, dumps or answers (true)"),
        Option("max_data", byte_size("100B", "250kB"), "maximum size of a finding's data; longer data is cut"),
        Option("format", one_of(FORMATS), f"how a message is written: {', '.join(FORMATS)}"),
        Option("secret", secrets, "signs each message; several, one per line, while rotating", True, "secrets"),
        Option("auth", one_of(AUTHS), f"how requests are authenticated: {', '.join(AUTHS)} (bearer)", inherited=False),
        Option(
            "api_key", secret, "sent as Authorization: Bearer, as the format has it, or in auth_header", secret=True
        ),
        Option(
            "auth_header", header_name, "with auth = header: the name of the header that has api_key", inherited=False
        ),
        Option("username", any_text, "with auth = basic: the user name", inherited=False),
        Option("password", password, "with auth = basic: the password", secret=True, inherited=False),
        Option(
            "token_url",
            url,
            "with auth = oauth2: where tokens are fetched by client credentials",
            secret=True,
            inherited=False,
        ),
        Option("client_id", any_text, "with auth = oauth2: the client's id", inherited=False),
        Option("client_secret", password, "with auth = oauth2: the client's secret", secret=True, inherited=False),
        Option("scope", any_text, "with auth = oauth2: scopes of the tokens, separated by spaces", inherited=False),
        Option("verify_tls", boolean, "false: accept any server certificate, never in production (true)"),
        Option("ca_bundle", path, "PEM file with the CAs to trust instead of the public ones"),
        Option("client_cert", path, "PEM file with our certificate for mTLS, then its chain"),
        Option("client_key", path, "PEM file with its key, if not in the same file"),
        Option("client_key_password", password, "password of an encrypted key", secret=True),
        Option("proxy", proxy_url, "proxy to go through: http://, https:// or socks5h://, user:password allowed", True),
        Option("allow_private", boolean, "false: never connect to a private address (true)"),
        Option("source_address", own_address, "address of this machine to connect from (the system chooses one)"),
        Option("timeout", seconds, "time for one attempt, for that of a whole scan 5m (15s)"),
        Option("concurrency", whole_number(1, 64), "attempts at once (4; chats 1); 1 keeps the order"),
        Option(
            "rate",
            rate,
            "attempts at the URL, such as 1/s or 5/m (chats 1/s; others as fast as it goes)",
            field="interval",
        ),
        Option("retry_schedule", schedule, "waits before each retry (5s, 1m, 5m, 15m, 1h, 6h)"),
        Option("max_retries", whole_number(0, 100), "instead: retries after the first attempt (6)"),
        Option("retry_delay", seconds, "with max_retries: wait before the first one, doubled for each further one"),
        Option("retry_after_max", at_most("2h"), "the longest wait that a receiver can ask for (1h)"),
        Option("max_age", seconds, "a delivery that waits longer for an endpoint that accepts nothing expires (7d)"),
        Option("max_body", byte_size("8kB", "100MB"), "maximum size of a message; a longer one is cut (100kB)"),
        Option("compress", one_of(("gzip",)), "gzip: bodies are compressed, for receivers that accept it"),
        Option("batch_size", whole_number(1, 1000), "deliveries in one request; 1: each alone (1)"),
        Option(
            "batch_max_bytes",
            byte_size("8kB", "100MB"),
            "maximum size of a request with several messages (100kB)",
        ),
        Option("batch_wait", at_most("1h"), "how long the first message of a batch waits for others (2s)"),
        Option(
            "digest",
            digest,
            "chats: when findings go in one message: auto, off, scan (at its end), 30s, daily 08:00 (auto)",
        ),
        Option("only_new", boolean, "true: only findings and correlations that no earlier scan of the target found"),
        Option(
            "baseline", one_of(BASELINES), "with only_new: silent: nothing of a target's first scan; send: all (silent)"
        ),
        Option("ticket_per", one_of(UNITS), "trackers: what one ticket is about: finding, type or scan (finding)"),
        Option("comment_every", long_seconds, "trackers: time between two comments that a finding was seen again (7d)"),
        Option("close_after", whole_number(1, 100), "trackers: scans that miss a finding until its ticket closes (2)"),
        Option("fallback", any_text, "endpoint that is alerted when this one cannot be reached, whatever its events"),
        Option(
            "redact",
            redact_rules,
            "what is masked, hashed or dropped in messages: default, off, or rules (chats default; others off)",
        ),
        Option("redact_key", password, "key of the hashes that redact makes", secret=True),
        Option("proof", proof_key, "whsk_ key that signs a statement about what it was sent of each scan", secret=True),
        Option("proof_after", seconds, "how long after a scan's end that waits for messages that are not settled (1h)"),
        Option("ui_url", base_url, "address of SpiderFoot's web UI; messages then link to the scan"),
        Option("web_url", base_url, "address of the page of sfwebhooks web; chat messages then link to the scan there"),
    )
}
#: keys that end in a name of the user's own: header.X-Team, metadata.user
OPEN_OPTIONS = {
    option.name: option
    for option in (
        Option("header.", secret, "an extra header, as header.NAME", secret=True, field="headers"),
        Option("metadata.", any_text, "added to the metadata of each event, as metadata.NAME", field="metadata"),
    )
}
#: keys of [webhooks] itself
GENERAL_OPTIONS = {
    option.name: option
    for option in (
        Option("enabled", boolean, "true: in every scan; false: in none; absent: in scans that select the module"),
        Option("default_url", url, 'the URL of an endpoint named "default"', secret=True),
        Option("drain_timeout", seconds, "how long a scan's process keeps sending after the scan (10s)"),
        Option(
            "detach_timeout",
            seconds_or_never,
            "how long a process that a scan starts keeps sending after the last scan; 0: none is started (15m)",
        ),
        Option("progress_interval", seconds_or_never, "time between two scan_progress events; 0: never (60s)"),
        Option(
            "outbox",
            outbox_address,
            "postgresql://user:password@host/database: the outbox is there, for several machines (a local file)",
            secret=True,
        ),
        Option(
            "spool",
            spool,
            "with outbox: sqlite: a scan stores its events in a local file, from which they are forwarded; none: on the"
            " server itself",
        ),
        Option("outbox_max_mb", whole_number(1, 1_000_000), "maximum size of the outbox in megabytes (512)"),
        Option("durability", durability, "process: survives a kill; power: also a power failure, but slower (process)"),
        Option("keep_delivered", seconds, "how long delivered messages can be listed and replayed (7d)"),
        Option("keep_dead", seconds, "how long dead letters are kept (90d)"),
        Option(
            "sightings_keep", long_seconds, "how long what a scan found is known to later scans, see only_new (400d)"
        ),
        Option(
            "host_database",
            server_address,
            "SpiderFoot's database if it is on PostgreSQL, for processes that SpiderFoot does not start"
            " ($SF_POSTGRES_DSN)",
            secret=True,
        ),
        Option("kev_file", path, "CISA's list of known exploited vulnerabilities, as JSON or CSV: marks their CVEs"),
        Option("epss_file", path, "FIRST's EPSS scores, as CSV, csv.gz or JSON: added to vulnerabilities"),
    )
}


@cache
def own_options() -> dict[str, Option]:
    """Return the keys that only some formats have. This imports all formats, and is called for settings only that have
    such a key or a wrong one."""
    keys = {key.name: key for one in FORMATS.values() for key in one.keys}
    return {
        name: Option(
            name,
            _parser(key),
            f"{key.meaning} (only {', '.join(formats_with(name))})",
            key.secret,
            "own",
            inherited=False,
            sourced=key.sourced,
        )
        for name, key in keys.items()
    }


def formats_with(key: str) -> list[str]:
    """Return the formats that have a key of their own with this name."""
    return [name for name, one in FORMATS.items() if any(own.name == key for own in one.keys)]


def all_options() -> dict[str, Option]:
    """Return the keys of an endpoint, including those that only some formats have."""
    return {**ENDPOINT_OPTIONS, **own_options()}


def option_for(key: str) -> Option | None:
    """Return the endpoint option that a key names, or None."""
    stem = key.partition(".")[0] + "."
    if stem in OPEN_OPTIONS and len(key) > len(stem):
        return OPEN_OPTIONS[stem]
    return ENDPOINT_OPTIONS.get(key) or own_options().get(key)


def name_problem(key: str) -> str:
    """Return why NAME in a key header.NAME or metadata.NAME may not be used, or nothing."""
    stem, dot, name = key.partition(".")
    if stem + dot == "header.":
        return _header_problem(name)
    return _metadata_problem(name) if stem + dot == "metadata." else ""


def _metadata_problem(name: str) -> str:
    if name in RESERVED_METADATA:
        return f"sfwebhooks itself sets {', '.join(RESERVED_METADATA)}: use another name"
    if name.isascii() and name.isdigit():  # ECMAScript, OrdinaryOwnPropertyKeys: array indexes come first
        return (
            "JSON.stringify would reorder a name that is a number, and the signature would not match: put a letter"
            " in front of it"
        )
    return ""
