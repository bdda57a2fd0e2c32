"""The Endpoint: an event comes in, the name under which the endpoint wants it, or None, goes out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.digesting import NO_DIGESTS, Digesting, Rhythm
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.severity import Severity
from sfwebhooks.statements import PROOF

ALIASES = {entry.name: entry.alias for entry in EVENT_TYPES}
#: all words that `events` accepts, besides "all" and patterns
EVENT_NAMES = frozenset(ALIASES) | frozenset(ALIASES.values())
RISK_NAMES = {
    Severity.CRITICAL: "high_risk_event",
    Severity.HIGH: "high_risk_event",
    Severity.MEDIUM: "medium_risk_event",
    Severity.LOW: "low_risk_event",
    Severity.INFO: "info_event",
}
#: the types of findings
FINDINGS = frozenset(RISK_NAMES.values())
#: subscriptions that ask for no name in particular
EVERYTHING = ("all", "*")
#: names that a finding can have in addition to that of its severity
SPECIALS = (None, "vulnerability_found", "malware_detected")
#: the events that report a scan's end
SCAN_ENDS = ("scan_completed", "scan_failed", "scan_aborted")
#: events that report trouble of ours, whatever the scan during which it is noticed
ALERTS = frozenset({"system_alert", "resource_warning"})
#: values of `baseline`
BASELINES = SILENT, SEND = ("silent", "send")
DEFAULT_EVENTS = ("scan_*", "high_risk_event", "correlation_found")


class Secret:
    """A text that must not be shown: `repr` and `str` give ***, `reveal()` gives the text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True)
class Endpoint:
    """A receiver with its subscriptions, format and protection. Created by `config` only."""

    name: str
    #: whole URL; path and query may be a credential (Slack, Teams)
    url: Secret
    description: str = ""
    #: False: it receives nothing, and is among `Settings.off`
    enabled: bool = True
    #: subscriptions as written: names, aliases, * patterns, all, !name
    events: tuple[str, ...] = DEFAULT_EVENTS
    #: whether surface_changed is only sent if something is new or gone
    only_if_changed: bool = False
    #: which of the findings that it subscribes to it is sent: by the host's types, as names, * patterns, !name; empty:
    #: all
    finding_types: tuple[str, ...] = ()
    #: least severity, also of correlations
    min_severity: Severity = Severity.INFO
    #: least confidence, 0-100
    min_confidence: int = 0
    #: by the host's modules, as finding_types
    modules: tuple[str, ...] = ()
    #: of which scans it is sent events: by their targets, as names, * patterns, networks, !name; empty: all
    targets: tuple[str, ...] = ()
    #: regular expressions of which one must match the data of findings and the title of correlations; empty: any data
    data_match: tuple[str, ...] = ()
    #: regular expressions of which none may match them
    data_not_match: tuple[str, ...] = ()
    #: whether it is sent findings with whole pages, dumps and answers
    include_raw: bool = True
    #: most bytes of a finding's data that are sent; 0: all that are stored
    max_data: int = 0
    #: key in `formats.FORMATS`
    format: str = "generic"
    #: signing secrets, the current one first
    secrets: tuple[Secret, ...] = ()
    #: header name -> value
    headers: Mapping[str, Secret] = field(default_factory=dict)
    #: how requests are authenticated, besides their signature: a value of `authentication.Auth`
    auth: str = "bearer"
    #: sent in the Authorization header, or in `auth_header`
    api_key: Secret | None = None
    auth_header: str = ""
    username: str = ""
    password: Secret | None = None
    #: where tokens of OAuth 2.0 are fetched; None: none are
    token_url: Secret | None = None
    client_id: str = ""
    client_secret: Secret | None = None
    #: scopes of the tokens, separated by spaces
    scope: str = ""
    verify_tls: bool = True
    ca_bundle: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    client_key_password: Secret | None = None
    #: URL of the proxy, with user name and password if it requires them
    proxy: Secret | None = None
    #: whether the receiver may be in a private network
    allow_private: bool = True
    #: address of this machine from which connections are opened; empty: the one that the system chooses
    source_address: str = ""
    #: seconds for one whole attempt
    timeout: float = 15.0
    #: most attempts in flight at once
    concurrency: int = 4
    #: seconds before retry 1, 2, ...; after the last one the delivery is dead
    retry_schedule: tuple[float, ...] = (5, 60, 300, 900, 3600, 21600)
    #: most seconds that a receiver's Retry-After can ask for
    retry_after_max: float = 3600.0
    #: seconds between the starts of two attempts at the URL; 0: as fast as possible
    interval: float = 0.0
    #: most bytes of a message; a longer one is cut. Express refuses more than 102,400 by default
    max_body: int = 100_000
    #: how the body is compressed: gzip; empty: not
    compress: str = ""
    #: most deliveries in one request; 1: each one goes alone
    batch_size: int = 1
    #: most bytes of a request of several
    batch_max_bytes: int = 100_000
    #: seconds that the first of a batch waits for the others
    batch_wait: float = 2.0
    #: when several findings go in one message to people
    digest: Digesting = NO_DIGESTS
    #: seconds after which a waiting delivery becomes a dead letter
    max_age: float = 7 * 86400.0
    #: whether it is sent only findings and correlations that no earlier scan of their target found
    only_new: bool = False
    #: what it is then sent of a target's first scan: silent (nothing), send (all)
    baseline: str = SILENT
    #: what one ticket is about (`ticketing.UNITS`); empty: the format is not that of a tracker
    ticket_per: str = ""
    #: least seconds between two comments that say that a finding was seen again
    comment_every: float = 7 * 86400.0
    #: comparable scans that have to miss a finding until its ticket is closed
    close_after: int = 2
    #: name of the endpoint that is alerted when this one cannot be reached, whatever it subscribed to
    fallback: str = ""
    #: address of the scanner's web interface for users, without a final slash; messages link to it
    ui_url: str = ""
    #: address of our own page for users, without a final slash; messages to people link to it
    web_url: str = ""
    #: what is redacted, as `redaction` reads it: its words and rules; empty: what its format redacts by default
    redact: tuple[str, ...] = ()
    #: key of the hashes that these rules make
    redact_key: Secret | None = None
    #: whsk_ key that signs statements about what it was sent of each scan; None: none are made
    proof: Secret | None = None
    #: seconds after a scan's end for which its statement waits for messages that are not settled
    proof_after: float = 3600.0
    #: added to each event's metadata
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: the keys that only its format has, such as chat_id
    own: Mapping[str, Secret] = field(default_factory=dict)
    #: why nothing may be sent to it (`config_mistake`), without a secret: its events are accepted and wait
    mistake: str = ""

    @cached_property
    def has_filters(self) -> bool:
        """Whether it may not be sent an event that it subscribes to."""
        chosen = (self.finding_types, self.modules, self.targets, self.data_match, self.data_not_match)
        least = self.min_severity or self.min_confidence
        return any(chosen) or bool(least) or not self.include_raw or self.only_if_changed

    @property
    def place(self) -> str:
        """Scheme and host of the URL, which may be shown."""
        if not self.url.reveal():
            return "no usable url"
        parts = urlsplit(self.url.reveal())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The certificate files in its settings."""
        return tuple(path for path in (self.ca_bundle, self.client_cert, self.client_key) if path)

    @property
    def url_id(self) -> str:
        """Id of the URL that reveals nothing about it; equal URLs have equal ids."""
        return hashlib.sha256(self.url.reveal().encode()).hexdigest()[:32]

    @property
    def address_id(self) -> str:
        """Id of the URL together with the keys that only its format has, such as the chat; it reveals nothing."""
        own = sorted((name, value.reveal()) for name, value in self.own.items())
        return hashlib.sha256(repr((self.url.reveal(), own)).encode("utf-8", "replace")).hexdigest()[:32]

    @property
    def account_id(self) -> str:
        """Id of the receiver and of the account there, by its URL, chat, user name, api_key and headers; it reveals
        nothing. Secrets and passwords, which people may choose badly and replace, have no part in it."""
        chosen = self.address_id, self.username, self.client_id, _settled(self.api_key), _settled(self.headers)
        return hashlib.sha256(repr(chosen).encode("utf-8", "replace")).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Hash over all settings and certificate files, which differs after any change."""
        digest = hashlib.sha256()
        for item in fields(self):
            digest.update(f"{item.name}={_settled(getattr(self, item.name))}\n".encode())
        return digest.hexdigest()

    @cached_property
    def takes_scans(self) -> bool:
        """Whether it is sent a whole scan at once, and nothing else."""
        return self.digest.rhythm is Rhythm.BUNDLE

    def link(self, scan: Scan | None) -> str:
        """Return a scan's address in the scanner's web interface, or nothing if that is not known."""
        return f"{self.ui_url}/scaninfo?id={quote(scan.id, safe='')}" if self.ui_url and scan else ""

    def page(self, scan: Scan | None) -> str:
        """Return a scan's address on our own page, or nothing if that is not known."""
        return f"{self.web_url}/scans/{quote(scan.id, safe='')}" if self.web_url and scan else ""

    def key(self, name: str) -> str:
        """Return the value of a key that only its format has, or nothing."""
        return self.own[name].reveal() if name in self.own else ""

    def name_for(self, event: WebhookEvent) -> str | None:
        """Return the name under which this endpoint wants the event, or None if it does not want it.

        One that takes whole scans gets nothing that is not of a scan, and always the scan's end, which makes it due.
        """
        if event.type == PROOF:
            return PROOF if self.proof else None
        name = subscribed_name(self.events, event.type, event.severity, event.special)
        if not self.takes_scans:
            return name
        if event.scan is None or event.type in ALERTS:
            return None
        return name or (event.type if event.type in SCAN_ENDS else None)


def _settled(value: object) -> str:
    """Return a text that is equal exactly for equal settings (files are compared by modification time)."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Path):
        try:
            return f"{value}:{value.stat().st_mtime_ns}"
        except OSError:  # missing, or in an unreadable folder
            return f"{value}:missing"
    if isinstance(value, Mapping):
        return repr([(key, _settled(item)) for key, item in sorted(value.items())])
    return repr([_settled(item) for item in value]) if isinstance(value, tuple) else repr(value)


@lru_cache(maxsize=4096)
def subscribed_name(
    subscriptions: tuple[str, ...], event_type: str, severity: Severity, special: str | None
) -> str | None:
    """Return the first subscribed one of an event's names, or its own name if only `all` or a pattern matches."""
    names = names_of(event_type, severity, special)
    refused = [word[1:] for word in subscriptions if word.startswith("!")]
    if any(matches(word, name) for word in refused for name in names):
        return None
    wanted = [word for word in subscriptions if not word.startswith("!")]
    patterns = [word for word in wanted if word not in EVENT_NAMES and word not in EVERYTHING]
    if any(matches(word, name) for word in patterns for name in _risk_names(event_type, severity)):
        wanted.append(event_type)
    for name in names:
        if name in wanted:
            return name
    if not wanted or any(matches(word, name) for word in wanted for name in names):
        return event_type
    return None


def takes_anything(subscriptions: tuple[str, ...]) -> bool:
    """Return whether any event matches these subscriptions."""
    others = ((entry.name, Severity.INFO, None) for entry in EVENT_TYPES if entry.name not in FINDINGS)
    return takes_findings(subscriptions) or any(subscribed_name(subscriptions, *event) for event in others)


def takes_findings(subscriptions: tuple[str, ...]) -> bool:
    """Return whether any finding matches these subscriptions."""
    found = ((name, severity, special) for severity, name in RISK_NAMES.items() for special in SPECIALS)
    return any(subscribed_name(subscriptions, *event) for event in found)


def names_of(event_type: str, severity: Severity, special: str | None) -> tuple[str, ...]:
    """Return all names under which an event can be subscribed to, in order of preference.

    For a high or critical finding the risk, by which receivers judge urgency, comes before the kind; otherwise the kind
    comes first.
    """
    risk = _risk_names(event_type, severity)
    kind = (special, ALIASES[special]) if special else ()
    return tuple(dict.fromkeys((*risk, *kind) if severity >= Severity.HIGH else (*kind, *risk)))


def _risk_names(event_type: str, severity: Severity) -> tuple[str, ...]:
    """Return the names of an event that do not depend on its kind, the most specific first."""
    exact = (f"finding.{severity.label}",) if event_type == RISK_NAMES[severity] else ()
    return (*exact, event_type, ALIASES.get(event_type, event_type))


def matches(word: str, name: str) -> bool:
    """Return whether a subscription word (a name, a pattern, or all) matches a name."""
    return word == "all" or fnmatchcase(name, word)
