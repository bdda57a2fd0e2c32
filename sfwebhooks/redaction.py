"""Redaction: an event on its way to an endpoint comes in, the same without what that endpoint may not get goes out.

`formats.render` calls it, so no format sees more. Rules are about types of findings, and then hold for the data of a
finding, of its sources, of a correlation's evidence and of a report's items, and wherever another text of the event
quotes these; or they are regular expressions, which hold for every text.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, lru_cache, partial
from typing import Any

from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, Scan
from sfwebhooks.expressions import replaced
from sfwebhooks.fingerprints import normalised
from sfwebhooks.jsontext import written
from sfwebhooks.quotations import QUOTED_LEAST, requoted
from sfwebhooks.sensitive import (
    MASK,
    PEOPLE,
    RAW,
    SECRETS,
    WITHHELD,
    is_secret,
    login_owner,
    masked_value,
    matches_type,
    parts_of,
    without_secrets,
)
from sfwebhooks.statements import sealed_part

#: words of `redact` that are not rules
DEFAULT, OFF = "default", "off"
#: a word or a rule, with what ends it; `show` is for types only
WORD_OR_RULE = re.compile(
    rf"(?:(?P<word>{DEFAULT}|{OFF})|/(?P<expression>.+?)/\s*:\s*(?P<done>mask|hash|drop)"
    r"|(?P<types>[A-Z0-9_*?\[\]!-]+)\s*:\s*(?P<action>mask|hash|drop|show))[^\S\n]*(?:[,\n]|\Z)"
)
#: the end of a part that is wrong
NEXT = re.compile(r"[,\n]")
BETWEEN = " \t\r\n,"
#: the type whose rule is for the owner of a leaked login
OWNER = "EMAILADDR_COMPROMISED"
#: most types whose rules are remembered
KNOWN_MAX = 4096
#: hexadecimal digits of a hash that are shown
HASH_DIGITS = 16
#: characters of a value that count for its hash: the host's database keeps no more
HASHED_MAX = 1024
#: keys whose values are not prose: words of the host and of ours, times, ids
TERMS = frozenset(
    ("event_type", "severity", "module", "hash", "generated", "scan_id", "target_type", "status", "started", "ended",
     "special", "rule_id", "rule_risk", "alert", "endpoint", "unit", "since", "ends", "modules_used", "modules_failed")
)  # fmt: skip
#: lists and objects in each other, in which nothing is shown
DEPTH_MAX = 60


class Action(Enum):
    """What is done to a value, or to what an expression matches."""

    #: only its last four characters are shown, or as much of it as is needed to recognise it
    MASK = "mask"
    #: replaced by a keyed hash, which is the same for equal values
    HASH = "hash"
    #: replaced by a note
    DROP = "drop"
    #: shown, although a later rule says otherwise
    SHOW = "show"


@dataclass(frozen=True)
class Rule:
    """A rule for types of findings, or for what an expression matches in any text."""

    action: Action
    #: pattern of the host's event types; empty: it has an expression
    types: str = ""
    expression: str = ""
    is_default: bool = False

    @property
    def words(self) -> str:
        """The rule as it is written."""
        return f"{self.types or f'/{self.expression}/'}: {self.action.value}{' (default)' if self.is_default else ''}"


#: for people: secrets, and what may contain some, then people
DEFAULT_RULES = (
    *(Rule(Action.MASK, types, is_default=True) for types in SECRETS),
    *(Rule(Action.DROP, types, is_default=True) for types in RAW),
    *(Rule(Action.MASK, types, is_default=True) for types in PEOPLE),
)


@dataclass(frozen=True)
class Rules:
    """What is redacted for an endpoint."""

    #: its own, in their order
    own: tuple[Rule, ...] = ()
    #: whether the default ones follow
    has_default: bool = False
    #: of the hashes
    key: Secret | None = None

    @property
    def are_empty(self) -> bool:
        """Whether nothing is redacted."""
        return not (self.own or self.has_default)

    @cached_property
    def expressions(self) -> tuple[Rule, ...]:
        """The rules that are regular expressions."""
        return tuple(rule for rule in self.own if rule.expression)

    @property
    def hashes(self) -> bool:
        """Whether a rule needs the key."""
        return any(rule.action is Action.HASH for rule in self.own)

    @cached_property
    def _known(self) -> dict[str, Rule | None]:
        """Type of findings -> the rule for it, found at the first look."""
        return {}

    def rule_for(self, host_type: str) -> Rule | None:
        """Return the rule for a type of findings: the first that matches."""
        try:
            return self._known[host_type]
        except KeyError:
            rules = (*self.own, *DEFAULT_RULES) if self.has_default else self.own
            found = next((rule for rule in rules if rule.types and matches_type(rule.types, host_type)), None)
        if len(self._known) < KNOWN_MAX:
            self._known[host_type] = found
        return found


def rules_in(text: str) -> Iterator[Rule | str]:
    """Yield the rules in a value of `redact`, and its words default and off.

    Raises:
        ValueError: a part of it is neither; its text is that part, which may be a secret in a wrong place.
    """
    rest = text.strip(BETWEEN)
    while rest:
        found = WORD_OR_RULE.match(rest)
        if not found:
            raise ValueError(NEXT.split(rest, 1)[0].strip())
        rest = rest[found.end() :].strip(BETWEEN)
        action = found["action"] or found["done"]
        yield Rule(Action(action), found["types"] or "", found["expression"] or "") if action else found["word"]


@lru_cache(maxsize=256)
def rules_with(redact: tuple[str, ...], key: Secret | None, is_chat: bool) -> Rules:
    """Return the rules of an endpoint with these values of its keys.

    Args:
        is_chat: whether people read its messages: without `redact`, the default rules hold for them.
    """
    if not redact:
        return Rules(has_default=is_chat)
    found = [*rules_in("\n".join(redact))]
    return Rules(tuple(one for one in found if isinstance(one, Rule)), DEFAULT in found, key)


def rules_of(endpoint: Endpoint, is_chat: bool) -> Rules:
    """Return what is redacted for an endpoint."""
    return rules_with(endpoint.redact, endpoint.redact_key, is_chat)


def redacted(batch: Batch, rules: Rules) -> Batch:
    """Return deliveries as their endpoint may get them."""
    if rules.are_empty:
        return batch
    return batch.changed(lambda delivery: explained(delivery, rules)[0])


def explained(delivery: Delivery, rules: Rules) -> tuple[Delivery, tuple[str, ...]]:
    """Return a delivery as its endpoint may get it, and the rules that changed it, as they are written.

    Raises:
        ValueError: the event's data are not JSON: the outbox is damaged.
    """
    event = delivery.event
    work = _Redactor(rules, event.data, event.scan)
    scan = event.scan and replace(event.scan, name=work.text(event.scan.name), target=work.target)
    shown = replace(event, data={**work.data(), **sealed_part(event)}, scan=scan, whole=event)
    return replace(delivery, event=shown), tuple(work.applied)


def quoted_by(delivery: Delivery, rules: Rules, text: str) -> str:
    """Return a text that may quote a delivery's event, such as a receiver's reply, with its quotations as shown alone.

    Raises:
        ValueError: the event's data are not JSON: the outbox is damaged.
    """
    return _Redactor(rules, delivery.event.data, delivery.event.scan).text(text)


def for_everybody(host_type: str, text: str) -> str:
    """Return a finding's data without secrets: for reports of a scan, whose subscribers have not asked for findings."""
    return for_people(host_type, text) if is_secret(host_type) else _in_texts(text, {})


def for_people(host_type: str, text: str) -> str:
    """Return a finding's data by the default rules: for a terminal, where others read too, and copy into tickets."""
    return _Redactor(Rules(has_default=True), {}, None).value(host_type, text)


class _Redactor:
    """Redacts the texts of one event."""

    def __init__(self, rules: Rules, data: Mapping[str, Any], scan: Scan | None) -> None:
        self._rules = rules
        self._data = data
        #: the words of the rules that changed something, in this order
        self.applied: dict[str, None] = {}
        target = scan.target if scan else data.get("target")
        kind = scan.target_type if scan else data.get("target_type")
        self._target = target if isinstance(target, str) else ""
        #: text -> what is shown of it where another text quotes it
        self._quoted: dict[str, str] = {}
        self._quote(data, 0)
        rule = rules.rule_for(str(kind))
        if self._target and rule and not rule.is_default:
            self._note(self._target, self.value(str(kind), self._target))
        self.target = self._quoted.get(self._target) or self.text(self._target)

    def data(self) -> dict[str, Any]:
        """Return the event's data.

        A title can quote what was found in its evidence and is not part of it: if that is not shown, neither is what
        follows the colon of the host's titles.
        """
        found = self._object(self._data, 0)
        evidence, title = self._data.get("evidence"), found.get("title")
        for one in evidence if isinstance(evidence, list) and isinstance(title, str) else ():
            kind = one.get("event_type") if isinstance(one, Mapping) else None
            rule = self._rules.rule_for(kind) if isinstance(kind, str) else None
            if rule and rule.action is Action.DROP and ": " in found["title"]:
                found["title"] = f"{found['title'].partition(': ')[0]}: {WITHHELD}"
                self.applied[rule.words] = None
        return found

    def value(self, host_type: str, text: str) -> str:
        """Return the data of a finding."""
        rule = self._rule_for(host_type, text)
        if rule is None:
            return self.text(text)
        if rule.action is Action.SHOW:
            return self._by_expressions(requoted(text, self._quoted, but=text))
        shown = self._acted(rule, host_type, text)
        self._apply(rule, text, shown)
        return self.text(shown) if rule.action is Action.MASK else shown

    def text(self, text: str, is_term: bool = False) -> str:
        """Return any other text.

        Args:
            is_term: whether it is a name, a time or a number, which can be equal to a short password by chance.
        """
        found = requoted(text, self._quoted, is_term)
        if self._rules.has_default:
            found = _in_texts(found, self.applied)
        return self._by_expressions(found)

    def _rule_for(self, host_type: str, text: str) -> Rule | None:
        """Return the rule for some data; default rules about people are not for the target, which a message shows."""
        rule = self._rules.rule_for(host_type)
        is_target = text.strip().lower() == self._target.strip().lower()
        return None if rule and rule.is_default and is_target and not is_secret(host_type) else rule

    def _acted(self, rule: Rule, host_type: str, text: str) -> str:
        if rule.action is Action.DROP or text == WITHHELD:
            return WITHHELD
        if rule.action is Action.MASK:
            return masked_value(host_type, text)
        is_part = MASK in text or text.endswith("…")  # in a report of a scan, which has no whole values
        return MASK if is_part else self._hashed(host_type, text)

    def _hashed(self, kind: str, text: str) -> str:
        about = written([kind, normalised(kind, text[:HASHED_MAX])]).encode()
        key = self._rules.key
        if not key:
            return WITHHELD  # `config` holds such an endpoint
        return f"hash:{hmac.digest(key.reveal().encode(), about, 'sha256').hex()[:HASH_DIGITS]}"

    def _by_expressions(self, text: str) -> str:
        for rule in self._rules.expressions:
            shown = replaced(rule.expression, text, partial(self._acted, rule, ""))
            self._apply(rule, text, shown)
            text = shown
        return text

    def _apply(self, rule: Rule, text: str, shown: str) -> None:
        if text != shown:
            self.applied[rule.words] = None

    def _note(self, text: str, shown: str) -> None:
        if len(text) >= QUOTED_LEAST and text != shown and MASK not in text:
            self._quoted[text] = shown

    def _quote(self, value: Any, depth: int) -> None:
        """Remember the data of findings in a value, and what is shown of them."""
        if depth > DEPTH_MAX or isinstance(value, str):
            return
        if isinstance(value, Mapping):
            host_type, text = value.get("event_type"), value.get("data")
            if isinstance(host_type, str) and isinstance(text, str):
                self._quote_finding(host_type, text)
        for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ():
            self._quote(item, depth + 1)

    def _quote_finding(self, host_type: str, text: str) -> None:
        rule = self._rule_for(host_type, text)
        if not rule or rule.action is Action.SHOW:
            return
        for part, shown in parts_of(host_type, text):
            self._note(part, shown)
        shown = self._acted(rule, host_type, text)
        if owner := login_owner(host_type, text):
            self._quote_finding(OWNER, owner)
            shown = shown.replace(owner, self._quoted.get(owner, owner))
        self._note(text.strip(), shown)
        self._note(text, shown)

    def _walk(self, value: Any, depth: int, host_type: str | None = None, is_term: bool = False) -> Any:
        """Return a value with its texts redacted.

        Args:
            host_type: if it is the data of a finding, the type.
        """
        if isinstance(value, str):
            return self.text(value, is_term) if host_type is None else self.value(host_type, value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = str(value)
            shown = self.text(text, True) if host_type is None else self.value(host_type, text)
            return value if shown == text else shown
        if not isinstance(value, (Mapping, list, tuple)):
            return value
        if depth > DEPTH_MAX:
            return WITHHELD
        if isinstance(value, Mapping):
            return self._object(value, depth, host_type)
        return [self._walk(item, depth + 1, host_type, is_term) for item in value]

    def _object(self, value: Mapping[str, Any], depth: int, host_type: str | None = None) -> dict[str, Any]:
        kind = value.get("event_type")
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key == "target" and item == self._target:
                found[key] = self.target
            elif key == "data" and isinstance(kind, str):
                found[key] = self._walk(item, depth + 1, kind)
            else:
                found[self.text(key, True)] = self._walk(item, depth + 1, host_type, key in TERMS)
        if found.get("data") != value.get("data"):
            found.pop("data_sha256", None)  # by which a guess could be confirmed
        return found


#: the same texts come again: a source with each finding that it led to, a target with all of them
_searched = lru_cache(maxsize=64)(without_secrets)


def _in_texts(text: str, applied: dict[str, None]) -> str:
    """Return a text without what looks like a secret in it.

    Args:
        applied: to which the words of what is masked are added.
    """
    shown, kinds = _searched(text)
    applied.update(dict.fromkeys(f"{kind}: mask (default)" for kind in kinds))
    return shown
