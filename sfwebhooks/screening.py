"""Screening: an event comes in; the endpoints that want it, and those whose filters withhold it, go out.

The first filter that withholds an event counts, in the order of `Withheld`. A filter does not withhold an event without
the value that it looks at: an event of another tool need not have a module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

from sfwebhooks import fingerprints
from sfwebhooks.endpoints import ALERTS, FINDINGS, Endpoint, subscribed_name
from sfwebhooks.events import WebhookEvent
from sfwebhooks.expressions import finder
from sfwebhooks.reasons import Withheld
from sfwebhooks.severity import Severity

CORRELATION = "correlation_found"
COMPARISON = "surface_changed"
#: types whose data are whole pages, dumps and answers: those that the host itself marks as raw
RAW = ("RAW_*", "*_RAW", "*_CONTENT", "*_WHOIS", "BASE64_DATA", "WEBSERVER_HTTPHEADERS")
#: most events whose verdicts are remembered
REMEMBERED_MAX = 100_000
#: characters of a name that are compared
NAME_MAX = 256


class Wanted(NamedTuple):
    """An endpoint that wants an event."""

    endpoint: str
    #: the event name that it subscribed to
    name: str
    #: "silent" or "send" if it wants only what earlier scans did not find: its `baseline`; empty: it wants all
    only_new: str = ""
    #: what one ticket is about, if it is a tracker's (`Endpoint.ticket_per`)
    ticket_per: str = ""


#: for which endpoints an event is wanted, and from which it is withheld
Verdicts = tuple[list[Wanted], dict[str, Withheld]]


@dataclass(frozen=True)
class Screen:
    """The subscriptions and filters of some endpoints, and what users marked as false positive.

    It touches nothing, and remembers only its verdicts on data that the host does not keep whole: read from the host's
    database they could be others.
    """

    endpoints: tuple[Endpoint, ...]
    #: fingerprints of what users marked as false positive in scans of the target
    false_positives: frozenset[bytes] = frozenset()
    #: id of an event -> endpoint that asked for it -> why it was withheld (None: it was wanted), where the part of its
    #: data that the host does not keep counted
    remembered: dict[str, dict[str, Withheld | None]] = field(default_factory=dict, compare=False, repr=False)

    def of(self, event: WebhookEvent) -> Verdicts:
        """Return the endpoints that want an event, and for those that asked for it by name and whose filters withhold
        it the reason."""
        before = self.remembered.get(event.id, {})
        wanted: list[Wanted] = []
        withheld: dict[str, Withheld] = {}
        for one in self.endpoints:
            name = subscribed_name(one.events, event.type, event.severity, event.special)
            if one.takes_scans:
                name = one.name_for(event)
            if name is None:
                continue
            reason = before.get(one.name)
            if one.name not in before and one.has_filters:
                reason = withheld_by(one, event)
            if reason:
                withheld[one.name] = reason
            else:
                wanted.append(Wanted(one.name, name, one.baseline if one.only_new else "", one.ticket_per))
        if wanted and self.false_positives and fingerprints.of_event(event) in self.false_positives:
            withheld |= dict.fromkeys((one.endpoint for one in wanted), Withheld.FALSE_POSITIVE)
            wanted = []
        is_long = Withheld.DATA in withheld.values() and len(event.data.get("data", "")) > fingerprints.DATA_COUNTED
        if is_long and len(self.remembered) < REMEMBERED_MAX:
            self.remembered[event.id] = {**{one.endpoint: None for one in wanted}, **withheld}
        return wanted, withheld

    def asking(self, event: WebhookEvent) -> Iterator[str]:
        """Yield the names of the endpoints that subscribe to an event, whatever their filters."""
        for one in self.endpoints:
            name = subscribed_name(one.events, event.type, event.severity, event.special)
            if (one.name_for(event) if one.takes_scans else name) is not None:
                yield one.name

    def for_others(self, endpoints: tuple[Endpoint, ...]) -> Screen:
        """Return the same with other endpoints; what is remembered stays valid for those that did not change."""
        same = {one.name for one in endpoints if one in self.endpoints}
        found = {
            its_id: {name: reason for name, reason in verdicts.items() if name in same}
            for its_id, verdicts in self.remembered.copy().items()
        }
        return replace(self, endpoints=endpoints, remembered=found)

    def at(self, target: str) -> tuple[Endpoint, ...]:
        """Return the endpoints that want events of scans of a target."""
        return tuple(
            one for one in self.endpoints if not (one.targets and target) or is_target(one.targets, target[:NAME_MAX])
        )


def withheld_by(endpoint: Endpoint, event: WebhookEvent) -> Withheld | None:
    """Return the filter that withholds an event from an endpoint, if any; built data are needed of a finding only."""
    data, is_finding = event.data, event.type in FINDINGS
    if is_finding:
        reason = withheld_type(endpoint, str(data.get("event_type", "")), event.severity)
        if reason:
            return reason
        confidence, module = data.get("confidence"), data.get("module")
        if endpoint.min_confidence and isinstance(confidence, (int, float)) and confidence < endpoint.min_confidence:
            return Withheld.CONFIDENCE
        if endpoint.modules and isinstance(module, str) and not is_chosen(endpoint.modules, module[:NAME_MAX]):
            return Withheld.MODULE
    elif event.type == CORRELATION and event.severity < endpoint.min_severity:
        return Withheld.SEVERITY
    elif event.type == COMPARISON and endpoint.only_if_changed and not has_changes(data):
        return Withheld.NOT_COMPARABLE if "not_comparable" in data else Withheld.UNCHANGED
    if endpoint.targets and event.type not in ALERTS:
        target = event.scan.target if event.scan else data.get("target")
        if isinstance(target, str) and target and not is_target(endpoint.targets, target[:NAME_MAX]):
            return Withheld.TARGET
    if endpoint.data_match or endpoint.data_not_match:
        text = data.get("data") if is_finding else data.get("title") if event.type == CORRELATION else None
        if isinstance(text, str) and not is_matching(endpoint, text):
            return Withheld.DATA
    return None


def looks_into(endpoint: Endpoint) -> bool:
    """Return whether an endpoint's filters look at more of a finding than its type, severity and target."""
    return bool(endpoint.min_confidence or endpoint.modules or endpoint.data_match or endpoint.data_not_match)


def has_changes(data: Mapping[str, Any]) -> bool:
    """Return whether the comparison of a scan with the one before names anything that is new or gone."""
    return any(data[part]["total"] for part in ("new", "gone"))


def withheld_type(endpoint: Endpoint, host_type: str, severity: Severity) -> Withheld | None:
    """Return the filter that withholds all findings of a type and severity from an endpoint, if any."""
    if host_type and not is_chosen(endpoint.finding_types, host_type[:NAME_MAX]):
        return Withheld.FINDING_TYPE
    if not endpoint.include_raw and is_chosen(RAW, host_type[:NAME_MAX]):
        return Withheld.FINDING_TYPE
    return Withheld.SEVERITY if severity < endpoint.min_severity else None


def is_matching(endpoint: Endpoint, text: str) -> bool:
    """Return whether an endpoint's regular expressions let a text pass."""
    if endpoint.data_match and not finder(endpoint.data_match)(text):
        return False
    return not (endpoint.data_not_match and finder(endpoint.data_not_match)(text))


@lru_cache(maxsize=4096)
def is_chosen(words: tuple[str, ...], name: str) -> bool:
    """Return whether a list of names, patterns and !names chooses a name; one without names or patterns chooses all
    that it does not exclude."""
    chosen = [word for word in words if not word.startswith("!")]
    if any(fnmatchcase(name, word[1:]) for word in words if word.startswith("!")):
        return False
    return not chosen or any(fnmatchcase(name, word) for word in chosen)


@lru_cache(maxsize=1024)
def is_target(words: tuple[str, ...], target: str) -> bool:
    """Return whether a list of names, patterns, networks and !names chooses a target, whatever its case."""
    name = target.strip().lower().rstrip(".")
    chosen = [word for word in words if not word.startswith("!")]
    if any(_is_at(word[1:], name) for word in words if word.startswith("!")):
        return False
    return not chosen or any(_is_at(word, name) for word in chosen)


def _is_at(word: str, name: str) -> bool:
    """Return whether a word is a target, a pattern of it, or a network that it is in."""
    network, of = fingerprints.network_of(word), fingerprints.network_of(name)
    if network is None or of is None:
        return fnmatchcase(name, word.lower().rstrip("."))
    if isinstance(network, IPv4Network):
        return isinstance(of, IPv4Network) and of.subnet_of(network)
    return isinstance(of, IPv6Network) and of.subnet_of(network)
